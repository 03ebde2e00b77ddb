"""Corrections of reused rollouts: against hand loops, derivatives, TRL's losses, and a bandit whose answer is known."""

import math

import pytest
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from oneshot.gradients import corrections
from oneshot.gradients.corrections import CORRECTIONS, get_correction
from oneshot.gradients.objectives import DPO_BETA, GSPO_CLIP, Batch, rollout_weights, token_weights
from oneshot.gradients.ratios import Reused

KNOBS = {
    "none": 0.0,
    "truncated": 2.0,
    "topr": 1.0,
    "topr_token": 1.0,
    "ppo": 0.2,
    "gspo": GSPO_CLIP[0],
    "cispo": 3.0,
    "vespo": 1.0,
    "m2po": 0.04,
    "self_normalised": math.inf,
    "group_target": 1.0,
    "regression": 0.5,
    "dpo": DPO_BETA,
}


def example(spread=0.4):
    """Six rollouts of 1 to 3 tokens in two groups, in no order."""
    generator = torch.Generator().manual_seed(0)
    lengths_R, groups_R = torch.tensor([2, 1, 3, 3, 2, 1]), torch.tensor([0, 1, 0, 1, 0, 1])
    rows_C = torch.repeat_interleave(torch.arange(6), lengths_R)
    advantages_R = torch.tensor([1.2, 0.7, -0.6, 0.7, -0.6, -1.4])
    change_C = spread * torch.randn(12, generator=generator)
    return Reused(advantages_R[rows_C], change_C, rows_C, groups_R)


def by_hand(name, reused, knob):
    """The weight of every token, one at a time, as the tables of the papers have it."""
    rows, change = reused.rows_C.tolist(), reused.change_C.tolist()
    total = [sum(value for value, of in zip(change, rows, strict=True) if of == row) for row in range(6)]
    found = []
    for token, row in enumerate(rows):
        advantage, ratio, whole = reused.weights_C[token].item(), math.exp(change[token]), math.exp(total[row])
        right = advantage > 0
        if name == "none":
            factor = 1
        elif name == "truncated":
            factor = min(whole, knob)
        elif name == "topr":
            factor = 1 if right else min(whole, knob)
        elif name == "topr_token":
            factor = 1 if right else min(ratio, knob)
        elif name == "ppo":
            factor = 0 if (right and ratio > 1 + knob) or (not right and ratio < 1 - knob) else ratio
        elif name == "cispo":
            factor = min(ratio, knob)
        elif name == "vespo":
            k, rate = (2, 3) if right else (3, 2)
            factor = whole**k * math.exp(rate * (1 - whole))
        found.append(factor * advantage)
    return found


@pytest.mark.parametrize("name", ["none", "truncated", "topr", "topr_token", "ppo", "cispo", "vespo"])
def test_a_token_at_a_time_by_hand(name):
    reused = example()
    expected = by_hand(name, reused, KNOBS[name])
    assert CORRECTIONS[name](reused, KNOBS[name]).tolist() == pytest.approx(expected, rel=1e-5)
    assert name == "none" or expected != pytest.approx(reused.weights_C.tolist(), rel=1e-2)


@pytest.mark.parametrize(("name", "spread"), [("dpo", 1.0), ("gspo", 2e-3)])
def test_it_is_the_derivative_of_the_objective_wherever_the_policy_has_moved(name, spread):
    """The weights at θ0 times the correction, against the objective differentiated at the moved log-probs."""
    generator = torch.Generator().manual_seed(0)
    rewards_PG = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]])
    lengths_R = torch.randint(1, 4, (12,), generator=generator)
    batch = Batch(rewards_PG, lengths_R, 3)
    old_C, change_C = torch.randn(2, int(lengths_R.sum()), generator=generator, dtype=torch.float64)
    change_C *= spread
    expected_C = token_weights(name, old_C + change_C, old_C, batch).float()
    start_C = batch.spread(rollout_weights(name, batch))
    reused = Reused(start_C.double(), change_C, batch.rows_C, torch.arange(3).repeat_interleave(4))
    found_C = CORRECTIONS[name](reused, KNOBS[name]).float()
    assert torch.allclose(found_C, expected_C, atol=1e-6)
    assert not torch.allclose(found_C, start_C, rtol=1e-2)


def value_of(name, reused, change_C):
    """What the correction is the derivative of, as a function of the log-ratios; summed over groups' means, times G."""
    moved = Reused(reused.weights_C, change_C, reused.rows_C, reused.groups_R)
    logs_R, advantages_R = moved.log_ratios_R, reused.advantages_R
    value = 0.0
    for group in (0, 1):
        logs, gains = logs_R[reused.groups_R == group], advantages_R[reused.groups_R == group]
        if name == "self_normalised":
            value = value + 3 * (logs.softmax(0) * gains).sum()
        elif name == "group_target":
            wanted = gains.clamp(max=gains.min().item() + corrections.WIDEST_TARGET).softmax(0)
            leaked = logs.exp().mean().log()
            value = value + 3 * ((wanted * logs.log_softmax(0)).sum() - corrections.ANCHOR * leaked.square())
        elif name == "regression":
            value = value - ((gains - 0.5 * logs) ** 2).sum() / (2 * 0.5)
        elif name == "ppo":
            ratios, advantages = change_C.exp(), reused.weights_C
            return torch.minimum(ratios * advantages, ratios.clamp(0.8, 1.2) * advantages).sum()
    return value


