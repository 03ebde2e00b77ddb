"""The algebra of directions against numbers worked out by hand."""

import math

import pytest
import torch

from oneshot.directions import cosine, inner, norm

A = {"x": torch.tensor([3.0, 0.0]), "y": torch.tensor([[4.0]])}
B = {"x": torch.tensor([1.0, 1.0]), "y": torch.tensor([[-1.0]])}


def test_by_hand():
    assert inner(A, B) == -1
    assert norm(A) == 5
    assert cosine(A, B) == pytest.approx(-1 / (5 * math.sqrt(3)))
    assert cosine(A, A) == pytest.approx(1)


def test_a_zero_direction_has_no_angle():
    assert math.isnan(cosine(A, {name: torch.zeros_like(value) for name, value in A.items()}))
