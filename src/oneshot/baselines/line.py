"""A step of searched size along a direction, for methods that search within the lab: the race of the headline arm."""

import copy
from dataclasses import dataclass

import numpy as np
import pandas as pd

from oneshot.baselines.lab import Lab
from oneshot.measures.evaluate import sequence_kl
from oneshot.policies.models import Policy
from oneshot.steps.line_search import base_step, measure_curvature, moved
from oneshot.steps.search import race
from oneshot.vectors import Vector


@dataclass(frozen=True)
class Search:
    """As in the config's section `line_search`."""

    target_kl_nats: float
    """The KL per sequence that α_base is predicted to cause."""
    multiples: tuple[float, ...]
    evaluations: int
    shares: tuple[float, ...]


def natural_step(lab: Lab, direction: Vector, probe: pd.DataFrame, target_kl_nats: float) -> float:
    """α_base from where the policy is now; `probe` are rollouts of it."""
    here = Policy(copy.deepcopy(lab.policy.model), lab.policy.tokenizer)

    def kl_at(step: float) -> float:
        lab.ledger.scoring(probe, passes=2)
        with lab.ledger.clock(), moved(lab.policy.model, direction, step):
            return sequence_kl(here, lab.policy, probe, lab.sampling.temperature).mean().item()

    return base_step(measure_curvature(kl_at, direction), target_kl_nats)


def landscape(lab: Lab, direction: Vector, alpha_base: float, search: Search) -> pd.DataFrame:
    """What the race finds along the direction on validation problems: a row for each multiple of α_base."""
    answered = {}

    def accuracy(multiple: float, problems: int) -> dict[str, float]:
        rewards = answered.setdefault(multiple, [])
        start = len(rewards) // lab.validation.sampling.group_size
        with lab.ledger.clock(), moved(lab.policy.model, direction, multiple * alpha_base):
            sampled, _ = lab.validate(part=(start, problems))
        rewards.extend(sampled.reward)
        return {"accuracy": float(np.mean(rewards))}

    how = {"num_evaluations": search.evaluations, "num_problems": len(lab.validation.problems)}
    return race(accuracy, list(search.multiples), shares=list(search.shares), **how)
