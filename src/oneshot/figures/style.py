"""The look of all figures: one colour per arm, the same everywhere; direct labels; 95 % intervals over policies.

An arm that is not in ARMS (`oneshot.figures.names`) gets a colour of SPARE, by the hash of its name, and its label from
LABELS or its name. Where there are too many arms for labelled curves, those in ARMS are drawn (`drawn`); tables, and
figures that give every arm a row, show all.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from zlib import crc32

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from oneshot.figures.names import ARMS, LABELS, SPARE
from oneshot.figures.tables import SETTING, over_policies
from oneshot.files import atomic_path

PREDICTED = "#333333"
"""Colour of predictions."""
DECODING_TITLES = {"sampled": "sampled, T = 1", "greedy": "greedy"}
WIDTH, COLUMN = 6.8, 3.3
"""Width of a full page and of one column, in inches."""
LONG = 100
"""Ratio of the ends of a long log axis."""
MOST_LABELS = 12
"""Arms in one figure of labelled curves."""
LABEL_GAP = 9
"""Smallest distance between the labels of one panel, in typographic points."""


def label(arm: str) -> str:
    return ARMS[arm][0] if arm in ARMS else LABELS.get(arm, arm.replace("_", " "))


def color(arm: str) -> str:
    return ARMS[arm][1] if arm in ARMS else SPARE[crc32(arm.encode()) % len(SPARE)]


def drawn(points: pd.DataFrame) -> pd.DataFrame:
    """The rows of the arms that a figure of labelled curves has room for: all, or those in ARMS if there are many."""
    return points if points.arm.nunique() <= MOST_LABELS else points[points.arm.isin(ARMS)]


def set_style() -> None:
    """Paper style: small sans-serif type, light grid, no top or right spine."""
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
            "svg.hashsalt": "",  # equal figures are equal files
            "savefig.dpi": 300,
        }
    )


def save(figure: Figure, paths: Sequence[Path]) -> None:
    """Save the figure to each path, in the format of its suffix."""
    for path in paths:
        with atomic_path(path, sealed=False) as temporary:
            figure.savefig(temporary, metadata={"Date": None} if path.suffix == ".svg" else None)


def curve(axes: Axes, points: pd.DataFrame, x: str, y: str, arm: str) -> pd.DataFrame:
    """Draw an arm: single runs faint, and the mean over policies with its band, at points that all runs share.

    Returns the mean: x, value, low, high. A single point is drawn as a marker with whiskers.
    """
    num_runs = points.groupby(["policy", "run"]).ngroups
    shared = points.groupby("point").filter(lambda rows: len(rows) == num_runs)
    shared = shared if len(shared) else points.assign(point=1.0)
    mean = over_policies(shared, ["point"], y).sort_values("point")
    mean = mean.merge(shared.groupby("point")[x].mean().rename("x"), on="point")
    for _, run in points.groupby(["policy", "run"]):
        axes.plot(run[x], run[y], ".-", color=color(arm), alpha=0.3, linewidth=0.7, markersize=3)
    if len(mean) > 1:
        axes.plot(mean.x, mean.value, "o-", color=color(arm))
        band(axes, mean.x, mean.low, mean.high, color(arm))
    else:
        whisker(axes, mean.x.iloc[0], mean.iloc[0], color(arm))
    return mean


def band(axes: Axes, x, low, high, shade: str, **options) -> None:
    if np.isfinite(np.asarray(low, dtype=float)).all():
        axes.fill_between(x, low, high, color=shade, alpha=0.15, linewidth=0, **options)


def whisker(axes: Axes, x: float, interval: pd.Series, shade: str) -> None:
    bounded = np.isfinite(interval.low)
    errors = [[interval.value - interval.low], [interval.high - interval.value]] if bounded else None
    axes.errorbar([x], [interval.value], errors, fmt="D", color=shade, capsize=2, markersize=5, zorder=5)


def label_ends(axes: Axes, ends: dict[str, tuple[float, float]], shades: dict[str, str] | None = None) -> None:
    """Write each arm's label right of the panel, at the height of its last point; labels that overlap are moved apart.

    `shades`: their colours, if they are not the arms' own.
    """
    axes.get_ylim()  # settles the limits, on which the transform depends
    to_fraction = axes.transData - axes.transAxes
    heights = {arm: to_fraction.transform(end)[1] for arm, end in ends.items()}
    panel_points = 72 * axes.figure.get_figheight() * axes.get_position().height
    arms = sorted(heights, key=heights.get)
    for arm, place in zip(arms, _apart([heights[arm] for arm in arms], LABEL_GAP / panel_points), strict=True):
        axes.annotate(
            label(arm),
            (1.01, place),
            xycoords="axes fraction",
            color=(shades or {}).get(arm) or color(arm),
            fontsize=8,
            va="center",
            annotation_clip=False,
        )


def _apart(heights: list[float], gap: float) -> list[float]:
    """Increasing heights of labels, at least a gap apart and below the panel's top, 1, as far as they fit."""
    places, place = [], -np.inf
    for height in heights:
        place = max(height, place + gap)
        places.append(place)
    top = max(1.0, *places[:1], gap * (len(places) - 1))
    for number in range(len(places) - 1, -1, -1):
        places[number] = min(places[number], top)
        top = places[number] - gap
    return places


def log_axis(axes: Axes) -> None:
    """A log x axis with plain numbers at 1, 2 and 5 times the powers of ten; if it is long, at those alone."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < LONG * low else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def setting_name(model: str, task: str) -> str:
    """The task, and the model if it is neither the main one nor the task's own."""
    named = task if model in ("main", task) else f"{model}, {task}"
    return named.replace("_", " ")


def setting_names(frame: pd.DataFrame) -> pd.Series:
    """The name of every row's setting."""
    return pd.Series(list(map(setting_name, frame.model, frame.task)), frame.index, dtype=object)


def settings_of(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """(title, rows) of every setting in the frame; the title is empty if there is only one."""
    groups = list(frame.groupby(SETTING, sort=False))
    return [(setting_name(model, task) if len(groups) > 1 else "", rows) for (_, model, task), rows in groups]


def interval_text(row: dict, names: Sequence[str], unit: float, digits: int) -> str:
    """`value [low, high]` of the columns of these names, times `unit`; without a value nothing."""
    value, low, high = (unit * row[name] for name in names)
    if pd.isna(value):
        return ""
    return f"{value:z,.{digits}f}" + ("" if pd.isna(low) else f" [{low:z,.{digits}f}, {high:z,.{digits}f}]")


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows)]


def panels(
    titles: Sequence[str], columns: int, height: float, width: float = WIDTH, **options
) -> tuple[Figure, np.ndarray]:
    """(page-wide figure with one row of panels per title, its axes [rows, columns])."""
    size = (width, height * len(titles))
    figure, axes = plt.subplots(len(titles), columns, figsize=size, squeeze=False, **options)
    for title, row in zip(titles, axes, strict=True):
        row[0].set_title(title, loc="left", fontsize=8)
    return figure, axes
