"""Neighbours of θ0: moves by σ ε in random directions, scored task by task (`oneshot.diagnostics.experts`)."""

from collections.abc import Sequence

import pandas as pd

from oneshot.diagnostics.experts import AT_HOME
from oneshot.engines.protocol import Engine
from oneshot.sampling import GREEDY, Draw, Sampling, draw_rollouts
from oneshot.steps.line_search import moved
from oneshot.tasks.task import Problem
from oneshot.vectors import standard_normal


def tried(
    sampler: Engine, problems: list[Problem], sigma: float, seeds: Sequence[int], max_new_tokens: int
) -> pd.DataFrame:
    """A row for θ0 and each neighbour, and for each task: sigma, neighbour (its seed), asked, greedy accuracy.

    θ0 is restored bit for bit.
    """
    model = sampler.policy.model
    rows = [_by_task(sampler, problems, max_new_tokens).assign(neighbour=AT_HOME)]
    for seed in seeds:
        with moved(model, standard_normal(dict(model.named_parameters()), seed), sigma):
            rows.append(_by_task(sampler, problems, max_new_tokens).assign(neighbour=seed))
    return pd.concat(rows, ignore_index=True).assign(sigma=sigma)[["sigma", "neighbour", "asked", "accuracy"]]


def _by_task(sampler: Engine, problems: list[Problem], max_new_tokens: int) -> pd.DataFrame:
    answers = draw_rollouts(sampler, problems, Draw("neighbours", "greedy"), Sampling(GREEDY, max_new_tokens))
    asked = pd.Series([problem.task for problem in problems], name="asked")
    return answers.reward.groupby(asked, sort=False).mean().rename("accuracy").reset_index()
