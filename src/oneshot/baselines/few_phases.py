r"""A few sampling phases, many gradient steps in each: what lies between one batch and GRPO.

    for s = 1 … S:   draw G rollouts each of the next problems from π_s, the policy as it is now; π_1 = π_0
                     for every minibatch of whole groups, in several passes:
                         θ ← AdamW step up  (1/n) Σ_it w_it ∇ log π_θ(y_it)

A phase's weights are those at π_s, and a correction changes them as the policy moves away from it, as in `reuse`. With
one phase this is one batch without its search; with one minibatch a phase and one pass it is GRPO, with several passes
GRPO that reuses its rollouts. The first minibatch of a phase is on-policy, and has to be.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from oneshot.baselines.lab import Lab, Step, next_problems
from oneshot.baselines.passes import climb, minibatches
from oneshot.gradients.corrections import get_correction
from oneshot.gradients.weights import weigh
from oneshot.sampling import summarise_rollouts

IN_ONE_PROCESS = True
TAKEN_UP = True


@dataclass(frozen=True)
class Settings:
    learning_rate: float
    phases: int
    """S."""
    prompts_per_phase: int
    groups_per_step: int
    passes: int = 1
    objective: str = "policy_gradient"
    correction: str = "truncated"
    knob: float = 2.0
    decay: bool = False
    """Whether the learning rate falls to 0 by the last step, linearly."""
    group_size: int = 0
    """G; 0: that of the run."""
    checkpoints: tuple[int, ...] = ()
    """Phases after which the policy is measured, besides the last one."""


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """Train the lab's policy. A step of the tables is a phase; what it records are means over its gradient steps."""
    steps = settings.phases * settings.passes * (settings.prompts_per_phase // settings.groups_per_step)
    masters = lab.masters(settings.learning_rate, falls_over=steps if settings.decay else None)
    correction = get_correction(settings.correction, settings.knob)
    for phase in lab.track(range(lab.taken + 1, settings.phases + 1)):
        with lab.ledger.clock():
            problems = next_problems(lab.train, phase, settings.prompts_per_phase)
            rollouts = lab.draw(problems, phase, differentiated=False, group_size=settings.group_size)
            batch = weigh(rollouts, settings.objective, lab.rewards, lab.sampling.max_new_tokens)
            first, *others = minibatches(batch, settings.groups_per_step, settings.passes, seed=phase - 1)
            largest, mean = lab.climb(masters, batch.iloc[first], charged=False)
            records = [climb(lab, masters, batch.iloc[rows], correction) for rows in others]
        record = {"sampler_gap_max_nats": largest, "sampler_gap_mean_nats": mean, **summarise_rollouts(rollouts)}
        measured = phase in {*settings.checkpoints, settings.phases}
        yield Step(phase, {**record, **_means(records)}, measured=measured, chosen=phase == settings.phases)


def _means(records: list[dict[str, float]]) -> dict[str, float]:
    told = [record for record in records if record]
    return {key: sum(record[key] for record in told) / len(told) for key in (told[0] if told else ())}
