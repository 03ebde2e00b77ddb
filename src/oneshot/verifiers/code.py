"""Programs: run on every test in the sandbox, judged here.

Expected outputs stay on this side. The sandbox gets a program and inputs, and returns plain values or printed bytes. A
crash or timeout fails only its own test; the next one starts in a fresh process. Verdicts are computed here from what
came back, so no program can send one.
"""

import atexit
import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from oneshot.sandbox import Report, Sandbox
from oneshot.sandbox.encoding import decode, encode
from oneshot.sandbox.frames import ERROR, MEMORY, MISSING, OUTPUT, TOO_LONG, VALUE
from oneshot.verifiers import Status, Verdict
from oneshot.verifiers.extraction import extract_program as extract_program
from oneshot.verifiers.preludes import with_prelude
from oneshot.verifiers.values import FLOAT_TOLERANCE, Malformed, read_value, same_text, same_value

MAX_TESTS_AT_ONCE = 256
MAX_PROGRAM_CHARACTERS = 100_000
FAILURES = {
    ERROR: Status.ERROR,
    MEMORY: Status.MEMORY,
    MISSING: Status.MISSING_MODULE,
    TOO_LONG: Status.OUTPUT_LIMIT,
}
MAX_SURPLUS_BYTES = 1 << 20
"""How much more than twice the expected output a program may print: even blanks that do not count are limited."""


@dataclass(frozen=True)
class ProgramTest:
    """One test: standard input and the expected output, or a call and the expected value."""

    expected: Any
    stdin: str | None = None
    call: str = ""
    """A function of the program, or a method of its class Solution."""
    args: tuple = ()
    oracle: str = "equal"
    """equal; set (order and repeats do not count); found (the bool expected, or whether anything came back); any."""
    tuples_are_lists: bool = False
    """The expected value comes from JSON, which has no tuples and only text keys: see `same_value`."""
    tolerance: float = FLOAT_TOLERANCE
    """Absolute; applies if the expected value is a float."""
    printed_tolerance: float = 0.0
    """Absolute or relative; applies if the expected number has a decimal point. Whole numbers must be exact."""
    traced: bool = False
    """Ask for the values that the function's variables took and then its result, instead of the result alone."""

    @property
    def request(self) -> dict:
        """The part of the test that the program sees."""
        if self.stdin is not None:
            return {"stdin": self.stdin}
        told = {"call": self.call, "args": [encode(argument) for argument in self.args]}
        return told | ({"traced": True} if self.traced else {})

    def accepts(self, actual: Any) -> bool:
        if self.stdin is not None:
            return same_text(self.expected, actual, self.printed_tolerance)
        if self.oracle == "any":
            return True
        if self.oracle == "found":
            return self.expected is (actual if isinstance(actual, bool) else actual is not None)
        if self.oracle == "set":
            return _as_set(actual) is not None and same_value(_as_set(self.expected), _as_set(actual))
        return same_value(self.expected, actual, self.tolerance, tuples_are_lists=self.tuples_are_lists)


def pack_tests(tests: list[ProgramTest], prelude: str = "", reference: str = "") -> str:
    """JSON for a problem's `answer`, if the answer is a program. `prelude` is prepended to every program.

    `reference` is a trusted program, where expected values have yet to be taken from it.
    """
    fields = [{**vars(test), "expected": encode(test.expected), "args": encode(test.args)} for test in tests]
    return json.dumps({"prelude": prelude, "tests": fields} | ({"reference": reference} if reference else {}))


def unpack_tests(text: str) -> tuple[list[ProgramTest], str]:
    """Tests and prelude as `pack_tests` wrote them."""
    content = json.loads(text)
    tests = [{**test, "expected": decode(test["expected"]), "args": decode(test["args"])} for test in content["tests"]]
    return [ProgramTest(**test) for test in tests], content["prelude"]


def reference_of(text: str) -> str:
    """The reference program that `pack_tests` was given; empty if it was given none."""
    return json.loads(text).get("reference", "")


