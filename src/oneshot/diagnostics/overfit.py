"""Two ways for a batch to fail its step: it says nothing, or the step learns its problems by heart."""

from dataclasses import replace

import pandas as pd

from oneshot.engines.protocol import Engine
from oneshot.gradients.block_sums import Gradient
from oneshot.gradients.one_pass import accumulate_gradient
from oneshot.gradients.rewards import REWARDS, count_informative
from oneshot.gradients.weights import weigh
from oneshot.policies.models import Policy
from oneshot.sampling import Draw, Sampling, draw_rollouts
from oneshot.steps.line_search import moved
from oneshot.tasks.task import Problem
from oneshot.vectors import Vector


def direction_of_first(
    policy: Policy, batch: pd.DataFrame, gradient: Gradient, size: int, rewards: str, temperature: float
) -> Vector:
    """g of the first `size` rollouts of the batch, from its stored blocks where whole ones will do."""
    blocks, rest = divmod(size, gradient.rollouts_per_block)
    if not rest and not gradient.sketch_size:
        return gradient.mean(gradient.block_ids[:blocks])
    return accumulate_gradient(policy, weigh(batch.head(size), rewards=rewards), temperature=temperature).mean()


def gains_along(
    sampler: Engine,
    direction: Vector,
    steps: dict[float, float],
    sets: dict[str, list[Problem]],
    draw: Draw,
    rules: Sampling,
) -> pd.DataFrame:
    """A row for each multiple of α_base and set: multiple, where, accuracy, and gain over the first multiple's.

    `steps` are multiples with their α, θ0's first. A set gets about as many answers as rules.group_size.
    """
    rows = []
    for multiple, step in steps.items():
        with moved(sampler.policy.model, direction, step):
            for where, asked in sets.items():
                each = replace(rules, group_size=max(1, rules.group_size // len(asked)))
                found = draw_rollouts(sampler, asked, draw, each).reward.mean()
                rows.append({"multiple": multiple, "where": where, "accuracy": found})
    table = pd.DataFrame(rows)
    return table.assign(gain=table.accuracy - table.groupby("where").accuracy.transform("first"))


def informative_groups(batch: pd.DataFrame) -> pd.DataFrame:
    """How many groups hold two different rewards: groups (all, or those all wrong), of, rewards, informative."""
    wrong = batch.groupby("problem_id").reward.transform("max") == 0
    parts = {"all groups": batch, "all wrong": batch[wrong]}
    return pd.DataFrame(
        {"groups": name, "of": part.problem_id.nunique(), "rewards": rewards, "informative": count}
        for name, part in parts.items()
        for rewards in REWARDS
        for count in [count_informative(part, rewards) if len(part) else 0]
    )
