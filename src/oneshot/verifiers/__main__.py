"""Try a verifier on a file: `python -m oneshot.verifiers math FILE.jsonl`, or `code` in place of `math`.

    math   rows {"gold", "completion"}; the answer is in the last \\boxed{}
    code   rows {"program", "tests": [{"stdin", "stdout"} or {"call", "args", "expected"}, …]}
           (an expected list stands for a tuple too, an expected key "0" for the whole number 0)

Prints one JSON line a row, in order: {"status", "score"}. The whole file is read before the first row is judged.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from oneshot.sandbox import PACKAGES, Limits, Sandbox, SandboxError, SandboxUnavailable
from oneshot.verifiers import Verdict
from oneshot.verifiers.code import CodeVerifier, ProgramTest
from oneshot.verifiers.math import MathVerifier
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
    judged_so = {"prelude": chosen.prelude, "tolerance": chosen.float_tolerance}
    judge = {"math": judge_math, "code": partial(judge_code, **judged_so)}[chosen.kind]
    try:
        rows = list(read_rows(chosen.file, {"math": ("gold", "completion"), "code": ("program", "tests")}[chosen.kind]))
        for verdict in judge(chosen.file, rows, chosen.workers, chosen.cpu_seconds):
            print(json.dumps({"status": verdict.status, "score": verdict.reward}), flush=True)
    except (OSError, ValueError, SandboxUnavailable, SandboxError) as error:
        sys.exit(f"oneshot.verifiers: {error}")


def read_rows(path: Path, keys: tuple[str, str]) -> Iterator[dict]:
    """The rows of a JSON-lines file; ValueError naming the line that is none."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(row, dict) or not all(key in row for key in keys) or not isinstance(row[keys[0]], str):
            raise ValueError(f"{path}, line {number}: expected an object with '{keys[0]}' (text) and '{keys[1]}'")
        yield {**row, "line": number}


def judge_math(path: Path, rows: list[dict], workers: int, cpu_seconds: float) -> Iterator[Verdict]:
    with MathVerifier(workers, cpu_seconds) as verifier:
        for row in rows:
            if not isinstance(row["completion"], str):
                raise ValueError(f"{path}, line {row['line']}: 'completion' is not text")
        verifier.check_golds({row["gold"]: f"{path}, line {row['line']}" for row in reversed(rows)})
        yield from verifier.verify_many((row["gold"], row["completion"]) for row in rows)


def judge_code(
    path: Path, rows: list[dict], workers: int, cpu_seconds: float, *, prelude: str, tolerance: float
) -> Iterator[Verdict]:
    """Programs may import numpy and sortedcontainers where this host has them, as with most judges."""
    limits = Limits(cpu_seconds=cpu_seconds, wall_seconds=3 * cpu_seconds + 10)
    tests = [read_tests(row["tests"], f"{path}, line {row['line']}", tolerance) for row in rows]
    with Sandbox(workers, limits=limits, packages=PACKAGES) as sandbox:
        verify = CodeVerifier(sandbox, prelude=prelude).verify
        yield from sandbox.map(lambda pair: verify(pair[0]["program"], pair[1]), zip(rows, tests, strict=True))


def read_tests(tests: list[dict], where: str, tolerance: float = 0.0) -> list[ProgramTest]:
    """Tests of one program, all on standard input or all calls; JSON's lists stand for tuples too, keys for numbers."""
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
