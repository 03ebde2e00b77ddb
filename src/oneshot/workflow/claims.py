"""The claims: what the artifact says, each with the number that decides it, checked by a machine.

`config/claims.yaml` lists them. A claim names what is measured, and the bound that its 95 % interval over policies has
to clear:

    {share: sampled, arm: one_shot}         the share of GRPO's gain that an arm recovers; or greedy
    {keeps: one_batch}                      what is left of the unrelated task where an arm ends
    {table: linearity, column: r_squared, where: {arm: grpo}}     any other number, of some rows of a table

    python -m oneshot.workflow.claims expected    # held against the reference run
    python -m oneshot.workflow.claims results     # held against this checkout's own runs, as far as there are any
"""

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from oneshot.figures import style
from oneshot.figures.first_look import SHARES, recovered
from oneshot.figures.tables import Tables, accuracies, at_last, over_policies, with_base
from oneshot.figures.units import by_unit
from oneshot.files import BadFile, project_root
from oneshot.workflow import measured

HOLDS, FAILS, OPEN, UNMEASURED = "holds", "does not hold", "undecided", "not measured"
INTERVAL = ["value", "low", "high"]


@dataclass(frozen=True)
class Claim:
    """One sentence that is true if an interval clears a bound."""

    says: str
    experiment: str
    task: str
    measure: dict
    verdict: str
    """What the reference run says of it."""
    figure: str
    """Where it is seen: `make figure F=… E=…`."""
    above: float | None = None
    below: float | None = None
    model: str = ""
    """Needed where several models are asked the task."""

    def __post_init__(self):
        if len({"share", "keeps", "table"} & set(self.measure)) != 1:
            raise ValueError(f"'{self.says}': measure: expected one of share, keeps and table")
        if (self.above is None) == (self.below is None):
            raise ValueError(f"'{self.says}': expected one of above and below")
        if self.verdict not in (HOLDS, FAILS, OPEN):
            raise ValueError(f"'{self.says}': verdict: expected one of {HOLDS}, {FAILS} and {OPEN}")

    def judge(self, interval: pd.Series) -> str:
        """The verdict on that value, low and high. Without an interval, the value alone decides nothing."""
        if pd.isna(interval.value):
            return UNMEASURED
        if pd.isna(interval.low):
            return OPEN
        bound = self.above if self.below is None else self.below
        over, under = interval.low > bound, interval.high < bound
        cleared, missed = (over, under) if self.below is None else (under, over)
        return HOLDS if cleared else FAILS if missed else OPEN


def load(path: Path) -> list[Claim]:
    """The claims of a file. Raises BadFile that names it and what is wrong."""
    try:
        return [Claim(**entry) for entry in yaml.safe_load(path.read_text())]
    except (TypeError, ValueError, yaml.YAMLError) as error:
        raise BadFile(f"{path}: {error}") from error


def checked(claims: list[Claim], results: Path, root: Path) -> pd.DataFrame:
    """A row for each claim: value, low, high, and the verdict that they give (`found`)."""
    tables, rows = cache(lambda kinds, task: measured.tables_in(results, root, kinds, only=task)), []
    for claim in claims:
        kinds = (claim.measure["table"],) if "table" in claim.measure else ("points", "by_problem")
        interval = _interval(claim, tables(kinds, claim.task))
        rows.append({**interval, "found": claim.judge(interval)})
    return pd.DataFrame(rows)


def _interval(claim: Claim, tables: Tables) -> pd.Series:
    """value, low, high over policies, or problems (`by_unit`); nan if nothing has been measured."""
    measure, rows = claim.measure, pd.DataFrame()
    if "table" in measure and tables.paths[measure["table"]]:
        rows = tables.other(measure["table"], ["policy", measure["column"], *measure["where"]])
        for column, value in measure["where"].items():
            rows = rows[rows[column] == value]
        rows = over_policies(rows, [], measure["column"])
    elif "table" not in measure and tables.paths["points"]:
        rows = at_last(with_base(tables.points[tables.points.split == "test"]))
        if "share" in measure:
            rows = recovered(by_unit(rows, tables)).query(f"arm == '{measure['arm']}'")
            rows = rows.rename(columns=dict(zip(SHARES[measure["share"]], INTERVAL, strict=True)))
        else:
            rows = accuracies(rows[rows.arm == measure["keeps"]].assign(accuracy=rows.retention_accuracy), [])
    if len(rows):
        rows = rows[(rows.experiment == claim.experiment) & (rows.task == claim.task)]
        rows = rows[rows.model == claim.model] if claim.model else rows
    if len(rows) > 1:
        raise ValueError(f"'{claim.says}': model: expected one of {', '.join(rows.model)}")
    return rows[INTERVAL].iloc[0] if len(rows) else pd.Series(np.nan, INTERVAL)


def table(claims: list[Claim], found: pd.DataFrame) -> str:
    """Markdown: the claim, the number that decides it, the verdict, where it is seen."""
    lines = ["| claim | bound | measured | verdict | figure or table |", "| --- | --- | --- | --- | --- |"]
    for claim, row in zip(claims, found.to_dict("records"), strict=True):
        bound = f"above {claim.above:g}" if claim.below is None else f"below {claim.below:g}"
        number = style.interval_text(row, INTERVAL, 1, 2)
        command = f"`make figure F={claim.figure} E={claim.experiment}`"
        lines.append(f"| {claim.says} | {bound} | {number} | {row['found']} | {command} |")
    return "\n".join(lines)


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in measured.SOURCES:
        sys.exit("usage: python -m oneshot.workflow.claims expected|results")
    root = project_root()
    claims = load(root / "config/claims.yaml")
    with measured.source(sys.argv[1], root) as results:
        found = checked(claims, results, root)
    wrong = 0
    for claim, row in zip(claims, found.to_dict("records"), strict=True):
        differs = row["found"] not in (claim.verdict, UNMEASURED)
        wrong += differs
        note = f" (expected: {claim.verdict})" if differs else ""
        print(f"{row['found'] + note:<40}{style.interval_text(row, INTERVAL, 1, 2):<22}{claim.says}")
    if wrong:
        sys.exit(f"{wrong} of {len(claims)} claims came out otherwise")


if __name__ == "__main__":
    main()
