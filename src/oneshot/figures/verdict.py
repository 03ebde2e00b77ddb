"""The whole experiment in one picture: how much of GRPO's gain one step takes, and how much one batch.

A row a setting. Points are shares of GRPO's gain from as many rollouts, with Fieller's 95 % interval over policies
(over problems, where there is one policy): sampled full, greedy hollow. At 0 is the base, at 1 GRPO. A setting in which
GRPO's gain may be nothing has no points.
"""

from itertools import product

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.figures import style
from oneshot.figures.first_look import SHARES, recovered
from oneshot.figures.tables import HEADLINE, RIVAL, Tables, at_last, with_base
from oneshot.figures.units import by_unit

SHOWN = (HEADLINE, "one_batch")
ROW, MARGIN = 0.4, 0.75
"""Height of a row, and of everything else, in inches."""
LIMITS, TICKS = (-0.1, 1.2), [0, 0.25, 0.5, 0.75, 1]
OFFSETS = {(arm, decoding): 0.2 * place - 0.3 for place, (arm, decoding) in enumerate(product(SHOWN, SHARES))}
"""Where in its row an arm stands with each decoding."""


def frame(tables: Tables) -> pd.DataFrame:
    """One row for each setting and shown arm: its shares of the rival's gain."""
    ends = at_last(with_base(tables.points[tables.points.split == "test"]))
    shares = recovered(by_unit(ends, tables))
    return shares[shares.arm.isin(SHOWN)].reset_index(drop=True)


def draw(table: pd.DataFrame) -> Figure:
    names = style.setting_names(table)
    places = {name: place for place, name in enumerate(names.unique())}
    figure, ((panel,),) = style.panels([""], 1, MARGIN + ROW * max(len(places), 1), width=style.COLUMN)
    for share, arm in ((0, "base"), (1, RIVAL)):
        panel.axvline(share, color=style.color(arm), linewidth=1, zorder=0)
        panel.text(share, 1.02, style.label(arm), transform=panel.get_xaxis_transform(), ha="center", fontsize=8)
    for arm, rows in table.groupby("arm", sort=False):
        _points(panel, rows, names[rows.index].map(places), arm)
    panel.set_yticks(list(places.values()), list(places))
    panel.set(ylim=(len(places) - 0.5, -0.5), xlim=LIMITS, xticks=TICKS, xlabel="share of GRPO's gain")
    handles = [panel.plot([], [], "o", color=style.color(arm), label=style.label(arm))[0] for arm in SHOWN]
    handles += [panel.plot([], [], "o", color="black", markerfacecolor="white", label="greedy")[0]]
    panel.legend(handles=handles, loc="best", fontsize=7, frameon=False, handletextpad=0.2)
    return figure


def _points(panel: Axes, rows: pd.DataFrame, places: pd.Series, arm: str) -> None:
    for decoding, columns in SHARES.items():
        value, low, high = (rows[column] for column in columns)
        heights, face = places + OFFSETS[arm, decoding], {} if decoding == "sampled" else {"markerfacecolor": "white"}
        panel.hlines(heights, low.clip(*LIMITS), high.clip(*LIMITS), color=style.color(arm), linewidth=1)
        panel.plot(value, heights, "o", color=style.color(arm), markersize=4.5, **face)
