r"""RL-Extra (m, n): m steps of GRPO, a jump as if they had been m + n, and again.

    for every cycle:   θ_s → θ_{s+m}   m small steps with a fresh optimiser
                       θ ← θ_s + (m + n)/m · (θ_{s+m} - θ_s)      norms stay as in θ_{s+m}

Wang et al. 2026 (2601.04537), periodic re-grounding. A cycle starts from where the one before has jumped to, not from
θ0. With one cycle this is plain extrapolation of weights. The factor is not searched and the jump not tested; the jump
is computed in FP32 and then rounded to the policy's precision.

Departures: those of `small_steps`; norms are known by their names.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from oneshot.baselines.lab import Lab, Step
from oneshot.baselines.small_steps import climb_on_fresh
from oneshot.vectors import Vector


@dataclass(frozen=True)
class Settings:
    """A step draws prompts_per_step × G rollouts."""

    learning_rate: float
    prompts_per_step: int
    steps: int
    """m, of a cycle."""
    jump: int
    """n."""
    cycles: int
    """Of the nominal comparison."""
    to_budget: bool = True
    """Whether more cycles follow, until the lab's budget is spent."""
    objective: str = "policy_gradient"


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """Train the lab's policy. Steps count GRPO's alone; the last step of a cycle ends with its jump."""
    last = num_cycles(settings, lab.sampling.group_size, lab.budget) * settings.steps
    for step in lab.track(range(1, last + 1)):
        if step % settings.steps == 1 or settings.steps == 1:
            masters = lab.masters(settings.learning_rate)
            start = masters.copy()
        record = climb_on_fresh(lab, masters, step, settings.prompts_per_step, settings.objective)
        if step % settings.steps == 0:
            masters.put(extended(start, masters.copy(), 1 + settings.jump / settings.steps))
        yield Step(step, record, measured=step == last, chosen=step == last)


def num_cycles(settings: Settings, group_size: int, budget: int) -> int:
    """The nominal number, or that whose rollouts come nearest to the budget if this is more."""
    if not settings.to_budget:
        return settings.cycles
    return max(settings.cycles, round(budget / (settings.steps * settings.prompts_per_step * group_size)))


def extended(start: Vector, end: Vector, factor: float) -> Vector:
    """start + factor · (end - start); norms as they are at the end."""
    return {
        name: values if "norm" in name else values + (factor - 1) * (values - start[name])
        for name, values in end.items()
    }
