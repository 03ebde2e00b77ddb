"""The code verifier: what programs see, how tests go on after a crash, and what counts as the same value."""

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneshot.sandbox import Limits, Sandbox
from oneshot.sandbox.encoding import decode, encode
from oneshot.sandbox.frames import FRAME
from oneshot.sandbox.workers import read_report
from oneshot.verifiers import Status
from oneshot.verifiers.code import CodeVerifier, ProgramTest, extract_program, pack_tests, unpack_tests
from oneshot.verifiers.values import Malformed, read_value, same_text, same_value


@pytest.fixture(scope="module")
def verifier():
    with Sandbox(num_workers=1, limits=Limits(cpu_seconds=0.5, wall_seconds=5)) as sandbox:
        yield CodeVerifier(sandbox)


def printing(*pairs):
    return [ProgramTest(expected, stdin=stdin) for stdin, expected in pairs]


def calls(*pairs, name="f", **options):
    return [ProgramTest(expected, call=name, args=args, **options) for args, expected in pairs]


@pytest.mark.parametrize(
    "program",
    [
        "print(int(input()) + int(input()))",
        "import sys\nprint(sum(map(int, sys.stdin)))",
        "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
        "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))",
        "print(sum(map(int, open(0).read().split())))",
        "import os\nprint(sum(map(int, os.read(0, 100).split())))",
        "import os\nos.write(1, b'7')",
        "import sys\nsys.stdout.write('7')",
        "import sys\nsys.stdout.buffer.write(b'7')",
        "import sys\nprint(7)\nsys.exit()",
        "import sys, os\nprint(7)\nsys.stdout.flush()\nos._exit(0)",
        "def main():\n    global total\n    total = 7\n    print(total)\nif __name__ == '__main__':\n    main()",
        "import threading\nt = threading.Thread(target=lambda: print(7))\nt.start()\nt.join()",
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\n"
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)\n"
        "t = threading.Thread(target=lambda: print(f(5000) // 714))\nt.start()\nt.join()",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nprint(P(7).x)",
        "import collections, heapq, itertools, functools, math, re, bisect, string, random\nprint(7)",
        "print('7  \\n\\n')",
        "print(7.0)",
    ],
)
def test_programs_that_read_and_print_as_programs_do(verifier, program):
    assert verifier.verify(program, printing(("3\n4\n", "7\n"))).status is Status.CORRECT


def test_state_does_not_leak_between_stdin_tests(verifier):
    program = "try:\n    seen\nexcept NameError:\n    seen = 1\n    print(input())"
    assert verifier.verify(program, printing(("a", "a"), ("b", "b"))).status is Status.CORRECT


def test_tests_go_on_behind_a_crash_and_a_timeout(verifier):
    program = "x = int(input())\nif x == 1: import os; os._exit(3)\nif x == 2:\n    while True: pass\nprint(x)"
    statuses = verifier.run_tests(program, printing(*[(str(x), str(x)) for x in range(5)]))
    assert statuses == ["correct", "error", "timeout", "correct", "correct"]
    function = "import os\ndef f(x):\n    if x == 1: os._exit(0)\n    if x == 2: raise ValueError\n    return x"
    statuses = verifier.run_tests(function, calls(*[((x,), x) for x in range(5)]))
    assert statuses == ["correct", "error", "error", "correct", "correct"]


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("", "wrong"),
        ("# nothing", "wrong"),
        ("\x00", "error"),
        ("\x1b[2J\x07print(1)", "error"),
        ("print('\ud800')", "error"),
        ("print(1)" + " " * 10**6, "error"),
        ("(" * 10**5, "error"),
        ("x = " + "1" * 5000, "error"),
        ("\ufeffprint(1)", "correct"),
        ("print(1)\r\n", "correct"),
    ],
)
def test_odd_text_has_a_verdict(verifier, program, status):
    assert verifier.verify(program, printing(("\ud800\x00", "1"))).status == status


def test_patience_ends(verifier):
    statuses = verifier.run_tests("while True: pass", printing(*[("", "")] * 10))
    assert statuses == ["timeout"] * 10


def test_more_tests_than_go_into_one_process(verifier):
    assert (
        verifier.run_tests("def f(x): return x + 1", calls(*[((x,), x + 1) for x in range(600)])) == ["correct"] * 600
    )


def test_methods_of_solution_and_fresh_arguments(verifier):
    program = "class Solution:\n    def f(self, xs):\n        xs.append(len(xs))\n        return xs"
    tests = calls((([1],), [1, 1]), (([1],), [1, 1]))
    assert verifier.verify(program, tests).status is Status.CORRECT


def test_a_test_is_needed(verifier):
    with pytest.raises(ValueError, match="at least one test"):
        verifier.verify("print(1)", [])


