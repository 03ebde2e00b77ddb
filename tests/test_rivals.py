"""Rivals that go on from where GRPO has been, or never take a gradient: against closed forms and planted cases."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small_policy import lab_of, random_direction
from test_grpo import pay_for_an_even_first_token

from oneshot.baselines import (
    beyond,
    evolution,
    extrapolation,
    large_steps,
    perturbations,
    rank_one,
    slow_fast,
    small_steps,
    thickets,
)
from oneshot.baselines.lab import Step
from oneshot.baselines.together import ensemble_accuracy, together
from oneshot.engines.extrapolating import ExtrapolatingEngine
from oneshot.engines.torch import TorchEngine
from oneshot.gradients.one_pass import accumulate_gradient
from oneshot.gradients.weights import weigh
from oneshot.measures.evaluate import Examination
from oneshot.measures.voting import majority, power_accuracy
from oneshot.policies.models import fingerprint
from oneshot.sampling import Sampling
from oneshot.steps.line_search import move, moved
from oneshot.steps.master_weights import MasterWeights
from oneshot.tasks.task import Problem
from oneshot.vectors import cosine, inner

JUMPING = extrapolation.Settings(3e-2, prompts_per_step=4, steps=3, jump=2, cycles=1)
BEYOND = beyond.Settings(3e-2, prompts_per_step=4, steps=3, factors=(2.5,))
FORECASTING = rank_one.Settings(3e-2, prompts_per_step=4, steps=4, target=12)
REPOSITIONED = slow_fast.Settings(1e-2, prompts_per_step=4, steps=3)
GUESSING = thickets.Settings(perturbations=12, problems=8, kept=3, sigma=0.01, factors=(1.0, 10.0))
SEARCH = {"target_kl_nats": 0.2, "multiples": (0.5, 1.0, 2.0), "evaluations": 4, "shares": (0.5, 1.0)}
EVOLVING = evolution.Settings(**SEARCH, perturbations=12, problems=8, sigma=0.1, probe_prompts=4)
LARGE = large_steps.Settings(**SEARCH, steps=1, prompts_per_step=12)


@pytest.fixture
def lab(policy, problems, monkeypatch):
    pay_for_an_even_first_token(monkeypatch)
    return lab_of(policy, problems)


def weights_of(policy):
    return {name: weight.detach().clone() for name, weight in policy.model.named_parameters()}


def difference(a, b):
    return {name: a[name] - b[name] for name in a}


def test_the_jump_goes_on_along_the_cycle_and_leaves_norms(lab, policy):
    start = weights_of(policy)
    list(extrapolation.run(lab, replace(JUMPING, jump=0)))
    end = weights_of(policy)
    lab.restore()
    list(extrapolation.run(lab, JUMPING))
    for name, weight in weights_of(policy).items():
        expected = end[name] if "norm" in name else start[name] + (5 / 3) * (end[name] - start[name])
        assert torch.allclose(weight, expected, atol=1e-6), name


def test_without_a_jump_a_cycle_is_grpo_bit_for_bit(lab, policy):
    list(extrapolation.run(lab, replace(JUMPING, jump=0)))
    found = fingerprint(policy.model)
    lab.restore()
    list(small_steps.run(lab, small_steps.Settings(3e-2, prompts_per_step=4, steps=3)))
    assert fingerprint(policy.model) == found


@pytest.mark.parametrize("factor", [0.0, 1.0, 2.5])
def test_logits_go_beyond_in_lock_step(lab, policy, problems, factor):
    """At 0 the base answers, at 1 the policy, and beyond each log-prob is that of the extrapolated logits."""
    *_, last = beyond.run(lab, replace(BEYOND, factors=(factor,)))
    exam, torch_engine = lab.validation, {"name": "torch", "num_slots": 7, "products": "float32", "processes": 2}
    found = dict(together(last, exam, policy, lab.base, torch_engine))
    single = {0.0: lab.base, 1.0: policy}.get(factor)
    if single:
        sampled, greedy = exam.draw_both(TorchEngine(single, num_slots=7))
        assert list(found.values()) == [sampled.reward.mean(), greedy.reward.mean()]
        return
    assert list(found) == ["accuracy_at_2.5", "greedy_accuracy_at_2.5"]
    drawn = exam.draw(ExtrapolatingEngine(policy, lab.base, factor)).iloc[0]
    ids = torch.tensor([[*drawn.prompt_tokens, *drawn.tokens]])
    own, origin = (each.model(ids).logits[0, len(drawn.prompt_tokens) - 1 : -1] for each in (policy, lab.base))
    logs = ((origin + factor * (own - origin)) / exam.sampling.temperature).log_softmax(-1)
    expected = logs.gather(1, torch.tensor(drawn.tokens)[:, None])[:, 0]
    assert torch.allclose(torch.tensor(drawn.logprobs), expected, atol=1e-4)


def test_another_engine_says_that_it_cannot_decode_two(lab, policy):
    with pytest.raises(ValueError, match="only the engine 'torch' decodes two models in lock-step, not 'vllm'"):
        list(together(Step(1, {}, factors=(2.0,)), lab.validation, policy, lab.base, {"name": "vllm"}))


def test_cycles_spend_the_budget_and_a_new_one_starts_where_the_last_has_jumped_to(lab, policy):
    """16 rollouts a step, 48 a cycle: two cycles come nearest to 100. Without its first cycle the second is another."""
    lab.budget = 100
    steps = list(extrapolation.run(lab, JUMPING))
    assert [step.point for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step.measured for step in steps] == 5 * [False] + [True]
    spent = lab.ledger.spent()
    assert (spent["rollouts"], spent["gradient_steps"]) == (96, 6)
    assert extrapolation.num_cycles(replace(JUMPING, cycles=7), 4, 100) == 7
    assert extrapolation.num_cycles(replace(JUMPING, to_budget=False), 4, 100) == 1
    assert extrapolation.num_cycles(JUMPING, 4, 0) == 1


def test_a_straight_path_is_forecast_exactly(policy):
    direction = random_direction(policy)
    moves = {step: {name: 0.1 * step * values for name, values in direction.items()} for step in (1, 2, 4)}
    ahead = rank_one.forecast(moves, 40)
    for name, values in direction.items():
        assert torch.allclose(ahead[name], 4 * values, rtol=1e-4, atol=1e-4), name


def test_a_forecast_is_that_of_the_first_singular_pair():
    """By numpy's SVD, of a noisy path whose line does not go through 0; a tensor that never moved stays."""
    generator = np.random.default_rng(0)
    steps, v = [2, 3, 5, 9], generator.normal(size=30)
    path = np.outer([1.0, 1.4, 2.1, 3.9], v) + 0.1 * generator.normal(size=(4, 30))
    u, s, vt = np.linalg.svd(path, full_matrices=False)
    expected = np.polyval(np.polyfit(steps, s[0] * u[:, 0], 1), 20) * vt[0]
    moves = {
        step: {"w": torch.tensor(row).view(5, 6), "still": torch.zeros(3)}
        for step, row in zip(steps, path, strict=True)
    }
    found = rank_one.forecast(moves, 20)
    assert found["w"].flatten().numpy() == pytest.approx(expected, rel=1e-4)
    assert not found["still"].any()


