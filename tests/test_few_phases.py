"""A few sampling phases: GRPO and one batch are its two ends, and every gradient is charged."""

from dataclasses import replace

import pytest
import torch
from small_policy import lab_of
from test_grpo import pay_for_an_even_first_token

from oneshot.baselines import few_phases, reuse, small_steps
from oneshot.baselines.lab import next_problems
from oneshot.baselines.passes import minibatches
from oneshot.policies.models import fingerprint

SETTINGS = few_phases.Settings(1e-3, phases=3, prompts_per_phase=4, groups_per_step=4)


@pytest.fixture(autouse=True)
def paid(monkeypatch):
    pay_for_an_even_first_token(monkeypatch)


@pytest.mark.parametrize("decay", [False, True])
def test_one_step_a_phase_is_grpo_bit_for_bit(policy, problems, decay):
    lab = lab_of(policy, problems)
    list(few_phases.run(lab, replace(SETTINGS, decay=decay)))
    found, spent = fingerprint(policy.model), lab.ledger.spent()
    lab.restore()
    lab = lab_of(policy, problems)
    list(small_steps.run(lab, small_steps.Settings(1e-3, prompts_per_step=4, steps=3, decay=decay)))
    assert fingerprint(policy.model) == found
    assert lab.ledger.spent() == spent


@pytest.mark.parametrize("decay", [False, True])
def test_one_phase_is_one_batch_to_its_end(policy, problems, decay):
    """The first minibatch of a phase is on-policy, and is not corrected: to rounding its ratios are 1."""
    settings = replace(SETTINGS, phases=1, prompts_per_phase=12, passes=2, decay=decay)
    lab = lab_of(policy, problems)
    batch = lab.draw(next_problems(problems, 1, 12), 1)
    (step,) = few_phases.run(lab, settings)
    found = {name: weight.detach().clone() for name, weight in policy.model.named_parameters()}
    assert step.record["largest_ratio"] > 1.01
    assert step.record["sampler_gap_max_nats"] < 1e-4
    lab.restore()
    whole = reuse.Settings(1e-3, groups_per_step=4, passes=2, decay=decay, looks=(1.0,))
    list(reuse.run(lab_of(policy, problems, batch=batch), whole))
    for name, weight in policy.model.named_parameters():
        assert torch.allclose(weight, found[name], atol=1e-5), name


def test_a_phase_may_have_larger_groups(policy, problems):
    lab = lab_of(policy, problems)
    assert lab.sampling.group_size == 4
    list(few_phases.run(lab, replace(SETTINGS, phases=1, group_size=6)))
    assert lab.ledger.spent()["rollouts"] == 4 * 6


def test_every_pass_is_charged(policy, problems):
    lab = lab_of(policy, problems)
    steps = list(few_phases.run(lab, replace(SETTINGS, phases=2, groups_per_step=2, passes=3, checkpoints=(1,))))
    assert [(step.point, step.measured, step.chosen) for step in steps] == [(1, True, False), (2, True, True)]
    spent = lab.ledger.spent()
    assert (spent["rollouts"], spent["sampling_phases"], spent["gradient_steps"]) == (2 * 16, 2, 2 * 2 * 3)
    flops = []
    for passes in (1, 3):
        lab.restore()
        lab = lab_of(policy, problems)
        list(few_phases.run(lab, replace(SETTINGS, phases=1, groups_per_step=2, passes=passes)))
        flops.append(lab.ledger.flops)
    assert flops[1] / flops[0] == pytest.approx((2 + 3 * 6) / (2 + 6))


def test_more_passes_learn_more_of_as_many_rollouts(policy, problems):
    found = []
    for passes in (1, 6):
        lab = lab_of(policy, problems)
        list(few_phases.run(lab, replace(SETTINGS, phases=4, learning_rate=1e-2, passes=passes)))
        found.append(lab.draw(problems, 99).reward.mean())
        lab.restore()
    assert found[1] > found[0] + 0.1


def test_a_minibatch_larger_than_the_batch_is_refused(rollouts):
    with pytest.raises(ValueError, match="groups_per_step: 13 are more than the 12 groups of the batch"):
        next(minibatches(rollouts, 13, 1))
