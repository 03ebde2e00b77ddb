"""Every value tried for every tuned arm, on a policy that no result is reported on."""

import pandas as pd

from oneshot.figures import style
from oneshot.figures.tables import Tables

COLUMNS = ["setting", "value", "accuracy", "greedy_accuracy", "rollouts", "chosen", "frozen"]


def frame(tables: Tables) -> pd.DataFrame:
    return tables.other("tuning", ["arm", *COLUMNS])


def draw(table: pd.DataFrame) -> str:
    """Markdown; the chosen value is bold."""
    lines = ["| model | task | arm | setting | value | validation, sampled % | greedy % | rollouts |"]
    lines.append("| --- " * 8 + "|")
    for row in table.itertuples():
        value = f"**{row.value:.3g}**" if row.chosen else f"{row.value:.3g}"
        accuracies = f"{100 * row.accuracy:.1f} | {100 * row.greedy_accuracy:.1f}"
        head = f"| {row.model} | {row.task} | {style.label(row.arm)} | {row.setting}"
        lines.append(f"{head} | {value} | {accuracies} | {row.rollouts:,.0f} |")
    return "\n".join(lines) + "\n"