def test_a_forecast_ends_the_last_step(lab, policy):
    start = weights_of(policy)
    list(small_steps.run(lab, small_steps.Settings(3e-2, prompts_per_step=4, steps=4)))
    walked = difference(weights_of(policy), start)
    lab.restore()
    *_, last = rank_one.run(lab, FORECASTING)
    assert (last.point, last.measured, last.chosen) == (4, True, True)
    jumped = difference(weights_of(policy), start)
    assert cosine(jumped, walked) > 0.7
    assert inner(jumped, walked) > 1.5 * inner(walked, walked)


def test_fast_steps_are_partly_undone(lab, policy, monkeypatch):
    """What is put back is slow + s (fast - slow), for every batch, and every gradient is charged."""
    seen, put = [], MasterWeights.put

    def watched(masters, values):
        seen.append((slow[-1], masters.copy(), values))
        put(masters, values)

    slow = []
    monkeypatch.setattr(MasterWeights, "put", watched)
    monkeypatch.setattr(slow_fast, "num_steps", lambda *_: slow.append(weights_of(policy)) or 1)
    list(slow_fast.run(lab, REPOSITIONED))
    ((start, fast, values),) = seen
    for name in start:
        assert torch.allclose(values[name], start[name] + 0.8 * (fast[name] - start[name]), atol=1e-7), name
    assert max((fast[name] - start[name]).abs().max() for name in start) > 0.01
    spent = lab.ledger.spent()
    assert (spent["rollouts"], spent["sampling_phases"], spent["gradient_steps"]) == (16, 1, 4)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (extrapolation, replace(JUMPING, cycles=3)),
        (rank_one, rank_one.Settings(1e-2, prompts_per_step=12, steps=12, target=24)),
        (slow_fast, replace(REPOSITIONED, steps=10)),
    ],
)
def test_they_learn_what_is_rewarded(lab, problems, method, settings):
    before = lab.draw(problems, 98).reward.mean()
    list(method.run(lab, settings))
    assert lab.draw(problems, 99).reward.mean() > before + 0.2


