"""What a base policy must be like for RLVR on it to mean anything: measured on the base policy alone."""

import pandas as pd

from oneshot.engines import Engine
from oneshot.models import Policy
from oneshot.sampling import draw_rollouts, rates
from oneshot.statistics import pass_at_k
from oneshot.tasks import Problem, get_task

LOW_TEMPERATURES = (0.2, 0.4, 0.6, 0.8)


def examine_base(
    policy: Policy, engine: Engine, problems: list[Problem], *, run: str, max_new_tokens: int
) -> dict[str, float]:
    """Accuracies on `problems`, all of one task:

    sampled and pass_at_64 (temperature 1, 64 samples), greedy, best_low_temperature (best of LOW_TEMPERATURES,
    4 samples each), and <way>_forced for every way: temperature 1, the way's opening given.
    """
    task = get_task(problems[0].task)

    def draw(purpose: str, group_size: int, temperature: float, opening: str = "") -> pd.DataFrame:
        return draw_rollouts(
            engine,
            policy,
            problems,
            run=run,
            purpose=purpose,
            group_size=group_size,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
            opening=opening,
        )

    sampled = draw("sampled", 64, 1.0)
    num_correct = sampled.groupby("problem_id").reward.sum().to_numpy()
    cooled = [draw(f"temperature {value}", 4, value).reward.mean() for value in LOW_TEMPERATURES]
    forced = {f"{way}_forced": draw(way, 4, 1.0, opening).reward.mean() for way, opening in task.ways.items()}
    return {
        "sampled": sampled.reward.mean(),
        "pass_at_64": pass_at_k(num_correct, 64, 64).mean(),
        "greedy": draw("greedy", 1, 0.0).reward.mean(),
        "best_low_temperature": max(cooled),
        **forced,
    }


def examine_pretrained(
    policy: Policy, engine: Engine, problems: list[Problem], *, run: str, max_new_tokens: int, num_samples: int
) -> dict[str, float]:
    """Accuracies on `problems`, of one task or several, each also by task where there are several:

    sampled and pass_at_k (temperature 1, k = `num_samples`), greedy; and the shares of the sampled rollouts that were
    cut off or held no answer.
    """
    rules = {"run": run, "max_new_tokens": max_new_tokens}
    sampled = draw_rollouts(
        engine, policy, problems, purpose="sampled", group_size=num_samples, temperature=1.0, **rules
    )
    greedy = draw_rollouts(engine, policy, problems, purpose="greedy", group_size=1, temperature=0.0, **rules)
    task_of = {problem.id: problem.task for problem in problems}
    measured = {}
    for quantity, table in (("sampled", sampled), ("greedy", greedy)):
        by_task = table.groupby(table.problem_id.map(task_of)).reward.mean()
        measured[quantity] = table.reward.mean()
        measured |= {f"{quantity}_{task}": value for task, value in by_task.items() if len(by_task) > 1}
    num_correct = sampled.groupby("problem_id").reward.sum().to_numpy()
    measured[f"pass_at_{num_samples}"] = pass_at_k(num_correct, num_samples, num_samples).mean()
    return measured | {share: rates(sampled)[share] for share in ("cut_off_rate", "unparsable_rate")}


def in_band(row: pd.Series) -> bool:
    """Whether a row's value lies between its lowest and highest."""
    return row.lowest <= row.value <= row.highest
