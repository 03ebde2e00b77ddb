"""Every setting in a row: what its base policy is like, and how far each arm gets.

First test accuracies in %, sampled and greedy; then the share of the rival's gain that an arm recovers, sampled and
greedy, with its interval over policies, where that gain is clearly positive; last what is left of a task that was not
trained on.
"""

from itertools import chain

import pandas as pd

from oneshot.figures import style
from oneshot.figures.tables import (
    BASE,
    DECODINGS,
    HEADLINE,
    RIVAL,
    SETTING,
    Tables,
    accuracies,
    at_last,
    gain_recovered,
    over_policies,
    with_base,
)
from oneshot.figures.units import by_unit

MEASURED = {"pass_at_64": "pass@64", "best_low_temperature": "best low T"}
"""Quantities of acceptance, on validation problems."""
SPREAD = ["noise_scale", "noise_scale_low", "noise_scale_high"]
SHARES = {
    decoding: [f"recovered_{decoding}", f"recovered_{decoding}_low", f"recovered_{decoding}_high"]
    for decoding in DECODINGS
}
"""Decoding -> the columns of a share and its interval."""
RETENTION = ["retention", "retention_low", "retention_high"]


def frame(tables: Tables) -> pd.DataFrame:
    """One row for each setting and arm, with what acceptance and the gradient say of the setting."""
    points = at_last(with_base(tables.points[tables.points.split == "test"]))
    rows = over_policies(points, ["arm"], "accuracy").rename(columns={"value": "accuracy"})
    greedy = over_policies(points, ["arm"], DECODINGS["greedy"])[[*SETTING, "arm", "value"]]
    rows = rows.merge(greedy.rename(columns={"value": "greedy_accuracy"}), on=[*SETTING, "arm"])
    rows = rows.merge(recovered(by_unit(points, tables)), on=[*SETTING, "arm"], how="left")
    elsewhere = accuracies(points.assign(accuracy=points.retention_accuracy).dropna(subset="accuracy"), ["arm"])
    elsewhere = elsewhere.rename(columns=dict(zip(("value", "low", "high"), RETENTION, strict=True)))
    rows = rows.merge(elsewhere[[*SETTING, "arm", *RETENTION]], on=[*SETTING, "arm"], how="left")
    about = tables.other("acceptance", ["policy", "quantity", "value"])
    about = about[about.quantity.isin(MEASURED)]
    about = pd.concat([about, _of_headline(tables)]).groupby([*SETTING, "quantity"], sort=False).value.mean().unstack()
    return rows.merge(about.reset_index(), on=SETTING, how="left").reindex(columns=[*rows, *MEASURED, *SPREAD])


def _of_headline(tables: Tables) -> pd.DataFrame:
    found = tables.of_arms("quantities")
    return found[(found.arm == HEADLINE) & found.quantity.isin(SPREAD)]


def recovered(units: pd.DataFrame) -> pd.DataFrame:
    """Each arm's share of the rival's gain, by decoding, with Fieller's interval over units (`by_unit`)."""
    rows = []
    for setting, chosen in units.groupby(SETTING, sort=False):
        reached = chosen.groupby(["unit", "arm"])[[*DECODINGS.values()]].mean().unstack("arm")
        for arm in chosen.arm[chosen.arm != BASE].unique() if RIVAL in set(chosen.arm) else ():
            shares = (
                gain_recovered(*(reached[column][one] for one in (arm, RIVAL, BASE))) for column in DECODINGS.values()
            )
            rows.append([*setting, arm, *chain(*shares)])
    return pd.DataFrame(rows, columns=[*SETTING, "arm", *chain(*SHARES.values())])


def draw(table: pd.DataFrame) -> str:
    """Markdown: accuracies, then the shares of the rival's gain where there are any."""
    arms = [arm for arm in dict.fromkeys(table.arm) if arm != BASE]
    settings = [
        (style.setting_name(model, task), rows.set_index("arm"))
        for (_, model, task), rows in table.groupby(SETTING, sort=False)
    ]
    heads = ["setting", *MEASURED.values(), "noise scale", *map(style.label, [BASE, *arms])]
    lines = style.markdown(
        heads, [[name, *_about(rows.loc[BASE]), *_accuracies(rows, [BASE, *arms])] for name, rows in settings]
    )
    for decoding, columns in SHARES.items():
        if table[columns[0]].notna().any():
            shares = [[name, *(_share(rows, arm, columns) for arm in arms)] for name, rows in settings]
            lines += ["", *style.markdown([f"share of GRPO's gain, {decoding}", *map(style.label, arms)], shares)]
    kept = [[name, *(_share(rows, arm, RETENTION, 100) for arm in [BASE, *arms])] for name, rows in settings]
    lines += ["", *style.markdown(["retention, %", *map(style.label, [BASE, *arms])], kept)]
    return "\n".join(lines) + "\n"


def _about(base: pd.Series) -> list[str]:
    spread = f"{base.noise_scale:,.0f} [{base.noise_scale_low:,.0f}, {base.noise_scale_high:,.0f}]"
    return [*(f"{100 * base[name]:.1f}" for name in MEASURED), spread]


def _accuracies(rows: pd.DataFrame, arms: list[str]) -> list[str]:
    """Sampled / greedy, in %."""
    pairs = rows.reindex(arms)[["accuracy", "greedy_accuracy"]].mul(100).itertuples(index=False)
    return ["" if pd.isna(sampled) else f"{sampled:.1f} / {greedy:.1f}" for sampled, greedy in pairs]


def _share(rows: pd.DataFrame, arm: str, columns: list[str], unit: float = 1) -> str:
    return style.interval_text(rows.loc[arm], columns, unit, 2 if unit == 1 else 1) if arm in rows.index else ""
