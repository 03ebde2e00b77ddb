"""What was expected of every arm on every setting before its first gradient, and what came out.

A panel an arm, a row a setting. Bars: the expected share of GRPO's gain. Points: the share that was recovered, with
Fieller's 95 % interval over policies; hollow outside the bar. Without a clear gain of GRPO there is no point.
"""

from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.figures import style
from oneshot.figures.expectations_table import KEPT, frame
from oneshot.figures.tables import RIVAL

__all__ = ["draw", "frame"]
ROW, MARGIN = 0.2, 1.0
"""Height of a row, and of everything else, in inches."""
LIMITS = (-0.4, 1.7)
"""Shares shown; intervals that reach beyond are cut there."""


def draw(table: pd.DataFrame) -> Figure:
    names = style.setting_names(table)
    places = {name: place for place, name in enumerate(names.unique())}
    arms = [arm for arm in table.arm.unique() if arm != RIVAL]
    height = MARGIN + ROW * len(places)
    figure, axes = style.panels([""], columns=max(len(arms), 1), height=height, sharey=True)
    for panel, arm in zip(axes[0], arms, strict=False):
        rows = table[table.arm == arm]
        _panel(panel, rows.assign(place=names[rows.index].map(places)), style.color(arm))
        panel.set_title(fill(style.label(arm), 10), loc="left", fontsize=7)
        panel.set(xlim=LIMITS, xticks=[0, 0.5, 1, 1.5])
        panel.set_xticklabels(["0", "", "1", ""])
    axes[0][0].set_yticks(list(places.values()), list(places))
    axes[0][0].set_ylim(len(places) - 0.5, -0.5)
    figure.supxlabel("share of GRPO's gain, sampled", fontsize=8)
    return figure


def _panel(panel: Axes, rows: pd.DataFrame, shade: str) -> None:
    for value, dots in ((0, ":"), (1, "-")):
        panel.axvline(value, color="gray", linestyle=dots, linewidth=0.7, zorder=0)
    panel.barh(rows.place, rows.expected_high - rows.expected_low, 0.6, rows.expected_low, color=shade, alpha=0.25)
    panel.hlines(rows.place, rows.recovered_low, rows.recovered_high, color=shade)
    kept = rows.outcome == KEPT
    panel.plot(rows.recovered[kept], rows.place[kept], "o", color=shade)
    panel.plot(rows.recovered[~kept], rows.place[~kept], "o", color=shade, markerfacecolor="white")