def test_noise_is_standard_independent_and_repeatable(policy):
    one, again, other = (perturbations.noise(policy, seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert abs(cosine(one, other)) < 5 / math.sqrt(policy.num_parameters)
    everything = torch.cat([values.flatten() for values in one.values()])
    assert (everything.mean().item(), everything.std().item()) == pytest.approx((0, 1), abs=0.05)
    first, second = (f"model.layers.{layer}.mlp.up_proj.weight" for layer in (0, 1))
    equal = perturbations.noise(policy, 1, equal=True)
    assert torch.equal(equal[first], equal[second])
    assert not torch.equal(one[first], one[second])


def test_perturbations_are_scored_from_the_base_and_charged_as_one_round(lab, policy, problems):
    before = fingerprint(policy.model)
    found = perturbations.scores(lab, problems[:8], [3, 4, 3], [0.1, 0.1, 0.1])
    assert fingerprint(policy.model) == before
    assert found[0] == found[2]
    with moved(policy.model, perturbations.noise(policy, 4), 0.1):
        assert found[1] == lab.answer(problems[:8]).reward.mean()
    assert (lab.ledger.rollouts, lab.ledger.search_rounds) == (4 * 8, 2)


def test_the_best_guess_stands_for_the_arm_and_the_kept_ones_vote(lab, policy, problems):
    start = weights_of(policy)
    *guesses, last = thickets.run(lab, GUESSING)
    assert len(guesses) == len(last.voters) == 3
    assert [step.record["accuracy"] for step in guesses] == sorted(
        (step.record["accuracy"] for step in guesses), reverse=True
    )
    best = max(guesses, key=lambda step: (step.record["validated"], -step.point))
    assert (last.point, last.measured, last.chosen) == (best.point, True, True)
    for name, values in last.voters[int(best.point) - 1]().items():
        assert torch.allclose(weights_of(policy)[name], start[name] + values, atol=1e-6), name
    spent = lab.ledger.spent()
    assert (spent["rollouts"], spent["search_rounds"]) == (12 * 8 + 3 * 12, 2)
    lab.restore()
    exam = Examination(problems, "test", "test", Sampling(0.9, 6))
    alone = [ensemble_accuracy(exam, lab.engine, [voter]) for voter in last.voters]
    together = ensemble_accuracy(exam, lab.engine, last.voters)
    assert fingerprint(policy.model) == fingerprint(lab.base.model)
    assert max(alone) > 0
    assert 0 <= together <= 1


@pytest.mark.parametrize(
    ("said", "right", "expected"),
    [
        (["x;7", "7;7", ";8"], [1, 1, 0], True),  # the answer counts, not the work before it
        (["1;8", "2;8", ";7"], [0, 0, 1], False),
        ([";8", ";7"], [0, 1], False),  # a tie goes to the first
        (["8;", ";", ";7"], [0, 0, 1], True),  # nothing said is no vote
        (["8;", ";"], [0, 0], False),
    ],
)
def test_most_votes_win(said, right, expected):
    problem = Problem("arithmetic", "1+2+3+1=", "7")
    table = pd.DataFrame({"problem_id": problem.id, "text": said, "reward": np.float32(right)})
    assert majority(table, [problem]).tolist() == [expected]


def test_a_power_of_the_policy_counts_answers_by_their_probability():
    """p is 0.6 right, 0.3 and 0.1 wrong: p² has 0.36 of 0.46 right. Drawn in these shares, exactly."""
    said = [("right", 1.0, 0.6)] * 6 + [("a", 0.0, 0.3)] * 3 + [("b", 0.0, 0.1)]
    rows = [{"reward": reward, "logprobs": np.log([p**0.5, p**0.5])} for _, reward, p in said]
    table = pd.concat([pd.DataFrame(rows).assign(problem_id=1), pd.DataFrame(rows[6:]).assign(problem_id=2)])
    table = table.reset_index(drop=True)
    assert power_accuracy(table, 2) == pytest.approx((0.36 / 0.46 + 0) / 2)
    assert power_accuracy(table, 1) == pytest.approx((0.6 + 0) / 2)


def test_evolution_climbs_the_slope_that_its_scores_have(lab, policy, monkeypatch):
    """Scores that are linear in the noise: the step is then along their slope, as far as N of D dimensions can tell."""
    slope, number = random_direction(policy, seed=7000), 200
    monkeypatch.setattr(
        evolution, "scores", lambda lab, _, seeds, __: [inner(perturbations.noise(policy, s), slope) for s in seeds]
    )
    start = weights_of(policy)
    monkeypatch.setattr(evolution, "winner", lambda _: 1.0)
    list(evolution.run(lab, replace(EVOLVING, perturbations=number)))
    expected = math.sqrt(number / (number + policy.num_parameters))
    assert cosine(difference(weights_of(policy), start), slope) == pytest.approx(expected, rel=0.2)


def test_one_large_step_is_the_one_shot_step(lab, policy, problems, monkeypatch):
    """Along the gradient of its batch, to the best of the multiples that were tried; every part of it is charged."""
    start = weights_of(policy)
    drawn = lab.draw(problems, 1)
    g = accumulate_gradient(policy, weigh(drawn), temperature=0.9).mean()
    lab = lab_of(policy, problems)
    (last,) = large_steps.run(lab, LARGE)
    step = difference(weights_of(policy), start)
    taken = last.record["multiple"] * last.record["alpha_base"]
    for name, values in g.items():
        assert torch.allclose(step[name], taken * values, atol=1e-5), name
    spent = lab.ledger.spent()
    assert (spent["sampling_phases"], spent["gradient_steps"], spent["batch_rollouts"]) == (1, 1, 48)
    assert spent["rollouts"] > 48 + 4 * 4 * 6


def test_a_large_step_starts_where_the_last_one_ended(lab, policy, problems, monkeypatch):
    """Two steps of α_base each, against the same by hand: the second batch and gradient are the moved policy's."""
    monkeypatch.setattr(large_steps, "winner", lambda _: 1.0)
    start = weights_of(policy)
    steps = list(large_steps.run(lab, replace(LARGE, steps=2)))
    found = weights_of(policy)
    assert [step.measured for step in steps] == [False, True]
    lab.restore()
    for number, step in enumerate(steps, start=1):
        drawn = lab.draw(problems, number)
        g = accumulate_gradient(policy, weigh(drawn), temperature=0.9).mean()
        move(policy.model, g, step.record["alpha_base"])
    for name, weight in weights_of(policy).items():
        assert torch.allclose(weight, found[name], atol=1e-5), name
        assert not torch.equal(weight, start[name]), name


def test_evolution_searches_along_its_step_and_charges_everything(lab, policy):
    *landscape, last = evolution.run(lab, EVOLVING)
    assert [step.point for step in landscape][:2] == [0.0, 0.5]
    tried = Counter(step.record["problems"] for step in landscape)
    assert set(tried) == {6, 12}
    assert last.chosen
    finals = {step.point: step.record["accuracy"] for step in landscape if step.record["problems"] == 12}
    assert finals[last.point] == max(finals.values())
    drawn = 12 * 8 + 4 * 4 + sum(4 * step.record["problems"] for step in landscape)
    assert lab.ledger.rollouts == drawn
