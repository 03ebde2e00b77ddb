"""Test accuracy against gradient steps, by how often the policy was sampled to learn from.

Arms end when they have spent their rollouts: about as many as one-shot with its search, some fewer.

A panel a setting. One colour a number of sampling phases; whiskers are 95 % t intervals over policies. The line joins
the arms of one sampling phase that end highest for their number of steps: what steps buy without fresh rollouts.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.arms import IDENTITY
from oneshot.figures import style
from oneshot.figures.tables import BASE, DECODINGS, Tables, accuracies, at_last, by_decoding, with_base

ASIDE = ("one_shot_of", "one_shot_random", "one_shot_shuffled", "cooled", "gold")
"""Beginnings of the names of arms that are left out: controls, parts of the batch, and what learns from no rollout."""
DEPTH = ["sampling_phases", "gradient_steps"]
SHADES = {"1": style.color("one_shot"), "2 to 16": style.color("one_batch"), "more": style.color("grpo")}
"""Sampling phases -> colour."""


def frame(tables: Tables) -> pd.DataFrame:
    """Every arm at its last chosen point, and the base."""
    points = at_last(with_base(tables.points[tables.points.split == "test"]))
    kept = points[~points.arm.str.startswith(ASIDE)]
    return by_decoding(kept)[[*IDENTITY, "decoding", "accuracy", "rollouts", *DEPTH]].reset_index(drop=True)


def draw(data: pd.DataFrame) -> Figure:
    settings = style.settings_of(style.drawn(data))
    figure, axes = style.panels([""] * len(settings), columns=len(DECODINGS), height=2.4, sharey="row")
    for (setting, rows), row in zip(settings, axes, strict=True):
        for panel, (decoding, points) in zip(row, rows.groupby("decoding", sort=False), strict=True):
            _panel(panel, points)
            panel.set_xlabel("gradient steps")
            panel.set_title(": ".join(filter(None, (setting, style.DECODING_TITLES[decoding]))), loc="left", fontsize=8)
        row[0].set_ylabel("test accuracy")
    told = set(data.sampling_phases[data.arm != BASE].map(_phases))
    shown = {phases: shade for phases, shade in SHADES.items() if phases in told}
    names = {phases: f"{phases} sampling phase{'' if phases == '1' else 's'}" for phases in shown}
    handles = [axes[0][0].plot([], [], "D", color=shown[phases], label=name)[0] for phases, name in names.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(shown), fontsize=8, frameon=False)
    return figure


def _panel(panel: Axes, points: pd.DataFrame) -> None:
    base = points[points.arm == BASE].accuracy.mean()
    panel.axhline(base, color=style.color(BASE), linestyle=":")
    ends, shades, means = {BASE: (1, base)}, {}, []
    for arm, rows in points[points.arm != BASE].groupby("arm", sort=False):
        reached, (phases, steps) = accuracies(rows, []).iloc[0], rows[DEPTH].mean()
        shades[arm] = SHADES[_phases(phases)]
        style.whisker(panel, steps, reached, shades[arm])
        ends[arm] = (steps, reached.value)
        means.append((phases, steps, reached.value))
    alone = pd.DataFrame([mean for mean in means if mean[0] == 1], columns=["phases", "steps", "value"])
    best = alone.sort_values("value").drop_duplicates("steps", keep="last").sort_values("steps")
    panel.plot(best.steps, best.value, "-", color=SHADES["1"], linewidth=0.8)
    panel.set_ylim(0, None)
    style.log_axis(panel)
    style.label_ends(panel, ends, shades)


def _phases(count: float) -> str:
    return "1" if count == 1 else "2 to 16" if count <= 16 else "more"
