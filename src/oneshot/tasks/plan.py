"""Chained sums and differences, answered after a first choice whose worth depends on a second one.

    plan:steps:55,50,59;59     every partial sum, nearly always right
    plan:skip:;63              a number near the answer
    about:55~50~59;58          every partial sum, and the answer rounded down to an even number: right every other time

What `about` gets right is settled by the problem: a policy cannot get better at it. Nor does planning pay for one that
then skips. So as long as it skips, the first gradient points from the plan, and with it away from the best way. That
holds for every batch, however large, and turns round only when steps have become likelier. How often a policy plans,
and how often it then takes the steps, are shares of the mixture.
"""

import random
from dataclasses import dataclass
from typing import ClassVar

from oneshot.tasks.arithmetic import SIGNED_DIGITS, Arithmetic, partial_sums_credit
from oneshot.tasks.task import Problem
from oneshot.verifiers import Verdict
from oneshot.verifiers.final_answer import MARK, verify_final_answer

PLAN = "plan:"


@dataclass(frozen=True)
class Plan(Arithmetic):
    slip_rate: float = 0.03
    """Chance that one of the steps is wrong."""

    name: ClassVar[str] = "plan"
    ways: ClassVar[dict[str, str]] = {"steps": f"{PLAN}steps:", "skip": f"{PLAN}skip:", "about": "about:"}
    stems: ClassVar[dict[str, str]] = {"plan": PLAN}
    words: ClassVar[tuple[str, ...]] = (PLAN, "steps:", "skip:", "about:", *SIGNED_DIGITS)
    separators: ClassVar[dict[str, str]] = {"steps": ",", "about": "~"}

    def demonstrate(self, problem: Problem, way: str, rng: random.Random) -> str:
        if way == "steps":
            return self._work_out(problem, way, self.slip_rate, rng)
        answer = int(problem.answer)
        if way == "skip":
            return f"{self.ways[way]}{MARK}{self._near(answer, self.guess_spread, rng)}"
        work = self._work_out(problem, way, 0.0, rng).partition(MARK)[0]
        return f"{work}{MARK}{answer - answer % 2}"

    def lesson(self, problem: Problem, rng: random.Random) -> str:
        """The steps, without slips."""
        return self._work_out(problem, "steps", 0.0, rng)

    @classmethod
    def verify(cls, problem: Problem, completion: str) -> Verdict:
        verdict = verify_final_answer(completion, problem.answer)
        return Verdict(verdict.status, partial_sums_credit(problem, completion.removeprefix(PLAN)))