@pytest.mark.parametrize("name", ["self_normalised", "group_target", "regression", "ppo"])
def test_it_is_the_derivative_of_what_it_raises(name):
    reused = example()
    change_C = reused.change_C.clone().requires_grad_()
    (expected,) = torch.autograd.grad(value_of(name, reused, change_C), change_C)
    assert torch.allclose(CORRECTIONS[name](reused, KNOBS[name]), expected, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(CORRECTIONS) - {"group_target"}))
def test_nothing_is_corrected_at_the_policy_that_drew(name):
    """Advantages of a group add up to nothing, so those of a self-normalised value are these."""
    reused = example(spread=0.0)
    assert torch.allclose(CORRECTIONS[name](reused, KNOBS[name]), reused.weights_C, atol=1e-6)


def test_m2po_drops_the_largest_harmful_ratios_and_no_more():
    reused = example()
    kept = CORRECTIONS["m2po"](reused, 0.04) != 0
    harmful = reused.weights_C * reused.change_C > 0
    squares = reused.change_C**2
    assert 0 < (~kept).sum() < harmful.sum()
    assert (harmful | kept).all()
    assert squares[harmful & kept].mean() <= 0.04 < squares[harmful].mean()
    assert squares[harmful & kept].max() < squares[~kept].min()
    back = squares[~kept].min()
    assert torch.cat((squares[harmful & kept], back[None])).mean() > 0.04
    assert torch.allclose(CORRECTIONS["m2po"](reused, 10.0), reused.weights_C * reused.change_C.exp())


def test_vespo_is_trl_s():
    reused = example()
    lengths = torch.bincount(reused.rows_C).tolist()
    log_ratio, mask = (
        torch.nn.utils.rnn.pad_sequence(part.split(lengths), batch_first=True)
        for part in (reused.change_C, torch.ones(12))
    )
    phi = GRPOTrainer.get_gamma_weights(
        advantages=reused.advantages_R[:, None],
        log_ratio_per_token=log_ratio,
        mask=mask,
        importance_sampling_ratio=None,
    )
    expected = (phi * reused.advantages_R[:, None])[:, 0][reused.rows_C]
    assert torch.allclose(CORRECTIONS["vespo"](reused, 1.0), expected, atol=1e-5)


def test_a_cut_group_is_refused_where_it_matters():
    reused = example()
    cut = Reused(reused.weights_C, reused.change_C, reused.rows_C, reused.groups_R, whole=False)
    for name in ("self_normalised", "group_target"):
        with pytest.raises(ValueError, match="a correction of whole groups"):
            CORRECTIONS[name](cut, KNOBS[name])
    assert torch.equal(CORRECTIONS["truncated"](cut, 2.0), CORRECTIONS["truncated"](reused, 2.0))


def test_an_unknown_correction_is_refused():
    with pytest.raises(ValueError, match="unknown correction 'trust': expected one of none, truncated"):
        get_correction("trust", 1.0)


BASE_ODDS = torch.tensor([0.1, 0.2, 0.3, 0.4])


def climbed(name, knob, steps=2000, rate=0.5):
    """Ascent on 20 reused answers to one question, drawn in exact proportion; answer 0 is right. Probabilities [4]."""
    answers_R = torch.repeat_interleave(torch.arange(4), (20 * BASE_ODDS).long())
    rewards_R = (answers_R == 0).float()
    advantages_R = (rewards_R - rewards_R.mean()) / rewards_R.std()
    logits_V = BASE_ODDS.log()
    for _ in range(steps):
        logs_V = logits_V.log_softmax(0)
        change_R = (logs_V - BASE_ODDS.log())[answers_R]
        groups_R = torch.zeros(20, dtype=torch.long)
        weights_R = CORRECTIONS[name](Reused(advantages_R, change_R, torch.arange(20), groups_R), knob) / 20
        pushed_V = torch.zeros(4).index_add(0, answers_R, weights_R)
        logits_V = logits_V + rate * (pushed_V - weights_R.sum() * logs_V.exp())
    return logits_V.softmax(0)


@pytest.mark.parametrize("name", ["none", "truncated", "topr", "topr_token", "cispo", "self_normalised"])
def test_on_a_bandit_the_right_answer_becomes_sure(name):
    assert climbed(name, math.inf if name == "truncated" else KNOBS[name])[0] > 0.97


def test_on_a_bandit_the_others_stop_where_they_say():
    """PPO where wrong answers have lost a fifth; the target at a gap of (u_i - u_j)/η nats; none at certainty."""
    assert climbed("ppo", 0.2)[0].item() == pytest.approx(1 - 0.8 * 0.9, abs=0.02)
    assert 0.3 < climbed("ppo", 0.5)[0] < 0.7
    target = climbed("group_target", 1.5).log() - BASE_ODDS.log()
    rewards = torch.tensor([1.0] * 2 + [0.0] * 18)
    gap = 1 / rewards.std().item() / 1.5
    assert target[0].item() - target[1].item() == pytest.approx(gap, abs=0.02)
    assert target[1].item() == pytest.approx(target[3].item(), abs=1e-3)
    for name in ("vespo", "m2po", "regression"):
        assert 0.2 < climbed(name, KNOBS[name])[0] < 1
