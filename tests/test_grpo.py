"""Small steps reuse the same parts: one of them, without Adam, is the one-shot gradient."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from small_policy import TINY, differentiate, lab_of
from torch.optim import SGD, AdamW

from oneshot.baselines import small_steps
from oneshot.baselines.lab import next_problems
from oneshot.baselines.small_steps import Settings
from oneshot.gradients.agreement import OffPolicy
from oneshot.gradients.weights import weigh
from oneshot.measures.tuning import tuned, tuned_in_turn
from oneshot.policies.models import build_policy, fingerprint
from oneshot.steps.master_weights import MasterWeights

SETTINGS = Settings(learning_rate=1e-2, prompts_per_step=3, steps=30)
BRISK = Settings(learning_rate=3e-2, prompts_per_step=12, steps=30)


def masters_of(policy, kind=SGD, **options):
    return MasterWeights(policy.model, partial(kind, **options))


def test_one_plain_step_is_the_one_shot_step(policy, rollouts, weights):
    g = differentiate(policy, rollouts, weights, temperature=0.9).mean()
    before = {name: parameter.clone() for name, parameter in policy.model.named_parameters()}
    lab_of(policy).climb(masters_of(policy, lr=0.1), weigh(rollouts))
    for name, parameter in policy.model.named_parameters():
        assert torch.allclose(parameter, before[name] + 0.1 * g[name], atol=1e-6)


def test_a_batch_without_information_moves_nothing(policy, rollouts):
    before = fingerprint(policy.model)
    lab_of(policy).climb(masters_of(policy, AdamW, lr=0.1, weight_decay=0.0), weigh(rollouts[:8]))
    assert fingerprint(policy.model) == before


def test_small_steps_of_a_bf16_policy_add_up(policy):
    """Two hundred steps of 1e-5 along one gradient: none is seen in BF16 by itself, their sum is."""
    policy.model.bfloat16()
    start = {name: weight.detach().float() for name, weight in policy.model.named_parameters()}
    masters = masters_of(policy, AdamW, lr=1e-5, weight_decay=0.0)
    assert all(master.dtype == torch.float32 for master in masters.masters.values())
    signs = {name: torch.randn(weight.shape).sign() for name, weight in start.items()}
    for _ in range(200):
        masters.descend({name: sign.clone() for name, sign in signs.items()})
    for name, weight in policy.model.named_parameters():
        assert weight.dtype == torch.bfloat16
        expected = (start[name] - 2e-3 * signs[name]).to(torch.bfloat16)
        assert torch.allclose(weight, expected, atol=1e-4, rtol=2**-8)


def test_fp32_weights_are_their_own_masters(policy):
    masters = masters_of(policy, lr=1.0)
    assert all(masters.masters[name] is weight for name, weight in policy.model.named_parameters())


def pay_for_an_even_first_token(monkeypatch):
    from oneshot.sampling import score

    def paid(*arguments):
        table = score(*arguments)
        return table.assign(reward=table.tokens.map(lambda tokens: np.float32(tokens[0] % 2 == 0)))

    monkeypatch.setattr("oneshot.sampling.score", paid)


@pytest.mark.parametrize("objective", ["policy_gradient", "grpo", "dapo", "reinforce_pp", "gspo"])
def test_it_learns_what_is_rewarded(policy, problems, monkeypatch, objective):
    """Reward what half of the answers do: after 30 steps nearly all do it. With the sign flipped none would."""
    pay_for_an_even_first_token(monkeypatch)
    lab = lab_of(policy, problems)
    steps = pd.DataFrame([step.record for step in small_steps.run(lab, replace(BRISK, objective=objective))])
    assert steps.accuracy.tail(5).mean() > steps.accuracy.head(5).mean() + 0.3


@pytest.mark.parametrize(("decay", "shares"), [(False, (1, 1, 1)), (True, (1, 2 / 3, 1 / 3))])
def test_sgd_steps_along_the_gradient_and_a_rate_may_decay(policy, problems, monkeypatch, decay, shares):
    pay_for_an_even_first_token(monkeypatch)
    lab = lab_of(policy, problems)
    run = small_steps.run(lab, replace(SETTINGS, steps=3, optimizer="sgd", learning_rate=0.1, decay=decay))
    for number, share in enumerate(shares, start=1):
        weighted = weigh(lab.draw(next_problems(problems, number, 3), number))
        g = differentiate(policy, weighted, weighted.weight.to_numpy(), temperature=0.9).mean()
        before = {name: parameter.detach().clone() for name, parameter in policy.model.named_parameters()}
        next(run)
        assert any(values.any() for values in g.values())
        for name, parameter in policy.model.named_parameters():
            assert torch.allclose(parameter, before[name] + 0.1 * share * g[name], atol=1e-6), name


def test_what_is_spent_is_counted_where_it_is_spent(policy, problems):
    lab = lab_of(policy, problems)
    steps = list(small_steps.run(lab, replace(SETTINGS, steps=3, checkpoints=(2,))))
    assert [(step.point, step.measured, step.chosen) for step in steps] == [
        (1, False, False),
        (2, True, False),
        (3, True, True),
    ]
    spent = lab.ledger.spent()
    assert (spent["rollouts"], spent["sampling_phases"], spent["gradient_steps"]) == (3 * 12, 3, 3)
    drawn = [lab.draw(next_problems(problems, 1, 3), step) for step in (1, 2)]
    fed = sum(table.tokens.map(len).sum() + table.prompt_tokens.map(len).sum() for table in drawn)
    assert lab.ledger.flops - spent["flops"] == pytest.approx(8 * policy.num_parameters * fed)
    assert lab.ledger.seconds > 0


def test_the_budget_sets_the_length():
    """50,000 rollouts and 10 evaluations of 512 × 4 make 70,480: 1,410 steps of 50 cost no less."""
    settings = Settings(learning_rate=1.0, prompts_per_step=5, steps=1000)
    assert small_steps.num_steps(settings, 10, 70_480) == 1410
    assert small_steps.num_steps(settings, 10, 0) == 1000


def test_runs_are_reproducible_and_restored(problems, monkeypatch):
    pay_for_an_even_first_token(monkeypatch)
    prints = []
    for _ in range(2):
        policy = build_policy(TINY, seed=0)
        lab, before = lab_of(policy, problems), fingerprint(policy.model)
        list(small_steps.run(lab, replace(SETTINGS, steps=3)))
        prints.append(fingerprint(policy.model))
        lab.restore()
        assert fingerprint(policy.model) == before
    assert prints[0] == prints[1] != before


def test_problems_are_met_in_order_and_again():
    assert next_problems(list("abcde"), 1, 2) == ["a", "b"]
    assert next_problems(list("abcde"), 3, 2) == ["e", "a"]


def test_a_gradient_that_is_not_finite_names_the_way_out(policy, rollouts):
    policy.model.lm_head.weight.register_hook(lambda grad: grad * torch.inf)
    with pytest.raises(ValueError, match=r"is not finite: lower the arm's learning_rate"):
        lab_of(policy).climb(masters_of(policy, lr=0.1), weigh(rollouts))


def test_rollouts_of_another_policy_stop_the_run(policy, rollouts):
    before, masters = fingerprint(policy.model), masters_of(policy, lr=0.1)
    foreign = weigh(rollouts.assign(logprobs=rollouts.logprobs.map(lambda values: values - 0.01)))
    with pytest.raises(OffPolicy, match=r"more than max_gap_nats 0\.001"):
        lab_of(policy, max_gap_nats=1e-3).climb(masters, foreign)
    assert fingerprint(policy.model) == before
    assert lab_of(policy).climb(masters, foreign) == pytest.approx((0.01, 0.01), rel=1e-2)


@pytest.mark.parametrize(("peak", "extensions", "expected"), [(3, 2, 3), (100, 2, 90), (100, 0, 10), (0.01, 1, 1 / 3)])
def test_tuning_extends_its_edges(peak, extensions, expected):
    trials = tuned(lambda v: {"accuracy": -abs(np.log(v / peak))}, [1, 10 / 3, 10], max_extensions=extensions)
    winner = trials.value[trials.chosen].item()
    assert winner == pytest.approx(expected, rel=0.2)
    assert trials.value.is_monotonic_increasing


def test_tuning_prefers_the_smaller_of_equals():
    trials = tuned(lambda value: {"accuracy": 0.5}, [1, 3, 9], max_extensions=0)
    assert trials.chosen.tolist() == [True, False, False]


def test_settings_are_tuned_one_after_the_other_at_the_winners_before():
    asked = []

    def trial(settings):
        asked.append((settings["rate"], settings["size"], settings["steps"]))
        return {"accuracy": -abs(settings["rate"] - 3) - abs(settings["size"] - 20)}

    def at_equal_cost(settings, name, value):
        steps = settings["steps"] * settings["size"] // value if name == "size" else settings["steps"]
        return {**settings, name: value, "steps": steps}

    start = {"rate": 1.0, "size": 5, "steps": 100}
    tune = {"rate": [1.0, 3.0, 9.0], "size": [5, 10]}
    table = tuned_in_turn(trial, tune, start, at_equal_cost, max_extensions=1)
    assert asked == [(1.0, 5, 100), (3.0, 5, 100), (9.0, 5, 100), (3.0, 10, 50), (3.0, 20, 25)]
    assert table[table.chosen].set_index("setting").value.to_dict() == {"rate": 3.0, "size": 20}


def test_a_batch_of_another_size_takes_as_many_rollouts():
    start = {"learning_rate": 1.0, "prompts_per_step": 5, "steps": 1000, "checkpoints": [1, 5]}
    larger = small_steps.at_equal_cost(start, "prompts_per_step", 20)
    assert larger == {"learning_rate": 1.0, "prompts_per_step": 20, "steps": 250, "checkpoints": ()}
    assert small_steps.at_equal_cost(start, "learning_rate", 2.0) == {**start, "learning_rate": 2.0}
