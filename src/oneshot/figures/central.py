"""Test accuracy of every arm against the rollouts it drew and against seconds on one core, without measurement.

Rows are the two decodings. Thin lines are single runs; bands and whiskers are 95 % t intervals over policies.
"""

import pandas as pd
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import BASE, Tables, by_decoding, over_policies, with_base

AXES = {"rollouts": "rollouts drawn", "seconds": "seconds on one core"}


def frame(tables: Tables) -> pd.DataFrame:
    points = tables.points[tables.points.split == "test"]
    points = tables.timed(points)
    kept = [*IDENTITY, "point", "chosen", *AXES, "tokens", "flops", "gradient_steps", "decoding", "accuracy"]
    return by_decoding(with_base(points))[kept]


def draw(data: pd.DataFrame) -> Figure:
    """One row of panels per setting and decoding."""
    rows = [
        (title, decoding, points)
        for title, of_setting in style.settings_of(style.drawn(data))
        for decoding, points in of_setting.groupby("decoding", sort=False)
    ]
    figure, axes = style.panels([title for title, _, _ in rows], columns=len(AXES), height=2.2, sharey="row")
    for (_, decoding, points), row in zip(rows, axes, strict=True):
        for panel, (cost, name) in zip(row, AXES.items(), strict=True):
            _panel(panel, points, cost)
            panel.set_xlabel(name)
        row[0].set_ylabel(f"test accuracy\n{style.DECODING_TITLES[decoding]}")
    return figure


def _panel(axes, points: pd.DataFrame, cost: str) -> None:
    base = over_policies(points[points.arm == BASE], [], "accuracy").iloc[0]
    axes.axhline(base.value, color=style.color(BASE), linestyle=":")
    style.band(axes, [0, 1], [base.low] * 2, [base.high] * 2, style.color(BASE), transform=axes.get_yaxis_transform())
    ends = {BASE: (1, base.value)}
    for arm, rows in points[points.arm != BASE].groupby("arm", sort=False):
        mean = style.curve(axes, rows, cost, "accuracy", arm)
        ends[arm] = (mean.x.iloc[-1], mean.value.iloc[-1])
    style.log_axis(axes)
    axes.margins(y=0.1)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -0.05), min(high, 1.05))  # two policies may have an interval far beyond
    style.label_ends(axes, ends)
