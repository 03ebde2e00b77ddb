"""Published benchmarks as tasks: drawn by hash, asked through a chat template, judged by their boxes."""

import json
from random import Random

import pytest

from oneshot.policies.models import build_tokenizer
from oneshot.policies.prompts import PromptFormat
from oneshot.tasks import get_task
from oneshot.tasks.problem_sets import draw_problems
from oneshot.verifiers import Status


def benchmark(tmp_path, name, rows):
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return get_task(name, path=str(path))


@pytest.fixture
def task(tmp_path):
    rows = [{"problem": f"What is {n} + 1/2?", "answer": rf"\frac{{{2 * n + 1}}}{{2}}"} for n in range(40)]
    return benchmark(tmp_path, "math_train", [*rows, {"problem": "Why?", "answer": ""}])


def test_sets_are_disjoint_by_content_and_hold_every_problem(task):
    low, high = (draw_problems(task, buckets, count, seed=0) for buckets, count in (((0, 50), 15), ((50, 100), 15)))
    assert {problem.id for problem in low}.isdisjoint(problem.id for problem in high)
    assert {problem.task for problem in low + high} == {"math_train"}
    assert len(draw_problems(task, (0, 100), 40, seed=0)) == 40
    with pytest.raises(ValueError, match="'math_train' has fewer than 41 different problems"):
        draw_problems(task, (0, 100), 41, seed=0)
    assert task.left_out == 1


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        (r"so \boxed{3.5}", Status.CORRECT),
        (r"\boxed{\dfrac72}", Status.CORRECT),
        (r"\boxed{7}", Status.WRONG),
        ("it is 7/2", Status.UNPARSABLE),
    ],
)
def test_the_box_is_what_counts(task, completion, status):
    problem = next(problem for problem in task.problems if problem.answer == r"\frac{7}{2}")
    assert task.verify(problem, completion).status is status


def test_gsm8k_is_judged_by_its_last_line(tmp_path):
    rows = [{"question": "How many?", "answer": "He has <<2*3=6>>6, then <<6+1200=1206>>1,206.\n#### 1,206"}]
    task = benchmark(tmp_path, "gsm8k", rows)
    (problem,) = draw_problems(task, (0, 100), 1, seed=0)
    assert task.verify(problem, r"\boxed{1206}").reward == 1
    assert task.verify(problem, r"\boxed{6}").reward == 0


def test_a_gold_answer_that_cannot_be_read_is_left_out(tmp_path):
    rows = [{"problem": "One?", "answer": "1"}, {"problem": "Nonsense?", "answer": "]"}]
    task = benchmark(tmp_path, "math500", rows)
    assert {task.draw(Random(seed)).prompt for seed in range(20)} == {"One?"}
    assert task.left_out == 1


def test_a_file_without_a_gold_answer_is_refused(tmp_path):
    task = benchmark(tmp_path, "math500", [{"problem": "Nonsense?", "answer": "]"}])
    with pytest.raises(ValueError, match=r"tasks\.math500: none of its 1 rows has a gold answer"):
        draw_problems(task, (0, 100), 1, seed=0)


def test_a_model_is_told_to_box_its_answer(task):
    tokenizer = build_tokenizer((), 9)
    tokenizer.chat_template = "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}{% endfor %}<assistant>"
    prompt_format = PromptFormat(chat=True, instruction=" Box it.")
    asked = prompt_format.render(tokenizer, "math_train", task.problems[3].prompt)
    assert asked == "<user>What is 3 + 1/2? Box it.<assistant>"


@pytest.mark.slow
def test_the_real_files_give_problem_sets(benchmarks):
    train = get_task("math_train", path=str(benchmarks / "math_train/train_math_math.json"))
    test = get_task("math500", path=str(benchmarks / "math500/test.jsonl"))
    drawn = draw_problems(train, (0, 80), 200, seed=1) + draw_problems(test, (0, 100), 200, seed=1)
    assert len({problem.prompt for problem in drawn}) == 400
    verdicts = test.verify_many((problem, rf"\boxed{{{problem.answer}}}") for problem in drawn)
    assert {verdict.status for verdict in verdicts} == {Status.CORRECT}
