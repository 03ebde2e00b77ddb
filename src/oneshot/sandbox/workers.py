"""The near side of the sandbox: keeps zygotes alive, gives each request to an idle one, and reads reports back."""

import json
import os
import queue
import select
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from oneshot.sandbox.confinement import Confinement, SandboxUnavailable, confinement
from oneshot.sandbox.frames import HEADER, REPORT
from oneshot.sandbox.reports import Report, as_program, read_report

MAX_PART_BYTES = 65 << 20
ATTEMPTS = 3
BACKENDS = ("bubblewrap", "landlock")


class SandboxError(RuntimeError):
    """The sandbox itself failed, several times in a row. No program is to blame, and nothing is scored."""


@dataclass(frozen=True)
class Limits:
    """Limits of one test. Wall time stops programs that sleep; it is far above CPU time, so load changes no verdict."""

    cpu_seconds: float = 2.0
    wall_seconds: float = 20.0
    memory_bytes: int = 1 << 30
    """Address space, which includes unused stacks."""
    output_bytes: int = 8 << 20


class Zygote:
    """One confined process that forks a child for every request."""

    def __init__(self, how: Confinement):
        clean = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(how.command, env=clean, cwd="/", **pipes)
        settings = json.dumps(how.settings).encode()
        self._write(struct.pack(">I", len(settings)) + settings)

    def run(self, request: dict, limits: Limits) -> Report:
        """Run one child. Raises OSError if the zygote does not answer; it must then be closed."""
        body, num_tests = json.dumps(request).encode(), len(request["tests"])
        seconds = (limits.cpu_seconds, limits.wall_seconds)
        self._write(HEADER.pack(len(body), num_tests, *seconds, limits.memory_bytes, limits.output_bytes) + body)
        deadline = time.monotonic() + limits.wall_seconds * (num_tests + 3) + 10
        sizes = REPORT.unpack(self._read(REPORT.size, deadline))
        if max(sizes) > MAX_PART_BYTES:
            raise OSError("the zygote sent a report out of all proportion")
        verdict, frames, printed = (self._read(size, deadline) for size in sizes)
        report = read_report(json.loads(verdict), frames, printed, num_tests)
        return report if "call" in request["tests"][0] else as_program(report, limits.output_bytes)

    def close(self) -> str:
        """Kill the zygote; returns what it wrote to standard error."""
        self.process.kill()
        with suppress(OSError):
            self.process.stdin.close()
        said = self.process.stderr.read().decode(errors="replace").strip()
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.wait()
        return said

    def _write(self, content: bytes) -> None:
        with suppress(BrokenPipeError):  # the next read reports that it is gone
            self.process.stdin.write(content)
            self.process.stdin.flush()

    def _read(self, count: int, deadline: float) -> bytes:
        content, descriptor = bytearray(), self.process.stdout.fileno()
        while len(content) < count:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the zygote does not answer")
            chunk = os.read(descriptor, min(count - len(content), 1 << 20))
            if not chunk:
                raise ConnectionError("the zygote has died")
            content += chunk
        return bytes(content)


class Sandbox:
    """A pool of zygotes; a context manager.

    `backend` is `bubblewrap`, `landlock` or `auto`: the first of them that passes the self-test. Raises
    SandboxUnavailable if none does; no program runs without one. Programs may import the standard library and those
    of `packages` (such as PACKAGES) that this host has; only their folders become readable.
    """

    def __init__(
        self,
        num_workers: int = 2,
        backend: str = "auto",
        limits: Limits = Limits(),
        packages: Iterable[str] = (),
    ):
        self.limits = limits
        self.how = usable_confinement(backend, packages)
        self._idle: queue.SimpleQueue[Zygote | None] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(num_workers)
        for _ in range(num_workers):
            self._idle.put(None)  # started when first needed

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._threads.shutdown()
        with suppress(queue.Empty):
            while True:
                zygote = self._idle.get_nowait()
                if zygote:
                    zygote.close()

    def run(self, request: dict) -> Report:
        """Run {"program": text, "tests": [{"stdin": text}, …] or [{"call": name, "args": encoded}, …]}.

        Calls share a child, as far as it gets. Every test on standard input has its own child, up to the first that
        gives no answer.
        """
        if "call" in request["tests"][0]:
            return self._run_child(request)
        answers, seconds = [], 0.0
        for test in request["tests"]:
            report = self._run_child({**request, "tests": [test]})
            answers, seconds = answers + report.answers, seconds + report.cpu_seconds
            if not report.answers:
                break
        return replace(report, answers=answers, cpu_seconds=seconds)

    def _run_child(self, request: dict) -> Report:
        zygote, said = self._idle.get(), ""
        try:
            for _ in range(ATTEMPTS):
                zygote = zygote or Zygote(self.how)
                try:
                    return zygote.run(request, self.limits)
                except (OSError, ValueError) as error:
                    said = f"{error}; {zygote.close()}"
                    zygote = None
        except BaseException:  # interrupted between a request and its report: the stream is out of step
            if zygote:
                zygote.close()
                zygote = None
            raise
        finally:
            self._idle.put(zygote)
        raise SandboxError(f"the {self.how.name} sandbox failed {ATTEMPTS} times on one program ({said})")

    def map(self, function, items: Iterable) -> Iterator:
        """`function` of every item, in order, on as many threads as there are workers."""
        return self._threads.map(function, items)


PROBE = """
import os, socket
def refused(name, attempt):
    try:
        attempt()
    except (OSError, AttributeError) as error:
        return
    print(name)
refused("reads files", lambda: open("/etc/passwd").read())
refused("reads the project", lambda: os.listdir({here!r}))
refused("writes files", lambda: open("/tmp/probe", "w"))
refused("opens sockets", lambda: socket.socket())
refused("forks", lambda: os.fork() or os._exit(0))
refused("kills", lambda: os.kill(os.getppid(), 0))
refused("executes", lambda: os.execv("/bin/true", ["true"]))
print("alive")
"""


def usable_confinement(backend: str, packages: Iterable[str] = ()) -> Confinement:
    """The confinement to use: the first that holds against a test program. Raises SandboxUnavailable if none does."""
    complaints = []
    for name in BACKENDS if backend == "auto" else (backend,):
        try:
            how = confinement(name, packages)
            self_test(how)
            return how
        except SandboxUnavailable as error:
            complaints.append(f"{name}: {error}")
    raise SandboxUnavailable(
        f"no sandbox for model-written programs on this host ({'; '.join(complaints)}). It takes Linux with "
        "libseccomp and either user namespaces (Ubuntu 24.04: sysctl kernel.apparmor_restrict_unprivileged_userns=0) "
        "or Landlock (kernel 5.13 or newer); elsewhere use a Linux container or machine, or leave the code task out"
    )


def self_test(how: Confinement) -> None:
    zygote = Zygote(how)
    try:
        program = PROBE.format(here=os.path.dirname(__file__))
        report = zygote.run({"program": program, "tests": [{"stdin": ""}]}, Limits())
    except (OSError, ValueError) as error:
        raise SandboxUnavailable(" ".join(f"{error} {zygote.close()}".split())) from error
    zygote.close()
    printed = report.answers[0][1].decode().split("\n") if report.answers else []
    if printed != ["alive", ""]:
        raise SandboxUnavailable(f"a program in it {', '.join(printed[:-2]) or 'does not run'}")
