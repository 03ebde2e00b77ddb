"""What came back from a child, read on the near side, where nothing that a program sends is believed."""

from dataclasses import dataclass, field, replace

from oneshot.sandbox.frames import ERROR, FRAME, LOADED, MEMORY, MISSING, OUTPUT, READY, TOO_LONG


@dataclass(frozen=True)
class Report:
    """What became of one child: its answers by test index (kind, payload), and its end."""

    end: str
    """exit, timeout, or protocol (it sent what is no frame)."""
    code: int
    """Exit code; minus the signal where one ended it."""
    cpu_seconds: float
    loaded: bool
    """The program itself ran to its end, and functions could be called."""
    printed: bytes
    """What stood on standard output when it ended; nothing where functions were called."""
    answers: list[tuple[bytes, bytes]] = field(default_factory=list)


def read_report(verdict: dict, frames: bytes, printed: bytes, num_tests: int) -> Report:
    """Frames in their order, one a test; whatever is malformed makes the end `protocol` and is dropped."""
    answers, loaded, offset, end = [], False, 0, verdict["end"]
    while offset < len(frames):
        header = frames[offset : offset + FRAME.size]
        size, index, kind = FRAME.unpack(header) if len(header) == FRAME.size else (-1, 0, b"")
        payload = frames[offset + FRAME.size : offset + FRAME.size + size]
        if size < 0 or len(payload) < size or (kind not in (READY, LOADED) and index != len(answers)):
            end = "protocol"
            break
        offset += FRAME.size + size
        loaded |= kind == LOADED
        if kind not in (READY, LOADED):
            answers.append((kind, payload))
    if len(answers) > num_tests:
        end, answers = "protocol", answers[:num_tests]
    return Report(end, verdict["code"], verdict["cpu_seconds"], loaded, printed, answers)


def as_program(report: Report, output_bytes: int) -> Report:
    """The report on a program that reads and prints: its answer is what it printed, if it ended well.

    A child of this kind sends frames for failures only; another frame is forged.
    """
    if any(kind not in (ERROR, MEMORY, MISSING) for kind, _ in report.answers):
        return replace(report, end="protocol", answers=[])
    if len(report.printed) >= output_bytes:
        return replace(report, answers=[(TOO_LONG, b"")])
    if report.end == "exit" and report.code == 0 and not report.answers:
        return replace(report, answers=[(OUTPUT, report.printed)])
    return report
