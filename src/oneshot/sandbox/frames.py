"""The protocol between the near and the far side of the sandbox: headers, frames, reports. Standard library only.

    settings   >I length, JSON: the syscall filter, and what else a zygote needs before its first program
    request    HEADER, then a JSON body that only the child reads, so that no program leaves a trace in the next
    report     REPORT, then JSON verdict on the process, its frames, and what it printed

A child sends one FRAME per test: (index, kind, payload). What it sends is trusted only as a value that some program
returned. Verdicts are made on the near side, which expected outputs never leave.
"""

import os
import struct

HEADER = struct.Struct(">QIddQQ")
"""Body bytes; number of tests; CPU and wall seconds per test; memory bytes; output bytes per test."""
REPORT = struct.Struct(">III")
"""Bytes of the verdict, of the frames, of what was printed."""
FRAME = struct.Struct(">IIc")
"""Payload bytes, index of the test, kind."""
VALUE, ERROR, MEMORY, MISSING, TOO_LONG = b"V", b"E", b"M", b"I", b"L"
"""Kinds of answers: the value of a call, or how it failed."""
OUTPUT = b"O"
"""The answer to a test on standard input. No child sends it: it is the content of standard output at the end."""
READY, LOADED = b"R", b"X"
"""Not answers: the request has been read; the program has run as a module."""
RESULTS = 3
"""The child's descriptor for frames; 0 is its standard input, 1 its standard output, 2 /dev/null."""
MAX_FRAMES_BYTES = 64 << 20
PAUSE_BYTES = 32 << 20
"""A child that has sent more than this leaves its remaining tests to another."""


def send(index: int, kind: bytes, payload: bytes = b"") -> int:
    """Send one frame; returns its size in bytes."""
    write_all(RESULTS, FRAME.pack(len(payload), index, kind) + payload)
    return FRAME.size + len(payload)


def skip_frames(frames: bytes | bytearray, offset: int) -> tuple[int, int]:
    """(offset after the last complete frame, number of frames skipped)."""
    count = 0
    while len(frames) - offset >= FRAME.size:
        end = offset + FRAME.size + FRAME.unpack_from(frames, offset)[0]
        if end > len(frames):
            break
        offset, count = end, count + 1
    return offset, count


def read_exactly(descriptor: int, count: int) -> bytes:
    """`count` bytes, or none if the stream ends before that."""
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
