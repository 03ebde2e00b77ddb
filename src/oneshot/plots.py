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

from oneshot.provenance import atomic_path, write_csv
from oneshot.report import over_policies

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
    axes.set_xscale("log")
    last = curve.iloc[-1]
    _label(axes, last[cost], last.value, NAMES["grpo"], COLORS["grpo"], (-4, 6), "right")
    _label(axes, one_shot[cost].mean(), point.value, NAMES["one_shot"], COLORS["one_shot"], (-8, -3), "right")
    axes.annotate(
        NAMES["base"], (0.01, base.value), xycoords=axes.get_yaxis_transform(), xytext=(0, 3),
        textcoords="offset points", color=COLORS["base"], fontsize=8,
    )  # fmt: skip


def draw_landscape(frame: pd.DataFrame, stars: pd.DataFrame, slopes: pd.DataFrame) -> Figure:
    """F2: accuracy, entropy and KL against α, and the slope at zero against its prediction.

    `stars`: one row a run with multiple_star and the test accuracies at α*; `slopes`: predicted, measured, low, high.
    """
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 4.6), sharex=False)
    for panel, kind, column in ((axes[0, 0], "sampled", "accuracy"), (axes[0, 1], "greedy", "greedy_accuracy")):
        _along_alpha(panel, frame, column, COLORS["one_shot"])
        base = frame[frame.multiple == 0][column].mean()
        panel.axhline(base, color=COLORS["base"], linestyle=":")
        panel.plot(stars.multiple_star, stars[column], "*", color="black", markersize=7, alpha=0.7)
        panel.set(ylabel=f"accuracy, {KIND_TITLES[kind]}", ylim=(0, None))
        _label(panel, frame.multiple.max(), base, NAMES["base"], COLORS["base"], (0, 4), "right")
    star = stars.iloc[0]
    _label(axes[0, 0], star.multiple_star, star.accuracy, "α* on test", "black", (6, 6))
    _along_alpha(axes[1, 0], frame, "entropy_nats", COLORS["one_shot"])
    axes[1, 0].axhline(frame[frame.multiple == 0].entropy_nats.mean(), color=COLORS["base"], linestyle=":")
    axes[1, 0].set(ylabel="entropy, nats per token", ylim=(0, None))
    for panel in (axes[0, 0], axes[0, 1], axes[1, 0]):
        panel.set(xscale="log", xlabel="step size α / α_base")
    _kl_panel(axes[1, 1], frame)
    _slope_inset(axes[1, 1].inset_axes((0.62, 0.12, 0.36, 0.4)), slopes)
    return figure


def _along_alpha(axes: Axes, frame: pd.DataFrame, column: str, color: str) -> None:
    """Single runs faint with all their points; the mean over policies at the multiples that all runs tried."""
    moves = frame[frame.multiple > 0]
    num_runs = moves.groupby(["policy", "run"]).ngroups
    for _, path in moves.groupby(["policy", "run"]):
        axes.plot(path.multiple, path[column], ".-", color=color, alpha=0.3, linewidth=0.7, markersize=3)
    shared = moves.groupby("multiple").filter(lambda rows: len(rows) == num_runs)
    mean = over_policies(shared, ["multiple"], column).sort_values("multiple")
    axes.plot(mean.multiple, mean.value, "o-", color=color)
    _band(axes, mean.multiple, mean.low, mean.high, color)
    if "collapsed" in frame:
        fallen = moves[moves.collapsed]
        axes.plot(fallen.multiple, fallen[column], "x", color="black", markersize=3.5, alpha=0.6)


def _kl_panel(axes: Axes, frame: pd.DataFrame) -> None:
    _along_alpha(axes, frame.drop(columns="collapsed"), "kl_nats", COLORS["one_shot"])
    moves = frame[frame.multiple > 0].sort_values("multiple")
    axes.plot(moves.multiple, moves.predicted_kl_nats, "--", color=COLORS["predicted"])
    axes.set(xscale="log", yscale="log", xlabel="step size α / α_base", ylabel="KL to base, nats per sequence")
    _label(axes, moves.multiple.iloc[0], moves.predicted_kl_nats.iloc[0], "predicted", COLORS["predicted"], (4, 14))


def _slope_inset(axes: Axes, slopes: pd.DataFrame) -> None:
    errors = np.abs(slopes[["low", "high"]].to_numpy().T - slopes.measured.to_numpy())
    axes.errorbar(
        slopes.predicted, slopes.measured, errors, fmt="o", color=COLORS["one_shot"], markersize=3, linewidth=0.8
    )
    top = 1.25 * max(slopes.predicted.max(), slopes.high.max())
    axes.plot([0, top], [0, top], ":", color=COLORS["base"], linewidth=0.8)
    axes.set(xlim=(0, top), ylim=(min(0, slopes.low.min()), top))
    axes.set_title("slope at 0: measured / ⟨ĝ, d⟩", fontsize=6, pad=2)
    axes.tick_params(labelsize=5, length=2, pad=1)


def draw_entropy(frame: pd.DataFrame) -> Figure:
    """F3: entropy along α and along GRPO's steps, and which path buys more accuracy per nat."""
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.5))
    along_alpha = frame[frame.arm == "one_shot"].rename(columns={"position": "multiple"})
    _along_alpha(axes[0], along_alpha, "entropy_nats", COLORS["one_shot"])
    axes[0].set(xscale="log", xlabel="step size α / α_base", ylabel="entropy, nats per token", ylim=(0, None))
    for panel, (kind, title) in zip(axes[1:], KIND_TITLES.items(), strict=True):
        column = {"sampled": "accuracy", "greedy": "greedy_accuracy"}[kind]
        for arm in ("one_shot", "grpo"):
            _entropy_path(panel, frame[frame.arm == arm], column, arm)
        panel.set(xlabel="entropy, nats per token", ylabel=f"accuracy, {title}")
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
    best = mean[column].idxmax()
    _label(axes, mean.entropy_nats[best], mean[column][best], NAMES[arm], COLORS[arm], (0, 5), "center")


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
