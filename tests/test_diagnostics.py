"""Diagnostics against closed forms and planted cases."""

import math

import numpy as np
import pytest
import torch
from small_policy import logprob_by_hand, random_direction

from oneshot.diagnostics.angles import by_kind, corrected, cosine_matrix, plain_cosine, reliability
from oneshot.diagnostics.forced import forced_logprobs, of_rollouts
from oneshot.diagnostics.linearity import r_squared, random_walks, summarise


def test_forced_logprobs_by_hand(policy, rollouts):
    """One forward pass a token; chunks small enough to mix the order of the rows."""
    expected = [logprob_by_hand(policy, row.prompt_tokens, row.tokens, 0.9) for row in rollouts.itertuples()]
    for chunk_tokens in (40, 3072):
        found_C = forced_logprobs(policy, rollouts, 0.9, chunk_tokens)
        assert torch.allclose(found_C, torch.cat(expected).detach(), atol=1e-5)
    sums_R = of_rollouts(found_C, rollouts)
    assert torch.allclose(sums_R, torch.stack([one.sum() for one in expected]).detach(), atol=1e-5)


def test_kinds_of_parameters_have_their_own_cosines(policy):
    """b is a, but with the sign of attention turned."""
    a = random_direction(policy)
    b = {name: -values if "self_attn" in name else values for name, values in a.items()}
    found = {kind: (value, chance) for kind, value, chance in by_kind(a, b)}
    assert (found["attention"][0], found["embeddings"][0]) == pytest.approx((-1, 1))
    assert -1 < found["all"][0] < 1
    assert found["all"][1] == pytest.approx(1 / math.sqrt(policy.num_parameters))


def test_a_random_direction_is_as_far_off_as_chance_says(policy):
    a = random_direction(policy)
    found = [next(by_kind(a, random_direction(policy, seed))) for seed in range(1, 101)]
    assert np.std([value for _, value, _ in found]) == pytest.approx(found[0][2], rel=0.25)


def test_the_correction_removes_noise():
    """Two noisy copies of one vector: their cosine, corrected by what their halves say, is 1."""
    generator = np.random.default_rng(0)
    truth = generator.normal(size=20_000)
    halves = truth + 2 * generator.normal(size=(4, 20_000))
    one, other = (torch.from_numpy(halves[pair].mean(axis=0)) for pair in ([0, 1], [2, 3]))
    trust = [reliability(plain_cosine(*torch.from_numpy(halves[pair]))) for pair in ([0, 1], [2, 3])]
    assert plain_cosine(one, other) == pytest.approx(1 / 3, abs=0.02)
    assert corrected(plain_cosine(one, other), *trust) == pytest.approx(1, abs=0.05)
    assert math.isnan(corrected(0.5, -0.1))


def test_cosines_of_all_pairs():
    rows = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, -2.0]])
    expected = [[1, 0.5**0.5, 0], [0.5**0.5, 1, -(0.5**0.5)], [0, -(0.5**0.5), 1]]
    assert torch.allclose(cosine_matrix(rows), torch.tensor(expected, dtype=torch.float64))


def test_a_straight_line_has_r_squared_one_and_a_zigzag_none():
    steps = [0, 1, 2, 4, 8]
    line = torch.tensor(steps)[:, None] * torch.tensor([[1.0, -3.0]])
    assert torch.allclose(r_squared(line, steps), torch.ones(2, dtype=torch.float64))
    assert r_squared(torch.tensor([[1.0], [-2.0], [1.0]]), [0, 1, 2]).item() == pytest.approx(0)
    still = r_squared(torch.zeros(5, 1), steps)
    assert still.isnan().all()


def test_r_squared_is_that_of_least_squares():
    generator = np.random.default_rng(0)
    steps, values = [0, 1, 5, 6, 11, 20], generator.normal(size=6)
    fitted = np.polyval(np.polyfit(steps, values, 1), steps)
    expected = 1 - np.sum((values - fitted) ** 2) / np.sum((values - values.mean()) ** 2)
    assert r_squared(torch.from_numpy(values)[:, None], steps).item() == pytest.approx(expected)


def test_a_random_walk_has_the_r_squared_of_the_literature():
    """0.44 with 14 even checkpoints, and about a quarter above 0.7 (simulated, as reported)."""
    steps = list(range(0, 1400, 100))
    found = summarise(random_walks(steps, seed=1), steps)
    assert found["r_squared"] == pytest.approx(found["walk_r_squared"], abs=0.01) == pytest.approx(0.44, abs=0.02)
    assert found["share_high"] == pytest.approx(0.265, abs=0.02)


def test_walks_cover_uneven_gaps():
    walks = random_walks([0, 1, 101], count=50_000)
    assert walks[0].abs().max() == 0
    assert walks[1].var().item() == pytest.approx(1, rel=0.05)
    assert walks[2].var().item() == pytest.approx(101, rel=0.05)
