"""Why the path of many steps turns, and how far it carries.

A row a setting and arm. Left, cosines along the path: of the first gradient with that of the base's rollouts,
re-weighted for where the policy has come to (what is lost is curvature), and with that of fresh rollouts; and of these
two with each other (what is lost is feedback). All without noise: the mean over policies, over the root of the mean
reliabilities, as near the end of a path a single policy has few groups left to tell. Right, accuracy on validation
problems at multiples of the moves to half way and to the end; thin lines are single policies.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from oneshot.figures import style
from oneshot.figures.tables import Tables
from oneshot.statistics import corrected

PAIRS = {
    ("first", "re-weighted"): ("first, re-weighted", "-"),
    ("first", "fresh"): ("first, fresh", "--"),
    ("re-weighted", "fresh"): ("re-weighted, fresh", ":"),
}
"""Which two gradients -> label and dashes."""
MOVES = {"half way": "--", "the end": "-"}
ANGLES = ["one", "other", "cosine", "one_reliability", "other_reliability"]
REACHED = ["factor", "accuracy", "greedy_accuracy", "kl_nats"]


def frame(tables: Tables) -> pd.DataFrame:
    """Rows of angles along the paths, and rows of accuracies at multiples of their moves."""
    return tables.of_runs({"turning": ["arm", "step", *ANGLES], "extrapolation": ["arm", "step", *REACHED]})


def draw(data: pd.DataFrame) -> Figure:
    paths = [
        (", ".join(filter(None, (title, style.label(arm)))), rows)
        for title, of_setting in style.settings_of(data)
        for arm, rows in of_setting.groupby("arm", sort=False)
    ]
    figure, axes = style.panels([title for title, _ in paths], columns=2, height=2.0)
    for (_, rows), (left, right) in zip(paths, axes, strict=True):
        _angles(left, rows[rows.one.notna()])
        _reached(right, rows[rows.factor.notna()])
    axes[0][0].legend(loc="best", fontsize=7, frameon=False, handlelength=3.5)
    axes[0][1].legend(loc="best", fontsize=7, frameon=False, handlelength=3.5)
    return figure


def _angles(panel: Axes, rows: pd.DataFrame) -> None:
    shade = style.color(rows.arm.iloc[0])
    for (one, other), (label, dashes) in PAIRS.items():
        mean = rows[(rows.one == one) & (rows.other == other)].groupby("step")[ANGLES[2:]].mean()
        clean = [corrected(*values) for values in mean.itertuples(index=False)]
        panel.plot(mean.index, clean, dashes, marker="o", markersize=3, color=shade, label=label)
    panel.axhline(0, color=style.color("base"), linewidth=0.7)
    panel.set(xlabel="gradient steps", ylabel="cosine without noise", ylim=(-0.3, 1.3))


def _reached(panel: Axes, rows: pd.DataFrame) -> None:
    shade, last = style.color(rows.arm.iloc[0]), rows.groupby("policy").step.transform("max")
    for (label, dashes), part in zip(MOVES.items(), (rows[rows.step < last], rows[rows.step == last]), strict=True):
        for _, run in part.groupby(["policy", "run"]):
            panel.plot(run.factor, run.accuracy, dashes, color=shade, alpha=0.3, linewidth=0.7)
        mean = part.groupby("factor").accuracy.mean()
        panel.plot(mean.index, mean, dashes, marker="o", markersize=3, color=shade, label=f"move to {label}")
    panel.set(xlabel="multiple of the move", ylabel="validation accuracy", ylim=(0, 1.05))
