"""Every measured number that the paper quotes, one quantity per row.

Columns: experiment, model, task, arm, point, decoding, against, quantity, value, low, high, unit, policies, runs.
`point` is α* for a searched step, `best` for another searched arm, else the number of a chosen point; in differences
within one policy it is `last`.
"""

import numpy as np
import pandas as pd

from oneshot.arms import IDENTITY
from oneshot.figures.central_table import frame as central_rows
from oneshot.figures.tables import (
    BASE,
    DECODINGS,
    HEADLINE,
    SETTING,
    Tables,
    at_chosen,
    by_decoding,
    gain_recovered,
    over_policies,
    with_base,
)
from oneshot.statistics import bootstrap_interval, t_interval

FEWEST_POLICIES = 3
"""With fewer, an interval over policies says little, so differences paired by problem are reported too."""

EQUAL = {
    "retention_accuracy": {"quantity": "retention_at_equal_accuracy", "unit": "accuracy"},
    "rollouts": {"quantity": "rollouts_at_equal_accuracy", "unit": "rollouts"},
}
"""Columns that are compared where two arms are equally accurate."""


def accuracies(tables: Tables) -> pd.DataFrame:
    """Test accuracy, gain and retention of every arm at its chosen points."""
    rows = central_rows(tables).rename(columns={"stands_at": "point"})
    accuracy = rows.rename(columns={"accuracy": "value"}).assign(quantity="accuracy")
    gains = rows[rows.arm != BASE].drop(columns=["accuracy", "low", "high"])
    gains = gains.rename(columns={"gain": "value", "gain_low": "low", "gain_high": "high"}).assign(quantity="gain")
    kept = at_chosen(with_base(tables.points[tables.points.split == "test"]))
    retention = over_policies(kept, ["arm", "stands_at"], "retention_accuracy").rename(columns={"stands_at": "point"})
    retention[["low", "high"]] = retention[["low", "high"]].clip(0, 1)
    found = [accuracy, gains, retention.assign(quantity="retention", decoding="sampled")]
    columns = [*SETTING, "arm", "point", "decoding", "quantity", "value", "low", "high", "policies"]
    return pd.concat(found, ignore_index=True)[columns].assign(unit="accuracy")


def differences(tables: Tables) -> pd.DataFrame:
    """The headline arm minus every other arm at each chosen point, and the gain recovered, by decoding."""
    points, rows = at_chosen(with_base(tables.points[tables.points.split == "test"])), []
    for setting, chosen in points.groupby(SETTING, sort=False):
        rivals = chosen[(chosen.arm != HEADLINE)].groupby(["arm", "stands_at"], sort=False)
        for (arm, stands_at), rival in rivals:
            for decoding, column in DECODINGS.items():
                ours, theirs, base = (
                    _per_policy(part, column)
                    for part in (chosen[chosen.arm == HEADLINE], rival, chosen[chosen.arm == BASE])
                )
                head = {**dict(zip(SETTING, setting, strict=True)), "arm": HEADLINE, "against": arm}
                head |= {"point": stands_at, "decoding": decoding, "policies": len(theirs)}
                rows.append({**head, **_interval("difference", t_interval(ours - theirs), "accuracy")})
                ratio = gain_recovered(ours, theirs, base)
                if arm != BASE and not np.isnan(ratio[0]):
                    rows.append({**head, **_interval("gain_recovered", ratio, "ratio")})
    frame = pd.DataFrame(rows)
    few = frame.policies.min() < FEWEST_POLICIES
    return pd.concat([frame, within_policies(tables)], ignore_index=True) if few else frame


