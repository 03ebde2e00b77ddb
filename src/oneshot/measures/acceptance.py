"""Is a base policy fit for the question? Measured on the base policy alone, before any gradient is taken."""

from collections.abc import Callable

import pandas as pd

from oneshot.engines.protocol import Engine
from oneshot.measures.bands import NUM_TRIES, best_constant, by_task, forced_openings, refuse_constant_answers
from oneshot.sampling import GREEDY, Draw, Sampling, draw_rollouts, summarise_rollouts
from oneshot.tasks import task_class
from oneshot.tasks.task import Problem

NUM_SAMPLES = 8
"""Samples of every problem, at temperature 1."""
NUM_TRIED = 128
"""Problems, at most, that are tried NUM_TRIES times."""
LOW_TEMPERATURES = (0.2, 0.4, 0.6, 0.8)


def examine(
    engine: Engine, problems: list[Problem], retention: list[Problem], *, run: str, max_new_tokens: int, tries=True
) -> dict[str, float]:
    """Accuracies of the engine's policy on `problems`:

    sampled (temperature 1), pass_at_64 (with `tries`; on the first NUM_TRIED problems), greedy, best_low_temperature
    (best of LOW_TEMPERATURES, 4 samples each); best_constant, the share of problems whose gold answer is the commonest
    one; sampled, greedy and best_constant by task if there are several; <way>_forced for every way to answer a task and
    every stem of several ways (temperature 1, the opening forced); the shares of sampled rollouts that were cut off or
    held no answer; and the sampled accuracy on `retention`.

    Raises ValueError, before anything is drawn, for a task that a constant answer solves too often.
    """
    refuse_constant_answers(problems)

    def draw(purpose: str, group_size: int, temperature: float, asked=problems, openings=()) -> pd.DataFrame:
        sampling = Sampling(temperature, max_new_tokens, group_size)
        return draw_rollouts(engine, asked, Draw(run, purpose), sampling, openings=openings)

    sampled, greedy = draw("sampled", NUM_SAMPLES, 1.0), draw("greedy", 1, GREEDY)
    tried = draw("tries", NUM_TRIES, 1.0, problems[:NUM_TRIED]) if tries else None
    cooled = [draw(f"temperature {value}", 4, value).reward.mean() for value in LOW_TEMPERATURES]
    summary = summarise_rollouts(sampled)
    return {
        "sampled": sampled.reward.mean(),
        **({} if tried is None else {f"pass_at_{NUM_TRIES}": tried.groupby("problem_id").reward.max().mean()}),
        "greedy": greedy.reward.mean(),
        "best_low_temperature": max(cooled),
        "best_constant": best_constant(problems)[1],
        **_by_task("sampled", sampled, problems),
        **_by_task("greedy", greedy, problems),
        **_constants(problems),
        **_forced(draw, problems),
        "cut_off_rate": summary["cut_off_rate"],
        "unparsable_rate": summary["unparsable_rate"],
        "retention": draw("retention", 1, 1.0, retention).reward.mean(),
    }


def _forced(draw: Callable[..., pd.DataFrame], problems: list[Problem]) -> dict[str, float]:
    found = {}
    for name, asked in by_task(problems).items():
        task = task_class(name)
        for way in forced_openings(name):
            openings = [task.opening(way, problem) for problem in asked]
            found[f"{way}_forced"] = draw(way, 4, 1.0, asked, openings).reward.mean()
    return found


def _by_task(quantity: str, rollouts: pd.DataFrame, problems: list[Problem]) -> dict[str, float]:
    task_of = {problem.id: problem.task for problem in problems}
    accuracies = rollouts.groupby(rollouts.problem_id.map(task_of), sort=False).reward.mean()
    return {f"{quantity}_{task}": value for task, value in accuracies.items() if len(accuracies) > 1}


def _constants(problems: list[Problem]) -> dict[str, float]:
    parts = by_task(problems)
    return {f"best_constant_{task}": best_constant(asked)[1] for task, asked in parts.items() if len(parts) > 1}
