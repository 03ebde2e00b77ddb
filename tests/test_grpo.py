"""The GRPO loop reuses the same parts: one of its steps, without Adam, is the one-shot gradient."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY
from torch.optim import SGD, AdamW

from oneshot.baselines.grpo import GrpoSettings, next_problems, train_grpo, update
from oneshot.baselines.master_weights import MasterWeights
from oneshot.baselines.tuning import tune
from oneshot.engines.torch import TorchEngine
from oneshot.gradient import accumulate_gradient
from oneshot.models import build_policy, fingerprint

SETTINGS = GrpoSettings(learning_rate=1e-2, prompts_per_step=3, group_size=4, temperature=0.9, max_new_tokens=6)


def test_one_plain_step_is_the_one_shot_step(policy, rollouts, weights):
    g = accumulate_gradient(policy, rollouts, weights, temperature=0.9).mean()
    before = {name: parameter.clone() for name, parameter in policy.model.named_parameters()}
    update(policy, MasterWeights(policy.model, partial(SGD, lr=0.1)), rollouts, SETTINGS)
    for name, parameter in policy.model.named_parameters():
        assert torch.allclose(parameter, before[name] + 0.1 * g[name], atol=1e-6)


def test_a_batch_without_information_moves_nothing(policy, rollouts):
    before = fingerprint(policy.model)
    update(policy, MasterWeights(policy.model, partial(AdamW, lr=0.1, weight_decay=0.0)), rollouts[:8], SETTINGS)
    assert fingerprint(policy.model) == before


def test_small_steps_of_a_bf16_policy_add_up(policy):
    """Two hundred steps of 1e-5 along one gradient: none is seen in BF16 by itself, their sum is."""
    policy.model.bfloat16()
    start = {name: weight.detach().float() for name, weight in policy.model.named_parameters()}
    masters = MasterWeights(policy.model, partial(AdamW, lr=1e-5, weight_decay=0.0))
    assert all(master.dtype == torch.float32 for master in masters.masters.values())
    signs = {name: torch.randn(weight.shape).sign() for name, weight in start.items()}
    for _ in range(200):
        masters.descend({name: sign.clone() for name, sign in signs.items()})
    for name, weight in policy.model.named_parameters():
        assert weight.dtype == torch.bfloat16
        expected = (start[name] - 2e-3 * signs[name]).to(torch.bfloat16)
        assert torch.allclose(weight, expected, atol=1e-4, rtol=2**-8)


def test_fp32_weights_are_their_own_masters(policy):
    masters = MasterWeights(policy.model, partial(SGD, lr=1.0))
    assert all(masters.masters[name] is weight for name, weight in policy.model.named_parameters())


def rewarded_for_short_answers(table):
    return table.assign(reward=(table.tokens.map(len) < 6).astype(np.float32))


def test_it_learns_what_is_rewarded(policy, problems, monkeypatch):
    """Pay for ending early: after 30 steps the policy does so more often. With the sign flipped it would not."""
    monkeypatch.setattr("oneshot.sampling.score", with_rewards(rewarded_for_short_answers))
    steps = pd.DataFrame(train_grpo(policy, TorchEngine(policy), problems, SETTINGS, run="t", num_steps=30))
    assert steps.accuracy.tail(5).mean() > steps.accuracy.head(5).mean() + 0.3
    assert steps.rollouts.iloc[-1] == 30 * 12


def with_rewards(reward):
    from oneshot.sampling import score

    return lambda *arguments: reward(score(*arguments))


def test_runs_are_reproducible_and_looking_changes_nothing(problems):
    prints = []
    for look in (lambda step: None, lambda step: torch.randn(3)):
        policy = build_policy(TINY, seed=0)
        list(train_grpo(policy, TorchEngine(policy), problems, SETTINGS, run="t", num_steps=3, after_step=look))
        prints.append(fingerprint(policy.model))
    assert prints[0] == prints[1]


def test_problems_are_met_in_order_and_again():
    assert next_problems(list("abcde"), 1, 2) == ["a", "b"]
    assert next_problems(list("abcde"), 3, 2) == ["e", "a"]


def test_a_gradient_that_is_not_finite_names_the_way_out(policy, rollouts):
    policy.model.lm_head.weight.register_hook(lambda grad: grad * torch.inf)
    with pytest.raises(ValueError, match=r"is not finite: lower grpo\.learning_rate"):
        update(policy, MasterWeights(policy.model, partial(SGD, lr=0.1)), rollouts, SETTINGS)


def test_rollouts_of_another_policy_stop_the_run(policy, rollouts):
    before = fingerprint(policy.model)
    masters = MasterWeights(policy.model, partial(SGD, lr=0.1))
    foreign = rollouts.assign(logprobs=rollouts.logprobs.map(lambda values: values - 0.01))
    with pytest.raises(ValueError, match=r"more than one_shot\.max_gap_nats 0\.001"):
        update(policy, masters, foreign, replace(SETTINGS, max_gap_nats=1e-3))
    assert fingerprint(policy.model) == before
    assert update(policy, masters, foreign, SETTINGS) == pytest.approx((0.01, 0.01), rel=1e-2)


@pytest.mark.parametrize(("peak", "extensions", "expected"), [(3, 2, 3), (100, 2, 90), (100, 0, 10), (0.01, 1, 1 / 3)])
def test_tuning_extends_its_edges(peak, extensions, expected):
    trials = tune(lambda v: {"accuracy": -abs(np.log(v / peak))}, [1, 10 / 3, 10], max_extensions=extensions)
    winner = trials.value[trials.chosen].item()
    assert winner == pytest.approx(expected, rel=0.2)
    assert trials.value.is_monotonic_increasing


def test_tuning_prefers_the_smaller_of_equals():
    assert (
        tune(lambda value: {"accuracy": 0.5}, [1, 3, 9], max_extensions=0).value[lambda _: [True, False, False]].item()
        == 1
    )
