"""Where the line overshoots, and what breaks there: accuracy beside its predictions, and the ways of answering.

A row a setting, and task if it mixes several. Left, accuracy along the line, sampled, with what the slope at θ0
predicts (dotted), and slope and its change (dashed), of the whole split. Middle, how often each way of answering is
taken; right, how often it is right, where it is taken at all. Means over policies; bands are 95 % t intervals.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.arms import WHOLE_SPLIT
from oneshot.figures import style
from oneshot.figures.names import SPARE
from oneshot.figures.tables import HEADLINE, SETTING, Tables, over_policies

REACHED = ["multiple", "asked", "accuracy", "first_order", "second_order"]
TAKEN = ["multiple", "asked", "way", "share", "accuracy"]
RARE = 0.02
"""Ways taken less often are not judged."""


def frame(tables: Tables) -> pd.DataFrame:
    """Rows of accuracies along the line, and rows of ways, which have a name in column `way`."""
    return tables.of_runs({"curvature": REACHED, "ways": TAKEN})


def draw(data: pd.DataFrame) -> Figure:
    places = [
        (", ".join(filter(None, (title, asked if asked != of_setting.task.iloc[0] else ""))).replace("_", " "), rows)
        for title, of_setting in style.settings_of(data)
        for asked, rows in of_setting[of_setting.way.notna()].groupby("asked", sort=False)
    ]
    figure, axes = style.panels([title for title, _ in places], columns=3, height=2.0)
    for (_, rows), row in zip(places, axes, strict=True):
        here = (data[SETTING] == rows[SETTING].iloc[0]).all(axis=1) & data.way.isna()
        asked = data.asked.isin([rows.asked.iloc[0], WHOLE_SPLIT])
        _reached(row[0], data[here & asked])
        for panel, column in zip(row[1:], ("share", "accuracy"), strict=True):
            _ways(panel, rows if column == "share" else rows[rows.share > RARE], column)
        row[1].set_ylabel("share of the answers")
        row[2].set_ylabel("accuracy of the way")
    return figure


def _reached(panel: Axes, rows: pd.DataFrame) -> None:
    parts = rows[rows.asked != WHOLE_SPLIT] if rows.asked.nunique() > 1 else rows
    mean = over_policies(parts[parts.multiple > 0], ["multiple"], "accuracy").sort_values("multiple")
    panel.plot(mean.multiple, mean.value, "o-", color=style.color(HEADLINE))
    style.band(panel, mean.multiple, mean.low, mean.high, style.color(HEADLINE))
    whole = rows[(rows.asked == WHOLE_SPLIT) & (rows.multiple > 0)].groupby("multiple")[REACHED[3:]].mean()
    for column, dashes in zip(REACHED[3:], (":", "--"), strict=True):
        panel.plot(whole.index, whole[column], dashes, color=style.PREDICTED, linewidth=1)
    style.log_axis(panel)
    panel.set(xlabel="step size α / α_base", ylabel="accuracy, sampled", ylim=(0, 1.05))


def _ways(panel: Axes, rows: pd.DataFrame, column: str) -> None:
    ends = {}
    for place, (way, taken) in enumerate(rows[rows.multiple > 0].groupby("way", sort=True)):
        mean, shade = over_policies(taken, ["multiple"], column).sort_values("multiple"), SPARE[place]
        panel.plot(mean.multiple, mean.value, "o-", color=shade, markersize=3)
        ends[way] = (mean.multiple.iloc[-1], mean.value.iloc[-1])
    style.log_axis(panel)
    panel.set(xlabel="step size α / α_base", ylim=(0, 1.05))
    style.label_ends(panel, ends, dict(zip(ends, SPARE, strict=False)))
