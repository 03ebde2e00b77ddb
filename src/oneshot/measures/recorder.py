"""The recorder: measures a policy at the points of its arm and collects the rows."""

from dataclasses import dataclass, field

import pandas as pd

from oneshot.arms import ArmTables
from oneshot.engines.protocol import Engine
from oneshot.measures.evaluate import TRIES, Examination, Measurement, measure
from oneshot.measures.ledger import Ledger
from oneshot.measures.voting import majority
from oneshot.policies.models import Policy
from oneshot.statistics import pass_at_k

MOST_VOTES = 64


@dataclass
class Recorder:
    """Gives every arm the same examinations, under the same noise."""

    engine: Engine
    base: Policy
    examinations: dict[str, Examination]
    """Split -> examination; `test` and `retention` among them."""
    ledger: Ledger
    tables: ArmTables = field(default_factory=ArmTables)

    def look(
        self,
        point: float,
        splits: tuple[str, ...] = ("validation", "test"),
        *,
        chosen: bool = False,
        temperature: float | None = None,
        drawn: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    ) -> None:
        """Measure the current policy on these splits, and record the cost so far.

        `drawn` are its rollouts, sampled and greedy, on the one split that is asked for, if they are drawn already.
        A point that has been measured on a split before is recorded anew, but for the base, which an arm may end at.
        """
        if point:
            self.tables.points = [
                row for row in self.tables.points if row["point"] != point or row["split"] not in splits
            ]
            self.tables.timings = [row for row in self.tables.timings if row["point"] != point]
        exams = {split: exam.at(temperature) for split, exam in self.examinations.items()}
        for split in splits:
            retention = exams.get("retention") if split == "test" else None
            found = measure(exams[split], self.engine, self.base, drawn=drawn, retention=retention)
            self.add(point, split, found, chosen)
        self.tables.timings.append({"point": point, "chosen": chosen, "seconds": self.ledger.seconds})

    def try_often(self, temperature: float | None = None) -> pd.DataFrame | None:
        """Record pass@k and the accuracy of votes of the current policy, from many tries at some test problems.

        Returns the tries; None, and nothing is recorded, without an examination `tries`. k goes up to half of the
        tries: beyond, the estimate varies too much.
        """
        if TRIES not in self.examinations:
            return None
        exam = self.examinations[TRIES].at(temperature)
        drawn, tries = exam.draw(self.engine), exam.sampling.group_size
        right = drawn.groupby("problem_id", sort=False).reward.sum().to_numpy().astype(int)
        for k in _powers_of_two(tries // 2):
            self.tables.quantity(f"pass_at_{k}", pass_at_k(right, tries, k).mean(), "accuracy")
        for k in _powers_of_two(min(tries, MOST_VOTES)):
            voted = majority(drawn[drawn.sample_id < k], exam.problems)
            self.tables.quantity(f"majority_at_{k}", voted.mean(), "accuracy")
        return drawn

    def start(self, points: pd.DataFrame, by_problem: pd.DataFrame) -> None:
        """Record what the base came to, measured once for all arms of the run, as point 0."""
        self.tables.points.extend(points.to_dict("records"))
        self.tables.by_problem.append(by_problem)
        self.tables.timings.append({"point": 0, "chosen": False, "seconds": self.ledger.seconds})

    def add(self, point: float, split: str, measured: Measurement, chosen: bool = False) -> None:
        """Record a measurement taken elsewhere."""
        head = {"point": point, "split": split}
        for row in measured.rows:
            self.tables.points.append({**head, "asked": row["asked"], "chosen": chosen, **row, **self.ledger.spent()})
        if split == "test" and (chosen or point == 0):
            by_problem = measured.by_problem.copy()
            by_problem.insert(0, "point", point)
            self.tables.by_problem.append(by_problem)


def _powers_of_two(most: int) -> list[int]:
    """1, 2, 4, … up to `most`."""
    return [2**power for power in range(most.bit_length())]
