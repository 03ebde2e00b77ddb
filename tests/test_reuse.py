"""One batch, many steps: the ratios against hand loops, the best length kept, every gradient charged."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small_policy import lab_of, logprob_by_hand, random_direction
from torch.optim import SGD

from oneshot.baselines import reuse
from oneshot.baselines.passes import climb, minibatches
from oneshot.gradients.corrections import get_correction
from oneshot.gradients.false_rewards import FALSE_REWARDS, shuffled
from oneshot.gradients.one_pass import Blocks, backward_weighted_logprobs, streamed
from oneshot.gradients.ratios import effective_sample_size, sequence_log_ratios
from oneshot.gradients.weights import weigh
from oneshot.policies.models import fingerprint
from oneshot.steps.line_search import moved
from oneshot.steps.master_weights import MasterWeights

SETTINGS = reuse.Settings(learning_rate=1e-2, groups_per_step=4, passes=3)


@pytest.mark.parametrize("cap", [math.inf, 1.05, 0.0])
def test_the_step_at_a_moved_policy_by_hand(policy, rollouts, cap):
    """Σ_i min(ρ_i, c) A_i ∇ log π_θ(y_i), one forward pass a token; without ratios Σ_i A_i ∇ log π_θ(y_i)."""
    weighted = weigh(rollouts)
    lab = lab_of(policy)
    correction = get_correction("truncated" if cap else "none", cap)
    names = dict(policy.model.named_parameters())
    with moved(policy.model, random_direction(policy), 0.01):
        total = torch.zeros(())
        ratios, factors = [], []
        for row in weighted.itertuples():
            log_pi = logprob_by_hand(policy, row.prompt_tokens, row.tokens, 0.9).sum()
            ratios.append((log_pi.detach() - float(np.sum(row.logprobs))).exp().item())
            factors.append(min(ratios[-1], cap) if cap else 1.0)
            total = total + factors[-1] * row.weight * log_pi
        expected = dict(zip(names, torch.autograd.grad(total / len(weighted), names.values()), strict=True))
        before = {name: parameter.detach().clone() for name, parameter in names.items()}
        masters = MasterWeights(policy.model, lambda weights: SGD(weights, lr=1.0))
        record = climb(lab, masters, weighted, correction)
        for name, parameter in names.items():
            assert torch.allclose(parameter - before[name], expected[name], atol=2e-5), name
    informative = np.array(ratios)[weighted.weight.to_numpy() != 0]
    assert informative.max() > 1.1
    assert record["largest_ratio"] == pytest.approx(informative.max(), rel=1e-3)
    assert record["effective_sample_size"] == pytest.approx(
        informative.sum() ** 2 / (informative**2).sum() / len(informative), rel=1e-3
    )
    sizes = weighted.weight.abs().to_numpy() * weighted.tokens.map(len).to_numpy()
    assert record["kept_weight"] == pytest.approx((sizes * factors).sum() / sizes.sum(), rel=1e-3)
    assert record["silenced_share"] == 0


def test_clipped_tokens_are_counted(policy, rollouts):
    with moved(policy.model, random_direction(policy), 0.01):
        masters = MasterWeights(policy.model, lambda weights: SGD(weights, lr=0.0))
        shares = [
            climb(lab_of(policy), masters, weigh(rollouts), get_correction("ppo", clip))["silenced_share"]
            for clip in (0.01, 0.2, 100.0)
        ]
    assert 1 > shares[0] > shares[1] > shares[2] == 0


def test_groups_arrive_whole_unless_they_are_larger_than_a_chunk(policy, rollouts):
    weighted, seen = weigh(rollouts), []

    def watched(reused):
        seen.append((reused.whole, reused.groups_R.tolist()))
        return reused.weights_C

    for chunk_tokens in (3072, 10):
        seen.clear()
        with streamed(policy.model, {name: torch.zeros_like(p) for name, p in policy.model.named_parameters()}):
            backward_weighted_logprobs(policy, weighted, 0.9, chunk_tokens, watched)
        assert all(whole for whole, _ in seen) == (chunk_tokens > 1000)
        assert sum(len(groups) for _, groups in seen) == (weighted.weight != 0).sum()


def test_ratios_are_one_at_first_and_differ_after_the_first_update(policy, rollouts, problems):
    lab = lab_of(policy, problems, batch=rollouts)
    first, second, *_ = [step.record for step in reuse.run(lab, replace(SETTINGS, knob=math.inf))]
    assert first["largest_ratio"] == pytest.approx(1, abs=1e-3)
    assert first["effective_sample_size"] == pytest.approx(1, abs=1e-5)
    assert abs(second["largest_ratio"] - 1) > 1e-2


def test_whole_ratios_make_the_gradient_that_of_the_moved_policy(policy, rollouts):
    """Importance weighting: Σ_y π_0(y) ρ(y) f(y) = Σ_y π_θ(y) f(y), here over all answers of one token."""
    direction, prompt = random_direction(policy), rollouts.prompt_tokens.iloc[0]
    count = policy.model.config.vocab_size
    every = pd.concat([rollouts.head(1)] * count, ignore_index=True)
    base = (policy.model(torch.tensor([list(prompt)])).logits[0, -1] / 0.9).log_softmax(-1).detach()
    every["tokens"] = [np.array([token], dtype=np.int32) for token in range(count)]
    every["logprobs"] = [np.array([value], dtype=np.float32) for value in base.numpy()]
    values_V = torch.linspace(-1, 1, count)
    every["weight"] = (base.exp() * values_V).numpy()
    gradient = {name: torch.zeros(weight.shape) for name, weight in policy.model.named_parameters()}
    with moved(policy.model, direction, 0.02):
        with streamed(policy.model, gradient):
            backward_weighted_logprobs(policy, every, 0.9, correction=get_correction("truncated", math.inf))
        log_pi_V = (policy.model(torch.tensor([list(prompt)])).logits[0, -1] / 0.9).log_softmax(-1)
        expected = torch.autograd.grad((log_pi_V.exp() * values_V).sum(), policy.model.parameters())
    for (name, _), one in zip(policy.model.named_parameters(), expected, strict=True):
        assert torch.allclose(gradient[name], one, atol=1e-5), name


def test_log_ratios_add_up_by_rollout_and_outweighing_shows():
    change, rows = torch.tensor([0.5, -0.25, 1.0]), torch.tensor([0, 0, 1])
    assert sequence_log_ratios(change, rows).tolist() == [0.25, 1.0]
    assert effective_sample_size(torch.zeros(8)) == pytest.approx(1)
    assert effective_sample_size(torch.tensor([50.0] + [0.0] * 9)) == pytest.approx(0.1)


def test_the_best_length_is_kept_and_every_gradient_charged(policy, rollouts, problems, monkeypatch):
    """Validation says that the second of four looks was best: the policy ends there, bit for bit."""
    lab = lab_of(policy, problems, batch=rollouts)
    said, seen = iter([0.2, 0.9, 0.9, 0.1]), []

    def validate():
        seen.append(fingerprint(policy.model))
        drawn = pd.DataFrame({"reward": [next(said)]})
        return drawn, drawn

    monkeypatch.setattr(lab, "validate", validate)
    *steps, last = list(reuse.run(lab, SETTINGS))
    assert len(steps) == 3 * 3
    assert [step.point for step in steps if "accuracy" in step.record] == [1, 2, 4, 9]
    assert [step.point for step in steps if step.drawn] == [1, 2, 4, 9]
    assert (last.point, last.measured, last.chosen) == (2, True, True)
    assert fingerprint(policy.model) == seen[1] != seen[3]
    assert lab.ledger.gradient_steps == 9
    fed = rollouts.tokens.map(len).sum() + rollouts.prompt_tokens.map(len).sum()
    assert lab.ledger.flops == pytest.approx(6 * policy.num_parameters * fed * 3)


def test_a_pass_takes_every_group_once_and_whole(rollouts):
    steps = list(minibatches(rollouts, 4, 3))
    assert len(steps) == 9
    for number in range(3):
        rows = np.concatenate(steps[3 * number : 3 * number + 3])
        assert sorted(rows) == list(range(len(rollouts)))
        assert not (rows == np.arange(len(rows))).all()
    assert all(rollouts.iloc[rows].problem_id.value_counts().eq(4).all() for rows in steps)


def test_shuffling_keeps_each_group_s_rewards_and_credits_together(rollouts):
    graded = rollouts.assign(credit=rollouts.reward * 0.5)
    dealt = shuffled(graded, seed=0)
    assert (dealt.groupby("problem_id").reward.sum() == graded.groupby("problem_id").reward.sum()).all()
    assert (dealt.credit == dealt.reward * 0.5).all()
    assert not (dealt.reward == graded.reward).all()
    assert dealt.tokens.equals(graded.tokens)


def test_false_rewards_know_nothing_of_right_and_wrong(rollouts):
    table = rollouts.assign(status=np.where(np.arange(len(rollouts)) % 3, "wrong", "unparsable"))
    coins = FALSE_REWARDS["random"](pd.concat([table] * 50), seed=0)
    assert coins.reward.mean() == pytest.approx(0.5, abs=0.03)
    assert abs(np.corrcoef(coins.reward, pd.concat([rollouts] * 50).reward)[0, 1]) < 0.1
    formed = FALSE_REWARDS["well_formed"](table, seed=0)
    assert formed.reward.tolist() == [float(place % 3 > 0) for place in range(len(rollouts))]
    assert (formed.credit == formed.reward).all()


@pytest.mark.parametrize(("most", "count"), [(50, 12), (5, 4), (1, 1)])
def test_the_finest_blocks_are_equal_and_whole_groups(rollouts, most, count):
    assert Blocks.finest(rollouts, most).count == count
