"""Verifiers: completion in, verdict out. Nothing here knows a model or a task."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The outcome of a completion. Only `CORRECT` is rewarded."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"
    """No answer in the expected format."""
    TIMEOUT = "timeout"
    """More CPU time than allowed, or asleep for too long."""
    ERROR = "error"
    """The program raised, crashed, or could not be compiled."""
    MISSING_MODULE = "missing_module"
    """The program imports a module that is neither in the standard library nor given to it."""
    MEMORY = "memory"
    OUTPUT_LIMIT = "output_limit"
    FORGED = "forged"
    """The reply from the sandbox was not in the sandbox's own format."""


@dataclass(frozen=True)
class Verdict:
    status: Status
    partial: float = 0.0
    """Partial credit for a wrong answer, 0 to 1; 0 if the task gives none."""

    @property
    def reward(self) -> float:
        """The binary reward: 1.0 for a correct completion, else 0.0, whatever the partial credit."""
        return float(self.status is Status.CORRECT)

    @property
    def credit(self) -> float:
        """1.0 for a correct completion, else its partial credit."""
        return self.reward or self.partial
