"""Try a verifier on a file: `python -m oneshot.verifiers math FILE.jsonl`, or `code` in place of `math`.

    math   rows {"gold", "completion"}; the answer is in the last \\boxed{}; add {"in_percent": true} if the question
           asks for a percentage
    code   rows {"program", "tests": [{"stdin", "stdout"} or {"call", "args", "expected"}, …]}
           (an expected list also matches a tuple, an expected key "0" also the whole number 0)

Prints one JSON line per row, in order: {"status", "score"}. The whole file is read before the first row is judged. A
row that cannot be judged gets the status bad_row or bad_gold, score 0 and a reason; the others are judged, and the exit
code is 1.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from oneshot.sandbox import PACKAGES, Limits, Sandbox, SandboxError, SandboxUnavailable
from oneshot.verifiers import Verdict
from oneshot.verifiers.code import CodeVerifier, ProgramTest
from oneshot.verifiers.math import Gold, MathVerifier
from oneshot.verifiers.preludes import PRELUDES

PRELUDE_HELP = "names put before programs (default auto: LiveCodeBench's before a class Solution that is called)"
TOLERANCE_HELP = "by how much a printed number with a decimal point may differ, absolutely or relatively (default 0)"


def main() -> None:
    parser = argparse.ArgumentParser(
        "oneshot.verifiers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["math", "code"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--cpu-seconds", type=float, default=5.0, help="limit a comparison or a test (default 5)")
    parser.add_argument("--prelude", choices=["auto", *PRELUDES], default="auto", help=PRELUDE_HELP)
    parser.add_argument("--float-tolerance", type=float, default=0.0, help=TOLERANCE_HELP)
    chosen = parser.parse_args()
    judge_programs = partial(judge_code, prelude=chosen.prelude, tolerance=chosen.float_tolerance)
    judge = {"math": judge_math, "code": judge_programs}[chosen.kind]
    try:
        rows = list(read_rows(chosen.file, chosen.kind))
        sound = [row for row in rows if not isinstance(row, Fault)]
        judged = judge(chosen.file, sound, chosen.workers, chosen.cpu_seconds)
        faults = sum(report(row if isinstance(row, Fault) else next(judged)) for row in rows)
        next(judged, None)  # it closes its workers after the last row
        if faults:
            sys.exit(f"oneshot.verifiers: {faults} of {len(rows)} rows could not be judged")
    except (OSError, ValueError, SandboxUnavailable, SandboxError) as error:
        sys.exit(f"oneshot.verifiers: {error}")


@dataclass(frozen=True)
class Fault:
    """A row that cannot be judged, and why."""

    reason: str
    status: str = "bad_row"


def report(found: Verdict | Fault) -> bool:
    """Print the result of one row; True if the row could not be judged."""
    if isinstance(found, Fault):
        line = {"status": found.status, "score": 0.0, "reason": found.reason}
    else:
        line = {"status": found.status, "score": found.reward}
    print(json.dumps(line), flush=True)
    return isinstance(found, Fault)


def read_rows(path: Path, kind: str) -> Iterator[dict | Fault]:
    """The rows of a JSON-lines file, each with its line number; a Fault that names the line for a bad row."""
    check = {"math": check_math, "code": check_code}[kind]
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            row = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            yield Fault(f"{where}: not JSON ({error})")
            continue
        try:
            check(row, where)
        except ValueError as error:
            yield Fault(str(error))
        else:
            yield {**row, "line": number}


def check_math(row: object, where: str) -> None:
    """ValueError unless a row holds a gold answer and a completion."""
    _check_keys(row, "gold", "completion", where)
    if not isinstance(row["completion"], str):
        raise ValueError(f"{where}: 'completion' is not text")


def check_code(row: object, where: str) -> None:
    """ValueError unless a row holds a program and tests that can be read."""
    _check_keys(row, "program", "tests", where)
    read_tests(row["tests"], where)


def _check_keys(row: object, text: str, other: str, where: str) -> None:
    if not isinstance(row, dict) or not {text, other} <= row.keys() or not isinstance(row[text], str):
        raise ValueError(f"{where}: expected an object with '{text}' (text) and '{other}'")


def judge_math(path: Path, rows: list[dict], workers: int, cpu_seconds: float) -> Iterator[Verdict | Fault]:
    with MathVerifier(workers, cpu_seconds) as verifier:
        unreadable = set(verifier.unreadable({row["gold"] for row in rows}))
        pairs = [
            (Gold(row["gold"], row.get("in_percent") is True), row["completion"])
            for row in rows
            if row["gold"] not in unreadable
        ]
        verdicts = iter(verifier.verify_many(pairs))
        for row in rows:
            if row["gold"] in unreadable:
                yield Fault(f"{path}, line {row['line']}: gold answer {row['gold']!r} cannot be read", "bad_gold")
            else:
                yield next(verdicts)


def judge_code(
    path: Path, rows: list[dict], workers: int, cpu_seconds: float, *, prelude: str, tolerance: float
) -> Iterator[Verdict]:
    """Programs may import numpy and sortedcontainers if this host has them, as with most judges."""
    limits = Limits(cpu_seconds=cpu_seconds, wall_seconds=3 * cpu_seconds + 10)
    tests = [read_tests(row["tests"], f"{path}, line {row['line']}", tolerance) for row in rows]
    with Sandbox(workers, limits=limits, packages=PACKAGES) as sandbox:
        verify = CodeVerifier(sandbox, prelude=prelude).verify
        yield from sandbox.map(lambda pair: verify(pair[0]["program"], pair[1]), zip(rows, tests, strict=True))


def read_tests(tests: list[dict], where: str, tolerance: float = 0.0) -> list[ProgramTest]:
    """Tests of one program, all on standard input or all calls. JSON lists also match tuples, keys also numbers."""
    read = []
    for test in tests if isinstance(tests, list) else ():
        match test:
            case {"stdin": str(stdin), "stdout": str(expected)}:
                read.append(ProgramTest(expected, stdin=stdin, printed_tolerance=tolerance))
            case {"call": str(call), "args": list(args), "expected": expected}:
                read.append(ProgramTest(expected, call=call, args=tuple(args), tuples_are_lists=True))
            case _:
                raise ValueError(f"{where}: a test is neither {{stdin, stdout}} nor {{call, args, expected}}")
    if not read or len({test.stdin is None for test in read}) > 1:
        raise ValueError(f"{where}: 'tests' must be a list of at least one test, all of one kind")
    return read


if __name__ == "__main__":
    main()
