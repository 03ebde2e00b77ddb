"""Published benchmarks of programs as tasks: rows of every form, and answers as models give them."""

import json
from random import Random

import pytest

from oneshot.tasks import get_task
from oneshot.tasks.benchmarks import load_benchmark
from oneshot.tasks.problem_sets import draw_problems
from oneshot.tasks.program_rows import asserted_tests
from oneshot.tasks.published_programs import program_in
from oneshot.verifiers import Status
from oneshot.verifiers.code import ProgramTest, unpack_tests

ADD = "def add(a, b):\n    return a + b\n"
MBPP = {
    "task_id": 810,
    "text": "Write a function that adds two numbers.",
    "code": ADD,
    "test_list": ["assert add(1, 2) == 3", "assert add(-1, 1) == 0", "assert add(2, 2) == 4"],
}
PLUS = """
def assertion(out, exp, atol):
    exact_match = out == exp
    assert exact_match

inputs = [[1, 2], [-1, 1], [2, 2]]
{results}
for i, (inp, exp) in enumerate(zip(inputs, {of})):
    assertion(add(*inp), {exp}, 0)
"""
LEETCODE = {
    "problem": "Add them.",
    "tests": {"functional": "def check(candidate):\n    assert candidate(a = 1, b = 2) == 3\n\ncheck(Solution().add)"},
}


def task_of(tmp_path, name, *rows):
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return get_task(name, path=str(path))


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        (f"Here it is:\n```python\n{ADD}```\n", Status.CORRECT),
        (ADD, Status.CORRECT),
        (ADD.replace("+", "-"), Status.WRONG),
        ("def add(a, b):\n    return", Status.WRONG),
        ("def add(a, b) return", Status.UNPARSABLE),
        ("I add them.", Status.UNPARSABLE),
        ("```\nno program, and cut off", Status.UNPARSABLE),
        ("", Status.UNPARSABLE),
        ("x = 1", Status.ERROR),
    ],
)
def test_a_program_is_judged_with_a_fence_and_without(tmp_path, completion, status):
    task = task_of(tmp_path, "mbpp_rest", MBPP)
    (problem,) = draw_problems(task, (0, 100), 1, seed=0)
    assert problem.prompt.endswith("\nassert add(1, 2) == 3")
    assert task.verify(problem, completion).status is status
    assert [one.status for one in task.verify_many([(problem, completion), (problem, ADD)])] == [status, Status.CORRECT]


def test_the_test_in_the_prompt_earns_no_credit(tmp_path):
    """Of two hidden tests with different results, one passed is what a constant passes: nothing."""
    task = task_of(tmp_path, "mbpp_rest", {**MBPP, "test_list": [*MBPP["test_list"], "assert add(3, 4) == 7"]})
    (problem,) = task.problems
    shown, half = "def add(a, b): return 3", "def add(a, b): return a + b if a < 3 else 0"
    assert task.verify(problem, shown).partial == 0
    assert task.verify(problem, half).partial == pytest.approx((2 / 3 - 1 / 3) / (1 - 1 / 3))


def test_mbppplus_with_results_and_without(tmp_path):
    """Without, they are what the reference program returns."""
    with_results = PLUS.format(results="results = [3, 0, 4]", of="results", exp="exp")
    without = PLUS.format(results="def ref_func(a, b):\n    return a + b\n", of="inputs", exp="ref_func(*inp)")
    for script in (with_results, without):
        row = {"prompt": MBPP["text"], "code": ADD, "test_list": str(MBPP["test_list"]), "test": script}
        task = task_of(tmp_path, "mbppplus", row)
        (problem,) = task.problems
        tests, _ = unpack_tests(problem.answer)
        assert [test.expected for test in tests] == [3, 0, 4]
        assert task.verify(problem, ADD).reward == 1
        assert task.verify(problem, ADD.replace("+", "*")).reward == 0


def test_leetcode_is_a_method_whose_starter_names_are_there(tmp_path):
    task = task_of(tmp_path, "leetcode_train", LEETCODE)
    (problem,) = task.problems
    solution = "class Solution:\n    def add(self, a: int, b: int) -> List[int]:\n        return a + b"
    assert task.verify(problem, f"```python\n{solution}\n```").reward == 1
    assert task.verify(problem, solution.replace("a + b", "b")).reward == 0
    with pytest.raises(ValueError, match="leetcode_train: no hub repository is known: give the path of a local copy"):
        load_benchmark("leetcode_train")


def test_asserts_of_another_form_are_left_out():
    script = "assert f([1], k='a') == (2,)\nassert not f(2)\nassert f(x) == 1\nassert f(3) in (1,)\nassert g(1) == {2}"
    found = asserted_tests(script)
    assert found == [ProgramTest((2,), call="f", args=([1], "a")), ProgramTest({2}, call="g", args=(1,))]
    with pytest.raises(ValueError, match="no assert of the form"):
        asserted_tests("assert f(1)")


def test_a_problem_without_a_test_or_of_the_test_set_is_left_out_and_counted(tmp_path):
    untested, tested_on = {**MBPP, "text": "Nothing.", "test_list": ["assert add"]}, {**MBPP, "task_id": 809}
    like_one = {**MBPP, "task_id": 841}
    task = task_of(tmp_path, "mbpp_rest", MBPP, untested, tested_on, like_one)
    with pytest.warns(UserWarning, match=r"tasks\.mbpp_rest: left out 3 problems that cannot be used"):
        assert task.draw(Random(0)).prompt.startswith("Write")


def test_votes_are_not_split_by_comments_and_blanks(tmp_path):
    task = task_of(tmp_path, "mbpp_rest", MBPP)
    told = {task.answer_in(text) for text in (ADD, f"```python\n# adds\n{ADD}\n```", "def add(a,b): return a+b")}
    assert len(told) == 1
    assert task.answer_in("no program") == ""


@pytest.mark.parametrize(("text", "program"), [("pass", "pass"), ("# nothing", None), ("a b", None), ("\0", None)])
def test_an_answer_without_a_fence_is_a_program_if_python_says_so(text, program):
    assert program_in(text) == program


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:tasks.leetcode_train")
def test_the_real_files_give_problems_whose_solutions_are_right(benchmarks):
    path = benchmarks / "code_train/train_code_leetcode.json"
    task = get_task("leetcode_train", path=str(path))
    assert len(task.problems) > 1_500
    solutions = {row["problem"]: row["solutions"] for row in json.loads(path.read_text())}
    few = draw_problems(task, (0, 100), 100, seed=0)
    verdicts = task.verify_many([(problem, solutions[problem.prompt]) for problem in few])
    assert sum(verdict.reward for verdict in verdicts) >= 90
