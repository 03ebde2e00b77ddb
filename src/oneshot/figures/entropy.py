"""Accuracy against entropy on validation problems: which path from the base gains more accuracy per nat.

Each arm is one path, its points joined in order; crosses mark a collapse. A random direction's path is cut where it
leaves the range of the others.
"""

import pandas as pd
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import DECODINGS, Tables
from oneshot.steps.collapse import flag_collapse

AT_RANDOM = "one_shot_random"
BEYOND = 1.3
"""How far an axis goes beyond the highest entropy of the other arms."""


def frame(tables: Tables) -> pd.DataFrame:
    """Points of every arm on validation problems, in order, with whether the policy has collapsed there."""
    points = tables.points[tables.points.split == "validation"]
    paths = [path.sort_values("point") for _, path in points.groupby(IDENTITY, sort=False)]
    rows = pd.concat([path.assign(collapsed=flag_collapse(path)) for path in paths], ignore_index=True)
    return rows[[*IDENTITY, "point", "entropy_nats", "kl_nats", *DECODINGS.values(), "collapsed"]]


def draw(data: pd.DataFrame) -> Figure:
    settings = style.settings_of(style.drawn(data))
    figure, axes = style.panels([title for title, _ in settings], columns=len(DECODINGS), height=2.5)
    for (_, points), row in zip(settings, axes, strict=True):
        for panel, (decoding, column) in zip(row, DECODINGS.items(), strict=True):
            ends = {arm: _path(panel, path, column, arm) for arm, path in points.groupby("arm", sort=False)}
            panel.set(xlabel="entropy, nats per token", ylabel=f"accuracy, {style.DECODING_TITLES[decoding]}")
            highest = points.entropy_nats[points.arm != AT_RANDOM].max()
            panel.set_xlim(BEYOND * highest, -0.03 * highest)
            style.label_ends(panel, ends)
    return figure


def _path(axes, points: pd.DataFrame, column: str, arm: str) -> tuple[float, float]:
    """Draw mean accuracy against mean entropy at the points that all runs share; returns the last of them."""
    num_runs = points.groupby(["policy", "run"]).ngroups
    shared = points.groupby("point").filter(lambda rows: len(rows) == num_runs)
    mean = shared.groupby("point")[["entropy_nats", column, "collapsed"]].mean().sort_index()
    axes.plot(mean.entropy_nats, mean[column], "-", color=style.color(arm))
    standing = mean.collapsed < 0.5
    axes.plot(mean.entropy_nats[standing], mean[column][standing], "o", color=style.color(arm), markersize=3)
    axes.plot(mean.entropy_nats[~standing], mean[column][~standing], "x", color=style.color(arm), markersize=4)
    return mean.entropy_nats.iloc[-1], mean[column].iloc[-1]
