"""Sums of three numbers, `Work out 11 + 2 + 6, step by step:`, for pretrained models that are shown how to work.

    11 + 2 = 13. 13 + 6 = 19        one by one: each partial sum is said twice
    11 + 2 + 6 = 13 + 6 = 19        rewritten: what is left to add is carried along

An answer holds several decisions: the way, every sum, and where to stop. What follows the last `=` is the answer, so a
bare number is one, too. Openings begin with a blank: the prompt format must not end in one.
"""

import random
from dataclasses import dataclass
from typing import ClassVar

from oneshot.tasks.addition import operands
from oneshot.tasks.task import Problem, Task
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import verify_worked_answer


@dataclass(frozen=True)
class WorkedSum(Task):
    largest_first: int = 19
    """The first number lies between 2 and this one."""
    largest: int = 9
    """The others lie between 2 and this one."""

    name: ClassVar[str] = "worked_sum"
    limits: ClassVar[dict[str, tuple[float, float]]] = {"largest_first": (2, 99), "largest": (2, 99)}
    ways: ClassVar[dict[str, str]] = {"one_by_one": " {0} + {1} =", "rewritten": " {0} + {1} + {2} ="}

    def draw(self, rng: random.Random) -> Problem:
        numbers = [rng.randint(2, most) for most in (self.largest_first, self.largest, self.largest)]
        return Problem(self.name, f"Work out {' + '.join(map(str, numbers))}, step by step:", str(sum(numbers)))

    @classmethod
    def canonical(cls, problem: Problem) -> str:
        return operands(problem.prompt)

    @classmethod
    def opening(cls, way: str, problem: Problem) -> str:
        return cls.ways[way].format(*numbers_of(problem))

    @classmethod
    def gold(cls, problem: Problem) -> str:
        """One by one."""
        first, second, third = numbers_of(problem)
        return f" {first} + {second} = {first + second}. {first + second} + {third} = {problem.answer}"

    @classmethod
    def answer_in(cls, completion: str) -> str:
        return completion.rpartition("=")[2].strip().rstrip(".")

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        return verify_worked_answer(completion, problem.answer)


def numbers_of(problem: Problem) -> list[int]:
    """The three numbers of a problem, in its order."""
    return [int(word) for word in problem.prompt.removesuffix(", step by step:").split() if word.isdigit()]
