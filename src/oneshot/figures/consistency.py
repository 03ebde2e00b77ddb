"""Is one batch large enough, and do its parts agree? Cosines of subsets by size, and of clusters with each other.

A row a setting. Left, disjoint subsets of the batch, mean over pairs, with 95 % t intervals over policies; the line is
1 / (1 + B/N) with the noise scale B from all blocks, dashed with B from the first few. Right, gradients of problems of
different pass rates (and of tasks, if there are several) with each other, without noise.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.figures import style
from oneshot.figures.tables import Tables, over_policies

SIZES = ["rollouts", "cosine", "spread", "expected", "expected_from_few"]
PAIRS = ["by", "one", "other", "corrected"]
BLACK_ON_WHITE = 0.6
"""Above this value a cell's number is dark enough to read in white."""


def frame(tables: Tables) -> pd.DataFrame:
    """Rows of subsets by size, and rows of pairs of clusters."""
    return tables.of_runs({"consistency": SIZES, "clusters": PAIRS})


def draw(data: pd.DataFrame) -> Figure:
    settings = style.settings_of(data)
    figure, axes = style.panels([title for title, _ in settings], columns=2, height=2.2)
    for (_, rows), (left, right) in zip(settings, axes, strict=True):
        _sizes(left, rows[rows.rollouts.notna()])
        _clusters(right, rows[rows.corrected.notna()])
    return figure


def _sizes(panel: Axes, rows: pd.DataFrame) -> None:
    mean = over_policies(rows, ["rollouts"], "cosine").sort_values("rollouts")
    for _, reached in mean.iterrows():
        style.whisker(panel, reached.rollouts, reached, style.color("one_shot"))
    predicted = rows.groupby("rollouts")[["expected", "expected_from_few"]].mean()
    for column, dashes in (("expected", "-"), ("expected_from_few", "--")):
        panel.plot(predicted.index, predicted[column], dashes, color=style.PREDICTED, linewidth=1)
    style.log_axis(panel)
    panel.set(xlabel="rollouts in a subset", ylabel="cosine of two subsets")
    panel.set_ylim(min(0.9, mean.value.min() - 0.05), 1.005)


def _clusters(panel: Axes, rows: pd.DataFrame) -> None:
    """A triangle of cosines, one cell a pair of clusters."""
    names = [name.replace("_", " ") for name in dict.fromkeys(rows.one)]
    values = np.full((len(names), len(names)), np.nan)
    for (one, other), pair in rows.groupby(["one", "other"], sort=False):
        places = sorted(names.index(name.replace("_", " ")) for name in (one, other))
        values[places[1], places[0]] = pair.corrected.mean()
    panel.imshow(values, cmap="RdBu", vmin=-1, vmax=1)
    for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
        value = values[row, column]
        shade = "white" if abs(value) > BLACK_ON_WHITE else "black"
        panel.text(column, row, f"{value:z.2f}", ha="center", va="center", fontsize=7, color=shade)
    panel.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=7)
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.grid(False)
