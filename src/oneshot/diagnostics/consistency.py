r"""Is one batch large enough? How well its subsets agree, beside what the noise scale says they must.

Two disjoint subsets of N rollouts have gradients G + noise, the same G, and noise of a variance tr Σ / N each. With the
noise scale B = tr Σ / |G|² their cosine is therefore expected to be

    1 / (1 + B/N)

up to the spread of a cosine of few random vectors. B itself comes from all blocks, or from the first few of them: if
these predict how well the whole agrees with itself, a small batch can say how large a batch has to be.

Clusters (tasks, bins of the pass rate) have gradients of their own. Two of them want the same as far as their cosine,
corrected for noise, is 1; below 0 what helps one hurts the other.
"""

import math
from itertools import combinations

import numpy as np
import pandas as pd

from oneshot.gradients.block_sums import Gradient, noise_scale_of
from oneshot.gradients.clusters import Part
from oneshot.statistics import corrected, reliability
from oneshot.vectors import cosine

DRAWS = 20
"""Times that the blocks are dealt into subsets of a size."""
FEW = 5
"""Blocks from which the noise scale is measured again."""


def by_size(gradient: Gradient, seed: int = 0) -> pd.DataFrame:
    """A row for each subset size: mean cosine of disjoint subsets, its spread over pairs, and two predictions."""
    products, count = gradient.inner_products().numpy(), len(gradient.block_ids)
    whole, few = noise_scale_of(products, gradient), noise_scale_of(products[:FEW, :FEW], gradient)
    rng, rows = np.random.default_rng(seed), []
    for size in _sizes(count):
        found = [value for _ in range(DRAWS) for value in _cosines(products, rng.permutation(count), size)]
        rollouts = size * gradient.rollouts_per_block
        expected = {"expected": 1 / (1 + whole / rollouts), "expected_from_few": 1 / (1 + few / rollouts)}
        rows.append({"rollouts": rollouts, "cosine": np.mean(found), "spread": np.std(found), **expected})
    return pd.DataFrame(rows)


def _sizes(count: int) -> list[int]:
    """1, 2, 5, 10, … and half of all blocks."""
    steps = [mantissa * 10**power for power in range(4) for mantissa in (1, 2, 5)]
    return [size for size in steps if size < count // 2] + [count // 2]


def _cosines(products: np.ndarray, order: np.ndarray, size: int) -> list[float]:
    """Cosines of neighbouring subsets of that size, in that order of the blocks."""
    subsets = [order[start : start + size] for start in range(0, len(order) - size + 1, size)]
    inner = {(a, b): products[np.ix_(subsets[a], subsets[b])].sum() for a, b in _neighbours(len(subsets))}
    return [inner[a, b] / math.sqrt(inner[a, a] * inner[b, b]) for a, b in inner if a != b]


def _neighbours(count: int) -> list[tuple[int, int]]:
    return [(place, place) for place in range(count)] + [(place, place + 1) for place in range(0, count - 1, 2)]


def between(parts: dict[str, Part]) -> pd.DataFrame:
    """A row for each pair of clusters, a cluster with itself included.

    `cosine` is that of their gradients, and of a cluster with itself that of its halves; `corrected` is without noise.
    """
    halves = {name: cosine(part.even, part.odd) for name, part in parts.items()}
    rows = [{"one": name, "other": name, "cosine": value, "corrected": 1.0} for name, value in halves.items()]
    for one, other in combinations(parts, 2):
        found = cosine(parts[one].mean, parts[other].mean)
        clean = corrected(found, reliability(halves[one]), reliability(halves[other]))
        rows.append({"one": one, "other": other, "cosine": found, "corrected": clean})
    return pd.DataFrame(rows)
