"""Sums of two numbers, `47 + 85 =`, for pretrained models; the answer is the bare number."""

import random
import re
from dataclasses import dataclass
from typing import ClassVar

from oneshot.tasks.task import Problem, Task
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import verify_bare_answer


def operands(prompt: str) -> str:
    """The numbers of a prompt in any order, without signs: the canonical form of sums, whatever their wording."""
    return " ".join(sorted(re.findall(r"\d+", prompt)))


@dataclass(frozen=True)
class Addition(Task):
    digits: int = 2
    """Digits of each number."""

    name: ClassVar[str] = "addition"

    def draw(self, rng: random.Random) -> Problem:
        one, other = (rng.randrange(10 ** (self.digits - 1), 10**self.digits) for _ in range(2))
        return Problem(self.name, f"{one} + {other} =", str(one + other))

    @classmethod
    def canonical(cls, problem: Problem) -> str:
        return operands(problem.prompt)

    @classmethod
    def gold(cls, problem: Problem) -> str:
        return f" {problem.answer}"

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        return verify_bare_answer(completion, problem.answer)
