"""The far side of the sandbox: a small process that forks one child a program. Standard library only.

Started by `oneshot.sandbox.workers` as `python -c <this text>`, confined before it meets a program (by bubblewrap
around it, or by Landlock from within), and fed through file descriptor 0:

    settings   >I length, JSON: the syscall filter, and where Landlock is to be had if it is needed
    request    HEADER, then a JSON body that only the child reads, so that no program leaves a trace in the next
    report     >III lengths on file descriptor 1: JSON verdict on the process, frames, what it printed last

A child sends one FRAME a test: (index, kind, payload). Nothing it sends is believed to be more than a value that some
program returned; what is right is decided on the near side, where expected outputs never leave.
"""

import base64
import collections
import ctypes
import gc
import io
import json
import os
import random
import resource
import select
import signal
import struct
import sys
import time
import types

HEADER = struct.Struct(">QddQQ")
"""Body bytes; CPU seconds a test, wall seconds a test; memory bytes; output bytes a test."""
FRAME = struct.Struct(">IIc")
"""Payload bytes, index of the test, kind."""
VALUE, OUTPUT, ERROR, MEMORY, TOO_LONG, READY, LOADED = b"V", b"O", b"E", b"M", b"L", b"R", b"X"
RESULTS = 3
"""The child's descriptor for frames; 0 is its standard input, 1 what it prints, 2 nowhere."""
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 1, 22, 38, 2
CONTAINERS = {kind.__name__: kind for kind in (list, tuple, set, frozenset, collections.deque)}
MAX_DEPTH = 50
MAX_TRACED = 2000
MAX_HASHED = 20_000
"""Entries of a set or dict that are built from an answer: entries can be made to collide."""
MAX_FRAMES_BYTES = 64 << 20


def main() -> None:
    (length,) = struct.unpack(">I", read_exactly(0, 4))
    settings = json.loads(read_exactly(0, length))
    confine(settings)
    null = os.open("/dev/null", os.O_RDWR)
    syscall_filter = base64.b64decode(settings["filter"])
    for module in settings["preload"]:
        __import__(module)
    gc.freeze()
    while header := read_exactly(0, HEADER.size):
        report, frames, printed = run(HEADER.unpack(header), null, syscall_filter)
        verdict = json.dumps(report).encode()
        write_all(1, struct.pack(">III", len(verdict), len(frames), len(printed)) + verdict + frames + printed)


def confine(settings: dict) -> None:
    """Landlock, where bubblewrap does not already hide everything: reading the interpreter's own files, no more."""
    if settings["landlock"]:
        sys.path.insert(0, settings["site"])
        import sandlock

        readable = [path for path in settings["readable"] if os.path.exists(path)]
        degradable = list(sandlock.Protection)
        sandlock.confine(sandlock.Sandbox(fs_readable=readable, fs_writable=["/dev/null"], allow_degraded=degradable))
        sys.path.remove(settings["site"])


def run(header: tuple, null: int, syscall_filter: bytes) -> tuple[dict, bytes, bytes]:
    """One child from fork to grave."""
    length, cpu_limit, wall_limit, memory_limit, output_limit = header
    results, results_end = os.pipe()
    printed = os.memfd_create("printed")
    pid = os.fork()
    if pid == 0:
        try:
            live(length, memory_limit, output_limit, null, results_end, printed, syscall_filter)
        finally:
            os._exit(70)  # whatever happens, a child never returns into the loop
    os.close(results_end)
    try:
        report, frames = watch(pid, results, cpu_limit, wall_limit)
        return report, frames, os.pread(printed, output_limit, 0)
    finally:
        os.close(results)
        os.close(printed)


def watch(pid: int, results: int, cpu_limit: float, wall_limit: float) -> tuple[dict, bytes]:
    """Collect the child's frames; kill it when a test takes too long. CPU time counts, so load changes no verdict."""
    frames, complete, end = bytearray(), 0, None
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
            if len(frames) > MAX_FRAMES_BYTES:
                end = "protocol"
            arrived = skip_frames(frames, complete)
            if arrived > complete:
                complete, wall_start = arrived, time.monotonic()
                cpu_start = time.clock_gettime(clock)
        elif pidfd in ready:
            end = "exit"
        elif time.clock_gettime(clock) - cpu_start > cpu_limit or time.monotonic() - wall_start > wall_limit:
            end = "timeout"
    os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    os.close(pidfd)
    if not frames.startswith(FRAME.pack(0, 0, READY)):
        sys.exit("the child died before it had read its request")  # the stream is out of step: start afresh
    return {
        "end": end,
        "code": os.waitstatus_to_exitcode(status),
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }, bytes(frames)


def skip_frames(frames: bytearray, offset: int) -> int:
    """The offset behind the last complete frame."""
    while len(frames) - offset >= FRAME.size:
        end = offset + FRAME.size + FRAME.unpack_from(frames, offset)[0]
        if end > len(frames):
            break
        offset = end
    return offset


