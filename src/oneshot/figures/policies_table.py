"""Measurements of the base policies, taken before any gradient, and the bands they must lie in."""

import pandas as pd

from oneshot.figures import style
from oneshot.figures.tables import SETTING, Tables

BAND = ["lowest", "highest"]


def frame(tables: Tables) -> pd.DataFrame:
    return tables.other("acceptance", ["policy", "quantity", "value", *BAND, "parameters"])


def draw(table: pd.DataFrame) -> str:
    """Markdown with one row per quantity and one column per policy."""
    lines = []
    for (_, model, task), rows in table.groupby(SETTING, sort=False):
        policies = list(dict.fromkeys(rows.policy))
        head = "".join(f" policy {policy} |" for policy in policies)
        lines += [
            f"**{style.setting_name(model, task)}**, {rows.parameters.iloc[0]:,} parameters",
            "",
            f"| quantity |{head} band |",
        ]
        lines.append("| --- " * (len(policies) + 2) + "|")
        for quantity, found in rows.groupby("quantity", sort=False):
            values = "".join(f" {value:.3f} |" for value in found.value)
            low, high = found[BAND].iloc[0]
            lines.append(f"| {quantity} |{values} {'' if (low, high) == (0, 1) else f'{low:g} to {high:g}'} |")
        lines.append("")
    return "\n".join(lines)
