"""The organisms of the ladder: what their habits say, worked out by hand from the numbers in their config."""

import random
from collections import Counter
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest

from oneshot.measures.bands import best_constant, forced_openings, refuse_constant_answers
from oneshot.policies.pretrain import build_mixture
from oneshot.tasks import CONTEXTS, get_task, task_class
from oneshot.tasks.arithmetic import parse_terms
from oneshot.tasks.ladder import CAREFUL, parse_numbers
from oneshot.tasks.problem_sets import draw_problems
from oneshot.tasks.task import Problem
from oneshot.verifiers import Status
from oneshot.workflow import experiment

CONFIG = experiment.load("ladder", Path(__file__).parent.parent / "config")
ORGANISMS = [*CONTEXTS, "plan", "ladder"]


def organism(name):
    return get_task(name, **CONFIG["tasks"][name])


def problems(name, count=400):
    return draw_problems(organism(name), (0, 100), count, seed=0)


def reliability(task, way, asked, seed=0):
    rng = random.Random(seed)
    return np.mean([task.verify(problem, task.demonstrate(problem, way, rng)).reward for problem in asked])


@pytest.mark.parametrize("name", ORGANISMS)
def test_lessons_are_right_and_earn_full_credit(name):
    task, rng = organism(name), random.Random(0)
    for problem in problems(name, 200):
        verdict = task.verify(problem, task.lesson(problem, rng))
        assert (verdict.reward, verdict.partial) == (1, 1)
        assert problem.task == name


@pytest.mark.parametrize("name", ORGANISMS)
def test_no_answer_is_right_too_often(name):
    assert best_constant(problems(name))[1] < 0.1
    refuse_constant_answers(problems(name))


@pytest.mark.parametrize("name", ORGANISMS)
def test_completions_begin_with_their_openings(name):
    task, rng = organism(name), random.Random(0)
    for problem in problems(name, 50):
        for way in task.ways:
            assert task.demonstrate(problem, way, rng).startswith(task.opening(way, problem))


@pytest.mark.parametrize("name", CONTEXTS)
def test_rates_are_evenly_spread(name):
    """One context in each of K equal parts of the range, so that about half of them are right less than every other
    time; the order has nothing to do with the hash."""
    task = organism(name)
    rates = [rate for rate, _ in task.habits]
    low, high, number = task.lowest_rate, task.highest_rate, task.num_contexts
    places = np.sort((np.array(rates) - low) / (high - low) * number)
    assert places == pytest.approx(np.arange(number) + 0.5)
    assert 0.4 <= np.mean(np.array(rates) < 0.5) <= 1
    assert number < 16 or rates != sorted(rates)
    assert all(1 <= offset <= 9 for _, offset in task.habits)


@pytest.mark.parametrize("name", ["contexts_1", "contexts_16", "contexts_300"])
def test_a_step_is_right_as_often_as_its_context_says_else_always_equally_wrong(name):
    task, rng = organism(name), random.Random(0)
    for total, term in ((10, 5), (47, -8), (3, 9)):
        rate, offset = task.habits[task.context(total, term)]
        ends = Counter(task._step(total, term, rng) - total - term for _ in range(2000))
        assert set(ends) == {0, offset}
        assert ends[0] / 2000 == pytest.approx(rate, abs=0.04)


def test_every_context_occurs():
    task = organism("contexts_300")
    met = Counter(task.context(total, term) for total in range(46) for term in range(-9, 10) if term)
    assert len(met) > 0.9 * 300
    assert max(met.values()) < 15


@pytest.mark.parametrize("name", CONTEXTS)
def test_the_base_is_right_as_often_as_both_of_its_steps(name):
    """With one context that is p². No slip makes up for another, as offsets are positive."""
    task, asked = organism(name), problems(name, 2000)
    expected = []
    for problem in asked:
        terms = parse_terms(problem.prompt)
        steps = zip(accumulate(terms), terms[1:], strict=False)
        expected.append(np.prod([task.habits[task.context(*step)][0] for step in steps]))
    assert reliability(task, "habit", asked) == pytest.approx(np.mean(expected), abs=0.035)
    assert 0.2 < np.mean(expected) < 0.5
    if task.num_contexts == 1:
        assert set(np.round(expected, 9)) == {round(0.49**2, 9)}


def test_the_most_probable_answer_is_mostly_wrong():
    """Greedy decoding takes every context's likelier value; with one context that is never right."""
    greedy = {}
    for name in CONTEXTS:
        task = organism(name)
        steps = [zip(accumulate(terms), terms[1:], strict=False) for terms in map(_terms, problems(name))]
        right = [all(task.habits[task.context(*step)][0] > 0.5 for step in path) for path in steps]
        greedy[name] = np.mean(right)
    assert greedy["contexts_1"] == 0
    assert max(greedy.values()) < 0.4


def _terms(problem):
    return parse_terms(problem.prompt)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("contexts_4", {"num_contexts": 5}, r"tasks\.contexts_4\.num_contexts: 5 is not the number in the task's name"),
        ("contexts_4", {"lowest_rate": 0.7}, r"tasks\.contexts_4\.highest_rate: 0\.63 is below lowest_rate"),
        ("contexts_4", {"largest": 90}, r"tasks\.contexts_4\.largest: 90 is not between 9 and 81"),
        ("plan", {"about": 1}, r"tasks\.plan\.about: no such setting: Plan has num_terms"),
        ("ladder", {"fall": 2}, r"tasks\.ladder\.fall: 2 is not between 0 and 1"),
    ],
)
def test_a_bad_setting_is_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        get_task(name, **settings)


