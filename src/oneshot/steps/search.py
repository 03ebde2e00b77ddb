"""The search for α*: a grid of step sizes, completed where it is best, then a race between them.

    search    the base, the grid, then beyond an edge or next to the best
    race      that on a few of the problems; the better half on more of them; …; the last two on all

Problems and noise are the same for all step sizes (paired), so a few hundred answers tell a poor step from a good one,
and most of the answers go to those that are nearly equally good: successive halving (Karnin et al. 2013, Jamieson and
Talwalkar 2016). Accuracies on the validation problems only choose α*, which is measured again on test problems.
"""

import math
from collections.abc import Callable

import pandas as pd

from oneshot.steps.rounds import rounds


def search(
    evaluate: Callable[[float], dict[str, float]], multiples: list[float], *, num_evaluations: int
) -> pd.DataFrame:
    """The landscape: one row for each multiple of α_base tried, 0 (the base policy) among them, in increasing order.

    `evaluate(multiple)` gives the row's measurements, among them `accuracy`. After the base and the grid,
    each evaluation goes beyond the edge if the best point is on one (`origin` extension), else between
    the best and the better of its neighbours (`refinement`). The number of evaluations is fixed, and with
    it the cost of the search.
    """
    if num_evaluations < len(multiples) + 1:
        raise ValueError(
            f"line_search.evaluations is {num_evaluations}: the base and the grid alone take {len(multiples) + 1}"
        )
    rows = {multiple: {"origin": "grid", **evaluate(multiple)} for multiple in (0.0, *multiples)}
    while len(rows) < num_evaluations:
        origin, multiple = next_multiple(rows)
        rows[multiple] = {"origin": origin, **evaluate(multiple)}
    return pd.DataFrame([{"multiple": multiple, **rows[multiple]} for multiple in sorted(rows)])


def race(
    evaluate: Callable[[float, int], dict[str, float]],
    multiples: list[float],
    *,
    num_evaluations: int,
    num_problems: int,
    shares: list[float],
) -> pd.DataFrame:
    """The landscape, as from `search`, with a column `problems`: on how many a multiple was tried in all.

    `evaluate(multiple, problems)` measures on the first so many. With one share, 1.0, every multiple is tried on all.
    """
    (_, few), *later = rounds(num_evaluations, num_problems, shares)
    first = search(lambda multiple: evaluate(multiple, few), multiples, num_evaluations=num_evaluations)
    rows = first.assign(problems=few).set_index("multiple").to_dict("index")
    for standing, problems in later:
        for multiple in sorted(_in_front(rows), key=lambda one: (-rows[one]["accuracy"], one))[:standing]:
            rows[multiple] |= {**evaluate(multiple, problems), "problems": problems}
    return pd.DataFrame([{"multiple": multiple, **rows[multiple]} for multiple in sorted(rows)])


def winner(landscape: pd.DataFrame) -> float:
    """The best of the multiples that were tried on all problems."""
    return best_multiple(_in_front(landscape.set_index("multiple").to_dict("index")))


def _in_front(rows: dict[float, dict]) -> dict[float, dict]:
    """The multiples that were tried on the most problems."""
    most = max(row["problems"] for row in rows.values())
    return {multiple: row for multiple, row in rows.items() if row["problems"] == most}


def best_multiple(rows: dict[float, dict]) -> float:
    """The most accurate multiple. Ties go to the smallest, which moves the policy least."""
    return min(rows, key=lambda multiple: (-rows[multiple]["accuracy"], multiple))


def next_multiple(rows: dict[float, dict]) -> tuple[str, float]:
    """(origin, multiple) of the next point: beyond an edge by the grid's ratio there, else a geometric mean."""
    tried = sorted(multiple for multiple in rows if multiple > 0)
    best = best_multiple(rows)
    if best <= tried[0]:
        return "extension", tried[0] ** 2 / tried[1]
    if best == tried[-1]:
        return "extension", tried[-1] ** 2 / tried[-2]
    index = tried.index(best)
    neighbour = best_multiple({multiple: rows[multiple] for multiple in (tried[index - 1], tried[index + 1])})
    return "refinement", math.sqrt(best * neighbour)
