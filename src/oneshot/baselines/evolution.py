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
from oneshot.baselines.line import Search, landscape, natural_step
from oneshot.baselines.perturbations import noise, scores
from oneshot.steps.line_search import move
from oneshot.steps.search import winner
from oneshot.vectors import Vector

MAY_STAND_STILL = True  # no guess need be better than θ0


@dataclass(frozen=True)
class Settings(Search):
    perturbations: int = 250
    """N."""
    problems: int = 200
    """Training problems that each answers."""
    sigma: float = 1e-2
    probe_prompts: int = 50
    """Prompts whose groups of base rollouts measure the curvature along d."""


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """One search round over the perturbations, then the race along their sum."""
    seeds = range(1, settings.perturbations + 1)
    asked = next_problems(lab.train, 1, settings.problems)
    found = np.array(scores(lab, asked, seeds, [settings.sigma] * len(seeds)))
    direction = _sum(lab, seeds, (found - found.mean()) / (found.std() or 1.0))
    probe = lab.draw(next_problems(lab.train, 1, settings.probe_prompts), 1, differentiated=False)
    alpha = natural_step(lab, direction, probe, settings.target_kl_nats)
    tried = landscape(lab, direction, alpha, settings)
    for row in tried.itertuples():
        yield Step(row.multiple, {"accuracy": row.accuracy, "problems": row.problems})
    best = winner(tried)
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
