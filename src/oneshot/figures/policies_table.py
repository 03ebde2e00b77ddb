"""What the base policies are like, measured before any gradient was taken, and the bands in which they were to lie."""

import pandas as pd

from oneshot.figures.tables import SETTING, Tables

BAND = ["lowest", "highest"]


def frame(tables: Tables) -> pd.DataFrame:
    return tables.other("acceptance", ["policy", "quantity", "value", *BAND, "parameters"])


def draw(table: pd.DataFrame) -> str:
    """Markdown: quantities by row, policies by column."""
    lines = []
    for (_, model, task), rows in table.groupby(SETTING, sort=False):
        policies = list(dict.fromkeys(rows.policy))
        head = "".join(f" policy {policy} |" for policy in policies)
        lines += [f"**{model}, {task}**, {rows.parameters.iloc[0]:,} parameters", "", f"| quantity |{head} band |"]
        lines.append("| --- " * (len(policies) + 2) + "|")
        for quantity, found in rows.groupby("quantity", sort=False):
            values = "".join(f" {value:.3f} |" for value in found.value)
            low, high = found[BAND].iloc[0]
            lines.append(f"| {quantity} |{values} {'' if (low, high) == (0, 1) else f'{low:g} to {high:g}'} |")
        lines.append("")
    return "\n".join(lines)
