"""Every method where it ends, side by side: test accuracy, and what it was had for.

A row an arm, the best on top by their mean share of the range between base and GRPO; a panel a setting that has many of
the arms (the central figure shows them all). Full points are sampled, hollow ones greedy; whiskers are 95 % t intervals
over policies. Vertical lines are the base and GRPO, sampled. At the right, of the first setting that has the arm:
rollouts in all, sampling phases, gradient steps, and what is left of an unrelated task, in %.
"""

from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import BASE, RIVAL, SETTING, Tables, accuracies, at_last, by_decoding, with_base

COLUMNS = {
    "rollouts": ("rollouts", 1, 0),
    "sampling_phases": ("phases", 1, 0),
    "gradient_steps": ("steps", 1, 0),
    "retention_accuracy": ("kept, %", 100, 0),
}
"""Column of the points -> its head, its unit and its digits."""
ROW, MARGIN = 0.17, 1.1
"""Height of a row, and of everything else, in inches."""
COLUMNS_WIDTH = 0.55
"""Width of the columns together, as a share of that of the panels."""
MANY = 1 / 3
"""The least share of all arms that a setting must have."""
FILLED = {"sampled": None, "greedy": "white"}
"""Decoding -> what its points are filled with; None: the arm's colour."""


def frame(tables: Tables) -> pd.DataFrame:
    """Every arm at its last chosen point, and the base, on the settings that have many."""
    points = at_last(with_base(tables.points[tables.points.split == "test"]))
    number = points.groupby(SETTING).arm.transform("nunique")
    points = points[number >= MANY * points.arm.nunique()]
    return by_decoding(points)[[*IDENTITY, "decoding", "accuracy", *COLUMNS]].reset_index(drop=True)


def draw(data: pd.DataFrame) -> Figure:
    settings = list(data.groupby(style.setting_names(data), sort=False))
    places = {arm: place for place, arm in enumerate(_ranked(data))}
    widths = [*[1.0] * len(settings), COLUMNS_WIDTH * len(settings)]
    height = MARGIN + ROW * len(places)
    figure, axes = style.panels([""], columns=len(widths), height=height, sharey=True, width_ratios=widths)
    *panels, last = axes[0]
    for panel, (name, rows) in zip(panels, settings, strict=True):
        _panel(panel, rows, places)
        panel.set_title(fill(name, 18), loc="left", fontsize=7)
    axes[0][0].set_yticks(list(places.values()), list(map(style.label, places)), fontsize=7)
    axes[0][0].set_ylim(len(places) - 0.5, -0.5)
    _columns(last, data, places)
    figure.supxlabel("test accuracy", fontsize=8)
    return figure


def _ranked(data: pd.DataFrame) -> list[str]:
    """Arms, the best first, by the mean over settings of their share of the way from the base to the rival."""
    sampled = data[data.decoding == "sampled"]
    means = sampled.groupby([*SETTING, "arm"], sort=False).accuracy.mean().unstack("arm")
    shares = means.sub(means[BASE], axis=0).div((means.get(RIVAL, 1.0) - means[BASE]), axis=0)
    return shares.mean().sort_values(ascending=False, kind="stable").index.tolist()


def _panel(panel: Axes, rows: pd.DataFrame, places: dict[str, int]) -> None:
    for decoding, fill_color in FILLED.items():
        for found in accuracies(rows[rows.decoding == decoding], ["arm"]).itertuples():
            shade, place = style.color(found.arm), places[found.arm]
            panel.hlines(place, found.low, found.high, color=shade, linewidth=1)
            panel.plot(found.value, place, "o", color=shade, markerfacecolor=fill_color or shade, markersize=3.5)
    for arm in (BASE, RIVAL):
        level = rows[(rows.arm == arm) & (rows.decoding == "sampled")].accuracy.mean()
        panel.axvline(level, color=style.color(arm), linestyle=":", linewidth=0.8, zorder=0)
    panel.set(xlim=(-0.03, 1.05), xticks=[0, 0.5, 1])


def _columns(panel: Axes, data: pd.DataFrame, places: dict[str, int]) -> None:
    means = data.groupby([*SETTING, "arm"], sort=False)[list(COLUMNS)].mean().groupby("arm").first()
    for number, (column, (head, unit, digits)) in enumerate(COLUMNS.items(), start=1):
        across, at = number / len(COLUMNS), {"fontsize": 6, "ha": "right", "va": "center"}
        panel.text(across, -1, head, color="gray", **at)
        for arm, place in places.items():
            value = means[column][arm]
            panel.text(across, place, "" if pd.isna(value) else f"{unit * value:,.{digits}f}", **at)
    panel.set_axis_off()
