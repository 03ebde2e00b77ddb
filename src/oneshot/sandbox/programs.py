"""Running one program inside a child that is already confined. Standard library only.

A test on standard input has its own process, in which the program runs and ends as with `python file.py < input`:
other threads are waited for, exit handlers run, remaining objects are finalised, streams are flushed. Calls of
functions share one process and one module, which is not `__main__`, as in the graders of the benchmarks.
"""

import atexit
import gc
import io
import json
import os
import sys
import types

from oneshot.sandbox.encoding import decode, encode
from oneshot.sandbox.frames import ERROR, LOADED, MEMORY, MISSING, PAUSE_BYTES, TOO_LONG, VALUE, send

PRELUDE_END = "\n# The program begins here.\n"
"""Ends a prelude. The program after it is compiled separately, so that it may begin with `from __future__`."""
FILE_NAME = "program.py"
NOWHERE = 4
"""A spare descriptor of /dev/null for programs that are called."""
MAX_TRACED = 2000


def run_as_main(program: str) -> int:
    """Run a program as the interpreter runs a file; returns the exit code. A failure is sent as answer to test 0."""
    open_streams()
    sys.argv[:] = [FILE_NAME]
    try:
        execute(program, new_module("__main__", __file__=FILE_NAME))
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException as error:
        send(0, *failure(error))
        code = 1
    return finish(code) & 0xFF


def finish(code: int) -> int:
    """Do what the interpreter does at exit, in its order (Py_FinalizeEx), except free memory; returns the exit code."""
    if "threading" in sys.modules:
        quietly(sys.modules["threading"]._shutdown)
    quietly(atexit._run_exitfuncs)
    flushed = flush()
    sys.stdin, sys.stdout = sys.__stdin__, sys.__stdout__
    sys.modules.pop("__main__", None)
    quietly(gc.collect)
    quietly(flush)
    return code if flushed else 120


def quietly(function) -> None:
    try:
        function()
    except BaseException:  # the interpreter reports it on standard error and goes on
        return


def flush() -> bool:
    """Flush standard output unless it is closed; false if that fails."""
    try:
        if sys.stdout is not None and not getattr(sys.stdout, "closed", False):
            sys.stdout.flush()
    except BaseException:
        return False
    return True


def open_streams() -> None:
    """Open the streams on descriptors 0 and 1. `__stdin__` and `__stdout__` keep the buffers open if a program wraps
    them anew."""
    reader = io.BufferedReader(io.FileIO(0, closefd=False))
    writer = io.BufferedWriter(io.FileIO(1, "w", closefd=False))
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(reader, "utf-8", "surrogateescape")
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(writer, "utf-8", "surrogateescape")
    sys.stdin.mode, sys.stdout.mode = "r", "w"  # read by templates for fast reading and printing


def new_module(name: str, **attributes) -> types.ModuleType:
    module = sys.modules[name] = types.ModuleType(name)
    vars(module).update(attributes)
    return module


def execute(program: str, module: types.ModuleType) -> dict:
    """Run a program in a module, its prelude first; returns the names that the prelude defined."""
    prelude, end, rest = program.partition(PRELUDE_END)
    names = {}
    if end:
        exec(compile(prelude, "<prelude>", "exec", dont_inherit=True), vars(module))
        names, program = dict(vars(module)), rest
    program = program.removeprefix("\ufeff")  # as the interpreter does with a file
    exec(compile(program, "<program>", "exec", dont_inherit=True), vars(module))
    return names


def call_all(program: str, tests: list[dict], output_limit: int) -> None:
    """Run the program once as a module, then call its function for every test."""
    open_streams()
    new_module("__main__")
    module = new_module("solution", __file__="solution.py")
    try:
        given = execute(program, module)
    except BaseException as error:
        for index in range(len(tests)):
            send(index, *failure(error))
        return
    sent = send(0, LOADED)
    for index, test in enumerate(tests):
        os.dup2(NOWHERE, 0)
        os.dup2(NOWHERE, 1)
        open_streams()
        sent += send(index, *answer(module, given, test, output_limit))
        if sent > PAUSE_BYTES:
            return


def answer(module: types.ModuleType, given: dict, test: dict, output_limit: int) -> tuple[bytes, bytes]:
    """Kind and payload: the encoded value of one call, or how it failed."""
    try:
        function, arguments = find(module, given, test["call"]), map(decode, test["args"])
        value = traced(function, arguments) if test.get("traced") else function(*arguments)
        payload = json.dumps(encode(value)).encode()
        return (VALUE, payload) if len(payload) <= output_limit else (TOO_LONG, b"")
    except BaseException as error:
        return failure(error)


def find(module: types.ModuleType, given: dict, name: str):
    """The method `name` of the program's class Solution, or its function `name`. Raises AttributeError if there is none
    but the prelude's."""
    solution = getattr(module, "Solution", None)
    if hasattr(solution, name):
        return getattr(solution(), name)
    function = getattr(module, name)
    if name in given and given[name] is function:
        raise AttributeError(name)
    return function


def traced(function, arguments) -> list:
    """The values that the program's local variables took while the function ran, in order, and its result."""
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
    """(kind, payload) of the frame for an exception of the program."""
    if isinstance(error, MemoryError):
        return MEMORY, b""
    kind = MISSING if type(error) is ModuleNotFoundError else ERROR
    name = type.__getattribute__(type(error), "__name__")
    return kind, name.encode(errors="replace")[:100]
