"""Every setting in a row: what its base policy is like, and how far each arm gets.

An arm's cell holds its sampled test accuracy in %, then its greedy one, then the share of the rival's sampled gain that
it recovers, where that gain is clearly positive over policies.
"""

import pandas as pd

from oneshot.figures import style
from oneshot.figures.tables import (
    BASE,
    DECODINGS,
    HEADLINE,
    RIVAL,
    SETTING,
    Tables,
    at_last,
    gain_recovered,
    over_policies,
    with_base,
)

MEASURED = {"pass_at_64": "pass@64", "best_low_temperature": "best low T"}
"""Quantities of acceptance, on validation problems."""
SPREAD = ["noise_scale", "noise_scale_low", "noise_scale_high"]


def frame(tables: Tables) -> pd.DataFrame:
    """One row for each setting and arm, with what acceptance and the gradient say of the setting."""
    points = at_last(with_base(tables.points[tables.points.split == "test"]))
    rows = over_policies(points, ["arm"], "accuracy").rename(columns={"value": "accuracy"})
    greedy = over_policies(points, ["arm"], DECODINGS["greedy"])[[*SETTING, "arm", "value"]]
    rows = rows.merge(greedy.rename(columns={"value": "greedy_accuracy"}), on=[*SETTING, "arm"])
    rows = rows.merge(_recovered(points), on=[*SETTING, "arm"], how="left")
    about = tables.other("acceptance", ["policy", "quantity", "value"])
    about = about[about.quantity.isin(MEASURED)]
    about = pd.concat([about, _of_headline(tables)]).groupby([*SETTING, "quantity"], sort=False).value.mean().unstack()
    return rows.merge(about.reset_index(), on=SETTING, how="left").reindex(columns=[*rows, *MEASURED, *SPREAD])


def _of_headline(tables: Tables) -> pd.DataFrame:
    found = tables.of_arms("quantities")
    return found[(found.arm == HEADLINE) & found.quantity.isin(SPREAD)]


def _recovered(points: pd.DataFrame) -> pd.DataFrame:
    """Each arm's share of the rival's gain, sampled, with Fieller's interval over policies."""
    rows = []
    for setting, chosen in points.groupby(SETTING, sort=False):
        by_arm = chosen.groupby(["policy", "arm"]).accuracy.mean().unstack("arm")
        for arm in by_arm.columns.drop(BASE) if RIVAL in by_arm else ():
            rows.append([*setting, arm, *gain_recovered(by_arm[arm], by_arm[RIVAL], by_arm[BASE])])
    return pd.DataFrame(rows, columns=[*SETTING, "arm", "recovered", "recovered_low", "recovered_high"])


def draw(table: pd.DataFrame) -> str:
    """Markdown."""
    arms = [arm for arm in dict.fromkeys(table.arm) if arm != BASE]
    heads = ["setting", "base, sampled / greedy", *MEASURED.values(), "noise scale", *map(style.label, arms)]
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    for (_, model, task), rows in table.groupby(SETTING, sort=False):
        found = rows.set_index("arm")
        base = found.loc[BASE]
        cells = [style.setting_name(model, task), f"{100 * base.accuracy:.1f} / {100 * base.greedy_accuracy:.1f}"]
        cells += [f"{100 * base[name]:.1f}" for name in MEASURED]
        cells += [f"{base.noise_scale:,.0f} [{base.noise_scale_low:,.0f}, {base.noise_scale_high:,.0f}]"]
        cells += [_cell(found.loc[arm]) if arm in found.index else "" for arm in arms]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: pd.Series) -> str:
    accuracies = f"{100 * row.accuracy:.1f} / {100 * row.greedy_accuracy:.1f}"
    if pd.isna(row.recovered):
        return accuracies
    return f"{accuracies}; {row.recovered:.2f} [{row.recovered_low:.2f}, {row.recovered_high:.2f}]"
