"""The lab: what a method works with, and what it returns.

A method trains `lab.policy` in place. It sees only training and validation problems. It draws every rollout through
the lab, which charges it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf

import pandas as pd

from oneshot.engines.protocol import Engine
from oneshot.gradients.agreement import NotFinite, check_gap
from oneshot.gradients.one_pass import backward_weighted_logprobs, streamed
from oneshot.gradients.ratios import Correction
from oneshot.measures.evaluate import Examination
from oneshot.measures.ledger import Ledger
from oneshot.policies.models import Policy
from oneshot.sampling import GREEDY, Draw, Sampling, draw_rollouts
from oneshot.steps.master_weights import OPTIMIZERS, MasterWeights, zeros_for
from oneshot.steps.sharded import ShardedWeights, Team
from oneshot.tasks.task import Problem
from oneshot.vectors import Vector


@dataclass(frozen=True)
class Step:
    """What a method did in one of its steps."""

    point: float
    """Its number in the tables."""
    record: dict[str, float]
    """What the method records of this step."""
    measured: bool = False
    """Whether to measure the policy after this step."""
    chosen: bool = False
    """Whether tables show the arm at this point: decided by the config or on validation problems."""
    temperature: float | None = None
    """At which to measure the policy; None: that of the run."""
    voters: Sequence[Callable[[], Vector]] = ()
    """An ensemble whose greedy answers are put to the vote, the best first: functions that give its moves from θ0."""
    factors: Sequence[float] = ()
    """How far beyond the policy its logits are measured, too: β of z_0 + β (z - z_0)."""
    drawn: tuple[pd.DataFrame, pd.DataFrame] | None = None
    """Validation rollouts of the policy after this step, sampled and greedy, if the method has drawn them."""


@dataclass
class Lab:
    """One policy on one run's problems, with a ledger of its costs."""

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
    """The reward function to learn from; results always report the binary verdict."""
    max_gap_nats: float = inf
    """Largest allowed difference of a token's log-prob between sampler and trainer."""
    budget: int = 0
    """Total rollouts of an arm with matched cost."""
    batch: pd.DataFrame | None = None
    """The one-shot batch, for methods that learn from it; already charged."""
    track: Callable[[Iterable], Iterable] = field(default=iter)
    """Wraps a method's steps with a progress bar."""
    team: Team | None = field(default=None, init=False)
    taken: int = 0
    """Steps that a job which was killed has taken already: a method that can be taken up begins after them."""
    left: Vector | None = None
    """The masters' state that it has left."""
    in_use: MasterWeights | ShardedWeights | None = field(default=None, init=False)
    """The masters that the method works with."""

    @property
    def policy(self) -> Policy:
        return self.engine.policy

    def masters(
        self, learning_rate: float, optimizer: str = "adamw", falls_over: int | None = None
    ) -> MasterWeights | ShardedWeights:
        """Master weights of the policy as it is, with a fresh optimiser, in place of any that there were.

        In an arm that is taken up, those that were left.
        """
        if self.team:
            self.team.close()
        if self.policy.processes > 1:
            how = {"optimizer": optimizer, "learning_rate": learning_rate, "falls_over": falls_over}
            self.team = Team(self.policy, **how)
            self.in_use = ShardedWeights(self.policy, self.team)
            return self.in_use
        make = partial(OPTIMIZERS[optimizer], learning_rate=learning_rate)
        self.in_use = MasterWeights(self.policy.model, make, falls_over)
        if self.left:
            self.in_use.resume(self.left)
        return self.in_use

    def restore(self) -> None:
        """Restore the policy to θ0."""
        self.policy.model.load_state_dict(self.base.model.state_dict())

    def draw(
        self, problems: list[Problem], step: int, differentiated: bool = True, group_size: int = 0
    ) -> pd.DataFrame:
        """A sampling phase: draw rollouts from the current policy, to learn from, and charge their gradient, too.

        Groups are as large as the run's, unless they have a size of their own.
        """
        sampling = replace(self.sampling, group_size=group_size or self.sampling.group_size)
        rollouts = draw_rollouts(self.engine, problems, Draw(self.run, "train", step), sampling)
        self.ledger.sampling_phase(rollouts, differentiated)
        return rollouts

    def validate(
        self, temperature: float | None = None, part: tuple[int, int | None] = (0, None)
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A search round: draw rollouts on the validation problems, sampled, to choose by, and greedy, to report.

        `part` is the range of the problems that are asked.
        """
        sampled, greedy = self.validation.at(temperature).part(*part).draw_both(self.engine)
        self.ledger.search_round(sampled)
        return sampled, greedy

    def answer(self, problems: list[Problem], rounds: int = 1) -> pd.DataFrame:
        """Greedy answers of the policy as it is, to choose by, charged."""
        greedy = replace(self.sampling, temperature=GREEDY, group_size=1)
        rollouts = draw_rollouts(self.engine, problems, Draw(self.run, "answers"), greedy)
        self.ledger.search_round(rollouts, rounds)
        return rollouts

    def climb(
        self,
        masters: MasterWeights | ShardedWeights,
        rollouts: pd.DataFrame,
        correction: Correction | None = None,
        charged: bool = True,
    ) -> tuple[float, float]:
        """One optimiser step up the gradient of rollouts that have a column `weight`.

        With a `correction` the rollouts are reused, another policy's, and may differ from the policy's own. Their
        gradient is charged here, as that of any rollouts which are not `charged` yet.
        Returns the (largest, mean) |Δ log-prob| of a token between sampler and trainer, nats. Raises OffPolicy if the
        largest is above the bound, and NotFinite if the gradient is not; the weights are then unchanged.
        """
        if isinstance(masters, ShardedWeights):
            if correction:
                raise ValueError("engine.processes: rollouts are used again in one process only")
            gap = masters.climb(rollouts, self.sampling.temperature, self.max_gap_nats)
            agreement = check_gap(gap, self.max_gap_nats)
        else:
            gradient, agreement = self.gradient(rollouts, correction)
            masters.descend({name: values.neg_() for name, values in gradient.items()})
        self.ledger.gradient_step(None if charged and not correction else rollouts)
        return agreement

    def gradient(
        self, rollouts: pd.DataFrame, correction: Correction | None = None
    ) -> tuple[Vector, tuple[float, float]]:
        """((1/n) Σ w ∇ log π at the policy as it is, what `climb` returns). Raises as `climb` does."""
        total = zeros_for(self.policy.model)
        if correction:
            weighted, scaled = rollouts, lambda reused: correction(reused) / len(rollouts)
        else:
            weighted, scaled = rollouts.assign(weight=rollouts.weight / len(rollouts)), None
        with streamed(self.policy.model, total):
            gap = backward_weighted_logprobs(self.policy, weighted, self.sampling.temperature, correction=scaled)
        agreement = check_gap(gap, inf if correction else self.max_gap_nats)
        for name, values in total.items():
            if not values.isfinite().all():
                raise NotFinite(f"the gradient of '{name}' is not finite: lower the arm's learning_rate")
        return total, agreement


def next_problems(problems: list[Problem], step: int, count: int) -> list[Problem]:
    """The `count` problems of a step (steps count from 1). The set is repeated when it is used up."""
    if count > len(problems):
        raise ValueError(f"prompts_per_step: {count} are more than the {len(problems)} training problems")
    start = (step - 1) * count
    return [problems[(start + index) % len(problems)] for index in range(count)]
