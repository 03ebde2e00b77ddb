"""The figures, drawn from tidy frames. Nothing here loads a model, and every function gives a `Figure`.

One colour an arm, the same everywhere (Okabe and Ito's palette, safe for colour-blind readers), direct labels
in place of legends, 95 % intervals over policies where there are two or more, faint lines for single runs.
"""

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from oneshot.provenance import atomic_path, write_csv
from oneshot.report import KINDS, over_policies

COLORS = {"one_shot": "#D55E00", "grpo": "#0072B2", "base": "#6F6F6F", "predicted": "#009E73"}
NAMES = {"one_shot": "one-shot", "grpo": "GRPO", "base": "base"}
KIND_TITLES = {"sampled": "sampled, T = 1", "greedy": "greedy"}
WIDTH, COLUMN = 6.8, 3.3
"""Inches: a full page's width and one column's."""


def set_style() -> None:
    """Paper style: small sans-serif type, light grid, no upper and right spine."""
    sns.set_theme(context="paper", style="ticks", font_scale=0.9)
    plt.rcParams.update(
        {
            "axes.grid": True,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 150,
            "grid.alpha": 0.25,
            "lines.linewidth": 1.4,
            "lines.markersize": 4,
            "pdf.fonttype": 42,
            "savefig.dpi": 300,
        }
    )


def save_figure(figure: Figure, data: pd.DataFrame, folder: str | Path, name: str) -> None:
    """PDF and PNG, and the tidy CSV the figure was drawn from."""
    for kind in ("pdf", "png"):
        with atomic_path(Path(folder) / f"{name}.{kind}") as temporary:
            figure.savefig(temporary)
    write_csv(data, Path(folder) / f"{name}.csv")


def draw_central(frame: pd.DataFrame) -> Figure:
    """F1: test accuracy against rollouts and against seconds; rows are the two ways of decoding."""
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 4.4), sharex="col", sharey="row")
    labels = {"rollouts": "rollouts drawn", "seconds": "seconds on one core"}
    for row, (kind, title) in enumerate(KIND_TITLES.items()):
        for column, (cost, label) in enumerate(labels.items()):
            _central_panel(axes[row, column], frame[frame.kind == kind], cost)
            axes[1, column].set_xlabel(label)
        axes[row, 0].set_ylabel(f"test accuracy\n{title}")
    return figure


def _central_panel(axes: Axes, frame: pd.DataFrame, cost: str) -> None:
    grpo, one_shot = frame[frame.arm == "grpo"], frame[frame.arm == "one_shot"]
    base = over_policies(frame[frame.arm == "base"], ["arm"], "accuracy").iloc[0]
    axes.axhline(base.value, color=COLORS["base"], linestyle=":")
    _band(axes, [0, 1], [base.low] * 2, [base.high] * 2, COLORS["base"], transform=axes.get_yaxis_transform())
    for _, path in grpo.groupby(["policy", "run"]):
        axes.plot(path[cost], path.accuracy, color=COLORS["grpo"], alpha=0.25, linewidth=0.7)
    curve = over_policies(grpo, ["step"], "accuracy").merge(grpo.groupby("step")[cost].mean(), on="step")
    axes.plot(curve[cost], curve.value, "o-", color=COLORS["grpo"])
    _band(axes, curve[cost], curve.low, curve.high, COLORS["grpo"])
    point = over_policies(one_shot, ["arm"], "accuracy").iloc[0]
    axes.plot(one_shot[cost], one_shot.accuracy, ".", color=COLORS["one_shot"], alpha=0.4, markersize=3)
    _whisker(axes, one_shot[cost].mean(), point, COLORS["one_shot"], marker="D")
    costs = [*curve[cost], *one_shot[cost]]
    _log_axis(axes, (1, 2, 5) if max(costs) < 100 * min(costs) else (1,))
    best = curve.loc[curve.value.idxmax()]
    inwards = "left" if best[cost] == curve[cost].min() else "right"
    _label(axes, best[cost], best.value, NAMES["grpo"], COLORS["grpo"], (0, 8), inwards)
    _label(axes, one_shot[cost].mean(), point.value, NAMES["one_shot"], COLORS["one_shot"], (4, -13), "right")
    start = min(curve[cost].min(), one_shot[cost].min())
    axes.margins(y=0.12)
    _label(axes, start, base.value, NAMES["base"], COLORS["base"], (0, -9))


