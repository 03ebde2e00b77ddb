"""Is the path of many steps straight? R² of weights and of log-probs against the step, beside that of random walks.

A row an arm of a setting; points are means over coordinates, with 95 % t intervals over policies. Gray bars end at the
mean of random walks seen at the same steps: what is no further right is no straighter than a walk that goes nowhere.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.figures import style
from oneshot.figures.tables import Tables, over_policies

MEASURES = {"r_squared": "mean R²", "share_high": "share with R² above 0.7"}
SPACES = {"weights": "full", "log-probs": "none"}
"""Space -> how its points are filled."""
ROW, MARGIN = 0.3, 0.8
"""Height of a row, and of everything else, in inches."""
OFFSETS = dict(zip(SPACES, (-0.12, 0.12), strict=True))


def frame(tables: Tables) -> pd.DataFrame:
    """One row for each path and space, with R² and the share of high ones, of the path and of random walks."""
    measured = [f"{walk}{name}" for name in MEASURES for walk in ("", "walk_")]
    return tables.of_runs({"linearity": ["arm", "space", "points", *measured]})


def draw(data: pd.DataFrame) -> Figure:
    paths = [
        (", ".join(filter(None, (title, style.label(arm)))), rows)
        for title, of_setting in style.settings_of(data)
        for arm, rows in of_setting.groupby("arm", sort=False)
    ]
    figure, axes = style.panels([""], columns=len(MEASURES), height=MARGIN + ROW * len(paths), sharey=True)
    for panel, (measure, name) in zip(axes[0], MEASURES.items(), strict=True):
        for place, (_, rows) in enumerate(paths):
            _path(panel, rows, measure, place)
        panel.set(xlabel=name, xlim=(0, 1))
    axes[0][0].set_yticks(range(len(paths)), [name for name, _ in paths])
    axes[0][0].set_ylim(len(paths) - 0.5, -0.5)
    handles = [
        axes[0][1].plot([], [], "o", color="black", fillstyle=fill, label=space)[0] for space, fill in SPACES.items()
    ]
    axes[0][1].legend(handles=handles, loc="best", fontsize=7, frameon=False)
    return figure


def _path(panel: Axes, rows: pd.DataFrame, measure: str, place: int) -> None:
    shade = style.color(rows.arm.iloc[0])
    panel.barh(place, rows[f"walk_{measure}"].mean(), 0.7, color=style.color("base"), alpha=0.25, linewidth=0)
    for space, of_space in rows.groupby("space", sort=False):
        mean, height = over_policies(of_space, [], measure).iloc[0], place + OFFSETS[space]
        panel.hlines(height, mean.low, mean.high, color=shade)
        panel.plot(mean.value, height, "o", color=shade, fillstyle=SPACES[space], markersize=5)
