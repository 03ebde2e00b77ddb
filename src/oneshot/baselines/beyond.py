r"""Logits extrapolation: m steps of GRPO, and answers drawn from logits that go on in the direction they took.

    z = z_0 + β (z_m - z_0)      of every next token, for several β

Wang et al. 2026 (2601.04537). The policy that stands for the arm is GRPO's after m steps; what the two models answer in
lock-step is measured beside it, on test problems, at every β: none of them is chosen, so that the best is flattered.

Departures: those of `small_steps`; z_0 is θ0's, and no nucleus is cut out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from oneshot.baselines import small_steps
from oneshot.baselines.lab import Lab, Step


@dataclass(frozen=True)
class Settings:
    """A step draws prompts_per_step × G rollouts."""

    learning_rate: float
    prompts_per_step: int
    steps: int
    """m."""
    factors: tuple[float, ...]
    """β, each more than 1."""
    objective: str = "policy_gradient"


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """Train the lab's policy for m steps; the last one has the factors."""
    rates = (settings.learning_rate, settings.prompts_per_step, settings.steps, settings.objective)
    for step in small_steps.run(lab, small_steps.Settings(*rates, to_budget=False)):
        yield replace(step, factors=settings.factors if step.chosen else ())