def draw_landscape(frame: pd.DataFrame, stars: pd.DataFrame, slopes: pd.DataFrame) -> Figure:
    """F2: accuracy, entropy and KL against α, and the slope at zero against its prediction.

    `stars`: one row a run with multiple_star and the test accuracies at α*; `slopes`: predicted, measured, low, high.
    """
    figure, axes = plt.subplots(2, 3, figsize=(WIDTH, 4.2))
    for panel, (kind, column) in zip(axes[0], KINDS.items(), strict=False):
        _along_alpha(panel, frame, column)
        stars_drawn = panel.plot(stars.multiple_star, stars[column], "*", color="black", markersize=6, alpha=0.7)
        panel.set(ylabel=f"accuracy, {KIND_TITLES[kind]}", ylim=(0, 1.05 * panel.dataLim.y1))
    axes[0, 0].legend(stars_drawn, ["α* on test"], loc="lower right", frameon=False, fontsize=8, handletextpad=0.1)
    _slope_panel(axes[0, 2], slopes)
    _along_alpha(axes[1, 0], frame, "entropy_nats")
    axes[1, 0].set(ylabel="entropy, nats per token")
    moves = frame[frame.multiple > 0].sort_values("multiple")
    _along_alpha(axes[1, 1], frame, "kl_nats", with_base=False)
    axes[1, 1].plot(moves.multiple, moves.predicted_kl_nats, "--", color=COLORS["predicted"], linewidth=1)
    axes[1, 1].set(yscale="log", ylabel="KL to base, nats per sequence")
    _label(
        axes[1, 1],
        moves.multiple.max(),
        moves.predicted_kl_nats.max(),
        "predicted",
        COLORS["predicted"],
        (-12, 0),
        "right",
    )
    _along_alpha(axes[1, 2], frame, "kl_nats_per_token", with_base=False)
    axes[1, 2].set(yscale="log", ylabel="KL to base, nats per token")
    for panel in (*axes[0, :2], *axes[1]):
        _alpha_axis(panel)
    return figure


def _along_alpha(axes: Axes, frame: pd.DataFrame, column: str, with_base: bool = True) -> None:
    """Single runs faint with all their points; the mean over policies at the multiples that all runs tried."""
    color, moves = COLORS["one_shot"], frame[frame.multiple > 0]
    num_runs = moves.groupby(["policy", "run"]).ngroups
    for _, path in moves.groupby(["policy", "run"]):
        axes.plot(path.multiple, path[column], ".-", color=color, alpha=0.3, linewidth=0.7, markersize=3)
    shared = moves.groupby("multiple").filter(lambda rows: len(rows) == num_runs)
    mean = over_policies(shared, ["multiple"], column).sort_values("multiple")
    axes.plot(mean.multiple, mean.value, "o-", color=color)
    _band(axes, mean.multiple, mean.low, mean.high, color)
    fallen = moves[moves.collapsed.astype(bool)]
    axes.plot(fallen.multiple, fallen[column], "x", color="black", markersize=4)
    if with_base:
        base = frame[frame.multiple == 0][column].mean()
        axes.axhline(base, color=COLORS["base"], linestyle=":")
        axes.set_ylim(0, None)
        _label(axes, moves.multiple.max(), base, NAMES["base"], COLORS["base"], (0, -5), "right")


