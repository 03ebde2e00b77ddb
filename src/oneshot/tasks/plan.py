"""Chained sums and differences, answered after a first choice whose worth depends on a second one.

    plan:steps:55,50,59;59     every partial sum, nearly always right
    plan:skip:;63              a number near the answer
    about:;60                  a number next to the answer

A policy that plans but then skips does better not to plan. As long as it skips, the first gradient points from the
plan, and so away from the best way. That holds for every batch, however large, and turns round only when steps have
become likelier. How often the policy plans and how often it then takes the steps are shares of the mixture.
"""

import random
from dataclasses import dataclass
from typing import ClassVar

from oneshot.tasks.arithmetic import Arithmetic, partial_sums_credit
from oneshot.tasks.task import Problem
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import MARK, verify_final_answer

PLAN = "plan:"


@dataclass(frozen=True)
class Plan(Arithmetic):
    slip_rate: float = 0.03
    """Chance that one of the steps is wrong."""
    skip_spread: int = 9
    """After a skip the answer is uniform within this distance of the right one."""
    about_spread: int = 1
    """After `about` the answer is uniform within this distance of the right one."""

    name: ClassVar[str] = "plan"
    ways: ClassVar[dict[str, str]] = {"steps": f"{PLAN}steps:", "skip": f"{PLAN}skip:", "about": "about:"}
    stems: ClassVar[dict[str, str]] = {"plan": PLAN}
    words: ClassVar[tuple[str, ...]] = (PLAN, "steps:", "skip:", "about:")
    separators: ClassVar[dict[str, str]] = {"steps": ","}

    def demonstrate(self, problem: Problem, way: str, rng: random.Random) -> str:
        if way == "steps":
            return self._work_out(problem, way, self.slip_rate, rng)
        spread = self.skip_spread if way == "skip" else self.about_spread
        return f"{self.ways[way]}{MARK}{self._near(int(problem.answer), spread, rng)}"

    def lesson(self, problem: Problem, rng: random.Random) -> str:
        """The steps, without slips."""
        return self._work_out(problem, "steps", 0.0, rng)

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        verdict = verify_final_answer(completion, problem.answer)
        return Verdict(verdict.status, partial_sums_credit(problem, completion.removeprefix(PLAN)))
