"""Loaders against the real files, if they are available, and against made-up rows that are wrong."""

import base64
import gzip
import json
import pickle
import random
import zlib

import pytest

from oneshot.sandbox import Limits, Sandbox
from oneshot.tasks import livecodebench, mbpp
from oneshot.tasks.benchmarks import BadRow, load_benchmark, read_integer
from oneshot.tasks.livecodebench import unpack_private_tests
from oneshot.tasks.program_rows import fill_in
from oneshot.verifiers import Status
from oneshot.verifiers.code import CodeVerifier, ProgramTest, pack_tests, unpack_tests
from oneshot.verifiers.math import MathVerifier

MBPPPLUS = "mbppplus/MbppPlus-OriginFmt.jsonl.gz"
EQUAL_GOLDS = [("10080", r"10,\!080"), (r"\frac14", r"\frac{1}{4}"), (r"\$36", "36"), ("1,-2", "-2,1")]
"""Golds of MATH-500 that are the same answer, written differently."""
UNIT_LEFT_OUT = [("15", r"15\mbox{ cm}^2"), (r"30^\circ", "30"), ("120", r"120^\circ")]
"""And those that differ by a unit that one side leaves out."""


def rows_of(path):
    content = path.read_bytes()
    lines = (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()
    return [json.loads(line) for line in lines]


def write(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("name", "file", "count"),
    [
        ("aime24", "aime24/test.jsonl", 30),
        ("aime25", "aime25/test2025-I.jsonl", 15),
        ("aime25", "aime25/test2025-II.jsonl", 15),
        ("math500", "math500/test.jsonl", 500),
        ("gsm8k", "gsm8k/test.jsonl", 1319),
        pytest.param("mbppplus", MBPPPLUS, 378, marks=pytest.mark.slow),
        ("livecodebench_v6", "livecodebench/one_real_row.jsonl", 1),
    ],
)
def test_real_files_load(benchmarks, name, file, count):
    problems = load_benchmark(name, path=benchmarks / file)
    assert len(problems) == len({problem.id for problem in problems}) == count
    assert {problem.task for problem in problems} == {name}


def test_the_numbers_of_mbppplus_are_those_of_its_file(benchmarks):
    assert {int(row["task_id"]) for row in rows_of(benchmarks / MBPPPLUS)} == mbpp.IN_MBPPPLUS


def test_what_math_train_loses_is_counted(benchmarks):
    dropped = []
    problems = load_benchmark(
        "math_train", path=benchmarks / "math_train/train_math_math.json", on_bad_row=dropped.append
    )
    assert (len(problems), len(dropped)) == (7470, 4)
    assert all("no gold answer" in str(error) for error in dropped)


def test_integers_of_every_copy(tmp_path):
    rows = [
        {"problem": "a", "answer": "025"},
        {"Problem": "b", "Answer": 73},
        {"question": "c", "answer": r"336^\circ"},
        {"question": "d", "answer": "$ 7 $"},
    ]
    assert [problem.answer for problem in load_benchmark("aime24", path=write(tmp_path, *rows[:1]))] == ["25"]
    assert [read_integer({k.lower(): v for k, v in row.items()}).answer for row in rows] == [
        "25",
        "73",
        "336",
        "7",
    ]


@pytest.mark.parametrize(
    ("name", "row", "complaint"),
    [
        ("aime24", {"problem": "a", "answer": "x"}, "aime24, row 0: ValueError: answer 'x' is no integer"),
        ("aime24", {"problem": "a", "answer": "1000"}, "no integer from 0 to 999"),
        ("aime25", {"problem": "\frac{1}{2}", "answer": "1"}, "control character .* a damaged copy"),
        ("math500", {"problem": "a", "answer": ""}, "math500, row 0: no gold answer"),
        ("math500", {"answer": "1"}, "math500, row 0: KeyError: 'problem'"),
        ("gsm8k", {"question": "a", "answer": "18"}, "no line '#### number'"),
        ("mbppplus", {"prompt": "a", "test_list": "['']", "test": "inputs = ["}, "mbppplus, row 0: SyntaxError"),
    ],
)
def test_bad_rows_are_named(tmp_path, name, row, complaint):
    with pytest.raises(BadRow, match=complaint):
        load_benchmark(name, path=write(tmp_path, row))


def test_a_source_must_be_named(tmp_path):
    with pytest.raises(ValueError, match="give the revision of HuggingFaceH4/MATH-500"):
        load_benchmark("math500")
    with pytest.raises(ValueError, match="unknown benchmark 'math501'"):
        load_benchmark("math501", path="x")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jsonl is missing"):
        load_benchmark("math500", path=tmp_path / "nowhere.jsonl")


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    import datasets

    def unreachable(*_, **__):
        raise OSError("no\nroute")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(ConnectionError, match="MATH-500 at abc cannot be reached: give the path of") as error:
        load_benchmark("math500", revision="abc")
    assert "\n" not in str(error.value)


def pickled(thing):
    return base64.b64encode(zlib.compress(pickle.dumps(thing))).decode()


class Payload:
    def __reduce__(self):
        return print, ("ESCAPED",)


def test_private_tests_are_text_or_refused(capsys):
    tests = [{"input": "1", "output": "2", "testtype": "stdin"}]
    assert unpack_private_tests(json.dumps(tests)) == tests
    assert unpack_private_tests(pickled(json.dumps(tests))) == tests
    for thing in (Payload(), [json.dumps(tests)], {"a": 1}, b"[]"):
        with pytest.raises(ValueError, match="refused"):
            unpack_private_tests(pickled(thing))
    assert "ESCAPED" not in capsys.readouterr().out


def test_a_zip_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(livecodebench, "MAX_TESTS_BYTES", 1000)
    with pytest.raises(ValueError, match="unpack to more than"):
        unpack_private_tests(pickled("[" + " " * 10_000 + "]"))


def test_a_real_livecodebench_row_is_solved_and_not_cheated(benchmarks):
    (problem,) = load_benchmark("livecodebench_v6", path=benchmarks / "livecodebench/one_real_row.jsonl")
    tests, prelude = unpack_tests(problem.answer)
    assert len(tests) == 5
    right = (
        "for _ in range(int(input())):\n    print('YES' if sum(a != b for a, b in zip(input(), 'abc')) < 3 else 'NO')"
    )
    with Sandbox(num_workers=1) as sandbox:
        verify = CodeVerifier(sandbox).verify
        assert verify(prelude + right, tests).status is Status.CORRECT
        assert verify(prelude + right.replace("'NO'", "'YES'"), tests).status is Status.WRONG


def test_calls_of_livecodebench(tmp_path):
    row = {
        "question_content": "q",
        "starter_code": "class Solution:\n    def add(self, a: List[int], b: int) -> int:",
        "public_test_cases": json.dumps([{"input": "[1, 2]\n3", "output": "6", "testtype": "functional"}]),
        "private_test_cases": "[]",
        "metadata": json.dumps({"func_name": "add"}),
    }
    (problem,) = load_benchmark("livecodebench_v6", path=write(tmp_path, row))
    tests, prelude = unpack_tests(problem.answer)
    assert tests == [ProgramTest(6, call="add", args=([1, 2], 3), tuples_are_lists=True)]
    with Sandbox(num_workers=1) as sandbox:
        program = prelude + row["starter_code"] + "\n        return sum(a) + b"
        assert CodeVerifier(sandbox).verify(program, tests).status is Status.CORRECT


@pytest.mark.slow
def test_every_reference_program_of_mbppplus_passes_all_its_tests(benchmarks):
    """Five tests of task 255 are left out: its reference's answers to them are lists of more than 16 MB."""
    rows = rows_of(benchmarks / MBPPPLUS)
    problems = load_benchmark("mbppplus", path=benchmarks / MBPPPLUS)
    limits = Limits(cpu_seconds=20, wall_seconds=120, memory_bytes=2 << 30, output_bytes=16 << 20)
    with Sandbox(num_workers=2, limits=limits) as sandbox:
        verifier = CodeVerifier(sandbox, patience=10)

        def left_out_and_refused(pair):
            problem, row = pair
            tests, _ = unpack_tests(problem.answer)
            kept = fill_in(tests, row["code"], verifier) if "\nresults = " not in row["test"] else tests
            refused = verifier.run_tests(row["code"], kept) != [Status.CORRECT] * len(kept)
            return int(row["task_id"]), len(tests), len(tests) - len(kept), refused

        found = list(sandbox.map(left_out_and_refused, zip(problems, rows, strict=True)))
    assert [task for task, _, _, refused in found if refused] == []
    assert {task: left for task, _, left, _ in found if left} == {255: 5}
    assert sum(count for _, count, _, _ in found) > 40_000


def test_math500_against_itself_and_its_solutions(benchmarks):
    rows = rows_of(benchmarks / "math500/test.jsonl")
    golds = {row["answer"]: row["unique_id"] for row in rows}
    with MathVerifier(num_workers=2) as verifier:
        for text in ("answer", "solution"):
            pairs = [(row["answer"], rf"\boxed{{{row[text]}}}" if text == "answer" else row[text]) for row in rows]
            assert sum(verdict.reward for verdict in verifier.verify_many(pairs)) == 500
        verifier.check_golds(golds)


@pytest.mark.slow
def test_no_gold_of_math500_is_taken_for_another(benchmarks):
    """6,000 random pairs of golds: none is accepted except those that mean the same."""
    golds = sorted({row["answer"] for row in rows_of(benchmarks / "math500/test.jsonl")})
    rng = random.Random(0)
    pairs = [tuple(rng.sample(golds, 2)) for _ in range(6000)]
    with MathVerifier(num_workers=2) as verifier:
        verdicts = verifier.verify_many((gold, rf"\boxed{{{other}}}") for gold, other in pairs)
    accepted = {frozenset(pair) for pair, verdict in zip(pairs, verdicts, strict=True) if verdict.reward}
    assert accepted <= {frozenset(pair) for pair in EQUAL_GOLDS + UNIT_LEFT_OUT}


@pytest.mark.slow
def test_every_gold_of_math_train_and_gsm8k_is_read_and_equals_itself(benchmarks):
    """And two wrong answers are refused for each, without an error."""
    train = load_benchmark(
        "math_train", path=benchmarks / "math_train/train_math_math.json", on_bad_row=lambda row: None
    )
    golds = [problem.answer for problem in train]
    for file in ("train", "test"):
        problems = load_benchmark("gsm8k", path=benchmarks / f"gsm8k/{file}.jsonl")
        golds += [problem.answer.rpartition("####")[2].strip() for problem in problems]
    with MathVerifier(num_workers=2) as verifier:
        assert verifier.unreadable(golds) == []
        assert (
            sum(verdict.reward for verdict in verifier.verify_many((gold, rf"\boxed{{{gold}}}") for gold in golds))
            == 16262
        )
        for wrong in ("3x+1", r"\frac{17}{4}"):
            verdicts = verifier.verify_many((gold, rf"\boxed{{{wrong}}}") for gold in sorted(set(golds)))
            assert sum(verdict.reward for verdict in verdicts) == 0


def test_mbppplus_in_evalplus_form_is_refused_by_name(tmp_path):
    row = {"task_id": "Mbpp/2", "prompt": "p", "base_input": [[10**30]], "plus_input": [], "atol": 0}
    path = tmp_path / "MbppPlus.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row).encode()))
    with pytest.raises(ValueError, match=r"MbppPlus\.jsonl\.gz: MBPP\+ in EvalPlus's own form.* the form of the hub"):
        load_benchmark("mbppplus", path=path)


def test_a_file_that_is_no_table_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("nonsense\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl cannot be read as a table of rows"):
        load_benchmark("math500", path=path)


def test_tests_round_trip():
    tests = [ProgramTest((1, {2: {3}}), call="f", args=([1], "a", 2.5, None), oracle="set", tolerance=0.1)]
    assert unpack_tests(pack_tests(tests)) == (tests, "")