def _alpha_axis(axes: Axes) -> None:
    axes.set(xlabel="step size α / α_base")
    _log_axis(axes, (1, 2, 5))


def _log_axis(axes: Axes, subs: tuple[int, ...]) -> None:
    """Numbers at these multiples of the powers of ten, in plain writing."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _slope_panel(axes: Axes, slopes: pd.DataFrame) -> None:
    errors = np.abs(slopes[["low", "high"]].to_numpy().T - slopes.measured.to_numpy())
    axes.errorbar(slopes.predicted, slopes.measured, errors, fmt="o", color=COLORS["one_shot"], linewidth=0.8)
    top = 1.2 * max(slopes.predicted.max(), slopes.high.max())
    axes.plot([0, top], [0, top], ":", color=COLORS["base"], linewidth=0.8)
    axes.set(xlim=(0, top), ylim=(min(0, slopes.low.min()), top))
    axes.set(xlabel="predicted slope ⟨ĝ, d⟩", ylabel="measured slope at α = 0")


def draw_entropy(frame: pd.DataFrame) -> Figure:
    """F3: entropy along α and along GRPO's steps, and which path buys more accuracy per nat."""
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.5))
    along_alpha = frame[frame.arm == "one_shot"].rename(columns={"position": "multiple"})
    _along_alpha(axes[0], along_alpha, "entropy_nats")
    axes[0].set(ylabel="entropy, nats per token")
    _alpha_axis(axes[0])
    for panel, (kind, column) in zip(axes[1:], KINDS.items(), strict=True):
        for arm in ("one_shot", "grpo"):
            _entropy_path(panel, frame[frame.arm == arm], column, arm)
        panel.set(xlabel="entropy, nats per token", ylabel=f"accuracy, {KIND_TITLES[kind]}")
        panel.invert_xaxis()
    return figure


def _entropy_path(axes: Axes, frame: pd.DataFrame, column: str, arm: str) -> None:
    """Mean accuracy against mean entropy at the positions all runs share, joined in order; crosses have collapsed."""
    num_runs = frame.groupby(["policy", "run"]).ngroups
    shared = frame.groupby("position").filter(lambda rows: len(rows) == num_runs)
    mean = shared.groupby("position")[["entropy_nats", column, "collapsed"]].mean().sort_index()
    axes.plot(mean.entropy_nats, mean[column], "-", color=COLORS[arm])
    standing = mean.collapsed < 0.5
    axes.plot(mean.entropy_nats[standing], mean[column][standing], "o", color=COLORS[arm], markersize=3)
    axes.plot(mean.entropy_nats[~standing], mean[column][~standing], "x", color=COLORS[arm], markersize=4)
    half_way = mean.iloc[(mean[column] - mean[column].agg(["min", "max"]).mean()).abs().argmin()]
    offset, align = {"one_shot": ((8, -6), "left"), "grpo": ((8, -17), "left")}[arm]
    _label(axes, half_way.entropy_nats, half_way[column], NAMES[arm], COLORS[arm], offset, align)


def _band(axes: Axes, x, low, high, color: str, **options) -> None:
    if np.isfinite(np.asarray(low, dtype=float)).all():
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0, **options)


def _whisker(axes: Axes, x: float, interval: pd.Series, color: str, marker: str) -> None:
    errors = (
        [[interval.value - interval.low], [interval.high - interval.value]] if interval.low == interval.low else None
    )
    axes.errorbar([x], [interval.value], errors, fmt=marker, color=color, capsize=2, markersize=5, zorder=5)


def _label(axes: Axes, x: float, y: float, text: str, color: str, offset: tuple, align: str = "left") -> None:
    axes.annotate(
        text, (x, y), xytext=offset, textcoords="offset points", color=color, fontsize=8, ha=align, va="center"
    )


DRAWERS: dict[str, Callable[..., Figure]] = {
    "central": draw_central,
    "landscape": draw_landscape,
    "entropy": draw_entropy,
}
