"""Chained sums and differences, `47+8-5+9=`, with three ways to answer of differing reliability.

    careful   steps:55,50,59;59     every partial sum, all of them right
    rough     about:55~51~60;60     every partial sum, with a slip now and then
    guess     maybe:;63             no work shown; a number near the answer

The final answer follows the `;`. A policy pretrained on a mixture of the three is right some of the
time, and the way that is nearly always right is not the one it prefers.

All prompts of a config have the same number of terms, so a small model learns in minutes where to look.
"""

import random
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from oneshot.tasks.task import Problem, TaughtTask
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import MARK, verify_final_answer
from oneshot.verifiers.partial_credit import prefix_credit

SIGNED_DIGITS = tuple(f"{term:+d}" for term in range(-9, 10) if term)
"""Terms after the first, as words: a model to which each is one token learns to add sooner."""


@dataclass(frozen=True)
class Arithmetic(TaughtTask):
    num_terms: int = 4
    largest: int = 99
    """All partial sums lie between 0 and this number."""
    max_term: int = 9
    """Largest term after the first."""
    slip_rate: float = 0.25
    """Chance that a step of the rough way is wrong."""
    guess_spread: int = 9
    """A guess is uniform within this distance of the answer."""

    name: ClassVar[str] = "arithmetic"
    limits: ClassVar[dict[str, tuple[float, float]]] = {"largest": (9, 99), "slip_rate": (0, 1)}
    ways: ClassVar[dict[str, str]] = {"careful": "steps:", "rough": "about:", "guess": "maybe:"}
    words: ClassVar[tuple[str, ...]] = tuple(ways.values())
    largest_number: ClassVar[int] = 99
    separators: ClassVar[dict[str, str]] = {"careful": ",", "rough": "~"}

    def draw(self, rng: random.Random) -> Problem:
        terms = [rng.randint(1, self.largest)]
        while len(terms) < self.num_terms:
            term = rng.randint(1, self.max_term) * rng.choice((1, -1))
            if 0 <= sum(terms) + term <= self.largest:
                terms.append(term)
        prompt = str(terms[0]) + "".join(f"{term:+d}" for term in terms[1:]) + "="
        return Problem(self.name, prompt, str(sum(terms)))

    @classmethod
    def canonical(cls, problem: Problem) -> str:
        """The terms in any order."""
        return " ".join(map(str, sorted(parse_terms(problem.prompt))))

    def demonstrate(self, problem: Problem, way: str, rng: random.Random) -> str:
        if way == "guess":
            return f"{self.ways[way]};{self._near(int(problem.answer), self.guess_spread, rng)}"
        return self._work_out(problem, way, self.slip_rate if way == "rough" else 0.0, rng)

    def lesson(self, problem: Problem, rng: random.Random) -> str:
        """An answer in one of the two ways that show their work, without slips."""
        return self._work_out(problem, rng.choice(("careful", "rough")), 0.0, rng)

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        verdict = verify_final_answer(completion, problem.answer)
        return Verdict(verdict.status, partial_sums_credit(problem, completion))

    def difficulty(self, problem: Problem) -> float:
        """The share of the steps that subtract."""
        terms = parse_terms(problem.prompt)[1:]
        return sum(term < 0 for term in terms) / len(terms)

    def _work_out(self, problem: Problem, way: str, slip_rate: float, rng: random.Random) -> str:
        terms = parse_terms(problem.prompt)
        partial_sums = list(accumulate(terms, lambda a, b: self._step(a, b, slip_rate, rng)))[1:]
        return f"{self.ways[way]}{self.separators[way].join(map(str, partial_sums))};{partial_sums[-1]}"

    def _step(self, total: int, term: int, slip_rate: float, rng: random.Random) -> int:
        slip = rng.choice((-10, -2, -1, 1, 2, 10)) if rng.random() < slip_rate else 0
        return min(max(total + term + slip, 0), self.largest)

    def _near(self, answer: int, spread: int, rng: random.Random) -> int:
        """Uniform over the possible answers within `spread` of the right one."""
        return rng.randint(max(answer - spread, 0), min(answer + spread, self.largest))


def partial_sums_credit(problem: Problem, completion: str) -> float:
    """Share of the partial sums that are right before the first wrong one."""
    right = [str(total) for total in accumulate(parse_terms(problem.prompt))][1:]
    work = completion.partition(MARK)[0].partition(":")[2]
    return prefix_credit(right, re.split("[,~]", work))


def parse_terms(prompt: str) -> list[int]:
    """The signed terms of a prompt: `47+8-5=` -> [47, 8, -5]."""
    return [int(term) for term in prompt.rstrip("=").replace("+", " +").replace("-", " -").split()]
