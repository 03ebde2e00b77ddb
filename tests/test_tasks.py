"""Problems, splits, ways to answer, and what the verifier rewards."""

import random
from collections import Counter

import pytest

from oneshot.files import BadFile
from oneshot.policies.pretrain import build_mixture, mixture_documents
from oneshot.tasks import get_task, task_class
from oneshot.tasks.arithmetic import parse_terms
from oneshot.tasks.ladder import parse_numbers
from oneshot.tasks.problem_sets import draw_problems, load_problems, save_problems
from oneshot.tasks.task import Problem
from oneshot.verifiers import Status
from oneshot.verifiers.final_answer import verify_final_answer

ARITHMETIC, SORTING = get_task("arithmetic"), get_task("sorting")


def test_splits_are_disjoint_whatever_the_seeds():
    sets = [
        draw_problems(ARITHMETIC, buckets, 300, seed)
        for seed, buckets in enumerate([(0, 60), (60, 80), (80, 88), (88, 100)])
    ]
    assert all(len({problem.prompt for problem in drawn}) == 300 for drawn in sets)
    forms = [{ARITHMETIC.canonical(problem) for problem in drawn} for drawn in sets]
    assert len(set.union(*forms)) == sum(map(len, forms)) > 1100


@pytest.mark.parametrize(
    ("name", "same", "other"),
    [
        ("arithmetic", ("47+8-5=", "8-5+47="), "47+8+5="),
        ("contexts_16", ("47+8-5=", "47-5+8="), "47+8+5="),
        ("plan", ("47+8-5=", "8-5+47="), "47+8+5="),
        ("ladder", ("47a8b5=", "8a5b47="), "47a8b6="),
        ("sorting", ("sort:dacb=", "sort:abcd="), "sort:abce="),
        ("programs", ("3142>21 2>5 40>1:", "2>5 40>1 3142>21:"), "3142>21 2>5 40>2:"),
    ],
)
def test_order_does_not_decide_the_split(name, same, other):
    task, [one, two, third] = task_class(name), [_answered(name, prompt) for prompt in (*same, other)]
    assert task.bucket(one) == task.bucket(two) != task.bucket(third)
    assert one.id != two.id


def _answered(name, prompt):
    return Problem(name, prompt, "".join(sorted(prompt[5:-1])) if name == "sorting" else "")


def test_problems_are_deterministic_and_nested():
    few, many = (draw_problems(ARITHMETIC, (60, 80), count, seed=3) for count in (20, 50))
    assert many[:20] == few
    assert few != draw_problems(ARITHMETIC, (60, 80), 20, seed=4)
    assert Problem("arithmetic", "1+1=", "2").id == 6886267259179415672


def test_too_many_problems_are_refused():
    small = get_task("arithmetic", num_terms=2, largest=9, max_term=2)
    with pytest.raises(ValueError, match="fewer than 500 different problems"):
        draw_problems(small, (0, 10), 500, seed=0)


@pytest.mark.parametrize("task", [ARITHMETIC, SORTING])
def test_gold_answers_are_right(task):
    for problem in draw_problems(task, (0, 100), 200, seed=0):
        if task is ARITHMETIC:
            assert eval(problem.prompt.rstrip("=")) == int(problem.answer)
            assert all(0 <= total <= 99 for total in [sum(parse_terms(problem.prompt)[:n]) for n in range(1, 5)])
        else:
            assert "".join(sorted(problem.prompt[5:-1])) == problem.answer


def test_ways_are_as_reliable_as_they_say():
    rng, right = random.Random(0), Counter()
    for problem in draw_problems(ARITHMETIC, (0, 100), 2000, seed=0):
        for way, opening in ARITHMETIC.ways.items():
            completion = ARITHMETIC.demonstrate(problem, way, rng)
            assert completion.startswith(opening)
            right[way] += ARITHMETIC.verify(problem, completion).reward
        assert ARITHMETIC.verify(problem, ARITHMETIC.lesson(problem, rng)).reward == 1
    assert right["careful"] == 2000
    assert 0.42 < right["rough"] / 2000 < 0.52  # 0.75³ = 0.42, and some slips cancel
    assert 0.04 < right["guess"] / 2000 < 0.08  # 1/19, more where the range is cut off at 0 or 99


def test_the_mixture_has_the_shares_it_says():
    mixture = build_mixture(
        {"arithmetic": ARITHMETIC, "sorting": SORTING},
        {
            "arithmetic": {"share": 0.8, "ways": {"careful": [0.0, 1.0], "guess": [1.0, 0.0]}},
            "sorting": {"share": 0.2, "ways": {"direct": [1, 1]}},
        },
    )
    documents = mixture_documents(mixture, (0, 60), seed=0, num_lessons=100)
    lessons = [next(documents) for _ in range(100)]
    assert not any("maybe" in completion for _, completion in lessons)
    counts, easiest = Counter(), Counter()
    for prompt, completion in (next(documents) for _ in range(6000)):
        counts[completion.split(":")[0] if ":" in completion else "sort"] += 1
        if "sort" not in prompt and "-" not in prompt:
            easiest[completion.split(":")[0]] += 1
    assert counts["sort"] / 6000 == pytest.approx(0.2, abs=0.02)
    assert counts["steps"] / 6000 == pytest.approx(0.4, abs=0.03)
    assert set(easiest) == {"maybe"}


