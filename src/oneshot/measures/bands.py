"""What is asked of a base policy: the bands of its measurements, and that no constant answer wins."""

from collections import Counter
from collections.abc import Iterable

import pandas as pd

from oneshot.tasks import task_class
from oneshot.tasks.task import Problem

NUM_TRIES = 64
"""k of a base policy's pass@k."""
MOST_BY_CONSTANT = 0.2
"""A task is refused if one and the same answer is right on more of its problems."""


def quantities(tasks: Iterable[str]) -> list[str]:
    """The names of everything that `examine` measures on problems of these tasks."""
    tasks = list(tasks)
    split = ("sampled", "greedy", "best_constant")
    parts = [f"{quantity}_{task}" for quantity in split for task in tasks if len(tasks) > 1]
    forced = [f"{way}_forced" for task in tasks for way in forced_openings(task)]
    shares = ["cut_off_rate", "unparsable_rate"]
    return [
        "sampled",
        f"pass_at_{NUM_TRIES}",
        "greedy",
        "best_low_temperature",
        "best_constant",
        *parts,
        *forced,
        *shares,
        "retention",
    ]


def forced_openings(task: str) -> list[str]:
    """The ways of a task, and the stems of several ways, that `examine` forces."""
    return [*task_class(task).ways, *task_class(task).stems]


def by_task(problems: list[Problem]) -> dict[str, list[Problem]]:
    """Task -> its problems, in order."""
    return {task: [problem for problem in problems if problem.task == task] for task in _tasks(problems)}


def best_constant(problems: list[Problem]) -> tuple[str, float]:
    """The commonest gold answer, and the share of the problems on which it is right."""
    answer, count = Counter(problem.answer for problem in problems).most_common(1)[0]
    return answer, count / len(problems)


def refuse_constant_answers(problems: list[Problem]) -> None:
    """Raise ValueError, naming the task, if one answer is right on too many of its problems."""
    for task, asked in by_task(problems).items():
        answer, share = best_constant(asked)
        if share > MOST_BY_CONSTANT:
            raise ValueError(
                f"task '{task}' is refused: always answering '{answer}' is right on {share:.1%} of its validation "
                f"problems, more than {MOST_BY_CONSTANT:.0%}, so a gain could be that answer and nothing else"
            )


def acceptance_table(measured: dict[str, float], bands: dict[str, list[float] | None]) -> pd.DataFrame:
    """One row per quantity: value, the band it must lie in (0 to 1 if the config names none), and whether it does.

    Raises ValueError for a band on a quantity that was not measured, as it would never be checked.
    """
    bands = {quantity: band for quantity, band in bands.items() if band is not None}
    if unknown := sorted(set(bands) - set(measured)):
        raise ValueError(f"acceptance.{unknown[0]}: no such quantity: measured are {', '.join(measured)}")
    table = pd.DataFrame({"quantity": measured.keys(), "value": measured.values()})
    table["lowest"] = [bands.get(quantity, (0, 1))[0] for quantity in table.quantity]
    table["highest"] = [bands.get(quantity, (0, 1))[1] for quantity in table.quantity]
    return table.assign(accepted=table.value.between(table.lowest, table.highest))


def _tasks(problems: list[Problem]) -> list[str]:
    return list(dict.fromkeys(problem.task for problem in problems))
