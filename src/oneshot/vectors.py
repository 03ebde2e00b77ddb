"""Vectors in weight space: parameter name -> FP32 tensor, and the algebra they need.

The weights, the gradient, every direction, the Fisher diagonal and the second moment are all vectors of this kind.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

Vector = dict[str, Tensor]


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