def test_practice_keeps_up_a_skill_and_says_nothing_about_its_share():
    """The opening is in the prompt, which is not scored."""
    ladder = get_task("ladder")
    entry = {"share": 1.0, "ways": {"careful": [0.0, 0.0], "hasty": [1.0, 1.0]}, "practice": 0.3}
    documents = mixture_documents(build_mixture({"ladder": ladder}, {"ladder": entry}), (0, 60), seed=0)
    shown = [next(documents) for _ in range(1000)]
    practised = [(prompt, completion) for prompt, completion in shown if "=steps" in prompt]
    assert len(practised) / 1000 == pytest.approx(0.3, abs=0.05)
    assert not any("steps" in completion for _, completion in shown)
    for prompt, completion in practised[:20]:
        asked, opening, _ = prompt.partition("=")
        problem = Problem("ladder", asked + opening, str(sum(parse_numbers(asked))))
        assert prompt == problem.prompt + ladder.opening("careful", problem)
        assert ladder.verify(problem, completion).reward == 1


def test_pretraining_never_shows_a_held_out_problem():
    mixture = build_mixture({"arithmetic": ARITHMETIC}, {"arithmetic": {"share": 1.0, "ways": {"careful": [1, 1]}}})
    documents = mixture_documents(mixture, (0, 60), seed=0)
    held_out = {problem.prompt for problem in draw_problems(ARITHMETIC, (60, 100), 3000, seed=0)}
    assert not held_out & {next(documents)[0] for _ in range(3000)}


def test_an_unknown_way_or_task_is_refused():
    with pytest.raises(ValueError, match=r"mixture\.arithmetic\.ways: unknown way 'wild'"):
        build_mixture({"arithmetic": ARITHMETIC}, {"arithmetic": {"share": 1.0, "ways": {"wild": [1, 1]}}})
    with pytest.raises(ValueError, match="unknown task 'chess'"):
        get_task("chess")


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        ("steps:55,50,59;59", Status.CORRECT),
        (";59", Status.CORRECT),
        ("nonsense before the mark ;59", Status.CORRECT),
        ("steps:55,50,59;58", Status.WRONG),
        (";059", Status.WRONG),
        (";5", Status.WRONG),
        (";59a", Status.WRONG),
        ("59", Status.UNPARSABLE),
        ("", Status.UNPARSABLE),
        (";", Status.UNPARSABLE),
        ("; 59", Status.UNPARSABLE),
        (";59 ", Status.UNPARSABLE),
        (";59;", Status.UNPARSABLE),
        (";58;59", Status.UNPARSABLE),
        (";-59", Status.UNPARSABLE),
        (";59\n", Status.UNPARSABLE),
        ("59;", Status.UNPARSABLE),
        (";" * 100_000, Status.UNPARSABLE),
    ],
)
def test_final_answer_is_strict(completion, status):
    verdict = verify_final_answer(completion, "59")
    assert verdict.status is status
    assert verdict.reward == float(status is Status.CORRECT)


def test_problem_files_round_trip_and_name_a_bad_line(tmp_path):
    path, drawn = tmp_path / "train.jsonl", draw_problems(SORTING, (0, 100), 5, seed=0)
    save_problems(drawn, path)
    assert load_problems(path) == drawn
    assert load_problems(path, 2) == drawn[:2]
    with pytest.raises(BadFile, match=r"train\.jsonl: 5 problems, 9 needed"):
        load_problems(path, 9)
    path.write_text(path.read_text() + '{"prompt": 1}\n')
    with pytest.raises(BadFile, match=r"train\.jsonl, line 6: not a problem"):
        load_problems(path)


def test_a_problem_file_loses_no_last_line(tmp_path):
    """Without a newline at its end, whole or cut off."""
    path = tmp_path / "train.jsonl"
    save_problems([Problem("arithmetic", f"{n}+1=", str(n + 1)) for n in range(3)], path)
    whole = path.read_bytes().rstrip(b"\n")
    path.write_bytes(whole)
    assert [problem.answer for problem in load_problems(path)] == ["1", "2", "3"]
    for content in (whole[:-5], whole.replace(b'"3"', b"3")):
        path.write_bytes(content)
        with pytest.raises(BadFile, match=r"train\.jsonl, line 3: not a problem"):
            load_problems(path)
