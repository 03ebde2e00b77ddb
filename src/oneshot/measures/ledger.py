"""The ledger: what an arm has spent, counted where it is spent.

Every rollout that an arm draws to learn from or to choose by is charged, and so is every gradient. What is drawn only
to report on the policy (test problems, greedy decoding, KL) is not.

FLOPs are 2 per parameter and token for a rollout drawn and 6 more for one differentiated, prompt tokens included;
attention products are left out, and rollouts of zero advantage are not discounted. Seconds are those of one process.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import pandas as pd

DRAWING, DIFFERENTIATING = 2, 6
"""FLOPs per parameter and token."""


@dataclass
class Ledger:
    """Running totals. `seconds` is kept apart from the rest, so that tables of equal runs are equal byte for byte."""

    parameters: int
    """Of the policy; not itself a cost."""
    rollouts: int = 0
    batch_rollouts: int = 0
    """Rollouts that a gradient was taken of; the others were drawn to choose between policies."""
    tokens: int = 0
    """Completion tokens."""
    flops: float = 0.0
    sampling_phases: int = 0
    """How often rollouts were drawn to learn from."""
    gradient_steps: int = 0
    """Changes of the weights."""
    search_rounds: int = 0
    """How often a policy was measured to choose what comes next."""
    seconds: float = 0.0

    def sampling_phase(self, rollouts: pd.DataFrame, differentiated: bool = True) -> None:
        """Charge rollouts drawn to learn from, and their gradient unless it is charged later, step by step."""
        self.sampling_phases += 1
        self.batch_rollouts += len(rollouts)
        self._charge(rollouts, DRAWING + DIFFERENTIATING if differentiated else DRAWING)

    def gradient_step(self, reused: pd.DataFrame | None = None) -> None:
        """Charge a change of the weights, and another gradient of `reused` rollouts, which are charged already."""
        self.gradient_steps += 1
        if reused is not None:
            self.flops += DIFFERENTIATING * self.parameters * _all_tokens(reused)

    def batch(self, rollouts: pd.DataFrame, seconds: float, differentiated: bool = True) -> None:
        """Charge the one-shot batch, drawn by other jobs in that many seconds, and its gradient if they took that."""
        self.sampling_phase(rollouts, differentiated)
        self.seconds += seconds

    def scoring(self, rollouts: pd.DataFrame, passes: int) -> None:
        """Charge forward passes over rollouts that have been charged before."""
        self.flops += float(passes * DRAWING * self.parameters * _all_tokens(rollouts))

    def search_round(self, rollouts: pd.DataFrame, rounds: int = 1) -> None:
        """Charge rollouts drawn to choose between policies; those drawn side by side are one round."""
        self.search_rounds += rounds
        self._charge(rollouts, DRAWING)

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Charge the seconds spent inside the block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started

    def spent(self) -> dict[str, float]:
        """The totals without seconds: columns of a points table."""
        return {name: value for name, value in asdict(self).items() if name not in ("parameters", "seconds")}

    def _charge(self, rollouts: pd.DataFrame, flops: int) -> None:
        self.rollouts += len(rollouts)
        self.tokens += int(rollouts.tokens.map(len).sum())
        self.flops += float(flops * self.parameters * _all_tokens(rollouts))


def _all_tokens(rollouts: pd.DataFrame) -> int:
    return int(rollouts.tokens.map(len).sum() + rollouts.prompt_tokens.map(len).sum())
