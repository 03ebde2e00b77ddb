"""Reports of children, read on the near side, which trusts nothing that a program sends."""

from dataclasses import dataclass, field, replace

from oneshot.sandbox.frames import ERROR, FRAME, LOADED, MEMORY, MISSING, OUTPUT, READY, TOO_LONG


@dataclass(frozen=True)
class Report:
    """The outcome of one child: its answers (kind, payload) in the order of the tests, and how it ended."""

    end: str
    """exit, timeout, or protocol (it sent something that is no frame)."""
    code: int
    """Exit code, or minus the signal that ended it."""
    cpu_seconds: float
    loaded: bool
    """Whether the program itself ran to its end, so that its functions could be called."""
    printed: bytes
    """The content of standard output at the end; empty if functions were called."""
    answers: list[tuple[bytes, bytes]] = field(default_factory=list)


def read_report(verdict: dict, frames: bytes, printed: bytes, num_tests: int) -> Report:
    """Read the frames in order, one per test. A malformed one ends the report with `protocol`, and is dropped."""
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

    A child of this kind sends frames only for failures; any other frame is forged.
    """
    if any(kind not in (ERROR, MEMORY, MISSING) for kind, _ in report.answers):
        return replace(report, end="protocol", answers=[])
    if len(report.printed) >= output_bytes:
        return replace(report, answers=[(TOO_LONG, b"")])
    if report.end == "exit" and report.code == 0 and not report.answers:
        return replace(report, answers=[(OUTPUT, report.printed)])
    return report
