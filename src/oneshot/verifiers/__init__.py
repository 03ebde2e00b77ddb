"""Verifiers: completion in, verdict out. Nothing here knows a model or a task."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What became of a completion. Only `CORRECT` is paid."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"


@dataclass(frozen=True)
class Verdict:
    status: Status

    @property
    def reward(self) -> float:
        """1.0 for a correct completion, else 0.0."""
        return float(self.status is Status.CORRECT)
