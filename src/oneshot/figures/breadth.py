"""What the size of the batch buys: test accuracy against its rollouts, for one step and for many steps on them.

A row a setting. Left, accuracy, sampled; whiskers are 95 % t intervals over policies, vertical lines the noise scale of
the gradient. Right, for many steps: how many rollouts the batch is still worth where the arm ends, N times the share
(Σρ)² / (N Σρ²) of the ratios' effective sample size. As a share it hangs on how far the policy has moved, and not on
N: dashed, the share of the largest batch at every N. Where that leaves few rollouts, a batch has run dry.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import BASE, HEADLINE, RIVAL, SETTING, Tables, at_last, over_policies, with_base

FAMILIES = (HEADLINE, "one_batch")
"""Arms that are run on parts of the batch, too; the names of those go on with `_of_` and a number."""
LAST_STEPS = 10
"""Steps over which the effective sample size is averaged."""
SHARE = "effective_sample_size"
NOISE = "noise_scale"


def frame(tables: Tables) -> pd.DataFrame:
    """A row per run of these arms, of the base and of the rival."""
    points = at_last(with_base(tables.points[tables.points.split == "test"]))
    points = points.assign(family=points.arm.str.partition("_of_")[0])
    points = points[points.family.isin([*FAMILIES, RIVAL, BASE])]
    points = points.merge(_shares(tables, points), on=IDENTITY, how="left").merge(
        _noise(tables), on=[*SETTING, "policy", "run"], how="left"
    )
    points["effective_rollouts"] = points.batch_rollouts * points[SHARE]
    kept = ["family", "batch_rollouts", "accuracy", "greedy_accuracy", SHARE, "effective_rollouts", NOISE]
    return points[[*IDENTITY, *kept]].reset_index(drop=True)


def _shares(tables: Tables, points: pd.DataFrame) -> pd.DataFrame:
    """The effective share over the last steps of every run that has one, up to where the arm ends."""
    steps = tables.of_arms("steps").reindex(columns=[*IDENTITY, "point", SHARE]).dropna()
    ends = points[[*IDENTITY, "point"]].rename(columns={"point": "end"})
    steps = steps.merge(ends, on=IDENTITY).query("point <= end").sort_values("point")
    last = steps.groupby(IDENTITY, sort=False).tail(LAST_STEPS)
    return last.groupby(IDENTITY, sort=False)[SHARE].mean().reset_index()


def _noise(tables: Tables) -> pd.DataFrame:
    found = tables.of_arms("quantities")
    found = found[(found.arm == HEADLINE) & (found.quantity == NOISE)]
    return found[[*SETTING, "policy", "run", "value"]].rename(columns={"value": NOISE})


def draw(data: pd.DataFrame) -> Figure:
    settings = style.settings_of(data)
    figure, axes = style.panels([title for title, _ in settings], columns=2, height=2.1)
    for (_, rows), (left, right) in zip(settings, axes, strict=True):
        _accuracy(left, rows)
        _effective(right, rows[rows.effective_rollouts.notna()])
    return figure


def _accuracy(panel: Axes, rows: pd.DataFrame) -> None:
    ends = {}
    for arm in (BASE, RIVAL):
        level = rows[rows.arm == arm].groupby("policy").accuracy.mean().mean()
        panel.axhline(level, color=style.color(arm), linestyle=":")
        ends[arm] = (1, level)
    for family in FAMILIES:
        sizes = rows[rows.family == family]
        if len(sizes):
            ends[family] = _against_size(panel, sizes, "accuracy", family)
    panel.axvline(rows[NOISE].mean(), color=style.PREDICTED, linewidth=0.7)
    style.log_axis(panel)
    panel.set(xlabel="rollouts in the batch", ylabel="test accuracy, sampled", ylim=(0, 1.05))
    style.label_ends(panel, ends)


def _effective(panel: Axes, rows: pd.DataFrame) -> None:
    if rows.batch_rollouts.nunique() < 2:
        panel.set_visible(False)
        return
    _against_size(panel, rows, "effective_rollouts", FAMILIES[1])
    sizes = sorted(rows.batch_rollouts.unique())
    share = rows[rows.batch_rollouts == sizes[-1]][SHARE].mean()
    panel.plot(sizes, [size * share for size in sizes], "--", color=style.PREDICTED, linewidth=1)
    panel.plot(sizes, sizes, ":", color=style.color(BASE), linewidth=1)
    panel.set_yscale("log")
    style.log_axis(panel)
    panel.set(xlabel="rollouts in the batch", ylabel="rollouts that they are worth")


def _against_size(panel: Axes, rows: pd.DataFrame, column: str, family: str) -> tuple[float, float]:
    """Draw a family's column against N, with its intervals; returns the last point."""
    mean = over_policies(rows, ["batch_rollouts"], column).sort_values("batch_rollouts")
    panel.plot(mean.batch_rollouts, mean.value, "-", color=style.color(family))
    for _, reached in mean.iterrows():
        style.whisker(panel, reached.batch_rollouts, reached, style.color(family))
    return mean.batch_rollouts.iloc[-1], mean.value.iloc[-1]
