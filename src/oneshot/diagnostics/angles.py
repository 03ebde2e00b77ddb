"""Angles between moves, beside what chance and noise make of them.

cosine        cos(a, b), over all parameters or over those of one kind
chance        1/√D: the standard deviation of the cosine with a random direction of D dimensions
reliability   of an estimate whose halves agree to c: 2c / (1 + c) (Spearman and Brown)
corrected     cos(a, b) / √(reliability of a · reliability of b): the cosine that there would be without noise
"""

import math
from collections.abc import Iterator, Mapping

import pandas as pd
from torch import Tensor

from oneshot.gradients.clusters import KINDS, kind_of
from oneshot.statistics import corrected
from oneshot.vectors import Vector, cosine

ALL = "all"
"""Kind: all parameters."""


def by_kind(a: Vector, b: Vector) -> Iterator[tuple[str, float, float]]:
    """(kind, cosine, chance) over all entries and over each kind of them, if they are parameters."""
    for kind in (ALL, *KINDS) if len(a) > 1 else (ALL,):
        names = [name for name in a if kind in (ALL, kind_of(name))]
        size = sum(a[name].numel() for name in names)
        yield kind, cosine(*({name: vector[name] for name in names} for vector in (a, b))), 1 / math.sqrt(size)


def path_cosines(
    paths: dict[str, Mapping[float, Vector]],
    directions: dict[str, Vector],
    twins: dict[str, Mapping[float, Vector]],
    trust: dict[str, float],
) -> pd.DataFrame:
    """Every direction's cosine with every move of every path, by kind of parameter; rows of `cosines.csv`.

    `twins` are the same arms in another run: where they have a step too, the cosine of both moves is the reliability
    of either. `trust` is the reliability of directions, where it is known. What is unknown is nan, and so is then the
    corrected cosine.
    """
    rows = []
    for arm, path in paths.items():
        for step, move in path.items():
            twin = twins.get(arm, {}).get(step)
            of_path = {kind: value for kind, value, _ in by_kind(move, twin)} if twin else {}
            for name, direction in directions.items():
                for kind, found, chance in by_kind(move, direction):
                    known = of_path.get(kind, math.nan), trust.get(name, math.nan) if kind == ALL else math.nan
                    row = {"arm": arm, "step": step, "direction": name, "kind": kind, "cosine": found, "chance": chance}
                    of = dict(zip(("path_reliability", "direction_reliability"), known, strict=True))
                    rows.append({**row, **of, "corrected": corrected(found, *known)})
    return pd.DataFrame(rows)


def plain_cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of two flat vectors, in FP64; nan if either is zero."""
    return cosine({"": a}, {"": b})
