"""One tuning rule for every method: log-spaced values, the best on validation wins, edges are extended."""

from collections.abc import Callable

import pandas as pd


def tuned(trial: Callable[[float], dict[str, float]], values: list[float], *, max_extensions: int) -> pd.DataFrame:
    """One row for each value tried, in increasing order, with the trial's measurements; `chosen` marks the winner.

    `trial(value)` returns measurements, among them `accuracy`. While the best value lies on an edge, the next value
    outwards, at the ratio of the two outermost, is tried, at most `max_extensions` times. Of equals the smallest wins.
    Whole numbers stay whole.
    """
    rows = {value: trial(value) for value in values}
    whole = all(isinstance(value, int) for value in values)
    for _ in range(max_extensions):
        tried, best = sorted(rows), _best(rows)
        if best not in (tried[0], tried[-1]) or len(tried) < 2:
            break
        value = best**2 / (tried[1] if best == tried[0] else tried[-2])
        value = round(value) if whole else value
        if not value or value in rows:
            break
        rows[value] = trial(value)
    best = _best(rows)
    return pd.DataFrame([{"value": value, **rows[value], "chosen": value == best} for value in sorted(rows)])


def tuned_in_turn(
    trial: Callable[[dict], dict[str, float]],
    tune: dict[str, list[float]],
    settings: dict,
    at_equal_cost: Callable[[dict, str, float], dict] | None,
    max_extensions: int,
) -> pd.DataFrame:
    """`tuned` for one setting after the other, each at the winners before it; a column `setting` names it.

    `trial` takes whole settings. `at_equal_cost(settings, name, value)` returns them with another value of one setting
    and the rest adapted so that a run costs the same; without it nothing else changes. Equal settings are tried once.
    """
    change = at_equal_cost or (lambda current, name, value: {**current, name: value})
    tables, current, known = [], dict(settings), {}
    for name, values in tune.items():

        def try_value(value, name=name, current=current):
            tried = current if current.get(name) == value else change(current, name, value)
            if (key := repr(sorted(tried.items()))) not in known:
                known[key] = trial(tried)
            return known[key]

        found = tuned(try_value, values, max_extensions=max_extensions)
        current = change(current, name, found.value[found.chosen].item())
        tables.append(found.assign(setting=name))
    return pd.concat(tables, ignore_index=True)


def _best(rows: dict[float, dict[str, float]]) -> float:
    return min(rows, key=lambda value: (-rows[value]["accuracy"], value))
