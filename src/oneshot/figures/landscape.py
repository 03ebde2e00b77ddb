"""Accuracy, entropy and KL along a direction, on validation problems; stars are α* measured afresh on test problems.

Crosses mark a collapse: less accurate than the base, and entropy off its path. Top right: the slope of accuracy at
α = 0, per α_base, against its prediction from the other half of the batch.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import DECODINGS, Tables

RUN = [column for column in IDENTITY if column != "arm"]
KL = {"kl_nats": "KL, nats per sequence", "kl_nats_per_token": "KL, nats per token"}
SLOPE = ["predicted", "measured", "low", "high"]


def frame(tables: Tables) -> pd.DataFrame:
    """Points of the searched arms on validation problems, and α* on test problems, with the slope of their run."""
    searched = tables.of_arms("steps")
    searched = searched[searched["predicted_kl_nats"].notna()] if "predicted_kl_nats" in searched else searched[:0]
    kept = [*IDENTITY, "point", "predicted_kl_nats", "collapsed"]
    points = tables.points.merge(searched[kept], on=[*IDENTITY, "point"])
    slope = tables.other("slope", ["policy", "run", *SLOPE])[[*RUN, *SLOPE]]
    points = points.merge(slope.rename(columns={name: f"slope_{name}" for name in SLOPE}), on=RUN)
    columns = [*kept, "split", "chosen", *DECODINGS.values(), "entropy_nats", *KL]
    return points[[*columns, *(f"slope_{name}" for name in SLOPE)]]


def draw(data: pd.DataFrame) -> Figure:
    settings = style.settings_of(style.drawn(data))
    titles = [text for title, _ in settings for text in (title, "")]
    figure, axes = style.panels(titles, columns=3, height=2.1)
    for place, (_, points) in enumerate(settings):
        above, below = axes[2 * place], axes[2 * place + 1]
        _accuracies(above[:2], points)
        _slopes(above[2], points.drop_duplicates(RUN))
        _spread(below, points[points.split == "validation"])
    arms = list(dict.fromkeys(style.drawn(data).arm))
    handles = [axes[0][0].plot([], [], "o-", color=style.color(arm), label=style.label(arm))[0] for arm in arms]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return figure


def _accuracies(axes, points: pd.DataFrame) -> None:
    """Sampled and greedy accuracy along α, with α* on test problems as stars."""
    for panel, (decoding, column) in zip(axes, DECODINGS.items(), strict=True):
        _along(panel, points[points.split == "validation"], column)
        stars = points[(points.split == "test") & points.chosen]
        drawn = panel.plot(stars.point, stars[column], "*", color="black", markersize=6, alpha=0.7)
        panel.set(ylabel=f"accuracy, {decoding}", ylim=(0, min(1.05, 1.05 * panel.dataLim.y1)))
        if decoding == "sampled":
            panel.legend(drawn[:1], ["α* on test"], loc="best", frameon=False, fontsize=8, handletextpad=0.1)


def _spread(axes, points: pd.DataFrame) -> None:
    """Entropy and both KLs along α."""
    _along(axes[0], points, "entropy_nats")
    axes[0].set(ylabel="entropy, nats per token", ylim=(0, None))
    for panel, (column, name) in zip(axes[1:], KL.items(), strict=True):
        _along(panel, points, column, with_base=False)
        panel.set(yscale="log", ylabel=name)
    told = points[points.predicted_kl_nats > 0]  # where there is a gradient
    predicted = told.groupby("point").predicted_kl_nats.median()
    axes[1].plot(predicted.index, predicted, "--", color=style.PREDICTED, linewidth=1, label="predicted")
    axes[1].legend(loc="lower right", frameon=False, fontsize=8)


def _along(axes, points: pd.DataFrame, column: str, with_base: bool = True) -> None:
    """One column against α for every arm, with collapsed points crossed out."""
    moves = points[points.point > 0]
    for arm, rows in moves.groupby("arm", sort=False):
        style.curve(axes, rows.sort_values("point"), "point", column, arm)
    fallen = moves[moves.collapsed.astype(bool)]
    axes.plot(fallen.point, fallen[column], "x", color="black", markersize=4)
    if with_base:
        axes.axhline(points[points.point == 0][column].mean(), color=style.color("base"), linestyle=":")
    style.log_axis(axes)
    axes.set(xlabel="step size α / α_base")


def _slopes(axes, runs: pd.DataFrame) -> None:
    measured = runs.slope_measured.to_numpy()
    errors = np.abs(runs[["slope_low", "slope_high"]].to_numpy().T - measured)
    axes.errorbar(runs.slope_predicted, measured, errors, fmt="o", color=style.color("one_shot"), linewidth=0.8)
    top = 1.2 * max(runs.slope_predicted.max(), runs.slope_high.max())
    axes.plot([0, top], [0, top], ":", color=style.color("base"), linewidth=0.8)
    axes.set(xlim=(0, top), ylim=(min(0, runs.slope_low.min()), top))
    axes.set(xlabel="predicted slope ⟨ĝ, d⟩", ylabel="measured slope")