def within_policies(tables: Tables) -> pd.DataFrame:
    """The same differences for each policy, at the last points, bootstrapped over test problems; runs are averaged.

    They generalise to other problems, not to other policies.
    """
    counts, rows = tables.of_arms("by_problem"), []
    counts = counts.assign(sampled=counts.correct / counts.samples, greedy=counts.greedy_correct)
    again = counts.duplicated([*IDENTITY, "point", "problem_id"])  # an arm that stays at the base is measured again
    counts.loc[(counts.point == 0) & ~again, "arm"] = BASE
    last = counts.groupby([*SETTING, "policy", "run", "arm"]).point.transform("max")
    counts = counts[counts.point == last].drop_duplicates([*SETTING, "policy", "run", "arm", "problem_id"])
    for key, chosen in counts.groupby([*SETTING, "policy"], sort=False):
        for decoding in DECODINGS:
            rates = chosen.groupby(["arm", "problem_id"])[decoding].mean().unstack("arm")
            for arm in rates.columns.drop(HEADLINE):
                interval = bootstrap_interval((rates[HEADLINE] - rates[arm]).to_numpy())
                head = {**dict(zip(SETTING, key, strict=False)), "arm": HEADLINE, "against": arm, "point": "last"}
                found = _interval(f"difference_policy_{key[-1]}", interval, "accuracy")
                rows.append({**head, "decoding": decoding, "policies": 1, **found})
    return pd.DataFrame(rows)


def at_equal_accuracy(tables: Tables) -> pd.DataFrame:
    """What every arm with a path has spent and kept at its first point that is as accurate as the headline arm.

    An arm trained on and on loses what it does not train on; retention at unequal accuracy compares lengths, not arms.
    """
    points, rows = tables.points[(tables.points.split == "test") & (tables.points.point > 0)], []
    for key, run in points.groupby([*SETTING, "policy", "run"], sort=False):
        ours = run[(run.arm == HEADLINE) & run.chosen]
        for arm, path in run[run.arm != HEADLINE].sort_values("point").groupby("arm", sort=False):
            reached = path[path.accuracy >= ours.accuracy.min()]
            if len(reached) and len(path) > 1:
                head = dict(zip([*SETTING, "policy", "run"], key, strict=True))
                rows.append({**head, "arm": arm, **reached.iloc[0][list(EQUAL)]})
    if not rows:
        return pd.DataFrame()
    found = [over_policies(pd.DataFrame(rows), ["arm"], column).assign(**told) for column, told in EQUAL.items()]
    return pd.concat(found, ignore_index=True).assign(against=HEADLINE, decoding="sampled")


def spread_over_runs(tables: Tables) -> pd.DataFrame:
    """Standard deviation of test accuracy over the runs of one policy, for arms with several."""
    points = by_decoding(at_chosen(with_base(tables.points[tables.points.split == "test"])))
    points = points.assign(point=points.stands_at)
    by = [*SETTING, "policy", "arm", "point", "decoding"]
    runs = points.groupby(by, sort=False).accuracy.agg(["std", "size"]).reset_index()
    runs = runs[(runs["size"] > 1) & (runs.arm != BASE)].rename(columns={"std": "value", "size": "runs"})
    return runs.drop(columns="policy").assign(quantity="spread_over_runs", unit="accuracy", policies=1)


def base_policies(tables: Tables) -> pd.DataFrame:
    """The measurements of the base policies."""
    found = over_policies(tables.other("acceptance", ["policy", "quantity", "value"]), ["quantity"], "value")
    return found.assign(arm=BASE, unit="share")


def quantities(tables: Tables) -> pd.DataFrame:
    """The single numbers of every arm."""
    return over_policies(tables.of_arms("quantities"), ["arm", "quantity", "unit"], "value")


def verdict(compared: pd.DataFrame) -> str:
    """One sentence per rival and chosen point: the headline arm's difference to it, sampled."""
    shown = compared[
        (compared.quantity == "difference") & (compared.decoding == "sampled") & (compared.against != BASE)
    ]
    sentences = [
        f"{row.model}, {row.task}: one step minus {row.against} at {row.point}: {100 * row.value:+.1f} points"
        + ("" if pd.isna(row.low) else f" [{100 * row.low:.1f}, {100 * row.high:.1f}]")
        for row in shown.itertuples()
    ]
    return "\n".join(sentences)


def _per_policy(points: pd.DataFrame, column: str) -> pd.Series:
    return points.groupby("policy")[column].mean()


def _interval(quantity: str, interval: tuple[float, float, float], unit: str) -> dict:
    return {"quantity": quantity, **dict(zip(("value", "low", "high"), interval, strict=True)), "unit": unit}
