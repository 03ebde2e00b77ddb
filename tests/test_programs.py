"""The code task: its problems, its ways to answer, and real Python judged by the real sandbox."""

import random

import pytest

from oneshot.policies.models import build_tokenizer
from oneshot.tasks import get_task
from oneshot.tasks.problem_sets import draw_problems
from oneshot.tasks.programs import CHANGES, MOVES, Programs, as_function, hidden_tests, run
from oneshot.tasks.task import Problem
from oneshot.verifiers import Status

TASK = Programs()
PROBLEM = Problem("programs", "3142>4312 2075>6805:", "a=[x+1 for x in a]\na=a[::-1]")


def verdict(completion, problem=PROBLEM):
    return TASK.verify(problem, completion)


def test_trusted_functions_do_what_their_statements_say():
    """The statements are executed here, and only here, because they are our own."""
    rng = random.Random(0)
    for statement, function in (CHANGES | MOVES).items():
        for _ in range(20):
            values = [rng.randrange(10) for _ in range(rng.randint(1, 8))]
            namespace = {"a": list(values)}
            exec(statement, namespace)
            assert namespace["a"] == function(values), statement


def test_prompts_show_what_the_program_does():
    for problem in draw_problems(TASK, (0, 100), 50, seed=0):
        assert len(problem.prompt.split()) == TASK.num_examples
        for example in problem.prompt.rstrip(":").split():
            before, after = ([int(digit) for digit in part] for part in example.split(">"))
            assert run(problem.answer.split("\n"), before)[-1] == after != before


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        ("a=[x+1 for x in a]\na=a[::-1]", Status.CORRECT),
        ("# 4253\na=[x+1 for x in a]\na=a[::-1]", Status.CORRECT),
        ("a=a[::-1]\na=[x+1 for x in a]", Status.CORRECT),
        ("return [x + 1 for x in reversed(a)]", Status.CORRECT),
        ("a.reverse()\nfor i in range(len(a)):\n a[i]+=1", Status.CORRECT),
        ("a=[x+1 for x in a]", Status.WRONG),
        ("a=[x+True for x in a][::-1]", Status.CORRECT),
        ("", Status.UNPARSABLE),
        ("# nothing", Status.UNPARSABLE),
        ("a=", Status.ERROR),
        ("a=b", Status.ERROR),
        ("return 4312", Status.WRONG),
        pytest.param("while 1: pass", Status.TIMEOUT, marks=pytest.mark.slow),  # three times the limit
        ("import os\nos._exit(0)", Status.ERROR),
        ("class E:\n  __eq__=lambda s,o: True\nreturn E()", Status.WRONG),
        ("\x00", Status.ERROR),
    ],
)
def test_any_python_is_judged_by_what_it_does(completion, status):
    found = verdict(completion)
    assert found.status is status
    assert found.reward == float(status is Status.CORRECT)
    assert 0 <= found.partial <= 1


def test_hidden_tests_are_not_in_the_prompt_and_always_the_same():
    tests = hidden_tests(PROBLEM)
    assert tests == hidden_tests(PROBLEM)
    assert not any("".join(map(str, test.args[0])) in PROBLEM.prompt for test in tests if len(test.args[0]) > 3)
    assert len({str(test.expected) for test in tests}) > 5  # so that no constant gets far


def test_a_half_right_program_gets_partial_credit_and_a_constant_none():
    """A slice that ends too soon is right for short lists."""
    problem = Problem("programs", "3142>102:", "a=[x//2 for x in a]\na=a[1:]")
    sometimes = verdict("a=[x//2 for x in a]\na=a[1:6]", problem)
    assert 0 < sometimes.partial < 1
    assert verdict("return []", problem).partial == 0


def test_equal_answers_are_run_once_and_order_is_kept():
    right, wrong = "a=[x+1 for x in a]\na=a[::-1]", "a=a"
    verdicts = TASK.verify_many([(PROBLEM, right), (PROBLEM, wrong), (PROBLEM, right)])
    assert [found.reward for found in verdicts] == [1, 0, 1]


def test_ways_are_as_reliable_as_they_say():
    rng, problems = random.Random(0), draw_problems(TASK, (0, 100), 100, seed=1)
    rates = {}
    for way in TASK.ways:
        answers = [(problem, TASK.demonstrate(problem, way, rng)) for problem in problems]
        assert all(answer.startswith(TASK.ways[way]) for _, answer in answers)
        rates[way] = sum(found.reward for found in TASK.verify_many(answers)) / len(problems)
    assert rates["careful"] == 1
    assert 0.3 < rates["rough"] < 0.75
    assert rates["guess"] < 0.2
    lessons = [(problem, TASK.lesson(problem, rng)) for problem in problems]
    assert all(found.reward for found in TASK.verify_many(lessons))


def test_completions_are_few_tokens_and_come_back_whole():
    tokenizer = build_tokenizer(TASK.words, TASK.largest_number)
    rng = random.Random(0)
    for problem in draw_problems(get_task("programs"), (0, 100), 50, seed=0):
        for way in TASK.ways:
            answer = TASK.demonstrate(problem, way, rng)
            ids = tokenizer.encode(answer, add_special_tokens=False)
            assert len(ids) <= 12
            assert tokenizer.decode(ids) == answer


def test_a_completion_is_the_body_of_a_function():
    assert as_function("a=a[1:]\na=a[1:]") == "def f(a):\n a=a[1:]\n a=a[1:]\n return a"
