"""Bands: which quantities of a base policy are measured, and between which values each must lie."""

from collections.abc import Iterable

import pandas as pd

from oneshot.tasks import task_class

NUM_SAMPLES = 64
"""Samples per problem of a base policy's pass@k."""


def quantities(tasks: Iterable[str]) -> list[str]:
    """The names of everything that `examine` measures on problems of these tasks."""
    tasks = list(tasks)
    by_task = [f"{decoding}_{task}" for decoding in ("sampled", "greedy") for task in tasks if len(tasks) > 1]
    forced = [f"{way}_forced" for task in tasks for way in task_class(task).ways]
    shares = ["cut_off_rate", "unparsable_rate"]
    return [
        "sampled",
        f"pass_at_{NUM_SAMPLES}",
        "greedy",
        "best_low_temperature",
        *by_task,
        *forced,
        *shares,
        "retention",
    ]


def acceptance_table(measured: dict[str, float], bands: dict[str, list[float]]) -> pd.DataFrame:
    """One row per quantity: value, the band it must lie in (0 to 1 if the config names none), and whether it does.

    Raises ValueError for a band on a quantity that was not measured, as it would never be checked.
    """
    if unknown := sorted(set(bands) - set(measured)):
        raise ValueError(f"acceptance.{unknown[0]}: no such quantity: measured are {', '.join(measured)}")
    table = pd.DataFrame({"quantity": measured.keys(), "value": measured.values()})
    table["lowest"] = [bands.get(quantity, (0, 1))[0] for quantity in table.quantity]
    table["highest"] = [bands.get(quantity, (0, 1))[1] for quantity in table.quantity]
    return table.assign(accepted=table.value.between(table.lowest, table.highest))
