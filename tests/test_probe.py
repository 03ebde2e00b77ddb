"""The probe: hidden states by hand, what separates them, and the gradient that moves them."""

import numpy as np
import pytest
import torch
from small_policy import random_direction

from oneshot.gradients.probe import informative, probe_direction, separating, states
from oneshot.policies.models import fingerprint
from oneshot.steps.line_search import moved
from oneshot.vectors import inner, norm


def by_hand(policy, rollouts):
    """One forward pass a rollout."""
    found = []
    for row in rollouts.itertuples():
        fed = torch.tensor([[*row.prompt_tokens, *row.tokens[:-1]]])
        found.append(policy.model.model(fed).last_hidden_state[0, len(row.prompt_tokens) - 1 :].mean(dim=0))
    return torch.stack(found)


def test_states_by_hand(policy, rollouts):
    told = informative(rollouts)
    assert told.tolist() == [False] * 8 + [True] * 40
    with torch.no_grad():
        expected = by_hand(policy, rollouts[told])
    assert torch.allclose(states(policy, rollouts, told, chunk_tokens=60), expected, atol=1e-5)


def test_what_separates_right_from_wrong_is_found(rollouts):
    """Planted: right answers have one direction more than wrong ones, under noise."""
    told = rollouts.iloc[8:]
    generator = torch.Generator().manual_seed(0)
    planted_E = torch.nn.functional.normalize(torch.randn(16, generator=generator), dim=0)
    noise_RE = 0.2 * torch.randn(40, 16, generator=generator)
    states_RE = noise_RE + 3 * torch.tensor(told.reward.to_numpy())[:, None] * planted_E
    assert separating(states_RE, told) @ planted_E > 0.95
    flipped = told.assign(reward=1 - told.reward)
    assert separating(states_RE, flipped) @ planted_E < -0.95


def test_the_direction_is_the_derivative_of_the_mean_state(policy, rollouts):
    """Finite differences of (1/R) Σ ⟨s, v⟩ along a random direction, v fixed."""
    before, told = fingerprint(policy.model), rollouts[informative(rollouts)]
    with torch.no_grad():
        v_E = separating(by_hand(policy, told), told)
    direction, along = probe_direction(policy, rollouts, chunk_tokens=60), random_direction(policy)
    values = []
    for step in (1e-3, -1e-3):
        with torch.no_grad(), moved(policy.model, along, step):
            values.append((by_hand(policy, told).double() @ v_E.double()).mean().item())
    assert inner(direction, along) == pytest.approx((values[0] - values[1]) / 2e-3, rel=1e-2)
    assert fingerprint(policy.model) == before


def test_without_right_and_wrong_answers_there_is_no_direction(policy, rollouts):
    assert norm(probe_direction(policy, rollouts.assign(reward=np.float32(1)))) == 0