class CodeVerifier:
    """Judges programs in a `Sandbox`, as many at once as it has workers.

    `prelude` is prepended to programs that have none: none, livecodebench, or auto (only before a called class
    Solution).
    """

    def __init__(self, sandbox: Sandbox, patience: int = 3, prelude: str = "auto"):
        self.sandbox = sandbox
        self.patience = patience
        """Number of crashes and timeouts after which a program's remaining tests are taken to end alike."""
        self.prelude = prelude

    def verify(self, program: str, tests: list[ProgramTest]) -> Verdict:
        """Correct if every test passes; else the status of the first test that did not."""
        statuses = self.run_tests(program, tests)
        return Verdict(next((status for status in statuses if status is not Status.CORRECT), Status.CORRECT))

    def verify_many(self, pairs: Iterable[tuple[str, list[ProgramTest]]]) -> list[Verdict]:
        return list(self.sandbox.map(lambda pair: self.verify(*pair), pairs))

    def run_tests(self, program: str, tests: list[ProgramTest]) -> list[Status]:
        """The status of every test, in order; tests of one program are all of one kind (stdin or call)."""
        answers = self.answers(program, tests)
        return [
            answer if isinstance(answer, Status) else judge(test, *answer)
            for test, answer in zip(tests, answers, strict=True)
        ]

    def outputs(self, program: str, tests: list[ProgramTest]) -> dict[int, Any]:
        """What a trusted reference program returns or prints, by index of the test; those it fails are left out."""
        answers = enumerate(self.answers(program, tests))
        values = {index: answer for index, answer in answers if not isinstance(answer, Status)}
        return {
            index: read_value(payload) if kind == VALUE else payload.decode()
            for index, (kind, payload) in values.items()
            if kind in (VALUE, OUTPUT)
        }

    def traces(self, program: str, tests: list[ProgramTest]) -> dict[int, list]:
        """The values that the program's variables took, in order, then its result, by index of the test.

        Tests it fails are left out. For partial credit against a reference's traces. A program can fake its own trace
        but cannot see the reference's.
        """
        return self.outputs(program, [replace(test, traced=True) for test in tests])

    def answers(self, program: str, tests: list[ProgramTest]) -> "list[Status | tuple[bytes, bytes]]":
        """For every test the program's answer, (kind, payload), or how its process ended there."""
        if not tests:
            raise ValueError("a program without tests would be right whatever it does: give at least one test")
        if len(program) > MAX_PROGRAM_CHARACTERS:
            return [Status.ERROR] * len(tests)
        program = with_prelude(program, tests[0].stdin is None, self.prelude)
        answers: list[Status | tuple[bytes, bytes]] = []
        deaths = 0
        while len(answers) < len(tests):
            batch = tests[len(answers) : len(answers) + MAX_TESTS_AT_ONCE]
            report = self.sandbox.run({"program": program, "tests": [test.request for test in batch]})
            answers += report.answers
            if len(report.answers) < len(batch) and not paused(report):
                end = died_in(report)
                answers.append(end)
                deaths += 1
                if deaths >= self.patience or (batch[0].call and not report.loaded):
                    answers += [end] * (len(tests) - len(answers))
        return answers


def judge(test: ProgramTest, kind: bytes, payload: bytes) -> Status:
    """The status of a test from the answer to it."""
    if kind in FAILURES:
        return FAILURES[kind]
    if kind != (VALUE if test.stdin is None else OUTPUT):
        return Status.FORGED
    if kind == OUTPUT and len(payload) > 2 * len(test.expected.encode(errors="replace")) + MAX_SURPLUS_BYTES:
        return Status.OUTPUT_LIMIT
    try:
        actual = read_value(payload) if kind == VALUE else payload.decode(errors="replace")
        return Status.CORRECT if test.accepts(actual) else Status.WRONG
    except Malformed:
        return Status.FORGED


def paused(report: Report) -> bool:
    """Whether a child ended cleanly after some of its tests, so that the next one continues from there."""
    return report.end == "exit" and report.code == 0 and bool(report.answers)


def died_in(report: Report) -> Status:
    """The status of the test in which a process ended without an answer."""
    return {"exit": Status.ERROR, "timeout": Status.TIMEOUT}.get(report.end, Status.FORGED)


def _as_set(value: Any) -> set | None:
    try:
        return set(value)
    except TypeError:
        return None


@functools.cache
def shared_verifier() -> CodeVerifier:
    """One verifier for all tasks of this process, closed when it ends."""
    sandbox = Sandbox(num_workers=1)
    atexit.register(sandbox.close)
    return CodeVerifier(sandbox)
