r"""SFPO: each batch of a small step is used a few times, then half undone, then used once more.

    fast         K steps on one and the same rollouts                θ_s → θ_f
    reposition   θ ← θ_s + s (θ_f - θ_s)
    slow         one step more on these rollouts, from there

2510.04072. Every step goes through one AdamW, whose moments are kept; steps after the first have PPO's clip.

Departures: those of `small_steps`; the fast steps never end for good, as they do in the paper when entropy jumps.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from oneshot.baselines.lab import Lab, Step, next_problems
from oneshot.baselines.passes import climb
from oneshot.baselines.small_steps import num_steps
from oneshot.gradients.corrections import get_correction
from oneshot.gradients.weights import weigh
from oneshot.sampling import summarise_rollouts

IN_ONE_PROCESS = True


@dataclass(frozen=True)
class Settings:
    """A step draws prompts_per_step × G rollouts."""

    learning_rate: float
    prompts_per_step: int
    steps: int
    """The arm continues until it has spent the lab's budget."""
    fast: int = 3
    """K."""
    kept: float = 0.8
    """s."""
    clip: float = 0.2
    objective: str = "policy_gradient"


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """Train the lab's policy; a step of the tables is one batch."""
    masters = lab.masters(settings.learning_rate)
    clipped, last = get_correction("ppo", settings.clip), num_steps(settings, lab.sampling.group_size, lab.budget)
    for step in lab.track(range(1, last + 1)):
        with lab.ledger.clock():
            rollouts = lab.draw(next_problems(lab.train, step, settings.prompts_per_step), step)
            weighted = weigh(rollouts, settings.objective, lab.rewards, lab.sampling.max_new_tokens)
            slow = masters.copy()
            lab.climb(masters, weighted)
            for _ in range(settings.fast - 1):
                climb(lab, masters, weighted, clipped)
            fast = masters.copy()
            masters.put({name: slow[name] + settings.kept * (fast[name] - slow[name]) for name in slow})
            record = climb(lab, masters, weighted, clipped)
        yield Step(step, {**summarise_rollouts(rollouts), **record}, measured=step == last, chosen=step == last)
