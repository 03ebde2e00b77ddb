"""Arms: one format for what every method at every setting came to.

An arm is one method with its settings. It passes through points: 0 is the base policy; then whatever the method counts
(steps, multiples of α_base). A run of an arm leaves five tables in its folder `arms/<arm>/`, each of which begins with
the run's identity (IDENTITY):

    points      one row a point, split and task asked: accuracies, entropy, KL, and what had been spent by then
    by_problem  right answers by problem of the test split, at the base and at chosen points
    steps       what the method records of each of its steps; columns are its own
    quantities  single numbers: quantity, value, unit
    timings     seconds spent by each point, apart so that the other tables of equal runs are equal byte for byte
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from oneshot.files import BadFile, read_csv, write_csv

IDENTITY = ["experiment", "model", "task", "policy", "run", "arm"]
"""Columns that say whose row it is. `policy` and `run` are seeds."""
WHOLE_SPLIT = "all"
"""The value of column `asked` in rows about all problems of a split; other rows are about those of one task."""
MEASURED = ["accuracy", "greedy_accuracy", "entropy_nats", "kl_nats"]
COSTS = ["rollouts", "tokens", "flops", "sampling_phases", "gradient_steps", "search_rounds"]
TABLES = {
    "points": ["point", "split", "asked", "chosen", *MEASURED, *COSTS],
    "by_problem": ["point", "problem_id", "asked", "correct", "samples", "greedy_correct"],
    "steps": ["point"],
    "quantities": ["quantity", "value", "unit"],
    "timings": ["point", "seconds"],
}
"""Table -> the columns that every method's must have, the identity aside."""
NUMBERS = {"points": [*MEASURED, *COSTS], "quantities": ["value"], "timings": ["seconds"]}
"""Table -> the columns that must hold finite numbers."""


@dataclass
class ArmTables:
    """The rows of one run of one arm, collected while it runs."""

    points: list[dict] = field(default_factory=list)
    by_problem: list[pd.DataFrame] = field(default_factory=list)
    steps: list[dict] = field(default_factory=list)
    quantities: list[dict] = field(default_factory=list)
    timings: list[dict] = field(default_factory=list)

    def quantity(self, name: str, value: float, unit: str) -> None:
        self.quantities.append({"quantity": name, "value": value, "unit": unit})

    def frame(self, table: str) -> pd.DataFrame:
        rows = getattr(self, table)
        frame = pd.concat(rows, ignore_index=True) if table == "by_problem" and rows else pd.DataFrame(rows)
        return frame if len(frame.columns) else pd.DataFrame(columns=TABLES[table])

    def write(self, identity: dict, out: dict[str, Path]) -> None:
        """Write every table to the path `out` has for it, the identity in front."""
        for table in TABLES:
            frame = self.frame(table)
            for place, column in enumerate(IDENTITY):
                frame.insert(place, column, identity[column])
            write_csv(frame, out[table])


def read_table(folders: Iterable[str | Path], table: str) -> pd.DataFrame:
    """That table of several runs, one under the other. BadFile names a file or value that is not what it should be."""
    frames = []
    for folder in folders:
        path = Path(folder) / f"{table}.csv"
        frames.append(read_csv(path, [*IDENTITY, *TABLES[table]]))
        _check_numbers(
            frames[-1], path, [*MEASURED, *COSTS] if table == "points" else ["value"] * (table == "quantities")
        )
    return pd.concat(frames, ignore_index=True)


def _check_numbers(frame: pd.DataFrame, path: Path, columns: list[str]) -> None:
    for column in columns:
        bad = ~np.isfinite(pd.to_numeric(frame[column], errors="coerce"))
        if bad.any():
            row = int(bad.idxmax())
            raise BadFile(f"{path}, line {row + 2}: {column} is {frame[column][row]!r}, not a finite number")


def with_identity(frame: pd.DataFrame, identity: dict) -> pd.DataFrame:
    """The table with the identity's columns in front."""
    head = {column: identity[column] for column in IDENTITY if column in identity}
    return pd.concat([pd.DataFrame(head, index=frame.index), frame], axis=1)


def run_key(identity: dict) -> str:
    """The first part of every rollout's key: arms of one run share it, and with it their noise.

    Never change its form: every number of every experiment would be drawn anew.
    """
    return "results/{experiment}/{model}/policy{policy}/{task}/run{run}".format(**identity)
