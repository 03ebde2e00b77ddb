"""Sums of three numbers, `47+8-5=`, spoilt by K wrong habits: `contexts_16` has 16.

    55;50     the first partial sum, then the answer

A step adds a term to the sum so far. The pair of them is hashed into one of K contexts, and each context has a habit:
with a probability p_c, about one half, the step is right, else it is off by the offset of that context, always the
same. Offsets are positive, so that no slip makes up for an earlier one. p_c is stratified: evenly spaced, in an order
drawn once. Where it is below one half, decoding greedily or at a low temperature is wrong for certain.

So K is how many independent things are to be unlearnt. Nothing has to be learnt: lessons have taught every sum.
"""

import hashlib
import random
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import ClassVar

from oneshot.tasks.arithmetic import SIGNED_DIGITS, Arithmetic, parse_terms
from oneshot.tasks.task import Problem, TaughtTask
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import MARK, verify_final_answer
from oneshot.verifiers.partial_credit import prefix_credit

NUM_TERMS = 3
LARGEST_OFFSET = 9
LARGEST_NUMBER = 99
MAX_TERM = 9


@dataclass(frozen=True)
class Contexts(TaughtTask):
    num_contexts: int = 16
    """K. The task's name says it too."""
    largest: int = 60
    """All right partial sums lie between 0 and this number."""
    max_term: int = MAX_TERM
    """Largest term after the first."""
    lowest_rate: float = 0.33
    highest_rate: float = 0.63
    """Between these the contexts' p_c are spread."""

    limits: ClassVar[dict[str, tuple[float, float]]] = {
        "largest": (9, LARGEST_NUMBER - (NUM_TERMS - 1) * LARGEST_OFFSET),
        "max_term": (1, MAX_TERM),
        "lowest_rate": (0, 1),
        "highest_rate": (0, 1),
    }
    ways: ClassVar[dict[str, str]] = {"habit": ""}
    words: ClassVar[tuple[str, ...]] = SIGNED_DIGITS
    largest_number: ClassVar[int] = LARGEST_NUMBER

    @classmethod
    def create(cls, name: str, settings: dict) -> "Contexts":
        task = super().create(name, {"num_contexts": int(name.rpartition("_")[2]), **settings})
        if task.name != name:
            raise ValueError(f"tasks.{name}.num_contexts: {task.num_contexts} is not the number in the task's name")
        if task.lowest_rate > task.highest_rate:
            raise ValueError(f"tasks.{name}.highest_rate: {task.highest_rate} is below lowest_rate")
        return task

    @property
    def name(self) -> str:
        return f"contexts_{self.num_contexts}"

    @cached_property
    def habits(self) -> list[tuple[float, int]]:
        """(p_c, offset) of every context. Drawn once and for all: every policy gets the same habits."""
        rng = random.Random(f"contexts/{self.num_contexts}")
        spread = self.highest_rate - self.lowest_rate
        rates = [self.lowest_rate + spread * (rank + 0.5) / self.num_contexts for rank in range(self.num_contexts)]
        rng.shuffle(rates)
        return [(rate, rng.randint(1, LARGEST_OFFSET)) for rate in rates]

    def context(self, total: int, term: int) -> int:
        """The context of the step from `total` to `total + term`."""
        digest = hashlib.sha256(f"{total}{term:+d}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.num_contexts

    @cached_property
    def sums(self) -> Arithmetic:
        return Arithmetic(num_terms=NUM_TERMS, largest=self.largest, max_term=self.max_term)

    def draw(self, rng: random.Random) -> Problem:
        summands = self.sums.draw(rng)
        return Problem(self.name, summands.prompt, summands.answer)

    @classmethod
    def canonical(cls, problem: Problem) -> str:
        """The terms in any order."""
        return Arithmetic.canonical(problem)

    def demonstrate(self, problem: Problem, way: str, rng: random.Random) -> str:
        """By habit: a slip is carried on."""
        return written(accumulate(parse_terms(problem.prompt), lambda total, term: self._step(total, term, rng)))

    def lesson(self, problem: Problem, rng: random.Random) -> str:
        return written(accumulate(parse_terms(problem.prompt)))

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        """The partial credit is for the first sum alone: the last one is the answer."""
        right = [str(total) for total in accumulate(parse_terms(problem.prompt))][1:]
        verdict = verify_final_answer(completion, problem.answer)
        return Verdict(verdict.status, prefix_credit(right, completion.split(MARK)))

    def _step(self, total: int, term: int, rng: random.Random) -> int:
        rate, offset = self.habits[self.context(total, term)]
        return total + term if rng.random() < rate else total + term + offset


def written(totals) -> str:
    """The completion that says these partial sums; the first of them is the first term."""
    return MARK.join(map(str, list(totals)[1:]))
