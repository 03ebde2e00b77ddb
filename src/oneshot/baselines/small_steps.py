r"""Many small steps: GRPO and its variants, on-policy.

    for k = 1, 2, …:   draw G rollouts each of the next few problems from π_θ
                       θ ← AdamW step up  g = (1/N) Σ_it w_it ∇ log π_θ(y_it)      or θ ← θ + η g, with `sgd`

The objective decides the weights w (`oneshot.gradients.objectives`). `policy_gradient` has w_it = A_i, the group
advantage without division by the length |y_i|: the same estimator as the one-shot arm, which is this loop with one
step and a line search in place of Adam. `grpo` has w_it = A_i / |y_i|, the estimator as published.

Departures: 1. one update per batch, so every ratio is 1 and nothing is clipped; 2. the reward is the whole objective,
without a KL term; 3. weight decay 0, and a constant learning rate, unless it decays to 0 by the last step, linearly.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from oneshot.baselines.lab import Lab, Step, next_problems
from oneshot.gradients.weights import weigh
from oneshot.sampling import summarise_rollouts
from oneshot.steps.master_weights import MasterWeights

TAKEN_UP = True


@dataclass(frozen=True)
class Settings:
    """A step draws prompts_per_step × G rollouts."""

    learning_rate: float
    prompts_per_step: int
    steps: int
    """Steps of the nominal comparison."""
    objective: str = "policy_gradient"
    optimizer: str = "adamw"
    """Or sgd, which takes steps along g itself."""
    to_budget: bool = True
    """Whether the arm continues until it has spent the lab's budget."""
    decay: bool = False
    """Whether the learning rate falls to 0 by the last step, linearly."""
    checkpoints: tuple[int, ...] = ()
    """Steps after which the policy is measured, besides the nominal and the last one."""


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """Train the lab's policy. Problems are taken in order; each epoch draws fresh noise."""
    last = num_steps(settings, lab.sampling.group_size, lab.budget if settings.to_budget else 0)
    masters = lab.masters(settings.learning_rate, settings.optimizer, last if settings.decay else None)
    reported = {settings.steps, last}
    for step in lab.track(range(lab.taken + 1, last + 1)):
        record = climb_on_fresh(lab, masters, step, settings.prompts_per_step, settings.objective)
        yield Step(step, record, measured=step in {*settings.checkpoints, *reported}, chosen=step in reported)


def climb_on_fresh(lab: Lab, masters: MasterWeights, step: int, prompts: int, objective: str) -> dict[str, float]:
    """One step on rollouts of the policy as it is; returns what they were like."""
    with lab.ledger.clock():
        rollouts = lab.draw(next_problems(lab.train, step, prompts), step)
        largest, mean = lab.climb(masters, weigh(rollouts, objective, lab.rewards, lab.sampling.max_new_tokens))
    return {"sampler_gap_max_nats": largest, "sampler_gap_mean_nats": mean, **summarise_rollouts(rollouts)}


def num_steps(settings: Settings, group_size: int, budget: int) -> int:
    """The number of steps that spends the budget, at least the nominal number."""
    return max(settings.steps, math.ceil(budget / (settings.prompts_per_step * group_size)))


def at_equal_cost(settings: dict, name: str, value: float) -> dict:
    """The settings with another value of one of them; a batch of another size takes as many rollouts in all."""
    changed = {**settings, name: value}
    if name == "prompts_per_step":
        changed["steps"] = max(1, round(settings["steps"] * settings["prompts_per_step"] / value))
        changed["checkpoints"] = ()
    return changed
