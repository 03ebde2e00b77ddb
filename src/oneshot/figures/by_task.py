"""Every arm by task, where a setting's test mixes several: accuracies, and shares of the rival's gain on each.

A headline over mixed tasks shows its parts. A setting of one task has one row an arm.
"""

import pandas as pd

from oneshot.arms import WHOLE_SPLIT
from oneshot.figures import style
from oneshot.figures.first_look import SHARES, recovered
from oneshot.figures.tables import BASE, SETTING, Tables, accuracies, at_last, with_base

SAMPLED, GREEDY = ("accuracy", "low", "high"), ("greedy_accuracy", "greedy_low", "greedy_high")
HEADS = ("arm", "sampled, %", "greedy, %", "share of GRPO's gain, sampled", "greedy")


def frame(tables: Tables) -> pd.DataFrame:
    """One row for each setting, task and arm at its last chosen point."""
    points = tables.of_arms("points").query("split == 'test'")
    mixed = points.groupby(SETTING).asked.transform("nunique") > 1
    points = points[~mixed | (points.asked != WHOLE_SPLIT)]
    points = points.assign(asked=points.task.where(points.asked == WHOLE_SPLIT, points.asked))
    return pd.concat([_of_task(rows) for _, rows in points.groupby("asked", sort=False)], ignore_index=True)


def _of_task(points: pd.DataFrame) -> pd.DataFrame:
    ends = at_last(with_base(points))
    rows = accuracies(ends, ["asked", "arm"]).rename(columns={"value": "accuracy"})
    greedy = accuracies(ends, ["asked", "arm"], "greedy")
    renamed = {"value": "greedy_accuracy", "low": "greedy_low", "high": "greedy_high"}
    rows = rows.merge(greedy.rename(columns=renamed).drop(columns="policies"), on=[*SETTING, "asked", "arm"])
    return rows.merge(recovered(ends.rename(columns={"policy": "unit"})), on=[*SETTING, "arm"], how="left")


def draw(table: pd.DataFrame) -> str:
    """Markdown, a part for each setting and task."""
    lines = []
    for (_, model, task, asked), rows in table.groupby([*SETTING, "asked"], sort=False):
        name = style.setting_name(model, task)
        lines += [f"**{name}**" if asked == task else f"**{name}: {asked.replace('_', ' ')}**", ""]
        lines += ["| " + " | ".join(HEADS) + " |", "| --- " * len(HEADS) + "|"]
        lines += [_row(row) for row in rows.to_dict("records")] + [""]
    return "\n".join(lines)


def _row(row: dict) -> str:
    accuracies = [style.interval_text(row, names, 100, 1) for names in (SAMPLED, GREEDY)]
    shares = ["" if row["arm"] == BASE else style.interval_text(row, names, 1, 2) for names in SHARES.values()]
    return "| " + " | ".join([style.label(row["arm"]), *accuracies, *shares]) + " |"
