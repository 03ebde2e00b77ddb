"""The README's tables of results, from the tables of the reference run: Markdown, nothing typed by hand.

`settings`, `breadth` and `common_noise` have a row for each setting, `uses` one for each arm of a setting: the ways to
use one batch. `spread` has one for each arm that has been run again.
"""

import pandas as pd

from oneshot.figures import style
from oneshot.figures.first_look import SHARES, SPREAD
from oneshot.figures.first_look import frame as first_look
from oneshot.figures.tables import BASE, HEADLINE, RIVAL, SETTING, Tables, at_last, over_policies

CENTRAL = (BASE, HEADLINE, "one_batch", RIVAL)
FROM_FEWER = ("one_shot_of_20", "one_shot_of_1000")
NULLS = ("one_shot_random", "one_shot_shuffled")
PLAIN = ("sampling_phases", "gradient_steps", "search_rounds", "rollouts")


def settings(tables: Tables) -> str:
    """What the base is like, what the central arms come to, sampled / greedy, and their share of GRPO's gain."""
    heads = ["setting", "policies", "noise scale", "base", "base, best low T", *map(style.label, CENTRAL[1:])]
    heads += [f"{style.label(arm)}: share of GRPO's gain" for arm in CENTRAL[1:3]]
    rows = []
    for name, found in _by_setting(tables):
        base = found.loc[BASE]
        rows.append([name, str(base.policies), style.interval_text(base, SPREAD, 1, 0)])
        rows[-1] += [_accuracy(found, BASE), f"{100 * base.best_low_temperature:.1f}"]
        rows[-1] += [_accuracy(found, arm) for arm in CENTRAL[1:]]
        rows[-1] += [_share(found, arm) for arm in CENTRAL[1:3]]
    return _markdown(heads, rows)


def breadth(tables: Tables) -> str:
    """What the size of the batch buys one step: shares of GRPO's gain from fewer rollouts, and of two controls."""
    arms = (*FROM_FEWER, HEADLINE)
    heads = ["one step, share of GRPO's gain", *map(style.label, arms), "the last, greedy", *map(style.label, NULLS)]
    rows = [
        [name, *(_share(found, arm) for arm in arms), _share(found, HEADLINE, "greedy")]
        + [_share(found, arm) for arm in NULLS]
        for name, found in _by_setting(tables)
    ]
    return _markdown(heads, rows)


def uses(tables: Tables) -> str:
    """Every arm of one setting, the best first: cost, accuracy, share of GRPO's gain, and what is left elsewhere."""
    points = at_last(tables.points[tables.points.split == "test"])
    cost = {name: over_policies(points, ["arm"], name).set_index("arm").value for name in PLAIN}
    heads = ["", *(name.replace("_", " ") for name in PLAIN), "sampled / greedy, %"]
    heads += ["share of GRPO's gain, sampled", "greedy", "unrelated task, %"]
    ((_, found),) = _by_setting(tables)
    rows = [
        [f"**{style.label(arm)}**" if arm in CENTRAL else style.label(arm)]
        + ["" if arm == BASE else f"{cost[name][arm]:,.0f}" for name in PLAIN]
        + [_accuracy(found, arm), _share(found, arm), _share(found, arm, "greedy")]
        + [f"{100 * found.retention[arm]:.1f}"]
        for arm in found.sort_values("accuracy", ascending=False).index
    ]
    return _markdown(heads, rows)


def spread(tables: Tables) -> str:
    """How far apart runs of one policy end, which differ in the noise of their rollouts alone, and how far policies."""
    points = at_last(tables.points[tables.points.split == "test"])
    again = points.groupby("policy").run.nunique().idxmax()
    heads = ["", "runs of one policy", "sampled, %", "unrelated task, %", "policies", "sampled, %", "unrelated task, %"]
    rows = []
    for arm, found in points.groupby("arm", sort=False):
        runs, policies = found[found.policy == again], found[found.run == 0]
        if len(runs) > 1:
            ends = [[str(len(some)), _ends(some.accuracy), _ends(some.retention_accuracy)] for some in (runs, policies)]
            rows.append([style.label(arm), *ends[0], *ends[1]])
    return _markdown(heads, rows)


def common_noise(tables: Tables) -> str:
    """What it saves that base and one step answer the same problems under the same noise, by setting."""
    found = tables.of_arms("quantities")
    found = found[(found.quantity == "variance_reduction") & (found.arm == HEADLINE)]
    heads = ["setting", "variance of the difference to the base that common noise saves, % by policy"]
    groups = found.groupby(SETTING, sort=False).value
    return _markdown(heads, [[style.setting_name(model, task), _ends(values)] for (_, model, task), values in groups])


def _ends(values: pd.Series) -> str:
    return f"{100 * values.min():z.1f} to {100 * values.max():z.1f}"


def _by_setting(tables: Tables) -> list[tuple[str, pd.DataFrame]]:
    """(name, a row for each arm) of every setting."""
    groups = first_look(tables).groupby(SETTING, sort=False)
    return [(style.setting_name(model, task), rows.set_index("arm")) for (_, model, task), rows in groups]


def _accuracy(found: pd.DataFrame, arm: str) -> str:
    if arm not in found.index:
        return ""
    return f"{100 * found.accuracy[arm]:.1f} / {100 * found.greedy_accuracy[arm]:.1f}"


def _share(found: pd.DataFrame, arm: str, decoding: str = "sampled") -> str:
    if arm not in found.index or arm == RIVAL:
        return "1" if arm == RIVAL else ""
    return style.interval_text(found.loc[arm], SHARES[decoding], 1, 2)


def _markdown(heads: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows))
