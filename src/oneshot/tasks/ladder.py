"""Sums of two to eight numbers, `47a8b5=`, whose right way gets ever rarer with their length.

    careful   steps2:A55B60;60     every partial sum, after the letter of the term that it adds
    hasty     maybe:;47            the first number, which is never right

The careful way has an opening of its own for every two lengths (`steps2:` for two and three numbers, `steps4:`, …). Its
share falls by a constant factor from each length to the next, to so little that a policy is never seen to be right on
long sums, in however many tries. Lessons have taught it every length: what is short is not skill, but a first example.
Letters name the terms, and a term with its letter is one token, so that a small model learns to find them.
"""

import random
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from oneshot.tasks.addition import operands
from oneshot.tasks.task import Problem, TaughtTask
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import MARK, verify_final_answer
from oneshot.verifiers.partial_credit import prefix_credit

FEWEST, MOST = 2, 8
LETTERS = "abcdefg"
CAPITALS = LETTERS.upper()
MAX_TERM = 9
LARGEST = 99
HASTY = "maybe:"
CAREFUL = {length: f"steps{length - length % 2}:" for length in range(FEWEST, MOST + 1)}
"""Number of terms -> the opening of the careful way."""


@dataclass(frozen=True)
class Ladder(TaughtTask):
    fall: float = 0.1
    """The careful way's share on sums of one more number, over that on these."""

    name: ClassVar[str] = "ladder"
    limits: ClassVar[dict[str, tuple[float, float]]] = {"fall": (0, 1)}
    ways: ClassVar[dict[str, str]] = {"careful": "steps", "hasty": HASTY}
    words: ClassVar[tuple[str, ...]] = (
        *dict.fromkeys(CAREFUL.values()),
        HASTY,
        *(f"{letter}{term}" for letter in LETTERS for term in range(1, MAX_TERM + 1)),
    )
    largest_number: ClassVar[int] = LARGEST

    def draw(self, rng: random.Random) -> Problem:
        added = [rng.randint(1, MAX_TERM) for _ in range(rng.randint(FEWEST, MOST) - 1)]
        first = rng.randint(1, LARGEST - sum(added))
        prompt = str(first) + "".join(f"{letter}{term}" for letter, term in zip(LETTERS, added, strict=False)) + "="
        return Problem(self.name, prompt, str(first + sum(added)))

    @classmethod
    def canonical(cls, problem: Problem) -> str:
        """The numbers in any order."""
        return operands(problem.prompt)

    @classmethod
    def opening(cls, way: str, problem: Problem) -> str:
        return CAREFUL[len(parse_numbers(problem.prompt))] if way == "careful" else HASTY

    def demonstrate(self, problem: Problem, way: str, rng: random.Random) -> str:
        numbers = parse_numbers(problem.prompt)
        if way == "hasty":
            return f"{HASTY}{MARK}{numbers[0]}"
        sums = list(accumulate(numbers))[1:]
        work = "".join(f"{letter}{total}" for letter, total in zip(CAPITALS, sums, strict=False))
        return f"{self.opening(way, problem)}{work}{MARK}{sums[-1]}"

    def lesson(self, problem: Problem, rng: random.Random) -> str:
        return self.demonstrate(problem, "careful", rng)

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        right = list(accumulate(parse_numbers(problem.prompt)))[1:]
        found = [int(total) for total in re.findall(f"[{CAPITALS}](\\d\\d?)", completion.partition(MARK)[0])]
        return Verdict(verify_final_answer(completion, problem.answer).status, prefix_credit(right, found))

    def difficulty(self, problem: Problem) -> float:
        """1 - fall^(n - 2) for n numbers: a way whose share ends at 0 falls by the factor `fall` from n to n + 1."""
        return 1 - self.fall ** (len(parse_numbers(problem.prompt)) - FEWEST)


def parse_numbers(prompt: str) -> list[int]:
    """The numbers of a prompt, in order: `47a8b5=` -> [47, 8, 5]."""
    return [int(number) for number in re.findall(r"\d+", prompt)]
