r"""One batch, many steps: no fresh rollout is drawn to learn from.

    for every minibatch of whole groups, in several passes over the batch:
        θ ← AdamW step up  (1/n) Σ_it w_it ∇ log π_θ(y_it)

At θ0 the weights are the objective's: advantages A_i, or what fine-tuning on right answers gives them. As the policy
moves away from the one that drew the batch, a correction changes them (`oneshot.gradients.corrections`): most re-value
rollouts by ρ_i = π_θ(y_i) / π_0(y_i), each in its way of keeping that from exploding. With `none` the gradient goes on
as if nothing had moved (a control).

What is searched is the path's length, in place of α: the policy is measured on validation problems after some shares
of the path, and the best of them stands for the arm.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from oneshot.baselines.lab import Lab, Step
from oneshot.baselines.passes import climb, minibatches, search_length
from oneshot.gradients.corrections import get_correction
from oneshot.gradients.weights import weigh

USES_BATCH = IN_ONE_PROCESS = True


@dataclass(frozen=True)
class Settings:
    learning_rate: float
    groups_per_step: int
    """Of the batch; a pass takes every group once, in an order of its own."""
    passes: int = 2
    objective: str = "policy_gradient"
    """What the weights are at θ0 (`oneshot.gradients.weights`)."""
    correction: str = "truncated"
    """What becomes of them (`oneshot.gradients.corrections`)."""
    knob: float = 2.0
    """The correction's one setting, such as the largest ratio."""
    decay: bool = False
    """Whether the learning rate falls to 0 by the last step, linearly."""
    rollouts: int = 0
    """Of the batch, only so many, whole groups from its beginning; 0: all of it. The lab has no more than these."""
    looks: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    """Shares of the path after which the policy is measured on validation problems."""


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """Train the lab's policy on its batch; ends at the best length found."""
    batch = weigh(lab.batch, settings.objective, lab.rewards, lab.sampling.max_new_tokens)
    steps = list(minibatches(lab.batch, settings.groups_per_step, settings.passes))
    correction = get_correction(settings.correction, settings.knob)
    masters = lab.masters(settings.learning_rate, falls_over=len(steps) if settings.decay else None)
    yield from search_length(lab, steps, settings.looks, lambda rows: climb(lab, masters, batch.iloc[rows], correction))
