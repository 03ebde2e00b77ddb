"""How many programs and mathematical answers are judged per second, and whether programs leak resources.

    python benchmarks/verifiers.py --programs 50000

Programs are trivial (read a number, print another; every third one ends early), so the time is the sandbox's. Text
decides some of the answers, computer algebra the others. Ends in one JSON line.
"""

import argparse
import json
import os
import platform
import subprocess
import time

from oneshot.sandbox import Sandbox
from oneshot.sandbox.workers import BACKENDS, SandboxUnavailable
from oneshot.verifiers.math import MathVerifier

PROGRAMS = ("print(int(input()) + 1)", "print(int(input()) + 1)", "import os; os._exit(3)")
ANSWERS = [(r"\frac{1}{2}", r"\boxed{0.5}"), ("70", r"\boxed{70}"), ("2x+3", r"\boxed{3+2x}"), ("70", r"\boxed{71}")]


def held() -> dict[str, int]:
    """Descriptors of this process, and number and resident memory (kB) of this process and all below it."""
    family = subprocess.run(["ps", "-o", "pid=,ppid=,rss=", "-e"], capture_output=True, text=True).stdout.split("\n")
    rows = [tuple(map(int, line.split())) for line in family if line.strip()]
    ours = {os.getpid()}
    for _ in range(4):  # bubblewrap puts two processes between us and a zygote
        ours |= {pid for pid, parent, _ in rows if parent in ours}
    memory = sum(kilobytes for pid, _, kilobytes in rows if pid in ours)
    return {"descriptors": len(os.listdir("/proc/self/fd")), "processes": len(ours), "kilobytes": memory}


def time_programs(backend: str, count: int, workers: int) -> dict[str, float]:
    """Programs per second, and by how much `held` has grown after them."""
    with Sandbox(workers, backend) as sandbox:

        def run(index: int) -> str:
            return sandbox.run({"program": PROGRAMS[index % 3], "tests": [{"stdin": f"{index}\n"}]}).end

        assert set(sandbox.map(run, range(300))) == {"exit"}
        before, started = held(), time.perf_counter()
        for first in range(0, count, 1000):
            assert set(sandbox.map(run, range(first, min(first + 1000, count)))) == {"exit"}
        seconds, after = time.perf_counter() - started, held()
    return {"per_second": count / seconds} | {f"{key}_grown": after[key] - before[key] for key in before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=2000, help="programs a confinement (default 2000)")
    parser.add_argument("--answers", type=int, default=2000, help="mathematical answers (default 2000)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default 2)")
    chosen = parser.parse_args()
    found: dict[str, object] = {}
    for backend in BACKENDS:
        try:
            found[backend] = time_programs(backend, chosen.programs, chosen.workers)
        except SandboxUnavailable as error:
            found[backend] = str(error)
    with MathVerifier(chosen.workers) as verifier:
        verifier.verify_many(ANSWERS)
        started = time.perf_counter()
        verifier.verify_many(ANSWERS[index % len(ANSWERS)] for index in range(chosen.answers))
        found["math"] = {"per_second": chosen.answers / (time.perf_counter() - started)}
    for name, measured in found.items():
        print(f"{name:12}", json.dumps(measured))
    sizes = {"programs": chosen.programs, "answers": chosen.answers, "workers": chosen.workers}
    print(json.dumps({**found, **sizes, "python": platform.python_version(), "kernel": platform.release()}))


if __name__ == "__main__":
    main()
