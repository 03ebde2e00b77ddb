"""Verifiers: completion in, verdict out. Nothing here knows a model or a task."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What became of a completion. Only `CORRECT` is paid."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"
    """No answer where one was to be."""
    TIMEOUT = "timeout"
    """More CPU time than allowed, or asleep for long."""
    ERROR = "error"
    """The program raised, crashed, or could not be compiled."""
    MISSING_MODULE = "missing_module"
    """The program imports what is not there: neither of the standard library nor given to it."""
    MEMORY = "memory"
    OUTPUT_LIMIT = "output_limit"
    FORGED = "forged"
    """What came back from the sandbox was not in the sandbox's own form."""


@dataclass(frozen=True)
class Verdict:
    status: Status
    partial: float = 0.0
    """How far a wrong answer got, 0 to 1; 0 where only right or wrong is asked."""

    @property
    def reward(self) -> float:
        """The binary reward: 1.0 for a correct completion, else 0.0, whatever the partial credit."""
        return float(self.status is Status.CORRECT)

    @property
    def credit(self) -> float:
        """1.0 for a correct completion, else its partial credit."""
        return self.reward or self.partial
