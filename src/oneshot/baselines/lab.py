"""The lab: what a method works with, and what it hands back.

A method trains `lab.policy` in place. It sees training and validation problems only, and every rollout that it draws
goes through the lab, which charges it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pandas as pd

from oneshot.engines.protocol import Engine
from oneshot.gradients.one_pass import backward_weighted_logprobs, check_gap, streamed
from oneshot.measures.evaluate import Examination
from oneshot.measures.ledger import Ledger
from oneshot.policies.models import Policy
from oneshot.sampling import Draw, Sampling, draw_rollouts
from oneshot.steps.master_weights import MasterWeights
from oneshot.tasks.task import Problem


@dataclass(frozen=True)
class Step:
    """What a method did in one of its steps."""

    point: float
    """Its number, as it will stand in the tables."""
    record: dict[str, float]
    """What the method records of it."""
    measured: bool = False
    """Whether the policy is to be measured as it now stands."""
    chosen: bool = False
    """Whether this point stands for the arm in tables: decided by the config or on validation problems."""
    temperature: float | None = None
    """At which the policy is to be measured; None: that of the run."""


@dataclass
class Lab:
    """One policy on one run's problems, with an account of what is spent."""

    engine: Engine
    """Its policy is the one that is trained."""
    base: Policy
    """The same policy at θ0; never changed."""
    train: list[Problem]
    validation: Examination
    sampling: Sampling
    run: str
    """The first part of every rollout's key."""
    ledger: Ledger
    rewards: str = "binary"
    """What is learnt from; what is reported is always the binary verdict."""
    max_gap_nats: float = float("inf")
    """Largest difference of a token's log-prob between sampler and trainer with which a run goes on."""
    budget: int = 0
    """Rollouts that an arm with matched cost spends in all."""
    batch: pd.DataFrame | None = None
    """The one-shot batch, for methods that learn from it; already charged."""
    track: Callable[[Iterable], Iterable] = field(default=iter)
    """Wraps a method's steps with a progress bar."""

    @property
    def policy(self) -> Policy:
        return self.engine.policy

    def restore(self) -> None:
        """Put the policy back to θ0."""
        self.policy.model.load_state_dict(self.base.model.state_dict())

    def draw(self, problems: list[Problem], step: int) -> pd.DataFrame:
        """A sampling phase: rollouts of the policy as it stands, to learn from."""
        rollouts = draw_rollouts(self.engine, problems, Draw(self.run, "train", step), self.sampling)
        self.ledger.sampling_phase(rollouts)
        return rollouts

    def validate(self, temperature: float | None = None) -> pd.DataFrame:
        """A search round: rollouts on the validation problems, to choose by."""
        rollouts = self.validation.at(temperature).draw(self.engine)
        self.ledger.search_round(rollouts)
        return rollouts

    def climb(self, masters: MasterWeights, rollouts: pd.DataFrame) -> tuple[float, float]:
        """One optimiser step up the gradient of rollouts that have a column `weight`.

        Returns the (largest, mean) |Δ log-prob| of a token between sampler and trainer, nats. Raises OffPolicy if the
        largest is above the bound, and ValueError if the gradient is not finite; the weights are then as they were.
        """
        gradient = masters.zeros()
        descent = rollouts.assign(weight=-rollouts.weight / len(rollouts))
        with streamed(self.policy.model, gradient):
            gap = backward_weighted_logprobs(self.policy, descent, self.sampling.temperature)
        agreement = check_gap(gap, self.max_gap_nats)
        for name, values in gradient.items():
            if not values.isfinite().all():
                raise ValueError(f"the gradient of '{name}' is not finite: lower the arm's learning_rate")
        masters.descend(gradient)
        self.ledger.gradient_step()
        return agreement


def next_problems(problems: list[Problem], step: int, count: int) -> list[Problem]:
    """The problems of that step (counted from 1), starting over when the set is used up."""
    start = (step - 1) * count
    return [problems[(start + index) % len(problems)] for index in range(count)]
