"""LiveCodeBench's tests: unpacking them, and reading each."""

import base64
import io
import json
import pickle
import zlib
from typing import Any

from oneshot.verifiers.code import ProgramTest

MAX_TESTS_BYTES = 1 << 30
"""Unpacked private tests of one LiveCodeBench problem: far above the largest, far below a zip bomb."""


def unpack_private_tests(text: str) -> list[dict]:
    """JSON, or base64 of zlib of a pickle that holds JSON text; any other pickle is refused."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(text, validate=True), MAX_TESTS_BYTES)
        if unpacker.unconsumed_tail:
            raise ValueError("private tests unpack to more than a gigabyte") from None
        return json.loads(_StringUnpickler(io.BytesIO(content)).load())


class _StringUnpickler(pickle.Unpickler):
    """Loads text and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"refused to load {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("refused to load a persistent object")

    def load(self) -> str:
        loaded = super().load()
        if not isinstance(loaded, str):
            raise pickle.UnpicklingError(f"refused a pickle of {type(loaded).__name__}")
        return loaded


def livecodebench_test(test: dict, function: str) -> ProgramTest:
    if test["testtype"] == "stdin":
        return ProgramTest(test["output"], stdin=test["input"])
    args = tuple(json.loads(line) for line in test["input"].split("\n") if line.strip())
    return ProgramTest(json.loads(test["output"]), call=function, args=args, tuples_are_lists=True)
