"""The far side of the sandbox: a small process that forks one child per request. Standard library only.

`oneshot.sandbox.workers` starts it. It is confined before it reads a program: by bubblewrap around it, or by Landlock
from within. It reads settings and requests from descriptor 0 and writes reports to descriptor 1, in the format of
`oneshot.sandbox.frames`.
"""

import base64
import ctypes
import fcntl
import gc
import importlib.util
import json
import os
import random
import resource
import select
import signal
import site
import struct
import sys
import time
from collections.abc import Callable

from oneshot.sandbox import programs
from oneshot.sandbox.frames import (
    FRAME,
    HEADER,
    MAX_FRAMES_BYTES,
    READY,
    REPORT,
    read_exactly,
    send,
    skip_frames,
    write_all,
)

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 1, 22, 38, 2
STACK_BYTES = 128 << 20
"""As far as the kernel lets a stack grow that began with the default limit; judges allow all of the memory."""


def main() -> None:
    (length,) = struct.unpack(">I", read_exactly(0, 4))
    settings = json.loads(read_exactly(0, length))
    confine(settings)
    for module in settings["preload"]:
        __import__(module)
    load_packages(settings["packages"])
    for put_into_builtins in (site.setquit, site.sethelper, site.setcopyright):  # as for every script
        put_into_builtins()
    null = os.open("/dev/null", os.O_RDWR)
    load_filter = filter_loader(base64.b64decode(settings["filter"]))
    for name in [name for name in sys.modules if name.startswith("oneshot.")]:
        del sys.modules[name]
    gc.freeze()
    while header := read_exactly(0, HEADER.size):
        report, frames, printed = run(HEADER.unpack(header), null, settings["stdin"], load_filter)
        verdict = json.dumps(report).encode()
        write_all(1, REPORT.pack(len(verdict), len(frames), len(printed)) + verdict + frames + printed)


def confine(settings: dict) -> None:
    """Apply Landlock, unless bubblewrap already hides everything: only the interpreter's own files can be read."""
    if settings["landlock"]:
        sys.path.insert(0, settings["site"])
        import sandlock

        readable = [path for path in settings["readable"] if os.path.exists(path)]
        degradable = list(sandlock.Protection)
        sandlock.confine(sandlock.Sandbox(fs_readable=readable, fs_writable=["/dev/null"], allow_degraded=degradable))
        sys.path.remove(settings["site"])


def load_packages(folders: dict[str, str]) -> None:
    """Import packages from their own folders, so no site-packages folder needs to be on the path, or even visible."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process that forks must have one thread
    for name, folder in folders.items():
        file = f"{folder}/__init__.py"
        spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[folder])
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    del os.environ["OPENBLAS_NUM_THREADS"]
    if "numpy" in folders:
        sys.modules["numpy"].random.seed(0)  # like `random`: a program that is run twice draws the same


def run(header: tuple, null: int, stdin_path: str, load_filter: Callable[[], None]) -> tuple[dict, bytes, bytes]:
    """Fork one child, run its tests, and collect its report: (verdict on the process, frames, printed output)."""
    length, num_tests, cpu_limit, wall_limit, memory_limit, output_limit = header
    results, results_end = os.pipe()
    printed = os.memfd_create("printed")
    pid = os.fork()
    if pid == 0:
        try:
            request = json.loads(read_exactly(0, length))
            arrange_descriptors(request, stdin_path, null, printed, results_end)
            lock(memory_limit, output_limit, load_filter)
            live(request, output_limit)
        finally:
            os._exit(70)  # whatever happens, a child never returns into the loop
    os.close(results_end)
    try:
        end, frames = watch(pid, results, num_tests, cpu_limit, wall_limit)
        _, status, usage = os.wait4(pid, 0)
        seconds = usage.ru_utime + usage.ru_stime
        report = {"end": end, "code": os.waitstatus_to_exitcode(status), "cpu_seconds": seconds}
        return report, frames, os.pread(printed, output_limit, 0)
    finally:
        os.close(results)
        os.close(printed)


def watch(pid: int, results: int, num_tests: int, cpu_limit: float, wall_limit: float) -> tuple[str, bytes]:
    """Collect the child's frames; kill it when a test takes too long. CPU time counts, so load changes no verdict."""
    frames, complete, count, end = bytearray(), 0, 0, None
    clock = (~pid << 3) | 2  # the kernel's id for the CPU-time clock of another process
    pidfd, poller = os.pidfd_open(pid), select.poll()
    poller.register(results, select.POLLIN)
    poller.register(pidfd, select.POLLIN)
    cpu_start, wall_start, wait = 0.0, time.monotonic(), 5
    while end is None:
        ready = dict(poller.poll(wait))
        wait = min(2 * wait, 50)
        if results in ready:
            chunk = os.read(results, 1 << 16)
            frames += chunk
            if not chunk:
                poller.unregister(results)
            complete, arrived = skip_frames(frames, complete)
            if arrived:
                count, wall_start, cpu_start = count + arrived, time.monotonic(), time.clock_gettime(clock)
            if len(frames) > MAX_FRAMES_BYTES or count > num_tests + 2:
                end = "protocol"
        elif pidfd in ready:
            end = "exit"
        elif time.clock_gettime(clock) - cpu_start > cpu_limit or time.monotonic() - wall_start > wall_limit:
            end = "timeout"
    os.kill(pid, signal.SIGKILL)
    os.close(pidfd)
    if not frames.startswith(FRAME.pack(0, 0, READY)):
        sys.exit("the child died before it had read its request")  # the stream is out of step: start again
    return end, bytes(frames)


