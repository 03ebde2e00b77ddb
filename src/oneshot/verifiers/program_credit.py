"""Partial credit for programs: by the tests they pass, or by the values that their variables take.

The rules are those of `oneshot.verifiers.partial_credit`: the cheap ways to farm credit earn nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from oneshot.verifiers import Status, Verdict
from oneshot.verifiers.code import ProgramTest, pack_tests, shared_verifier
from oneshot.verifiers.values import same_value

MAX_TRACE = 200


def passed_credit(tests: Sequence[ProgramTest], statuses: Sequence[Status], shown: Sequence[ProgramTest] = ()) -> float:
    """The share of tests passed, weighted so that the best constant answer earns nothing.

    Each distinct expected output weighs 1/K, however many tests expect it; a constant passes one of the K, so credit
    is (share - 1/K) / (1 - 1/K), never below 0. Equal tests count once, tests `shown` in the prompt not at all. With
    one expected output only (K = 1) there is no credit short of passing everything.
    """
    passed: dict[str, dict[str, bool]] = defaultdict(dict)
    hidden = {str(test.request) for test in shown}
    for test, status in zip(tests, statuses, strict=True):
        request = str(test.request)
        if request not in hidden:
            passed[_expected(test)][request] = status is Status.CORRECT
    if not passed:
        return 0.0
    share = sum(sum(of_output.values()) / len(of_output) for of_output in passed.values()) / len(passed)
    constant = 1 / len(passed)
    return float(share == 1) if constant == 1 else max(0.0, (share - constant) / (1 - constant))


def judge(program: str, tests: Sequence[ProgramTest], shown: Sequence[ProgramTest] = ()) -> Verdict:
    """Run a program on its tests: correct if it passes all, else the first failure's status with `passed_credit`."""
    statuses = shared_verifier().run_tests(program, list(tests))
    status = next((status for status in statuses if status is not Status.CORRECT), Status.CORRECT)
    return Verdict(status, passed_credit(tests, statuses, shown))


def trace_credit(reference: Sequence[Any], trace: Sequence[Any]) -> float:
    """Longest common subsequence of two execution traces over the length of the longer: 1 only if they are equal.

    A trace is the values that a program's variables took, in order (`CodeVerifier.traces`). The program never sees the
    reference; if it tries every value, its trace is long and its credit small.
    """
    reference, trace = list(reference)[:MAX_TRACE], trace if isinstance(trace, list) else []
    if not reference or not trace or len(trace) > 10 * MAX_TRACE:
        return 0.0
    row = [0] * (len(reference) + 1)
    for value in trace:
        diagonal = 0
        for index, expected in enumerate(reference, start=1):
            diagonal, row[index] = (
                row[index],
                (diagonal + 1 if same_value(expected, value) else max(row[index], row[index - 1])),
            )
    return row[-1] / max(len(reference), len(trace))


def _expected(test: ProgramTest) -> str:
    return pack_tests([ProgramTest(test.expected, call="-")])
