r"""Where does the line overshoot? Accuracy along it beside what the first gradient predicts, and by way of answering.

    J(α) ≈ J(0) + s α + q α² / 2        s = ⟨∇J, d⟩ at θ0        q = (s(+h) - s(-h)) / 2h

The slopes at ±h are taken of one and the same rollouts of the base, weighted by their ratios, so that their noise
cancels in the difference. They must not be the rollouts that d is made of.
"""

import math

import pandas as pd
import torch

from oneshot.gradients.corrections import get_correction
from oneshot.gradients.one_pass import backward_weighted_logprobs, streamed
from oneshot.policies.models import Policy
from oneshot.steps.line_search import moved
from oneshot.tasks import task_class
from oneshot.tasks.task import Problem
from oneshot.vectors import Vector, inner

NEAR = 0.1
"""h, in units of the step."""
WHOLE_RATIOS = get_correction("truncated", math.inf)
OTHER = "other"
"""The way of an answer that begins like none of its task's ways."""


def slope_at(policy: Policy, direction: Vector, step: float, weighted: pd.DataFrame, temperature: float) -> float:
    """⟨∇J, d⟩ at θ0 + step·d, from rollouts of θ0 whose column `weight` makes of them the gradient of J."""
    total = {name: torch.zeros(weight.shape) for name, weight in policy.model.named_parameters()}
    policy.model.zero_grad()
    with moved(policy.model, direction, step), streamed(policy.model, total):
        backward_weighted_logprobs(policy, weighted, temperature, correction=WHOLE_RATIOS)
    return inner(total, direction) / len(weighted)


def expansion(
    policy: Policy, direction: Vector, step: float, weighted: pd.DataFrame, temperature: float
) -> tuple[float, float]:
    """(s, q) with α in units of `step`."""
    behind, here, ahead = (
        step * slope_at(policy, direction, place * step, weighted, temperature) for place in (-NEAR, 0.0, NEAR)
    )
    return here, (ahead - behind) / (2 * NEAR)


def by_way(rollouts: pd.DataFrame, problems: dict[int, Problem]) -> pd.DataFrame:
    """A row for each task and way of answering: its share of the task's answers, and how often it is right."""
    asked = [problems[number] for number in rollouts.problem_id]
    ways = [way_of(problem, text) for problem, text in zip(asked, rollouts.text, strict=True)]
    told = pd.DataFrame({"task": [one.task for one in asked], "way": ways, "reward": rollouts.reward.to_numpy()})
    rows = told.groupby(["task", "way"], sort=False).reward.agg(["size", "mean"]).reset_index()
    rows["share"] = rows["size"] / rows.groupby("task")["size"].transform("sum")
    return rows.rename(columns={"mean": "accuracy"})[["task", "way", "share", "accuracy"]]


def way_of(problem: Problem, text: str) -> str:
    """The way in which an answer begins; of several that fit, the one with the longest opening."""
    task = task_class(problem.task)
    openings = {way: task.opening(way, problem) for way in task.ways}
    fitting = [way for way, opening in openings.items() if text.startswith(opening)]
    return max(fitting, key=lambda way: len(openings[way]), default=OTHER)
