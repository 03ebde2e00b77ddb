"""Directions against numbers worked out by hand and closed forms."""

import math

import pytest
import torch
from small_policy import TINY, logprob_by_hand

from oneshot.measures.evaluate import sequence_kl
from oneshot.policies.models import build_policy
from oneshot.sampling import Draw, Sampling, draw_rollouts
from oneshot.steps.directions import (
    DIRECTIONS,
    Ingredients,
    layerwise,
    natural,
    newton_schulz,
    orthogonal,
    polar_factor,
    rms,
    sign,
    take_direction,
)
from oneshot.steps.fisher import fisher_diagonal
from oneshot.steps.line_search import measure_curvature, moved
from oneshot.vectors import cosine, inner, norm

A = {"x": torch.tensor([3.0, 0.0]), "y": torch.tensor([[4.0]])}
B = {"x": torch.tensor([1.0, 1.0]), "y": torch.tensor([[-1.0]])}


def random_matrix(rows, columns, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def test_by_hand():
    assert inner(A, B) == -1
    assert norm(A) == 5
    assert cosine(A, B) == pytest.approx(-1 / (5 * math.sqrt(3)))
    assert cosine(A, A) == pytest.approx(1)


def test_a_zero_direction_has_no_angle():
    assert math.isnan(cosine(A, {name: torch.zeros_like(value) for name, value in A.items()}))


def test_sign_and_rms_by_hand():
    g = {"x": torch.tensor([-2.0, 0.0, 3.0])}
    assert sign(g)["x"].tolist() == [-1, 0, 1]
    assert rms(g, {"x": torch.tensor([16.0, 0.0, 9.0])})["x"].tolist() == [-0.5, 0, 1]


def test_rms_without_noise_is_the_sign():
    """Every micro-batch the same: √E[ĝ²] = |g|, and Adam's steps are all ±1."""
    g = {"x": torch.tensor([-2.0, 0.5])}
    assert rms(g, {"x": g["x"].square()})["x"].tolist() == sign(g)["x"].tolist()


def test_layerwise_is_as_long_as_the_weights():
    g = {"x": torch.tensor([3.0, 4.0]), "y": torch.zeros(2)}
    weights = {"x": torch.tensor([0.0, 10.0]), "y": torch.ones(2)}
    d = layerwise(g, weights)
    assert d["x"].tolist() == pytest.approx([6.0, 8.0])
    assert d["y"].tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(5, 5), (8, 3), (3, 8)])
def test_the_polar_factor_is_the_nearest_orthogonal_matrix(shape):
    """All singular values 1, and the inner product with the matrix is the sum of its singular values, the maximum."""
    matrix = random_matrix(*shape)
    factor = polar_factor(matrix)
    assert torch.allclose(torch.linalg.svdvals(factor), torch.ones(min(shape)), atol=1e-5)
    assert (factor * matrix).sum().item() == pytest.approx(torch.linalg.svdvals(matrix).sum().item(), rel=1e-5)


def test_what_is_zero_to_rounding_is_not_blown_up():
    matrix = torch.outer(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 0.0, 1.0]))
    assert torch.allclose(polar_factor(matrix), matrix / matrix.norm(), atol=1e-6)


@pytest.mark.parametrize("shape", [(64, 64), (96, 32), (32, 96)])
def test_newton_schulz_has_the_same_singular_vectors(shape):
    left, _, right = torch.linalg.svd(random_matrix(*shape), full_matrices=False)
    matrix = left @ torch.diag(torch.linspace(0.1, 1, min(shape))) @ right
    iterated = left.T @ newton_schulz(matrix) @ right.T
    assert ((iterated.diagonal() > 0.65) & (iterated.diagonal() < 1.25)).all()
    assert (iterated - torch.diag(iterated.diagonal())).abs().max() < 1e-4


def test_orthogonal_scales_matrices_and_vectors_alike():
    g = {
        "layers.0.up_proj": random_matrix(12, 3),
        "norm": torch.tensor([3.0, 4.0]),
        "embed_tokens": random_matrix(7, 2),
    }
    d = orthogonal(g)
    assert torch.allclose(torch.linalg.svdvals(d["layers.0.up_proj"]), torch.full((3,), 2.0), atol=1e-5)
    assert d["norm"].tolist() == pytest.approx([0.6 * 2**0.5, 0.8 * 2**0.5])
    assert cosine({"e": d["embed_tokens"]}, {"e": g["embed_tokens"]}) == pytest.approx(1)
    assert d["embed_tokens"].square().mean().item() == pytest.approx(1)


def test_natural_by_hand():
    g = {"x": torch.tensor([1.0, 1.0]), "y": torch.tensor([2.0])}
    fisher = {"x": torch.tensor([0.0, 3.0]), "y": torch.tensor([6.0])}
    d = natural(g, fisher)
    assert d["x"].tolist() == pytest.approx([1 / 3, 1 / 6])
    assert d["y"].tolist() == pytest.approx([2 / 9])


def test_fisher_diagonal_is_the_mean_squared_score(policy, rollouts):
    few = rollouts.head(6)
    scores = []
    for row in few.itertuples():
        policy.model.zero_grad()
        logprob_by_hand(policy, row.prompt_tokens, row.tokens, 0.9).sum().backward()
        scores.append({name: parameter.grad.clone() for name, parameter in policy.model.named_parameters()})
    for name, values in fisher_diagonal(policy, few, 0.9).items():
        expected = torch.stack([score[name] for score in scores]).square().mean(dim=0)
        assert torch.allclose(values, expected, rtol=1e-3, atol=1e-9)


def test_fisher_diagonal_predicts_the_kl_along_a_coordinate(policy, engine, problems):
    """½ h² F_jj is the KL of a step h along one coordinate, over many rollouts of the policy itself."""
    drawn = draw_rollouts(engine, problems, Draw("f", "f"), Sampling(1.0, 4, group_size=16))
    fisher = fisher_diagonal(policy, drawn, 1.0)
    name = "model.norm.weight"
    coordinate = int(fisher[name].argmax())
    direction = {key: torch.zeros_like(values) for key, values in fisher.items()}
    direction[name][coordinate] = 1.0
    reference = build_policy(TINY, seed=0)

    def kl_at(step):
        with moved(policy.model, direction, step):
            return sequence_kl(reference, policy, drawn, 1.0).mean().item()

    assert measure_curvature(kl_at, direction) == pytest.approx(fisher[name][coordinate].item(), rel=0.2)


def test_every_direction_by_name():
    g = {"layers.0.w": random_matrix(4, 4)}
    ones = {"layers.0.w": torch.ones(4, 4)}
    ingredients = Ingredients(g, ones, lambda: ones, lambda: ones, lambda: g, lambda: g)
    for name in DIRECTIONS.keys() - {"random"}:
        assert inner(take_direction(name, ingredients), g) > 0
    noise = take_direction("random", ingredients)
    assert noise["layers.0.w"].equal(take_direction("random", Ingredients(ones, ones, *[None] * 4))["layers.0.w"])
    assert abs(noise["layers.0.w"].std().item() - 1) < 0.5
    with pytest.raises(ValueError, match="unknown direction 'adam': expected one of gradient, sign"):
        take_direction("adam", ingredients)
