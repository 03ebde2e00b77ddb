"""What learning one task costs on another: retention against test accuracy, a panel a setting.

Small points are single policies where an arm was measured on the way; large ones are means where it ends, with 95 % t
intervals over policies both ways. The dotted line is the base's retention. Arms are compared fairly at equal accuracy.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import BASE, Tables, accuracies, at_last, with_base


def frame(tables: Tables) -> pd.DataFrame:
    """Rows of all points that retention was measured at; `last` where an arm ends."""
    points = with_base(tables.points[tables.points.split == "test"]).reset_index(drop=True)
    kept = points[[*IDENTITY, "point", "accuracy", "retention_accuracy"]]
    return kept.assign(last=points.index.isin(at_last(points).index)).dropna(subset="retention_accuracy")


def draw(data: pd.DataFrame) -> Figure:
    settings = style.settings_of(style.drawn(data))
    figure, axes = style.panels([title for title, _ in settings], columns=1, height=2.3)
    for (_, rows), (panel,) in zip(settings, axes, strict=True):
        _panel(panel, rows)
        panel.set(xlabel="test accuracy, sampled", ylabel="retention, sampled", ylim=(-0.03, 1.05))
    return figure


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    base = rows[rows.arm == BASE].retention_accuracy.mean()
    panel.axhline(base, color=style.color(BASE), linestyle=":")
    ends = {BASE: (1, base)}
    for arm, points in rows[rows.arm != BASE].groupby("arm", sort=False):
        for _, run in points.groupby(["policy", "run"]):
            panel.plot(run.accuracy, run.retention_accuracy, ".-", color=style.color(arm), alpha=0.3, linewidth=0.7)
        ended = points[points["last"]]
        both = (ended, ended.assign(accuracy=ended.retention_accuracy))
        across, up = (accuracies(one, []).iloc[0] for one in both)
        errors = [[[one.value - one.low], [one.high - one.value]] if one.policies > 1 else None for one in (across, up)]
        panel.errorbar([across.value], [up.value], errors[1], errors[0], fmt="D", color=style.color(arm), markersize=4)
        ends[arm] = (across.value, up.value)
    style.label_ends(panel, ends)
