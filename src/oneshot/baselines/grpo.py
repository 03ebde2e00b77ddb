"""GRPO: many small steps, each on a few fresh rollouts. The one-shot arm is this loop with one step and no Adam.

Every step draws G rollouts for the next few training problems from the policy as it stands, weighs them with
the same advantages, takes the same gradient, and lets AdamW (weight decay 0, constant learning rate) move the
policy. One update a batch keeps every ratio at 1, so there is nothing to clip; the reward is the objective,
there is no KL term.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd
from torch.optim import AdamW

from oneshot.baselines.master_weights import MasterWeights
from oneshot.engines import Engine
from oneshot.gradient import backward_weighted_logprobs, check_gap, streamed
from oneshot.models import Policy
from oneshot.objectives import grpo_weights
from oneshot.rewards import shaped_rewards
from oneshot.sampling import draw_rollouts, rates
from oneshot.tasks import Problem


@dataclass(frozen=True)
class GrpoSettings:
    """What a GRPO run is made of. A step draws prompts_per_step × group_size rollouts."""

    learning_rate: float
    prompts_per_step: int
    group_size: int
    temperature: float
    max_new_tokens: int
    rewards: str = "binary"
    """binary, partial or ranked: see `oneshot.rewards`."""
    max_gap_nats: float = math.inf
    """The largest difference of a token's log-prob between sampler and trainer with which the run goes on."""


def train_grpo(
    policy: Policy,
    engine: Engine,
    problems: list[Problem],
    settings: GrpoSettings,
    *,
    run: str,
    num_steps: int,
    after_step: Callable[[int], None] = lambda step: None,
    progress: Callable = iter,
) -> Iterator[dict[str, float]]:
    """Train `policy` in place for `num_steps`, yielding one row a step; `after_step(k)` may look at the policy.

    Problems are taken in order, each epoch under fresh noise. `seconds` counts the step, not `after_step`.
    """
    masters = MasterWeights(policy.model, partial(AdamW, lr=settings.learning_rate, weight_decay=0.0))
    for step in progress(range(1, num_steps + 1)):
        started = time.perf_counter()
        rollouts = draw_rollouts(
            engine,
            policy,
            next_problems(problems, step, settings.prompts_per_step),
            run=run,
            purpose="train",
            step=step,
            group_size=settings.group_size,
            temperature=settings.temperature,
            max_new_tokens=settings.max_new_tokens,
        )
        largest, mean = update(policy, masters, rollouts, settings)
        seconds = time.perf_counter() - started
        after_step(step)
        counts = {"step": step, "rollouts": step * len(rollouts), "seconds": seconds}
        yield {**counts, **rates(rollouts), "sampler_gap_max_nats": largest, "sampler_gap_mean_nats": mean}


def next_problems(problems: list[Problem], step: int, count: int) -> list[Problem]:
    """The problems of that step (counted from 1), starting over when the set is used up."""
    start = (step - 1) * count
    return [problems[(start + index) % len(problems)] for index in range(count)]


def update(
    policy: Policy, masters: MasterWeights, rollouts: pd.DataFrame, settings: GrpoSettings
) -> tuple[float, float]:
    """One optimiser step along g of these rollouts (ascent: the optimiser is handed -g).

    Returns the (largest, mean) |Δ log-prob| of a token between sampler and trainer, nats. Raises ValueError, the
    weights being as they were, if that is too large or a gradient is not finite.
    """
    weights = grpo_weights(shaped_rewards(rollouts, settings.rewards)).flatten().numpy()
    gradient = masters.zeros()
    with streamed(policy.model, gradient):
        gap = backward_weighted_logprobs(policy, rollouts, -weights / len(rollouts), settings.temperature)
    agreement = check_gap(gap, settings.max_gap_nats)
    for name, values in gradient.items():
        if not values.isfinite().all():
            raise ValueError(f"the gradient of '{name}' is not finite: lower grpo.learning_rate")
    masters.descend(gradient)
    return agreement
