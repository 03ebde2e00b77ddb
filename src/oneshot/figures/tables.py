"""The tables that figures read, and intervals over policies. Reads CSV only; nothing here loads a model."""

from collections import defaultdict
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from oneshot.arms import IDENTITY, WHOLE_SPLIT, read_table
from oneshot.files import BadFile, read_csv, require
from oneshot.statistics import fieller_interval, t_interval

DECODINGS = {"sampled": "accuracy", "greedy": "greedy_accuracy"}
"""Decoding -> the column of a points table that holds its accuracy."""
SETTING = ["experiment", "model", "task"]
"""Columns that are never averaged over."""
MADE_BY = {
    "acceptance": "00_acceptance",
    "clusters": "04_batch",
    "consistency": "04_batch",
    "cosines": "04_trajectory",
    "informative": "08_failure",
    "linearity": "04_trajectory",
    "curvature": "04_curvature",
    "expectations": "00_expectations",
    "frontier": "07_frontier",
    "neighbours": "06_scale",
    "overfit": "08_failure",
    "signs": "04_batch",
    "slope": "03_slope",
    "theory": "00_theory",
    "tried": "01_tries",
    "tries": "01_tries",
    "extrapolation": "04_turning",
    "tuning": "05_tuning",
    "turning": "04_turning",
    "ways": "04_curvature",
}
"""Kind of table -> the notebook that writes it; tables of arms are by 03_line_search and 05_baseline."""
HEADLINE, RIVAL = "one_shot", "grpo"
"""The arm that is compared with all others, and the one whose gain is the measure."""
SMALLEST_GAIN = 0.05
"""'Gain recovered' is a ratio of gains, reported only if the rival's gain is above this with 95 % confidence."""
BASE = "base"
"""The arm made of point 0 of every arm."""


class Tables:
    """Tables by kind: those of the given paths that are named `<kind>.csv`, concatenated."""

    def __init__(self, paths: list[str | Path]):
        self.paths = defaultdict(list)
        for path in map(Path, paths):
            self.paths[path.stem].append(path)

    @classmethod
    def in_folders(cls, folders: dict[str, list[str]]) -> "Tables":
        """The tables of these kinds in each folder. Raises MissingInput for one that is not there."""
        paths = [(Path(folder) / f"{kind}.csv", kind) for folder, kinds in folders.items() for kind in kinds]
        return cls([require(path, MADE_BY.get(kind, "03_line_search")) for path, kind in paths])

    def of_arms(self, table: str) -> pd.DataFrame:
        """A table of `oneshot.arms`, of all arms. Raises BadFile if two files are about the same run of an arm."""
        self._check_given(table)
        frame = read_table(self.paths[table], table)
        if frame[IDENTITY].drop_duplicates().shape[0] != len(self.paths[table]):
            raise BadFile(f"{', '.join(map(str, self.paths[table]))}: two are of the same run, or one is of two")
        return frame

    def other(self, table: str, columns: list[str]) -> pd.DataFrame:
        """Any other table. Raises BadFile if it lacks one of these columns."""
        self._check_given(table)
        return pd.concat([read_csv(path, [*SETTING, *columns]) for path in self.paths[table]], ignore_index=True)

    def of_runs(self, kinds: dict[str, list[str]]) -> pd.DataFrame:
        """Rows of several kinds of tables of runs: kind -> the columns that are kept beside setting, policy and run."""
        parts = []
        for kind, columns in kinds.items():
            columns = ["policy", "run", *columns]
            parts.append(self.other(kind, columns)[[*SETTING, *columns]])
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def points(self) -> pd.DataFrame:
        """The points that were measured on whole splits."""
        frame = self.of_arms("points")
        return frame[frame.asked == WHOLE_SPLIT].reset_index(drop=True)

    def timed(self, points: pd.DataFrame) -> pd.DataFrame:
        """Points with a column `seconds`."""
        return points.merge(self.of_arms("timings"), on=[*IDENTITY, "point", "chosen"])

    def _check_given(self, table: str) -> None:
        if not self.paths[table]:
            raise BadFile(f"{table}.csv: none among the tables given")


def with_base(points: pd.DataFrame) -> pd.DataFrame:
    """Point 0 of every arm becomes the arm `base`, once per run: all arms of a run start from one measurement."""
    start = (points.point == 0) & ~points.chosen.astype(bool)  # a search may choose the base: that row is the arm's
    base = points[start].assign(arm=BASE, chosen=True).drop_duplicates([*IDENTITY, "split"])
    return pd.concat([base, points[~start]], ignore_index=True)


def at_chosen(points: pd.DataFrame) -> pd.DataFrame:
    """The chosen points, with a column `stands_at`.

    It is α* for a step of searched size, `best` for anything else that was searched, or the number of the point.
    """
    chosen = points[points.chosen].copy()
    searched = np.where(chosen.gradient_steps == 1, "α*", "best")
    chosen["stands_at"] = chosen.point.map("{:,.6g}".format).where(chosen.search_rounds == 0, searched)
    return chosen


def at_last(points: pd.DataFrame) -> pd.DataFrame:
    """Of the chosen points, the last one of every run."""
    chosen = at_chosen(points)
    return chosen[chosen.rollouts == chosen.groupby(IDENTITY, sort=False).rollouts.transform("max")]


def accuracies(frame: pd.DataFrame, by: list[str], decoding: str = "sampled") -> pd.DataFrame:
    """`over_policies` of an accuracy; its interval ends at 0 and at 1."""
    found = over_policies(frame, by, DECODINGS[decoding])
    found[["low", "high"]] = found[["low", "high"]].clip(0, 1)
    return found


def gain_recovered(ours: pd.Series, theirs: pd.Series, base: pd.Series) -> tuple[float, float, float]:
    """Our gain over theirs, of accuracies by policy, with Fieller's interval; nan where theirs may be nothing."""
    gains = pd.DataFrame({"ours": ours - base, "theirs": theirs - base}).dropna()
    if not t_interval(gains.theirs)[1] > SMALLEST_GAIN:
        return np.nan, np.nan, np.nan
    return fieller_interval(gains.ours, gains.theirs)


def by_decoding(points: pd.DataFrame) -> pd.DataFrame:
    """One row per point and decoding, with the accuracy in one column."""
    rows = [points.assign(decoding=name, accuracy=points[column]) for name, column in DECODINGS.items()]
    return pd.concat(rows, ignore_index=True).drop(columns="greedy_accuracy")


def over_policies(frame: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean of `value` with its t interval over policies: columns `by`, value, low, high, policies.

    Runs of one policy are averaged first. Experiments, models and tasks are never averaged: SETTING is always in `by`.
    """
    by = [*SETTING, *(column for column in by if column not in SETTING)]
    per_policy = frame.groupby([*by, "policy"], sort=False, dropna=False)[value].mean().reset_index()
    rows = []
    for key, group in per_policy.groupby(by, sort=False, dropna=False):
        mean, low, high = t_interval(group[value].to_numpy())
        found = {"value": mean, "low": low, "high": high, "policies": len(group)}
        rows.append({**dict(zip(by, key, strict=True)), **found})
    return pd.DataFrame(rows)
