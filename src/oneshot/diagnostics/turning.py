r"""Why does a path turn away from the first gradient? The gradient where the path has come to, taken in four ways.

    stale        of the base's rollouts, as if nothing had moved:  Σ A ∇ log π_θ
    truncated    the same with min(ρ, 2), what one batch climbs:   Σ min(ρ, 2) A ∇ log π_θ
    re-weighted  of the base's rollouts, as they speak about θ:    Σ W (A - Σ W A) ∇ log π_θ,  W = ρ / Σ ρ in the group
    fresh        of rollouts that the policy at θ draws itself

What turns already from g to the re-weighted gradient is curvature: the same rollouts, seen from elsewhere. What turns
from there on to the fresh one is feedback: answers that the base gives hardly ever, or never. The truncated gradient
is no estimate of either. Where ratios are cut off, its weights no longer cancel, so that it goes on pulling towards the
right answers of the batch.

Every gradient is noisy, and how well its halves, which are of different problems, agree says how much. A cosine is
corrected for that only if its two gradients are of different problems, too. So the problems are dealt into three parts:
one for the first gradient, one for those of the base's rollouts elsewhere, and one for fresh rollouts.
"""

from collections.abc import Callable, Iterable
from itertools import combinations

import pandas as pd
import torch

from oneshot.gradients.corrections import get_correction
from oneshot.gradients.one_pass import backward_weighted_logprobs, streamed
from oneshot.gradients.ratios import Correction
from oneshot.gradients.weights import weigh
from oneshot.policies.models import Policy
from oneshot.statistics import reliability
from oneshot.steps.line_search import moved
from oneshot.vectors import Vector, cosine

TRUNCATED, UNBOUNDED = 2.0, 1e9
"""Largest ratios."""
REST = {
    "stale": get_correction("none", 0),
    "truncated": get_correction("truncated", TRUNCATED),
    "re-weighted": get_correction("self_normalised", UNBOUNDED),
}
"""Ways to take the gradient of rollouts that another policy drew."""


PARTS = 3
"""So many parts of the problems, each with two halves."""


def in_parts(rollouts: pd.DataFrame, count: int = PARTS) -> list[pd.DataFrame]:
    """Rollouts dealt out by problem. Every part has halves, so that there must be twice as many problems as parts."""
    places, problems = pd.factorize(rollouts.problem_id)
    if len(problems) < 2 * count:
        raise ValueError(f"{count} parts with two halves each need at least {2 * count} problems, not {len(problems)}")
    return [rollouts[places % count == part] for part in range(count)]


def halves_of(
    policy: Policy, weighted: pd.DataFrame, temperature: float, correction: Correction | None = None
) -> tuple[Vector, Vector]:
    """The gradient of every other group, and of the others; means over their rollouts."""
    places = pd.factorize(weighted.problem_id)[0] % 2
    found = []
    for half in (0, 1):
        part = weighted[places == half]
        total = {name: torch.zeros(weight.shape) for name, weight in policy.model.named_parameters()}
        policy.model.zero_grad()
        with streamed(policy.model, total):
            backward_weighted_logprobs(policy, part, temperature, correction=correction)
        found.append({name: values / len(part) for name, values in total.items()})
    return tuple(found)


def turned(
    policy: Policy,
    move: Vector,
    base_rollouts: pd.DataFrame,
    draw: Callable[[], pd.DataFrame],
    temperature: float,
) -> dict[str, tuple[Vector, Vector]]:
    """Name -> halves of the gradient at θ0 + move. `draw` draws rollouts of the policy as it is then."""
    with moved(policy.model, move, 1.0):
        weighted = weigh(base_rollouts)
        found = {name: halves_of(policy, weighted, temperature, correction) for name, correction in REST.items()}
        return {**found, "fresh": halves_of(policy, weigh(draw()), temperature)}


def stops(path: Iterable[float], count: int) -> list[float]:
    """Of a path's kept steps, the nearest to `count` evenly spaced ones, the last among them."""
    steps = sorted(path)
    wanted = [steps[-1] * part / count for part in range(1, count + 1)]
    return sorted({min(steps, key=lambda step: abs(step - place)) for place in wanted})


def angles_between(gradients: dict[str, tuple[Vector, Vector]]) -> pd.DataFrame:
    """A row for each pair of gradients, given as halves: their cosine, and how reliable each of them is."""
    means = {name: {key: one[key] + other[key] for key in one} for name, (one, other) in gradients.items()}
    trust = {name: reliability(cosine(*halves)) for name, halves in gradients.items()}
    return pd.DataFrame(
        {
            "one": one,
            "other": other,
            "cosine": cosine(means[one], means[other]),
            "one_reliability": trust[one],
            "other_reliability": trust[other],
        }
        for one, other in combinations(gradients, 2)
    )
