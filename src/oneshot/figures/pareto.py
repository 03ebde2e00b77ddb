"""Steps × batch at a fixed number of rollouts: few large steps on many rollouts each, or many small ones on few.

A row a setting, but for settings with no line to draw where others have one. Left, accuracy against the number of
on-policy steps, each on fresh rollouts: one line a budget, and one for steps along the gradient itself, whose sizes are
searched for. Right, what fresh rollouts add at about as many gradient steps: accuracy against sampling phases. Whiskers
and bands are 95 % t intervals over policies.
"""

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import BASE, HEADLINE, RIVAL, SETTING, Tables, accuracies, at_chosen, at_last, with_base

SHARED, SEARCHED = "steps_", "large_steps"
"""Beginnings of the names of arms: steps that share a budget, and steps of searched sizes."""
PHASES = ("one_batch", "phases_2", "phases_4", "phases_16", "steps_200")
"""Arms of about 200 gradient steps."""
FAMILIES = {"searched": "sizes searched for", "phases": ""}
SHADES = "Blues_d"
"""The palette of budgets, the smallest first."""


def frame(tables: Tables) -> pd.DataFrame:
    """A row for each run, family and number of steps: `family` is the rollouts drawn, `searched` or `phases`."""
    points = with_base(tables.timed(tables.points[tables.points.split == "test"]))
    last = at_last(points)
    known = at_chosen(points[points.arm == RIVAL])
    nominal = known[known.rollouts == known.groupby(IDENTITY).rollouts.transform("min")]
    parts = [last[last.arm == BASE].assign(family=BASE)]
    shared = last[last.arm.str.startswith(SHARED)]
    for fresh in (nominal, shared):
        parts.append(fresh.assign(family=fresh.rollouts.astype(int).astype(str)))
    parts.append(last[(last.arm == HEADLINE) | last.arm.str.startswith(SEARCHED)].assign(family="searched"))
    parts.append(last[last.arm.isin(PHASES)].assign(family="phases"))
    kept = ["family", "accuracy", "greedy_accuracy", "gradient_steps", "sampling_phases", "rollouts", "seconds"]
    return _with_lines(pd.concat(parts, ignore_index=True)[[*IDENTITY, *kept]])


def _with_lines(rows: pd.DataFrame) -> pd.DataFrame:
    """The settings with a family of several arms; all, if none has one."""
    arms = rows.groupby([*SETTING, "family"]).arm.transform("nunique")
    several = (arms > 1).groupby([rows[name] for name in SETTING]).transform("any")
    return rows[several] if several.any() else rows


def draw(data: pd.DataFrame) -> Figure:
    settings = style.settings_of(data)
    figure, axes = style.panels([name for name, _ in settings], columns=2, height=2.2, sharey="row")
    for (_, rows), (left, right) in zip(settings, axes, strict=True):
        budgets = sorted((name for name in set(rows.family) if name.isdecimal()), key=int)
        blues = sns.color_palette(SHADES, len(budgets))
        shades = {**dict(zip(budgets, blues, strict=True)), "searched": style.color(HEADLINE)}
        names = {name: f"{int(name):,} rollouts" for name in budgets} | FAMILIES
        _panel(left, rows, "gradient_steps", {name: shades[name] for name in (*budgets, "searched")}, names)
        left.set(xlabel="on-policy steps", ylabel="test accuracy, sampled")
        _panel(right, rows, "sampling_phases", {"phases": style.color("one_batch")}, names)
        right.set(xlabel="sampling phases, about 200 steps")
    return figure


def _panel(panel: Axes, rows: pd.DataFrame, x: str, shades: dict[str, str], names: dict[str, str]) -> None:
    base = rows[rows.family == BASE].accuracy.mean()
    panel.axhline(base, color=style.color(BASE), linestyle=":")
    ends = {BASE: (1, base)}
    for family, shade in shades.items():
        of_family = rows[rows.family == family]
        if of_family.empty:
            continue
        means = accuracies(of_family, ["arm"]).set_index("arm")
        means["x"] = of_family.groupby("arm")[x].mean()
        means = means.sort_values("x")
        panel.plot(means.x, means.value, "-", color=shade)
        for _, reached in means.iterrows():
            style.whisker(panel, reached.x, reached, shade)
        ends[names[family]] = (means.x.iloc[-1], means.value.iloc[-1])
    panel.set_ylim(0, 1.02)
    style.log_axis(panel)
    style.label_ends(
        panel, {name: end for name, end in ends.items() if name}, {names[key]: shades[key] for key in shades}
    )
