"""Directions in weight space: parameter name -> FP32 tensor, and the little algebra they need."""

import math

import torch
from torch import Tensor

Direction = dict[str, Tensor]


def inner(a: Direction, b: Direction) -> float:
    """⟨a, b⟩, summed in FP64."""
    return sum(torch.dot(a[name].double().flatten(), b[name].double().flatten()).item() for name in a)


def norm(a: Direction) -> float:
    return math.sqrt(inner(a, a))


def cosine(a: Direction, b: Direction) -> float:
    """Cosine of the angle between a and b; nan if either is zero."""
    lengths = norm(a) * norm(b)
    return inner(a, b) / lengths if lengths else math.nan
