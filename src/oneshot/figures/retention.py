"""What learning one task costs on another: retention against the test error that is left, a panel a setting.

Small points are single policies where an arm was measured on the way; large ones are means where it ends, with 95 % t
intervals over policies both ways. The dotted line is the base's retention. Arms are compared fairly at equal accuracy,
and many of them end close to one another, so that errors are on a logarithmic axis, the smallest at the right.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import BASE, Tables, accuracies, at_last, with_base

SMALLEST = 5e-4
"""Errors below it are drawn there: two wrong answers in the 4,000 of a test."""


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
        panel.set(xlabel="wrong on test problems, sampled, %", ylabel="retention, sampled", ylim=(-0.03, 1.05))
    return figure


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    base = rows[rows.arm == BASE].retention_accuracy.mean()
    panel.axhline(base, color=style.color(BASE), linestyle=":")
    ends = {BASE: (100 * SMALLEST, base)}
    for arm, points in rows[rows.arm != BASE].groupby("arm", sort=False):
        for _, run in points.groupby(["policy", "run"]):
            panel.plot(
                _wrong(run.accuracy), run.retention_accuracy, ".-", color=style.color(arm), alpha=0.3, linewidth=0.7
            )
        ended = points[points["last"]]
        both = (ended, ended.assign(accuracy=ended.retention_accuracy))
        across, up = (accuracies(one, []).iloc[0] for one in both)
        x, y, color = _wrong(across.value), up.value, style.color(arm)
        panel.plot([x], [y], "D", color=color, markersize=4)
        if up.policies > 1:
            panel.plot([_wrong(across.high), _wrong(across.low)], [y, y], color=color)
            panel.plot([x, x], [up.low, up.high], color=color)
        ends[arm] = (x, y)
    style.log_axis(panel)
    panel.invert_xaxis()
    style.label_ends(panel, ends)


def _wrong(accuracy: float | pd.Series) -> float | pd.Series:
    """In %."""
    return 100 * np.maximum(1 - accuracy, SMALLEST)
