"""Sort a handful of letters, `sort:dacb=` -> `;abcd`: the unrelated task on which retention is measured.

It shares only its answer format with arithmetic. It is part of the pretraining mixture, but no arm is
ever trained on it.
"""

import random
from dataclasses import dataclass
from typing import ClassVar

from oneshot.tasks.task import Problem, TaughtTask
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import verify_final_answer

LETTERS = "abcdefghijklmnop"


@dataclass(frozen=True)
class Sorting(TaughtTask):
    min_letters: int = 4
    max_letters: int = 6

    name: ClassVar[str] = "sorting"
    limits: ClassVar[dict[str, tuple[float, float]]] = {"max_letters": (1, len(LETTERS))}
    ways: ClassVar[dict[str, str]] = {"direct": ";"}
    words: ClassVar[tuple[str, ...]] = ("sort:",)

    def draw(self, rng: random.Random) -> Problem:
        letters = rng.sample(LETTERS, rng.randint(self.min_letters, self.max_letters))
        return Problem(self.name, f"sort:{''.join(letters)}=", "".join(sorted(letters)))

    @classmethod
    def canonical(cls, problem: Problem) -> str:
        """The letters in any order."""
        return problem.answer

    def demonstrate(self, problem: Problem, way: str, rng: random.Random) -> str:
        return f"{self.ways[way]}{problem.answer}"

    def lesson(self, problem: Problem, rng: random.Random) -> str:
        return self.demonstrate(problem, "direct", rng)

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        return verify_final_answer(completion, problem.answer)
