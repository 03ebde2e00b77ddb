"""Published benchmarks as tasks: drawn by hash, asked through a chat template, judged by their boxes."""

import json
from random import Random

import pytest

from oneshot.policies.models import build_tokenizer
from oneshot.policies.prompts import PromptFormat
from oneshot.tasks import get_task
from oneshot.tasks.problem_sets import draw_problems
from oneshot.tasks.published import gold
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


def test_gold_answers_that_cannot_be_read_are_named_before_the_first_draw_and_left_out(tmp_path):
    rows = [{"problem": "One?", "answer": "1"}, {"problem": "Nonsense?", "answer": "]"}]
    task = benchmark(tmp_path, "math500", rows)
    with pytest.warns(UserWarning, match=r"tasks\.math500: left out, for their gold answers cannot be read: '\]'"):
        task.draw(Random(0))
    assert {task.draw(Random(seed)).prompt for seed in range(20)} == {"One?"}
    assert task.left_out == 1


def test_a_gold_with_a_unit_or_words_stops_nothing(tmp_path):
    golds = [r"2.75\ \text{USD}", r"(\text{K})", r"\text{B7}_{13}", r"6\ \text{cm}", "x^2+xy", r"\cos^2 u", "r + s + t"]
    task = benchmark(
        tmp_path, "math500", [{"problem": f"Which? {n}", "answer": gold_answer} for n, gold_answer in enumerate(golds)]
    )
    pairs = [(problem, rf"\boxed{{{answer}}}") for problem in task.problems for answer in (problem.answer, "3x+1", "(")]
    assert [verdict.reward for verdict in task.verify_many(pairs)] == [1, 0, 0] * len(golds)


@pytest.mark.parametrize(
    ("question", "reward"),
    [
        ("What percentage of the boats are red?", 1),
        ("What is his new win percentage?", 1),
        ("What is the chance of rain, expressed as a percentage?", 1),
        ("If 40% of the boats are red, how many are not?", 0),
        ("If her pay rises by 40 percent, what does she earn?", 0),
    ],
)
def test_a_percent_sign_is_right_where_the_question_asks_for_a_percentage(tmp_path, question, reward):
    task = benchmark(tmp_path, "gsm8k", [{"question": question, "answer": "So 24.\n#### 24"}])
    (problem,) = task.problems
    assert task.verify(problem, r"\boxed{24\%}").reward == reward
    assert task.verify(problem, r"\boxed{24}").reward == 1
    assert task.verify(problem, r"\boxed{0.24}").reward == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "count"),
    [("gsm8k", "gsm8k/train.jsonl", 86), ("gsm8k", "gsm8k/test.jsonl", 21), ("aime24", "aime24/test.jsonl", 0)],
)
def test_how_many_questions_ask_for_a_percentage(benchmarks, name, file, count):
    problems = get_task(name, path=str(benchmarks / file)).problems
    assert sum(gold(problem).in_percent for problem in problems) == count


def test_a_file_without_a_gold_answer_is_refused(tmp_path):
    task = benchmark(tmp_path, "math500", [{"problem": "Nonsense?", "answer": "]"}])
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match=r"tasks\.math500: none of its 1 rows has a gold answer"),
    ):
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
