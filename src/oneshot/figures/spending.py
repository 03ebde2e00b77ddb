"""What an accuracy costs at least, in each of four currencies: rollouts, sampling phases, gradient steps, seconds.

An arm at one of its test points is on the frontier of a currency if none that costs as little or less is as accurate.
An arm that goes on step by step could have been stopped at any of its test points, so they all count. Which arm is on a
frontier is read off test accuracy: it says what is possible, and is no choice that somebody could have made beforehand.
"""

import numpy as np
import pandas as pd

from oneshot.figures.tables import BASE, RIVAL, SETTING, Tables, over_policies, with_base

CURRENCIES = {
    "rollouts": "rollouts",
    "sampling_phases": "sampling phases",
    "gradient_steps": "gradient steps",
    "seconds": "seconds",
}
"""Column -> the name of what is spent."""
PAID_OTHERWISE = ("gold",)
"""Arms that are taught by given answers: rollouts are not what they cost."""
NEARLY = 0.95
"""The share of the rival's gain that counts as nearly all of it."""


def least(currency: str) -> str:
    """The column that says whether a row is on that frontier."""
    return f"least_{currency}"


def spent(tables: Tables) -> pd.DataFrame:
    """A row for each arm at each of its test points.

    Columns: SETTING, arm, point; policies, and test accuracy as value, low, high; CURRENCIES, means over policies;
    compared: whether the arm was run on as many policies as the rival; and `least(currency)`, among those compared.
    Searched step sizes differ by policy, so that a searched arm has one point, called `best`. Policies on which only a
    few arms were run are left out, or else those few would be the only ones to compare.
    """
    points = with_base(tables.timed(tables.points[tables.points.split == "test"]))
    points = points[~points.arm.isin(PAID_OTHERWISE) & ((points.point > 0) | points.chosen)]
    arms = points.groupby([*SETTING, "policy"]).arm.transform("nunique")
    points = points[arms >= arms.groupby([points[name] for name in SETTING]).transform("max") / 2]
    searched = (points.search_rounds > 0) & points.chosen
    points = points.assign(point=points.point.map("{:g}".format).where(~searched, "best"))
    by = [*SETTING, "arm", "point"]
    rows = over_policies(points, by, "accuracy")
    rows = rows.merge(points.groupby(by, sort=False)[list(CURRENCIES)].mean().reset_index(), on=by)
    wanted = rows[rows.arm == RIVAL].groupby(SETTING).policies.max().rename("wanted").reset_index()
    rows = rows.merge(wanted, on=SETTING, how="left")
    rows["compared"] = ~(rows.policies < rows.pop("wanted"))
    for currency in CURRENCIES:
        rows[least(currency)] = False
        for _, fair in rows[rows.compared].groupby(SETTING, sort=False):
            rows.loc[fair.index, least(currency)] = undominated(fair[currency].to_numpy(), fair.value.to_numpy())
    return rows


def recorded(tables: Tables) -> pd.DataFrame:
    """What `spent` found, from the table that notebook 07 made of it."""
    columns = ["arm", "point", "value", "low", "high", "compared", *CURRENCIES, *map(least, CURRENCIES)]
    return tables.other("frontier", columns)


def undominated(costs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Whether nothing that costs as little or less is worth as much, [N] -> [N]; of equals in both, the first."""
    order = np.lexsort((-values, costs))
    best_before = np.concatenate([[-np.inf], np.maximum.accumulate(values[order])[:-1]])
    kept = np.empty(len(order), dtype=bool)
    kept[order] = values[order] > best_before
    return kept


def cheapest(rows: pd.DataFrame, share: float = NEARLY) -> pd.DataFrame:
    """What comes to this share of the rival's gain for least, a row for each setting and currency.

    Columns: SETTING, currency, arm, point, accuracy, cost, and rival_cost, of the rival's own first point that does.
    Settings without base or rival are left out.
    """
    found = []
    for setting, of_setting in rows[rows.compared].groupby(SETTING, sort=False):
        rival, base = of_setting[of_setting.arm == RIVAL], of_setting[of_setting.arm == BASE]
        if rival.empty or base.empty:
            continue
        start = base.value.iloc[0]
        enough = of_setting[of_setting.value >= start + share * (rival.value.max() - start)]
        for currency in CURRENCIES:
            first = enough.loc[enough[currency].idxmin()]
            row = {**dict(zip(SETTING, setting, strict=True)), "currency": currency, **first[["arm", "point"]]}
            theirs = enough[enough.arm == RIVAL][currency].min()
            found.append({**row, "accuracy": first.value, "cost": first[currency], "rival_cost": theirs})
    return pd.DataFrame(found)