def test_at_first_a_plan_is_worth_less_than_none_though_its_steps_are_best():
    """V(plan) < V(about) < V(plan, steps), by the shares of the mixture and how often each way is right."""
    task, asked = organism("plan"), problems("plan", 3000)
    ways = CONFIG["mixtures"]["plan"]["tasks"]["plan"]["ways"]
    steps, skip, about = (reliability(task, way, asked) for way in ("steps", "skip", "about"))
    share = {way: ends[0] for way, ends in ways.items()}
    assert all(first == last for first, last in ways.values())
    planned = share["steps"] + share["skip"]
    assert planned == pytest.approx(0.6)
    plan = (share["steps"] * steps + share["skip"] * skip) / planned
    assert plan + 0.05 < about < steps - 0.3
    assert 0.85 < steps < 0.97
    assert skip < 0.1
    assert about == np.mean([int(problem.answer) % 2 == 0 for problem in asked])


def test_a_plan_that_turns_out_right_is_paid_and_no_other():
    task, problem = task_class("plan"), Problem("plan", "47+8-5+9=", "59")
    assert task.verify(problem, "plan:steps:55,50,59;59").reward == 1
    assert task.verify(problem, "about:;59").reward == 1
    wrong = task.verify(problem, "plan:steps:55,51,60;60")
    assert (wrong.status, wrong.partial) == (Status.WRONG, pytest.approx(1 / 3))
    assert task.verify(problem, "plan:steps:55,50,59").status is Status.UNPARSABLE
    assert forced_openings("plan") == ["steps", "skip", "about", "plan"]
    assert task.opening("plan", problem) == "plan:"


@pytest.mark.parametrize(
    ("name", "prompt", "completion", "reward", "credit"),
    [
        ("contexts_4", "47+8-5=", "55;50", 1, 1),
        ("contexts_4", "47+8-5=", "56;50", 1, 0),
        ("contexts_4", "47+8-5=", "55;51", 0, 0.5),
        ("contexts_4", "47+8-5=", "50", 0, 0),
        ("contexts_4", "47+8-5=", "55;50;50", 0, 0),
        ("ladder", "47a8b5=", "steps2:A55B60;60", 1, 1),
        ("ladder", "47a8b5=", "steps2:A55B61;61", 0, 0.5),
        ("ladder", "47a8b5=", "steps4:A55B60;60", 1, 1),
        ("ladder", "47a8b5=", "maybe:;47", 0, 0),
        ("ladder", "47a8b5=", "steps2:A55B60", 0, 1),
    ],
)
def test_only_right_sums_are_paid(name, prompt, completion, reward, credit):
    answer = {"contexts_4": "50", "ladder": "60"}[name]
    verdict = task_class(name).verify(Problem(name, prompt, answer), completion)
    assert (verdict.reward, verdict.partial) == (reward, credit)


def test_the_careful_way_gets_rarer_rung_by_rung():
    """From a half to less than one in ten thousand; the other way is never right, so that is all the base gets."""
    task = organism("ladder")
    (ingredient,) = build_mixture({"ladder": task}, {"ladder": CONFIG["mixtures"]["ladder"]["tasks"]["ladder"]})
    by_length = {len(parse_numbers(problem.prompt)): problem for problem in problems("ladder")}
    easiest, hardest = ingredient.ways["careful"]
    shares = {}
    for length, problem in sorted(by_length.items()):
        hard = task.difficulty(problem)
        shares[length] = easiest * (1 - hard) + hardest * hard
    assert list(shares) == list(range(2, 9))
    assert shares[2] == 0.5
    assert shares[8] < 1e-4
    assert all(after / before == pytest.approx(task.fall) for before, after in pairwise(shares.values()))
    assert reliability(task, "careful", problems("ladder")) == 1
    assert reliability(task, "hasty", problems("ladder")) == 0


def test_two_lengths_share_an_opening():
    openings = list(CAREFUL.values())
    assert openings == ["steps2:"] * 2 + ["steps4:"] * 2 + ["steps6:"] * 2 + ["steps8:"]
    problem = Problem("ladder", "47a8b5c9=", "69")
    assert task_class("ladder").opening("careful", problem) == "steps4:"


def test_a_task_that_one_answer_solves_is_refused_by_name():
    letters = [Problem("letters", f"{number}", "1" if number < 3 else str(number)) for number in range(10)]
    sums = [Problem("sums", f"{number}", str(number)) for number in range(100)]
    with pytest.raises(ValueError, match=r"task 'letters' is refused: always answering '1' is right on 30\.0%"):
        refuse_constant_answers(sums + letters)
    refuse_constant_answers(sums + letters[:0] + letters[2:])


def test_the_ladder_never_shows_a_problem_twice():
    for task, splits in CONFIG["splits"].items():
        assert splits["train"]["problems"] >= 5 * -(-70_480 // 50), task
