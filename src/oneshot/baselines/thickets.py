r"""RandOpt: guess many policies near θ0, keep those that answer best.

    θ_i = θ0 + σ_i ε_i, i = 1 … N        σ_i drawn from σ times a few factors
    v_i: greedy accuracy of θ_i on some training problems
    keep the K best; put their greedy answers to the vote

Gan and Isola 2026 (2603.12228). The best of thousands on a few hundred problems is flattered by having been chosen, so
the K that were kept are tried once more, on validation problems: the best there stands for the arm as a single policy.
The vote of all K is reported beside it, as `ensemble_accuracy`; it costs K answers a problem. Ties go to the answer
that the better voter gave first.

Departures: noise is independent for every tensor (`equal_noise`: as in public code); θ0 is restored from a copy, not
by subtraction; problems are selected from the training set, not from the benchmark.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from oneshot.baselines.lab import Lab, Step, next_problems
from oneshot.baselines.perturbations import noise, scores
from oneshot.steps.line_search import move, moved
from oneshot.vectors import Vector

MAY_STAND_STILL = True  # no guess need be better than θ0


@dataclass(frozen=True)
class Settings:
    perturbations: int
    """N."""
    problems: int
    """Training problems that each answers."""
    kept: int
    """K."""
    sigma: float
    factors: tuple[float, ...] = (1.0, 2.0, 3.0)
    equal_noise: bool = False


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """One search round over all perturbations, one over the best; the policy ends at the best of these."""
    seeds = range(1, settings.perturbations + 1)
    factors = random.Random(0).choices(settings.factors, k=settings.perturbations)
    sigmas = [settings.sigma * factor for factor in factors]
    asked = next_problems(lab.train, 1, settings.problems)
    found = scores(lab, asked, seeds, sigmas, settings.equal_noise)
    best = sorted(range(len(found)), key=lambda place: (-found[place], place))[: settings.kept]
    voters = [partial(_move, lab, seeds[place], sigmas[place], settings.equal_noise) for place in best]
    again = [_validated(lab, voter(), rounds=int(voter is voters[0])) for voter in voters]
    for number, place in enumerate(best, start=1):
        yield Step(number, {"sigma": sigmas[place], "accuracy": found[place], "validated": again[number - 1]})
    winner = max(range(len(voters)), key=lambda number: (again[number], -number))
    move(lab.policy.model, voters[winner]())
    lab.ledger.gradient_step()
    yield Step(winner + 1, {}, measured=True, chosen=True, voters=voters)


def _move(lab: Lab, seed: int, sigma: float, equal: bool) -> Vector:
    return {name: sigma * values for name, values in noise(lab.policy, seed, equal).items()}


def _validated(lab: Lab, step: Vector, rounds: int) -> float:
    with lab.ledger.clock(), moved(lab.policy.model, step, 1.0):
        return lab.answer(lab.validation.problems, rounds).reward.mean()
