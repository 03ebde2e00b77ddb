"""Tasks for pretrained models: bare answers, and families of reasoning-gym."""

import random

import pytest

from oneshot.tasks import GYM_FAMILIES, get_task, task_class
from oneshot.tasks.problem_sets import draw_in_turn, draw_problems
from oneshot.tasks.task import Problem
from oneshot.verifiers import Status

pytest.importorskip("reasoning_gym")


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        ("17\n", Status.CORRECT),
        (" 17 ", Status.CORRECT),
        ("017", Status.WRONG),
        ("17.", Status.WRONG),
        ("71", Status.WRONG),
        ("", Status.UNPARSABLE),
        ("\n", Status.UNPARSABLE),
        ("17 17", Status.UNPARSABLE),
        ("it is 17", Status.UNPARSABLE),
        ("1 2 3 16 17", Status.UNPARSABLE),
    ],
)
@pytest.mark.parametrize("task", ["addition", "chain_sum"])
def test_only_the_bare_answer_is_paid(task, completion, status):
    assert get_task(task).verify(Problem(task, "42 - 25 =", "17"), completion).status is status


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        (" 11 + 2 = 13. 13 + 6 = 19\n", Status.CORRECT),
        (" 11 + 2 + 6 = 13 + 6 = 19", Status.CORRECT),
        ("19", Status.CORRECT),
        (" 11 + 2 = 13. 13 + 6 = 19.", Status.CORRECT),
        (" 11 + 2 = 14. 14 + 6 = 19", Status.CORRECT),  # the work is not read
        (" 11 + 2 = 13. 13 + 6 = 20", Status.WRONG),
        (" 11 + 2 = 13", Status.WRONG),
        (" 11 + 2 + 6 = 019", Status.WRONG),
        (" 11 + 2 + 6 = -19", Status.WRONG),
        (" 11 + 2 = 13. 13 + 6", Status.UNPARSABLE),
        (" 11 + 2 + 6 = 19 = ", Status.UNPARSABLE),
        (" 11 + 2 + 6 = 18 or 19", Status.UNPARSABLE),
        (" 11 + 2 + 6 = 19..", Status.UNPARSABLE),
        (" 11 + 2 + 6 = \N{ARABIC-INDIC DIGIT ONE}9", Status.UNPARSABLE),
        ("", Status.UNPARSABLE),
    ],
)
def test_worked_sums_are_paid_for_what_follows_the_last_equals_sign(completion, status):
    assert get_task("worked_sum").verify(Problem("worked_sum", "", "19"), completion).status is status


def test_a_worked_sum_can_be_begun_in_either_way():
    task = get_task("worked_sum")
    for problem in draw_problems(task, (0, 100), 30, seed=0):
        numbers = problem.prompt.removeprefix("Work out ").partition(",")[0]
        assert task.opening("rewritten", problem) == f" {numbers} ="
        assert task.opening("one_by_one", problem) == f" {numbers.rpartition(' +')[0]} ="
        assert sum(map(int, numbers.split(" + "))) == int(problem.answer)


def test_every_capital_is_asked_and_none_that_is_shown():
    problems = draw_problems(get_task("capitals"), (0, 100), 80, seed=0)
    assert len({problem.prompt for problem in problems}) == 80
    assert all(task_class("capitals").verify(problem, f" {problem.answer}\n").reward == 1 for problem in problems)
    assert not {"Paris", "Tokyo"} & {problem.answer for problem in problems}


@pytest.mark.parametrize("family", GYM_FAMILIES)
def test_a_family_is_the_same_everywhere_and_has_one_word_answers(family):
    one, other = (draw_problems(get_task(family), (0, 50), 20, seed=3) for _ in range(2))
    assert one == other
    assert all(problem.task == family and len(problem.answer.split()) == 1 for problem in one)
    assert all(get_task(family).verify(problem, problem.answer).reward == 1 for problem in one)


def test_neither_wording_nor_order_decides_the_split():
    sums = [("addition", "47 + 85 ="), ("addition", "85 + 47 ="), ("chain_sum", "State the final answer: 85 - 47 =")]
    buckets = {task_class(task).bucket(Problem(task, prompt, "")) for task, prompt in sums}
    assert len(buckets) == 1
    counting = [f'How many times does the letter "{letter}" appear in the text: "apple"?' for letter in "pl"]
    problems = [Problem("letter_counting", prompt, "") for prompt in counting]
    assert [task_class("letter_counting").canonical(problem) for problem in problems] == ["apple"] * 2


def test_sums_are_right():
    task, rng = get_task("addition", digits=3), random.Random(0)
    for problem in [task.draw(rng) for _ in range(50)]:
        one, other = problem.prompt.removesuffix(" =").split(" + ")
        assert len(one) == len(other) == 3
        assert int(one) + int(other) == int(problem.answer)


def test_tasks_take_turns_and_a_smaller_count_is_a_beginning():
    tasks = [get_task("addition"), get_task("gcd"), get_task("products")]
    drawn = draw_in_turn(tasks, (0, 60), 10, seed=1)
    assert [problem.task for problem in drawn] == ["addition", "gcd", "products"] * 3 + ["addition"]
    assert draw_in_turn(tasks, (0, 60), 4, seed=1) == drawn[:4]


def test_a_family_refuses_settings_by_name():
    with pytest.raises(ValueError, match=r"tasks\.gcd: .*'digits'"):
        draw_problems(get_task("gcd", digits=2), (0, 100), 1, seed=0)
    with pytest.raises(ValueError, match=r"tasks\.gcd: min_value must be positive"):
        draw_problems(get_task("gcd", min_value=-1), (0, 100), 1, seed=0)
