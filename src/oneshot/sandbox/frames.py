"""What passes between the near and the far side of the sandbox: headers, frames, reports. Standard library only.

    settings   >I length, JSON: the syscall filter, and what else a zygote has to know before its first program
    request    HEADER, then a JSON body that only the child reads, so that no program leaves a trace in the next
    report     REPORT, then JSON verdict on the process, its frames, and what it printed

A child sends one FRAME a test: (index, kind, payload). Nothing it sends is believed to be more than a value that some
program returned; what is right is decided on the near side, where expected outputs never leave.
"""

import os
import struct

HEADER = struct.Struct(">QIddQQ")
"""Body bytes; number of tests; CPU seconds a test, wall seconds a test; memory bytes; output bytes a test."""
REPORT = struct.Struct(">III")
"""Bytes of the verdict, of the frames, of what was printed."""
FRAME = struct.Struct(">IIc")
"""Payload bytes, index of the test, kind."""
VALUE, ERROR, MEMORY, MISSING, TOO_LONG = b"V", b"E", b"M", b"I", b"L"
"""Kinds of answers: the value of a call, or how it failed."""
OUTPUT = b"O"
"""The answer to a test on standard input. No child sends it: it is what stood on standard output at the end."""
READY, LOADED = b"R", b"X"
"""Not answers: the request has been read; the program has run as a module."""
RESULTS = 3
"""The child's descriptor for frames; 0 is its standard input, 1 what it prints, 2 nowhere."""
MAX_FRAMES_BYTES = 64 << 20
PAUSE_BYTES = 32 << 20
"""A child that has sent so much leaves the tests that are left to another."""


def send(index: int, kind: bytes, payload: bytes = b"") -> int:
    """Send one frame; its size."""
    write_all(RESULTS, FRAME.pack(len(payload), index, kind) + payload)
    return FRAME.size + len(payload)


def skip_frames(frames: bytes | bytearray, offset: int) -> tuple[int, int]:
    """The offset behind the last complete frame, and how many were skipped."""
    count = 0
    while len(frames) - offset >= FRAME.size:
        end = offset + FRAME.size + FRAME.unpack_from(frames, offset)[0]
        if end > len(frames):
            break
        offset, count = end, count + 1
    return offset, count


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