def test_outputs_of_a_reference_leave_out_what_it_cannot_answer(verifier):
    tests = calls(((1,), None), ((0,), None), ((2,), None))
    assert verifier.outputs("def f(x): return {1 // x: (1.5, {x})}", tests) == {0: {1: (1.5, {1})}, 2: {0: (1.5, {2})}}


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        (0, None, False),
        (1.0, 1.0 + 1e-9, True),
        (1.0, 1.1, False),
        (1, 1 + 1e-9, False),
        (1.0, 10**400, False),
        (math.nan, math.nan, True),
        (1.0, math.nan, False),
        (math.nan, 1.0, False),
        (math.inf, math.inf, True),
        (0.0, -0.0, True),
        ("1", 1, False),
        ("a", "a", True),
        (b"a", "a", False),
        ([1, 2], [1, 2], True),
        ([1, 2], (1, 2), False),
        ([1, 2], [1, 2, 3], False),
        ([1, 2], [1, True], False),
        ([[1.0]], [[1.0 + 1e-9]], True),
        ({1, 2}, {2, 1}, True),
        ({1, 2}, {1, 2}, True),
        ({1}, {True}, False),
        ({0, 1}, {False, True}, False),
        ({1: "a"}, {1: "a"}, True),
        ({1: "a"}, {True: "a"}, False),
        ({1: [1]}, {1: [2]}, False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (1 + 2j, 1 + 2j, True),
        (1 + 2j, 1, False),
        (None, None, True),
        (None, 0, False),
        (10**300, 10**300, True),
        (10**300, 10**300 + 1, False),
    ],
)
def test_what_counts_as_the_same_value(expected, actual, same):
    assert same_value(expected, actual) is same


def test_json_knows_no_tuples():
    assert same_value([[1, 2]], ((1, 2),), tuples_are_lists=True)
    assert not same_value([[1, 2]], ((1, True),), tuples_are_lists=True)


def test_oracles():
    assert ProgramTest((1, 2), call="f", oracle="set").accepts([2, 1, 1])
    assert not ProgramTest((1, 2), call="f", oracle="set").accepts([2])
    assert not ProgramTest((1, 2), call="f", oracle="set").accepts(3)
    assert ProgramTest(True, call="f", oracle="found").accepts("a match")
    assert not ProgramTest(True, call="f", oracle="found").accepts(None)
    assert not ProgramTest(True, call="f", oracle="found").accepts(False)
    assert ProgramTest(False, call="f", oracle="found").accepts(None)
    assert ProgramTest(1.0, call="f", tolerance=0.1).accepts(1.05)


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("1 2\n", "1 2", True),
        ("1 2\n", " 1 2 \n\n", True),
        ("1 2\n", "1  2", True),
        ("1.50", "1.5", True),
        ("1", "1\n1", False),
        ("a", "A", False),
        ("", "", True),
        ("0", "", False),
        ("1 2", "12", False),
        ("1e3", "1000", True),
        ("a 1", "a 1.0", False),
        ("1", "1" * 2000, False),
    ],
)
def test_what_counts_as_the_same_output(expected, actual, same):
    assert same_text(expected, actual) is same


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("```\nprint(1)\n```", "print(1)\n"),
        ("```py\na\n```\nno, rather\n```python\nb\n```\n", "b\n"),
        ("```python\nprint(1)", None),
        ("print(1)", None),
        ("", None),
        ("````", None),
        ("```python\n```", ""),
        ("```python\r\nprint(1)\n```", "print(1)\n"),
        ("```" * 100_000, None),
        ("```\n" * 100_001, "```\n"[:0]),
    ],
)
def test_extraction_of_programs(completion, program):
    assert extract_program(completion) == program


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.sets(st.integers() | st.text())
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(VALUES)
def test_values_come_through_the_encoding_as_they_are(value):
    again = decode(encode(value))
    assert again == value
    assert type(again) is type(value)
    assert same_value(value, again)
    test = ProgramTest(value, call="f", args=(value,))
    assert unpack_tests(pack_tests([test], "import os")) == ([test], "import os")


@settings(deadline=None)
@given(st.binary())
def test_no_payload_breaks_the_reader(payload):
    with contextlib.suppress(Malformed):
        read_value(payload)


@settings(deadline=None)
@given(st.binary(), st.integers(1, 5))
def test_no_frames_break_the_protocol(frames, num_tests):
    report = read_report({"end": "exit", "code": 0, "cpu_seconds": 0.0}, frames, b"", num_tests)
    assert len(report.answers) <= num_tests
    assert report.end in ("exit", "protocol")


def test_frames_out_of_order_are_refused():
    frames = FRAME.pack(1, 0, b"V") + b"1" + FRAME.pack(1, 2, b"V") + b"1"
    report = read_report({"end": "exit", "code": 0, "cpu_seconds": 0.0}, frames, b"", 3)
    assert (report.end, len(report.answers)) == ("protocol", 1)
