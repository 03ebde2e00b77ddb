"""What each arm must reach on each of the designs that are solved exactly.

Filled: batches of N rollouts, with the range over independent draws; open: batches without end, where GRPO is the flow.
Dotted: the base policy.
"""

import pandas as pd
from matplotlib.figure import Figure

from oneshot.figures import style
from oneshot.figures.tables import BASE, Tables

COLUMNS = ["arm", "accuracy", "low", "high", "accuracy_endless", "gain_recovered", "gain_recovered_endless"]
LABELS = {
    "phases_2": "2 steps",
    "phases_10": "10 steps",
}
"""Of arms that are of this table alone."""


def frame(tables: Tables) -> pd.DataFrame:
    return tables.other("theory", [*COLUMNS, "sampling_phases", "gradient_steps"])


def draw(data: pd.DataFrame) -> Figure:
    designs = list(dict.fromkeys(data.task))
    figure, axes = style.panels([""], columns=len(designs), height=2.4, sharey=True)
    for panel, design in zip(axes[0], designs, strict=True):
        rows = data[data.task == design]
        base = rows[rows.arm == BASE].accuracy.iloc[0]
        arms = rows[rows.arm != BASE].reset_index(drop=True)
        panel.axhline(base, color=style.color(BASE), linestyle=":")
        for place, row in arms.iterrows():
            shade = style.color(row.arm)
            panel.plot([place], [row.accuracy_endless], "o", color=shade, fillstyle="none", markersize=7)
            panel.vlines([place], [row.low], [row.high], color=shade)
            panel.plot([place], [row.accuracy], "o", color=shade)
        names = [LABELS.get(arm, style.label(arm)) for arm in arms.arm]
        panel.set_xticks(range(len(arms)), names, rotation=90, fontsize=7)
        panel.set_title(design.replace("_", " "), loc="left", fontsize=8)
        panel.set(ylim=(0, 1.04))
    axes[0][0].set(ylabel="accuracy")
    return figure
