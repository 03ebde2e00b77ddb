"""What was expected of every arm before its first gradient, beside what came out.

The outcome is the arm's gain over the base, sampled, as a share of GRPO's, both where they ended: kept if it lies
between the expected values. Where GRPO's gain may be nothing there is no share, and the expectation stays open; the
difference to GRPO is shown all the same.
"""

import pandas as pd

from oneshot.figures import style
from oneshot.figures.tables import BASE, RIVAL, SETTING, Tables, at_last, gain_recovered, with_base
from oneshot.figures.units import by_unit
from oneshot.statistics import t_interval

KEPT, FAILED, OPEN = "kept", "failed", "open"
COLUMNS = ("arm", "expected", "gain recovered", "difference to GRPO, points", "outcome", "because")


def frame(tables: Tables) -> pd.DataFrame:
    """One row per setting and arm: expectation, gain recovered and difference with their intervals, outcome."""
    return beside(tables.other("expectations", ["arm", "low", "high", "because"]), tables)


def beside(expected: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    """Expectations (SETTING, arm, low, high, because) beside what came out."""
    expected = expected.rename(columns={"low": "expected_low", "high": "expected_high"})
    ends = at_last(with_base(tables.points[tables.points.split == "test"]))
    units = by_unit(ends, tables)
    outcomes = [_outcome(row, units) for row in expected.to_dict("records")]
    return pd.concat([expected.reset_index(drop=True), pd.DataFrame(outcomes)], axis=1)


def _outcome(expected: dict, units: pd.DataFrame) -> dict:
    here = (units[SETTING] == pd.Series({name: expected[name] for name in SETTING})).all(axis=1)
    by_arm = units[here].groupby(["unit", "arm"]).accuracy.mean().unstack("arm")
    ours, theirs, base = by_arm.reindex(columns=[expected["arm"], RIVAL, BASE]).T.to_numpy()
    recovered = gain_recovered(*(pd.Series(values) for values in (ours, theirs, base)))
    found = dict(zip(("difference", "difference_low", "difference_high"), t_interval(ours - theirs), strict=True))
    found |= dict(zip(("recovered", "recovered_low", "recovered_high"), recovered, strict=True))
    kept = expected["expected_low"] <= recovered[0] <= expected["expected_high"]
    return {**found, "outcome": OPEN if pd.isna(recovered[0]) else KEPT if kept else FAILED}


def draw(table: pd.DataFrame) -> str:
    """Markdown."""
    lines = []
    for title, rows in style.settings_of(table):
        lines += [f"**{title}**", ""] if title else []
        lines += ["| " + " | ".join(COLUMNS) + " |", "| --- " * len(COLUMNS) + "|"]
        lines += [_row(row) for row in rows.to_dict("records")] + [""]
    return "\n".join(lines)


def _row(row: dict) -> str:
    cells = [
        style.label(row["arm"]),
        f"{row['expected_low']:g} to {row['expected_high']:g}",
        *(
            style.interval_text(row, (name, f"{name}_low", f"{name}_high"), unit, digits)
            for name, unit, digits in (("recovered", 1, 2), ("difference", 100, 1))
        ),
        row["outcome"],
        row["because"],
    ]
    return "| " + " | ".join(cells) + " |"
