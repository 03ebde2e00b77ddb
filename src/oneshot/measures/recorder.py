"""The recorder: measures a policy at the points of its arm and collects the rows."""

from dataclasses import dataclass, field

import pandas as pd

from oneshot.arms import ArmTables
from oneshot.engines.protocol import Engine
from oneshot.measures.evaluate import Examination, Measurement, measure
from oneshot.measures.ledger import Ledger
from oneshot.policies.models import Policy


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
        A point that has been measured before is recorded anew.
        """
        for table in ("points", "timings"):
            rows = getattr(self.tables, table)
            rows[:] = [row for row in rows if row["point"] != point]
        exams = {split: exam.at(temperature) for split, exam in self.examinations.items()}
        for split in splits:
            retention = exams.get("retention") if split == "test" else None
            found = measure(exams[split], self.engine, self.base, drawn=drawn, retention=retention)
            self.add(point, split, found, chosen)
        self.tables.timings.append({"point": point, "chosen": chosen, "seconds": self.ledger.seconds})

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