def live(length, memory_limit, output_limit, null, results, printed, syscall_filter) -> None:
    """The child: read the request, lock the doors, run the tests one after another."""
    request = json.loads(read_exactly(0, length))
    tests = request["tests"]
    os.dup2(null, 0)
    os.dup2(printed, 1)
    os.dup2(null, 2)
    os.dup2(results, RESULTS)
    os.closerange(RESULTS + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    inputs = [in_memory(test["stdin"].encode(errors="surrogatepass")) if "stdin" in test else None for test in tests]
    send(0, READY)
    random.seed(0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    set_limits(memory_limit, output_limit)
    load_filter(syscall_filter)
    if "call" in tests[0]:
        call_all(request["program"], tests, output_limit)
    else:
        for index, descriptor in enumerate(inputs):
            os.dup2(descriptor, 0)
            answer(index, output_limit, run_as_main, request["program"], output_limit)
    os._exit(0)


def call_all(program: str, tests: list[dict], output_limit: int) -> None:
    """Run the program once as a module, then call its function for every test."""
    module = fresh_main()
    try:
        exec(compile(program, "<program>", "exec"), module.__dict__)
    except BaseException as error:
        for index in range(len(tests)):
            send(index, *failure(error))
        return
    send(0, LOADED)
    for index, test in enumerate(tests):
        answer(index, output_limit, call, module, test, output_limit)


def answer(index: int, output_limit: int, respond, *arguments) -> None:
    """Send what `respond` gives as the frame of this test, or how it failed."""
    os.ftruncate(1, 0)
    os.lseek(1, 0, os.SEEK_SET)
    try:
        kind, payload = respond(*arguments)
    except BaseException as error:
        kind, payload = failure(error)
    if kind == ERROR and os.fstat(1).st_size >= output_limit:
        kind, payload = TOO_LONG, b""
    send(index, kind, payload)


def run_as_main(program: str, output_limit: int) -> tuple[bytes, bytes]:
    """A stdin program, as if started from a shell: the same bytes through sys.stdin, its buffer, and descriptor 0."""
    os.lseek(0, 0, os.SEEK_SET)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8", "surrogateescape")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", "surrogateescape")
    try:
        exec(compile(program, "<program>", "exec"), fresh_main().__dict__)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
    sys.stdout.flush()
    return OUTPUT, os.pread(1, output_limit, 0)


def call(module: types.ModuleType, test: dict, output_limit: int) -> tuple[bytes, bytes]:
    """The method `name` of the program's class Solution, or its function `name`, on fresh arguments.

    Methods first: a prelude of star imports may hold a function of that name.
    """
    name, solution = test["call"], getattr(module, "Solution", None)
    function = getattr(solution() if hasattr(solution, name) else module, name)
    arguments = map(decode, test["args"])
    value = traced(function, arguments) if test.get("traced") else function(*arguments)
    payload = json.dumps(encode(value)).encode()
    return (VALUE, payload) if len(payload) <= output_limit else (TOO_LONG, b"")


def traced(function, arguments) -> list:
    """What the program's local variables became while the function ran, in order."""
    values, seen = [], {}

    def look(frame, event, _):
        if frame.f_code.co_filename != "<program>" or len(values) > MAX_TRACED:
            return None
        for name, value in frame.f_locals.items():
            now = json.dumps(encode(value))
            if event != "call" and seen.get((id(frame), name)) != now:
                values.append(json.loads(now))
            seen[id(frame), name] = now
        return look

    sys.settrace(look)
    try:
        result = function(*arguments)
    finally:
        sys.settrace(None)
    return [*map(decode, values), result]


def failure(error: BaseException) -> tuple[bytes, bytes]:
    if isinstance(error, MemoryError):
        return MEMORY, b""
    name = type.__getattribute__(type(error), "__name__")
    return ERROR, name.encode(errors="replace")[:100]


class Other(str):
    """Stands for a value that has no tag: the name of its type."""


def encode(value, depth: int = 0):
    """A value as tagged JSON, by its exact type; what has no tag is sent as the name of its type alone."""
    kind = type(value)
    if depth > MAX_DEPTH:
        raise RecursionError
    if value is None or kind is bool:
        return value
    if kind is int:
        return {"int": hex(value)}
    if kind is float:
        return {"float": value.hex()}
    if kind is str:
        return value
    if kind is complex:
        return {"complex": [value.real.hex(), value.imag.hex()]}
    if kind is bytes:
        return {"bytes": value.hex()}
    if kind in CONTAINERS.values():
        return {kind.__name__: [encode(item, depth + 1) for item in value]}
    if kind in (dict, collections.Counter, collections.OrderedDict, collections.defaultdict):
        return {"dict": [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]}
    return {"other": str(type.__getattribute__(kind, "__name__"))[:100]}


def decode(value):
    """The value behind tagged JSON. Raises all sorts of errors on what `encode` did not write."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind in ("set", "frozenset", "dict") and len(content) > MAX_HASHED:
        raise ValueError(f"a {kind} of {len(content)} entries")
    if kind == "int":
        return int(content, 16)
    if kind == "float":
        return float.fromhex(content)
    if kind == "complex":
        return complex(*map(float.fromhex, content))
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "dict":
        return {decode(key): decode(item) for key, item in content}
    if kind == "other":
        return Other(content)
    return CONTAINERS[kind](map(decode, content))


def fresh_main() -> types.ModuleType:
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    return module


def in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("stdin")
    write_all(descriptor, content)
    return descriptor


def set_limits(memory_limit: int, output_limit: int) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, memory_limit),
        (resource.RLIMIT_FSIZE, output_limit),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(limit, (value, value))


def load_filter(program: bytes) -> None:
    """Die with the zygote, gain no privileges, then the seccomp filter (compiled by libseccomp on the near side)."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    compiled = Program(len(program) // 8, program)
    for option, *values in (
        (PR_SET_PDEATHSIG, signal.SIGKILL, 0),
        (PR_SET_NO_NEW_PRIVS, 1, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(compiled)),
    ):
        if libc.prctl(option, *values, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl {option}")


def send(index: int, kind: bytes, payload: bytes = b"") -> None:
    write_all(RESULTS, FRAME.pack(len(payload), index, kind) + payload)


def read_exactly(descriptor: int, count: int) -> bytes:
    """`count` bytes, or none at the end of the stream."""
    content = bytearray()
    while len(content) < count:
        chunk = os.read(descriptor, min(count - len(content), 1 << 20))
        if not chunk:
            return b""
        content += chunk
    return bytes(content)


def write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    main()
