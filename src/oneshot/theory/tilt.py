r"""The exact tilt: the highest accuracy that any policy can have at a given KL to the base, from pass rates alone.

On a problem that the base answers right with probability p, the policy nearest to the base (in KL) among those that are
right with probability a is  π* ∝ π_0 e^{r/β},  which changes the odds of being right by e^{1/β} and nothing else:

    a = p e^λ / (1 - p + p e^λ),     KL = a log(a/p) + (1-a) log((1-a)/(1-p)),     λ = 1/β

Over many problems the same λ for all is best (Lagrange). An arm's KL efficiency is the KL that the tilt needs for the
arm's accuracy, over the KL that the arm has spent.

Pass rates are known only through a few samples a problem, and plugging right/samples in would be far off at either end.
What is estimated instead is their distribution over problems: the mixture of binomials of the greatest likelihood
(Kiefer and Wolfowitz 1956), found by EM (Laird 1978). Four samples of a thousand problems place the curve within 0.03
up to about one nat; beyond, accuracy comes from problems that are hardly ever right, of which few samples tell little.

Shapes: M rates, Λ tilts.
"""

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, rel_entr
from scipy.stats import binom

LOG_ODDS = np.linspace(-9, 9, 121)
"""Where the mixture may have its pass rates."""
STEPS = 500
"""Of EM. More sharpen the mixture and leave the curve where it is."""
STRONGEST = 18.0
"""λ at which even the smallest of those rates has become a half."""


def pass_rates(correct: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """(rates [M], their shares of the problems [M]) from the right answers of each problem among its samples."""
    rates = expit(LOG_ODDS)
    counts, problems = np.unique(np.asarray(correct, dtype=int), return_counts=True)
    likelihood = binom.pmf(counts[:, None], samples, rates)
    shares = np.full(len(rates), 1 / len(rates))
    for _ in range(STEPS):
        belongs = likelihood * shares
        shares = (problems[:, None] * belongs / belongs.sum(axis=1, keepdims=True)).sum(axis=0) / problems.sum()
    return rates, shares


def tilted(rates: np.ndarray, shares: np.ndarray, tilts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(KL to the base [Λ], nats per sequence; accuracy [Λ]) of the tilted policies."""
    logits = np.log(rates) - np.log1p(-rates)
    right = expit(logits + np.asarray(tilts)[:, None])
    divergence = rel_entr(right, rates) + rel_entr(1 - right, 1 - rates)
    return divergence @ shares, right @ shares


def smallest_kl(accuracy: float, rates: np.ndarray, shares: np.ndarray) -> float:
    """KL, nats per sequence, of the tilt with that accuracy: 0 below the base's, nan above what any tilt here has."""
    base, most = tilted(rates, shares, np.array([0.0, STRONGEST]))[1]
    if accuracy <= base:
        return 0.0
    if accuracy > most:
        return float("nan")
    reached = brentq(lambda tilt: tilted(rates, shares, np.array([tilt]))[1][0] - accuracy, 0.0, STRONGEST)
    return float(tilted(rates, shares, np.array([reached]))[0][0])
