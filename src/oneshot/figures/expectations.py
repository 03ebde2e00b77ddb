"""What was expected of every arm on every setting before its first gradient, and what came out.

A panel a setting, a row an arm. Bars: the expected share of GRPO's gain. Points: the share that was recovered, with
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
TITLE = 72
"""Characters of all titles side by side."""
LIMITS = (-0.4, 1.7)
"""Shares shown; intervals that reach beyond are cut there."""


def draw(table: pd.DataFrame) -> Figure:
    arms = [arm for arm in table.arm.unique() if arm != RIVAL]
    places = {arm: place for place, arm in enumerate(arms)}
    settings = list(table[table.arm != RIVAL].groupby(style.setting_names(table), sort=False))
    figure, axes = style.panels([""], columns=len(settings), height=MARGIN + ROW * len(arms), sharey=True)
    for panel, (name, rows) in zip(axes[0], settings, strict=True):
        for arm, row in rows.groupby("arm"):
            _row(panel, row, places[arm], style.color(arm))
        panel.set_title(fill(name, max(8, TITLE // len(settings))), loc="left", fontsize=7)
        panel.set(xlim=LIMITS, xticks=[0, 0.5, 1, 1.5])
        panel.set_xticklabels(["0", "", "1", ""])
        for value, dots in ((0, ":"), (1, "-")):
            panel.axvline(value, color="gray", linestyle=dots, linewidth=0.7, zorder=0)
    axes[0][0].set_yticks(list(places.values()), list(map(style.label, places)))
    axes[0][0].set_ylim(len(places) - 0.5, -0.5)
    figure.supxlabel("share of GRPO's gain, sampled", fontsize=8)
    return figure


def _row(panel: Axes, row: pd.DataFrame, place: int, shade: str) -> None:
    found = row.iloc[0]
    panel.barh(place, found.expected_high - found.expected_low, 0.6, found.expected_low, color=shade, alpha=0.25)
    panel.hlines(place, found.recovered_low, found.recovered_high, color=shade)
    inside = {} if found.outcome == KEPT else {"markerfacecolor": "white"}
    panel.plot(found.recovered, place, "o", color=shade, **inside)
