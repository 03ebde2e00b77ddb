"""Perturbations: policies around θ0, each θ0 + σε with ε of its own, and how well they answer.

The noise of a perturbation is drawn from its seed whenever it is needed, and never kept.
"""

from collections.abc import Sequence

from oneshot.baselines.lab import Lab
from oneshot.policies.models import Policy
from oneshot.steps.line_search import moved
from oneshot.tasks.task import Problem
from oneshot.vectors import Vector, standard_normal


def noise(policy: Policy, seed: int, equal: bool = False) -> Vector:
    """ε: independent standard normal numbers for every parameter.

    With `equal`, tensors of one shape get the same numbers, as in public code that seeds its generator for each.
    """
    weights = dict(policy.model.named_parameters())
    if equal:
        return {name: standard_normal({name: weight}, seed)[name] for name, weight in weights.items()}
    return standard_normal(weights, seed)


def scores(
    lab: Lab, problems: list[Problem], seeds: Sequence[int], sigmas: Sequence[float], equal: bool = False
) -> list[float]:
    """Greedy accuracy of each perturbation on the same problems: one search round, as all could be tried at once."""
    found = []
    for place, (seed, sigma) in enumerate(zip(lab.track(seeds), sigmas, strict=True)):
        with lab.ledger.clock(), moved(lab.policy.model, noise(lab.policy, seed, equal), sigma):
            found.append(lab.answer(problems, rounds=int(place == 0)).reward.mean())
    return found