def arrange_descriptors(request: dict, stdin_path: str, null: int, printed: int, results: int) -> None:
    """Set up the child's descriptors 0 to 3 and, for calls, NOWHERE, from which they read and print; close all others.

    Without calls, descriptor 0 is a file with the test's input. Under bubblewrap it can also be opened at `stdin_path`.
    """
    stdin = request["tests"][0].get("stdin")
    file = input_file((stdin or "").encode(errors="surrogatepass"), stdin_path)
    wanted = (file, printed, null, results) if stdin is not None else (null, null, null, results, null)
    above = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 16) for descriptor in wanted]
    for target, descriptor in enumerate(above):
        os.dup2(descriptor, target)
    os.closerange(len(above), resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def input_file(content: bytes, path: str) -> int:
    """A descriptor of a file with this content: at `path`, overwriting what the last program read, or in memory."""
    writable = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600) if path else os.memfd_create("stdin")
    write_all(writable, content)
    os.lseek(writable, 0, os.SEEK_SET)
    return os.open(path, os.O_RDONLY) if path else writable


def lock(memory_limit: int, output_limit: int, load_filter: Callable[[], None]) -> None:
    """Set the limits and load the filter. The program's time begins."""
    send(0, READY)
    random.seed(0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    set_limits(memory_limit, output_limit)
    load_filter()


def set_limits(memory_limit: int, output_limit: int) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, memory_limit),
        (resource.RLIMIT_FSIZE, output_limit),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(limit, (value, value))
    _, most = resource.getrlimit(resource.RLIMIT_STACK)
    stack = STACK_BYTES if most == resource.RLIM_INFINITY else min(STACK_BYTES, most)
    resource.setrlimit(resource.RLIMIT_STACK, (stack, most))


class Program(ctypes.Structure):
    """struct sock_fprog: a seccomp filter as the kernel takes it."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def filter_loader(program: bytes) -> Callable[[], None]:
    """A function that loads the filter (compiled by libseccomp on the near side), prepared before the fork.

    Before filtering, it makes the process die with the zygote and unable to gain privileges.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    compiled = Program(len(program) // 8, program)
    calls = (
        (PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(compiled), 0, 0),
    )

    def load() -> None:
        for arguments in calls:
            if prctl(*arguments):
                raise OSError(ctypes.get_errno(), f"prctl {arguments[0]}")

    return load


def live(request: dict, output_limit: int) -> None:
    """Run the child's program: once on standard input, or as a module whose function is called for every test."""
    program, tests = request["program"], request["tests"]
    if "call" in tests[0]:
        programs.call_all(program, tests, output_limit)
        os._exit(0)
    os._exit(programs.run_as_main(program))
