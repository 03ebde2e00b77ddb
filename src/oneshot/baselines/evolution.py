r"""One step of evolution strategies, without a gradient, and a search for its length.

    v_i: greedy accuracy of θ0 + σε_i on the same training problems, i = 1 … N
    d = Σ_i z_i ε_i,  z_i = (v_i - mean) / std                           an estimate of ∇ of the smoothed accuracy
    θ0 + α d, α the best on validation problems of some multiples of α_base

Salimans et al. 2017; Qiu et al. 2025 (2509.24372) take a thousand such steps of 30 perturbations. This is the twin of
the one gradient step: all perturbations can be tried at once, and the step is scaled by the same search.

Departures: one step; weights are not decayed; noise is independent for every tensor.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from oneshot.baselines.lab import Lab, Step, next_problems
from oneshot.baselines.perturbations import noise, scores
from oneshot.measures.evaluate import sequence_kl
from oneshot.steps.line_search import base_step, measure_curvature, move, moved
from oneshot.steps.search import race, winner
from oneshot.vectors import Vector


@dataclass(frozen=True)
class Settings:
    perturbations: int
    """N."""
    problems: int
    """Training problems that each answers."""
    sigma: float
    target_kl_nats: float
    """The KL per sequence that α_base is predicted to cause."""
    multiples: tuple[float, ...]
    evaluations: int
    shares: tuple[float, ...]
    """Of the search, as in the config's section `line_search`."""
    probe_prompts: int = 50
    """Prompts whose groups of base rollouts measure the curvature along d."""


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """One search round over the perturbations, then the race along their sum."""
    seeds = range(1, settings.perturbations + 1)
    asked = next_problems(lab.train, 1, settings.problems)
    found = np.array(scores(lab, asked, seeds, [settings.sigma] * len(seeds)))
    direction = _sum(lab, seeds, (found - found.mean()) / (found.std() or 1.0))
    alpha = base_step(_curvature(lab, direction, settings.probe_prompts), settings.target_kl_nats)
    answered = {}

    def accuracy(multiple: float, problems: int) -> dict[str, float]:
        rewards = answered.setdefault(multiple, [])
        start = len(rewards) // lab.validation.sampling.group_size
        with lab.ledger.clock(), moved(lab.policy.model, direction, multiple * alpha):
            sampled, _ = lab.validate(part=(start, problems))
        rewards.extend(sampled.reward)
        return {"accuracy": float(np.mean(rewards))}

    how = {"num_evaluations": settings.evaluations, "num_problems": len(lab.validation.problems)}
    landscape = race(accuracy, list(settings.multiples), shares=list(settings.shares), **how)
    for row in landscape.itertuples():
        yield Step(row.multiple, {"accuracy": row.accuracy, "problems": row.problems})
    best = winner(landscape)
    move(lab.policy.model, direction, best * alpha)
    lab.ledger.gradient_step()
    yield Step(best, {}, measured=True, chosen=True)


def _sum(lab: Lab, seeds: range, weights: np.ndarray) -> Vector:
    """Σ z_i ε_i."""
    total = {name: 0 * values for name, values in noise(lab.policy, 0).items()}
    for seed, weight in zip(seeds, weights, strict=True):
        for name, values in noise(lab.policy, seed).items():
            total[name] += float(weight) * values
    return total


def _curvature(lab: Lab, direction: Vector, prompts: int) -> float:
    """dᵀFd on rollouts of the base."""
    probe = lab.draw(next_problems(lab.train, 1, prompts), 1, differentiated=False)

    def kl_at(step: float) -> float:
        lab.ledger.scoring(probe, passes=2)
        with lab.ledger.clock(), moved(lab.policy.model, direction, step):
            return sequence_kl(lab.base, lab.policy, probe, lab.sampling.temperature).mean().item()

    return measure_curvature(kl_at, direction)
