"""Does the first gradient point along the path of many steps? Its cosine with where they have led, step by step.

A row a setting. Left, in weight space; right, in function space, between changes of log-probs. Full lines, the gradient
of the one batch; dashed, the same without noise, where two runs tell how noisy a path is. Gray, a random direction:
left, twice what chance allows; right, the control's own.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.figures import style
from oneshot.figures.tables import HEADLINE, Tables, over_policies

RANDOM = "one_shot_random"
PANELS = {"all": "weights", "function": "log-probs"}
"""Kind of cosine -> what it is between."""
LOWEST, MARGIN = -0.1, 0.05
"""Where the axis ends below, if no cosine is lower, and how far it goes beyond them."""
COLUMNS = ["direction", "kind", "cosine", "chance", "path_reliability", "direction_reliability", "corrected"]


def frame(tables: Tables) -> pd.DataFrame:
    """Every direction's cosine with every path, by step and kind of parameter."""
    return tables.of_runs({"cosines": ["arm", "step", *COLUMNS]})


def draw(data: pd.DataFrame) -> Figure:
    settings, told = style.settings_of(data), data[data.kind.isin(PANELS) & data.direction.isin((HEADLINE, RANDOM))]
    figure, axes = style.panels([title for title, _ in settings], columns=len(PANELS), height=2.1, sharey=True)
    for (_, rows), row in zip(settings, axes, strict=True):
        for panel, (kind, name) in zip(row, PANELS.items(), strict=True):
            panel.set(xlabel="gradient steps", ylabel=f"cosine, {name}")
            panel.set_ylim(min(LOWEST, told.cosine.min() - MARGIN), 1 + MARGIN)
            _panel(panel, rows[rows.kind == kind])
    return figure


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    ours, chance = rows[rows.direction == HEADLINE], 2 * rows.chance.mean()
    if pd.notna(chance):
        panel.axhspan(-chance, chance, color=style.color(RANDOM), alpha=0.4, linewidth=0)
    ends = {}
    for arm, path in ours.groupby("arm", sort=False):
        mean = over_policies(path, ["step"], "cosine")
        panel.plot(mean.step, mean.value, "o-", color=style.color(arm), markersize=3)
        style.band(panel, mean.step, mean.low, mean.high, style.color(arm))
        clean = path[path.corrected.notna()]
        if len(clean):
            clean = over_policies(clean, ["step"], "corrected")
            panel.plot(clean.step, clean.value, "--", color=style.color(arm))
        ends[arm] = (mean.step.iloc[-1], mean.value.iloc[-1])
    for _, path in rows[rows.direction == RANDOM].groupby("arm", sort=False):
        mean = over_policies(path, ["step"], "cosine")
        panel.plot(mean.step, mean.value, ":", color=style.color(RANDOM), zorder=0)
    style.log_axis(panel)
    style.label_ends(panel, ends)
