"""Sums of two numbers, `47 + 85 =`, for pretrained models; the answer is the bare number."""

import random
from dataclasses import dataclass
from typing import ClassVar

from oneshot.tasks.task import Problem, Task
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import verify_bare_answer


@dataclass(frozen=True)
class Addition(Task):
    digits: int = 2
    """Digits of each number."""

    name: ClassVar[str] = "addition"

    def draw(self, rng: random.Random) -> Problem:
        one, other = (rng.randrange(10 ** (self.digits - 1), 10**self.digits) for _ in range(2))
        return Problem(self.name, f"{one} + {other} =", str(one + other))

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        return verify_bare_answer(completion, problem.answer)
