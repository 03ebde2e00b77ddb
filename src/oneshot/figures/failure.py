"""Where one step fails: on problems that the base hardly ever solves, and off its batch.

A row a setting. Left, test accuracy by how often the base solves a problem: bins are from many tries of the base,
accuracies from other samples of the same problems, so that no bin is flattered. Right, along the line, the gain on
problems of the batch (solid) and on others (dashed), for steps from few rollouts and from many. Bands are 95 % t
intervals over policies.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import BASE, HEADLINE, RIVAL, SETTING, Tables, accuracies, at_last, over_policies, with_base

ARMS = (BASE, HEADLINE, "one_batch", RIVAL)
EDGES = [0, 0.01, 0.1, 0.3, 0.6, 1]
NAMES = ["never", "to 1 %", "to 10 %", "to 30 %", "to 60 %", "more"]
"""Bins of the base's pass rate: 0, and up to each edge."""
RUN = [*SETTING, "policy", "run"]
LINES = {"batch": "-", "others": "--"}
SHADES = "Oranges_d"
"""The palette of batch sizes, the smallest first."""


def frame(tables: Tables) -> pd.DataFrame:
    """Rows of bins (`of` is an arm, `place` a bin's number, with its share of the problems) and of lines (`of` is where
    the problems come from, `place` the multiple of α_base)."""
    return pd.concat([_bins(tables), _lines(tables)], ignore_index=True)


def _bins(tables: Tables) -> pd.DataFrame:
    tried = tables.other("tried", ["policy", "run", "problem_id", "correct", "samples"])
    tried["place"] = np.searchsorted(EDGES, tried.correct / tried.samples)
    tried["share"] = 1 / tried.groupby(RUN).problem_id.transform("size")
    ends = at_last(with_base(tables.points[tables.points.split == "test"]))
    last = ends[ends.arm.isin(ARMS)][[*IDENTITY, "point"]]
    counts = tables.of_arms("by_problem")
    base = counts[counts.point == 0].assign(arm=BASE).drop_duplicates([*IDENTITY, "problem_id"])
    met = pd.concat([base, counts[counts.point != 0]]).merge(last, on=[*IDENTITY, "point"])
    met = met.merge(tried[[*RUN, "problem_id", "place", "share"]], on=[*RUN, "problem_id"])
    met["accuracy"] = met.correct / met.samples
    found = met.groupby([*IDENTITY, "place"], sort=False).agg(accuracy=("accuracy", "mean"), share=("share", "sum"))
    return found.reset_index().rename(columns={"arm": "of"}).assign(shows="bins")


def _lines(tables: Tables) -> pd.DataFrame:
    rows = tables.other("overfit", ["policy", "run", "rollouts", "multiple", "where", "gain"])
    rows = rows.rename(columns={"where": "of", "multiple": "place"})
    return rows[[*RUN, "of", "place", "rollouts", "gain"]].assign(shows="lines")


def draw(data: pd.DataFrame) -> Figure:
    settings = style.settings_of(data)
    figure, axes = style.panels([title for title, _ in settings], columns=2, height=2.2)
    for (_, rows), (left, right) in zip(settings, axes, strict=True):
        _draw_bins(left, rows[rows.shows == "bins"])
        _draw_lines(right, rows[rows.shows == "lines"])
    return figure


def _draw_bins(panel: Axes, rows: pd.DataFrame) -> None:
    ends, bins = {}, sorted(rows.place.unique())
    for arm in (arm for arm in ARMS if arm in set(rows.of)):
        means = accuracies(rows[rows.of == arm], ["place"]).sort_values("place")
        at = means.place.map(bins.index)
        panel.plot(at, means.value, "o-", color=style.color(arm))
        style.band(panel, at, means.low, means.high, style.color(arm))
        ends[arm] = (at.iloc[-1], means.value.iloc[-1])
    shares = rows[rows.of == BASE].groupby("place").share.mean()
    panel.set_xticks(range(len(bins)), [f"{NAMES[int(one)]}\n({shares[one]:.0%})" for one in bins], fontsize=7)
    panel.set(xlabel="the base solves it (share of problems)", ylabel="test accuracy, sampled", ylim=(-0.02, 1.05))
    style.label_ends(panel, ends)


def _draw_lines(panel: Axes, rows: pd.DataFrame) -> None:
    sizes = sorted(rows.rollouts.unique())
    ends, shades = {}, {}
    for size, shade in zip(sizes, sns.color_palette(SHADES, len(sizes)), strict=True):
        for where, line in LINES.items():
            found = rows[(rows.rollouts == size) & (rows.of == where)]
            means = over_policies(found, ["place"], "gain").sort_values("place")
            panel.plot(means.place, means.value, line, color=shade)
            style.band(panel, means.place, means.low, means.high, shade)
        name = f"{int(size):,}"
        ends[name], shades[name] = (means.place.iloc[-1], means.value.iloc[-1]), shade
    panel.set(xlabel="α / α_base (labels: rollouts)", ylabel="gain")
    style.label_ends(panel, ends, shades)
