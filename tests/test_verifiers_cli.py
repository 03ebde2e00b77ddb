"""`python -m oneshot.verifiers`, as its user calls it."""

import json
import subprocess
import sys

import pytest


def run(kind, tmp_path, *rows, raw=None):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(raw if raw is not None else "".join(json.dumps(row) + "\n" for row in rows).encode())
    command = [sys.executable, "-m", "oneshot.verifiers", kind, str(path), "--cpu-seconds", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_math(tmp_path):
    code, verdicts, _ = run(
        "math",
        tmp_path,
        {"gold": "70", "completion": r"so \boxed{070}"},
        {"gold": r"\frac{1}{2}", "completion": r"\boxed{0.5}"},
        {"gold": "70", "completion": r"\boxed{69=70}"},
        {"gold": "70", "completion": "70"},
    )
    assert code == 0
    assert verdicts == [
        {"status": "correct", "score": 1.0},
        {"status": "correct", "score": 1.0},
        {"status": "wrong", "score": 0.0},
        {"status": "unparsable", "score": 0.0},
    ]


def test_code(tmp_path):
    doubling = [{"stdin": "2", "stdout": "4\n"}]
    pairs = [{"call": "f", "args": [1], "expected": [1, True]}]
    code, verdicts, _ = run(
        "code",
        tmp_path,
        {"program": "print(2 * int(input()))", "tests": doubling},
        {"program": "print(input())", "tests": doubling},
        {"program": "def f(x): return (x, True)", "tests": pairs},
        {"program": "def f(x): return (True, x)", "tests": pairs},
        {"program": "while True: pass", "tests": doubling},
        {"program": "def f(", "tests": pairs},
    )
    assert code == 0
    assert [verdict["status"] for verdict in verdicts] == ["correct", "wrong", "correct", "wrong", "timeout", "error"]
    assert [verdict["score"] for verdict in verdicts] == [1, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("kind", "raw", "complaint"),
    [
        ("math", b"{", "rows.jsonl, line 1: not JSON"),
        ("math", b"\xff\xfe", "rows.jsonl, line 1: not JSON"),
        ("math", b"[" * 10**5, "rows.jsonl, line 1: not JSON"),
        ("math", b'\n{"gold": 70, "completion": ""}', "line 2: expected an object with 'gold' (text) and 'completion'"),
        ("math", b'{"gold": "]", "completion": ""}', "line 1: gold answer ']' cannot be read"),
        ("math", b'{"gold": "1", "completion": 1}', "line 1: 'completion' is not text"),
        ("code", b'{"program": "x", "tests": []}', "line 1: 'tests' must be a list of at least one test"),
        ("code", b'{"program": "x", "tests": [{"stdin": "x"}]}', "line 1: a test is neither"),
    ],
)
def test_a_bad_row_says_what_is_wrong_with_it(tmp_path, kind, raw, complaint):
    code, (verdict,), errors = run(kind, tmp_path, raw=raw)
    assert code == 1
    assert verdict["status"] == ("bad_gold" if "cannot be read" in complaint else "bad_row")
    assert verdict["score"] == 0
    assert complaint in verdict["reason"]
    assert errors.strip() == "oneshot.verifiers: 1 of 1 rows could not be judged"


def test_good_rows_beside_bad_ones_are_judged(tmp_path):
    right = r'{"gold": "7", "completion": "\\boxed{7}"}'
    rows = [
        right,
        "{",
        r'{"gold": "]", "completion": "\\boxed{7}"}',
        '{"gold": "7"}',
        right.replace("{7}", "{x+8}"),
        right,
    ]
    code, verdicts, _ = run("math", tmp_path, raw="\n".join(rows).encode())
    assert code == 1
    statuses = [verdict["status"] for verdict in verdicts]
    assert statuses == ["correct", "bad_row", "bad_gold", "bad_row", "wrong", "correct"]


def test_a_percentage_that_the_question_asks_for(tmp_path):
    row = {"gold": "60", "completion": r"\boxed{60\%}"}
    _, verdicts, _ = run("math", tmp_path, row, {**row, "in_percent": True})
    assert [verdict["score"] for verdict in verdicts] == [0, 1]


def test_a_worker_replaced_at_the_end_leaves_no_word(tmp_path):
    code, verdicts, errors = run("math", tmp_path, {"gold": "70", "completion": r"\boxed{9^{9^{9^{9}}}}"})
    assert (code, errors, [verdict["status"] for verdict in verdicts]) == (0, "", ["timeout"])


def test_a_missing_file(tmp_path):
    command = [sys.executable, "-m", "oneshot.verifiers", "math", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "No such file" in done.stderr
