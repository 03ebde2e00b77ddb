"""Every arm at its chosen points: accuracy and gain over the base with 95 % t intervals, and the cost.

KL efficiency is the KL that the exact tilt needs for the arm's accuracy, over the KL that the arm has spent.
"""

import pandas as pd

from oneshot.arms import COSTS
from oneshot.figures import style
from oneshot.figures.tables import BASE, SETTING, Tables, accuracies, at_chosen, by_decoding, over_policies, with_base
from oneshot.figures.tilt import base_rates, with_smallest_kl

COLUMNS = ("arm", "point", "decoding", "accuracy, %", "gain, points", "KL, nats", "KL efficiency", *COSTS, "seconds")
KL = ("kl_nats", "kl_efficiency")
PLAIN = ("rollouts", "batch_rollouts", "tokens", "gradient_steps", "sampling_phases", "search_rounds")


def frame(tables: Tables) -> pd.DataFrame:
    """One row per setting, arm, chosen point and decoding."""
    points = tables.points[tables.points.split == "test"]
    points = with_smallest_kl(at_chosen(with_base(tables.timed(points))), base_rates(tables))
    points["kl_efficiency"] = points.smallest_kl_nats / points.kl_nats.where(points.kl_nats > 0)
    points = by_decoding(points)
    base = points[points.arm == BASE].groupby([*SETTING, "policy", "decoding"]).accuracy.mean().rename("base")
    points = points.join(base, on=base.index.names)
    points["gain"] = points.accuracy - points.base
    keys = ["arm", "stands_at", "decoding"]
    table = accuracies(points, keys).rename(columns={"value": "accuracy"})
    gain = over_policies(points, keys, "gain")[[*SETTING, *keys, "value", "low", "high"]]
    gain = gain.rename(columns={"value": "gain", "low": "gain_low", "high": "gain_high"})
    spent = points.groupby([*SETTING, *keys], sort=False)[[*KL, *COSTS, "seconds"]].mean().reset_index()
    return table.merge(gain, on=[*SETTING, *keys]).merge(spent, on=[*SETTING, *keys])


def draw(table: pd.DataFrame) -> str:
    """Markdown."""
    lines = []
    for (_, model, task), rows in table.groupby(SETTING, sort=False):
        policies = int(rows.policies.max())
        lines += [f"**{style.setting_name(model, task)}**, {policies} {'policy' if policies == 1 else 'policies'}", ""]
        lines += ["| " + " | ".join(COLUMNS).replace("_", " ") + " |", "| --- " * len(COLUMNS) + "|"]
        lines += [_row(row) for row in rows.to_dict("records")] + [""]
    return "\n".join(lines)


def _row(row: dict) -> str:
    accuracy = _percent(row["accuracy"], row["low"], row["high"])
    gain = "" if row["arm"] == BASE else _percent(row["gain"], row["gain_low"], row["gain_high"])
    spent = [f"{row[name]:,.0f}" if name in PLAIN else f"{row[name]:.1e}" for name in COSTS]
    cells = [
        style.label(row["arm"]),
        row["stands_at"],
        row["decoding"],
        accuracy,
        gain,
        *(_two_digits(row[name]) if row["decoding"] == "sampled" else "" for name in KL),
        *spent,
        f"{row['seconds']:,.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _two_digits(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2g}"


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f}" + ("" if pd.isna(low) else f" [{100 * low:.1f}, {100 * high:.1f}]")
