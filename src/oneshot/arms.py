"""Arms: one format for the results of every method.

An arm is one method with its settings. It is measured at points: 0 is the base policy, the others are whatever the
method counts (steps, multiples of α_base). A run of an arm writes five tables to its folder `arms/<arm>/`. The first
columns of each say whose run it is (IDENTITY):

    points      one row per point, split and task: accuracies, entropy, KL, and the cost so far
    by_problem  correct answers per problem of the test split, at the base and at chosen points
    steps       what the method records of each step, in columns of its own
    quantities  single numbers: quantity, value, unit
    timings     seconds spent up to each point; kept apart, so the other tables of equal runs are equal byte for byte
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from oneshot.files import BadFile, read_csv, resolve, write_csv

IDENTITY = ["experiment", "model", "task", "policy", "run", "arm"]
"""Columns that say which run of which arm a row belongs to. `policy` and `run` are seeds."""
WHOLE_SPLIT = "all"
"""Value of column `asked` in rows about all problems of a split; other rows are about the problems of one task."""
MEASURED = ["accuracy", "greedy_accuracy", "entropy_nats", "kl_nats"]
COSTS = ["rollouts", "batch_rollouts", "tokens", "flops", "sampling_phases", "gradient_steps", "search_rounds"]
TABLES = {
    "points": ["point", "split", "asked", "chosen", *MEASURED, *COSTS],
    "by_problem": ["point", "problem_id", "asked", "correct", "samples", "greedy_correct"],
    "steps": ["point"],
    "quantities": ["quantity", "value", "unit"],
    "timings": ["point", "chosen", "seconds"],
}
"""Table -> the columns that every method must write after the identity."""
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

    def write(self, identity: dict, out: dict[str, str]) -> None:
        """Write each table to `out[table]`, a path of a notebook parameter, with the identity columns first."""
        for table in TABLES:
            frame = self.frame(table)
            for place, column in enumerate(IDENTITY):
                frame.insert(place, column, identity[column])
            write_csv(frame, resolve(out[table]))


def read_table(paths: Iterable[str | Path], table: str) -> pd.DataFrame:
    """One table of several runs, concatenated. Raises BadFile that names the file, and the value if one is bad."""
    frames = []
    for path in map(Path, paths):
        frames.append(read_csv(path, [*IDENTITY, *TABLES[table]]))
        _check_numbers(frames[-1], path, NUMBERS.get(table, []))
    return pd.concat(frames, ignore_index=True)


def _check_numbers(frame: pd.DataFrame, path: Path, columns: list[str]) -> None:
    for column in columns:
        bad = ~np.isfinite(pd.to_numeric(frame[column], errors="coerce"))
        if bad.any():
            row = int(bad.idxmax())
            raise BadFile(f"{path}, line {row + 2}: {column} is {frame[column][row]!r}, not a finite number")


def arm_of(path: str | Path) -> str:
    """The arm in whose folder a file is."""
    return Path(path).parent.name


def with_identity(frame: pd.DataFrame, identity: dict) -> pd.DataFrame:
    """The table with the identity columns first."""
    head = {column: identity[column] for column in IDENTITY if column in identity}
    return pd.concat([pd.DataFrame(head, index=frame.index), frame], axis=1)


def write_tables(tables: dict[str, pd.DataFrame | list[dict]], identity: dict, out: dict[str, str]) -> None:
    """Write each table to `out[name]`, a path of a notebook parameter, with the identity columns first."""
    for name, rows in tables.items():
        write_csv(with_identity(pd.DataFrame(rows), identity), resolve(out[name]))


def run_key(identity: dict) -> str:
    """The first part of every rollout's key. Arms of one run share it, and so share their noise.

    Never change its form: every rollout of every experiment would be drawn anew.
    """
    return "results/{experiment}/{model}/policy{policy}/{task}/run{run}".format(**identity)
