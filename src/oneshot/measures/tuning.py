"""One tuning rule for every method: log-spaced values, the best on validation wins, edges are extended."""

from collections.abc import Callable

import pandas as pd


def tuned(trial: Callable[[float], dict[str, float]], values: list[float], *, max_extensions: int) -> pd.DataFrame:
    """One row per value tried, in increasing order, with the trial's measurements; `chosen` marks the winner.

    `trial(value)` returns measurements, among them `accuracy`. While the best value lies on an edge, the next
    value outwards is tried, at the ratio of the last two, at most `max_extensions` times. Ties go to the smallest.
    """
    rows = {value: trial(value) for value in values}
    for _ in range(max_extensions):
        tried, best = sorted(rows), _best(rows)
        if best == tried[0]:
            value = best**2 / tried[1]
        elif best == tried[-1]:
            value = best**2 / tried[-2]
        else:
            break
        rows[value] = trial(value)
    best = _best(rows)
    return pd.DataFrame([{"value": value, **rows[value], "chosen": value == best} for value in sorted(rows)])


def _best(rows: dict[float, dict[str, float]]) -> float:
    return min(rows, key=lambda value: (-rows[value]["accuracy"], value))
