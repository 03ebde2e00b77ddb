"""Vectors in weight space: parameter name -> FP32 tensor, and the algebra they need.

The weights, the gradient, every direction, the Fisher diagonal and the second moment are all vectors of this kind.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from oneshot.files import BadFile, atomic_path

Vector = dict[str, Tensor]
HEADER = "oneshot"


def inner(a: Vector, b: Vector) -> float:
    """⟨a, b⟩, summed in FP64."""
    return sum(torch.dot(a[name].double().flatten(), b[name].double().flatten()).item() for name in a)


def norm(a: Vector) -> float:
    return math.sqrt(inner(a, a))


def cosine(a: Vector, b: Vector) -> float:
    """Cosine of the angle between a and b; nan if either is zero."""
    lengths = norm(a) * norm(b)
    return inner(a, b) / lengths if lengths else math.nan


def standard_normal(like: Mapping[str, Tensor], seed: int) -> Vector:
    """Independent standard normal numbers for every parameter, one stream from the seed: the same on every machine."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(values.shape, generator=generator) for name, values in like.items()}


def save_tensors(tensors: Mapping[str, Tensor], path: str | Path, header: dict) -> None:
    """Write safetensors with a header: equal ones are equal files, for which the library would need one entry alone."""
    with atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, {HEADER: json.dumps(header, sort_keys=True)})


def read_header(path: str | Path, kind: str) -> tuple[dict, list[str]]:
    """(header, names of the tensors) of a file of `save_tensors`. Raises BadFile, 'not a <kind>', for any other."""
    try:
        with safe_open(path, "pt") as file:
            return json.loads(file.metadata()[HEADER]), list(file.keys())
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{path}: not a {kind} (truncated or foreign file): delete it and run again") from error


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
