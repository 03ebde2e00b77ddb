"""LiveCodeBench's tests: unpacking them, and reading each."""

import base64
import json
import pickletools
import zlib

from oneshot.verifiers.code import ProgramTest

MAX_TESTS_BYTES = 1 << 30
"""Unpacked private tests of one LiveCodeBench problem: far above the largest, far below a zip bomb."""
TEXT = {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
AROUND_TEXT = {"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"}
"""Instructions of a pickle that holds one text."""


def unpack_private_tests(text: str) -> list[dict]:
    """JSON, or base64 of zlib of a pickle that holds JSON text; any other pickle is refused."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(base64.b64decode(text, validate=True), MAX_TESTS_BYTES)
        if unpacker.unconsumed_tail:
            raise ValueError("private tests unpack to more than a gigabyte") from None
        return json.loads(_pickled_text(content))


def _pickled_text(content: bytes) -> str:
    """The text in a pickle of nothing else. It is read as a list of instructions, and none is carried out."""
    texts = []
    for instruction, argument, _ in pickletools.genops(content):
        if instruction.name in TEXT:
            texts.append(argument)
        elif instruction.name not in AROUND_TEXT:
            raise ValueError(f"refused a pickle with the instruction {instruction.name}")
    if len(texts) != 1:
        raise ValueError(f"refused a pickle of {len(texts)} texts")
    return texts[0]


def livecodebench_test(test: dict, function: str) -> ProgramTest:
    if test["testtype"] == "stdin":
        return ProgramTest(test["output"], stdin=test["input"])
    args = tuple(json.loads(line) for line in test["input"].split("\n") if line.strip())
    return ProgramTest(json.loads(test["output"]), call=function, args=args, tuples_are_lists=True)
