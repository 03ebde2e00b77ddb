r"""What a pencil says of the designs, to hold the computation against.

way_taken           one decision: one step of a large α takes the way with the largest π_y (q_y - V)
breadth             contexts, ladder: accuracy after one step of a large α, by the number of groups
hebbian             contexts with shared features: accuracy after one step, by K/M
separable           whether any θ is right everywhere (Cover 1965)
turning_point       plan: the rate of careful steps below which the first gradient points away from the plan
truncated_plan      plan: how often a reused batch ends on plan and steps when ratios are truncated
contexts_noise      noise scale of equal contexts
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, roots_hermitenorm
from scipy.stats import binom

from oneshot.theory.trees import check_rates, check_shares


def way_taken(shares: Sequence[float], rewards: Sequence[float]) -> int:
    """The way that a step of large α takes: logits move by α π_y (q_y - V), and the largest of them wins."""
    shares, rewards = np.asarray(shares), np.asarray(rewards)
    return int(np.argmax(shares * (rewards - shares @ rewards)))


def informative(rates_P: np.ndarray, group_size: int) -> np.ndarray:
    """[P] how often a group is neither all right nor all wrong."""
    check_rates("rates", rates_P)
    return 1 - rates_P**group_size - (1 - rates_P) ** group_size


def breadth(
    rates_P: np.ndarray, frequencies_P: np.ndarray, moves_PP: np.ndarray, num_groups: int, group_size: int
) -> float:
    """Expected accuracy after one step of a large α on that many groups.

    A context's right answer gains if any context that moves it (`moves_PP`, 0 or 1; itself included) has an informative
    group; none has with probability (1 - Σ_j f_j u_j)^groups, u_j the rate of informative groups. Else it stays as it
    was. Transfer must be positive, as in `ladder`; the identity stands for contexts with nothing in common.
    """
    check_shares("frequencies", frequencies_P)
    missed_P = (1 - moves_PP @ (frequencies_P * informative(rates_P, group_size))) ** num_groups
    return float(frequencies_P @ (1 - (1 - rates_P) * missed_P))


def hebbian(rates_P: np.ndarray, load: float) -> float:
    """Accuracy of the best single step on contexts with random features in R^M; load = (K - 1)/M.

    One step writes the sum of all φ_c into θ. A context reads its own 1 back and, from each other one, an inner product
    of variance 1/M: its margin is b_c + β (1 + √load ξ), ξ normal, b_c the base's. As β grows a share Φ(1/√load) is
    right for good (the capacity of correlation memories, Hopfield 1982); the best β is finite where the base is better.
    """
    margins_P1 = logit(np.asarray(rates_P))[:, None]
    nodes_X, weights_X = roots_hermitenorm(200)
    weights_X = weights_X / weights_X.sum()

    def accuracy(log_step: float) -> float:
        drive_X = np.exp(log_step) * (1 + np.sqrt(load) * nodes_X)
        return float((expit(margins_P1 + drive_X) @ weights_X).mean())

    found = minimize_scalar(lambda log_step: -accuracy(log_step), bounds=(-5, 5), method="bounded")
    return max(-found.fun, accuracy(5))


def separable(num_contexts: int, size: int) -> float:
    """P(some θ has all margins positive): 2^(1-K) Σ_(i<M) C(K-1, i); near 1 below K = 2M, near 0 above (Cover 1965)."""
    return float(binom.cdf(size - 1, num_contexts - 1, 0.5))


def turning_point(rewards: Sequence[float]) -> float:
    """C* of `plan`: V(plan) = C q_steps + (1 - C) q_skip is below V(about) = q_about for every C < C*.

    At θ0 the logit of the plan moves with π_plan (V(plan) - J), whose sign is that of V(plan) - V(about).
    """
    steps, skip, about = rewards
    if not skip < about < steps:
        raise ValueError(f"rewards: expected skip < about < steps, not {skip:g}, {about:g}, {steps:g}")
    return (about - skip) / (steps - skip)


def truncated_plan(plans: float, careful: float, rewards: Sequence[float], truncation: float) -> float:
    """Where the surrogate S_c of `plan` has its top, as π(plan, steps): min(1, c P C (q_steps - J) / (q_about - J)).

    Both routes have positive advantages if J < q_about, and S_c is a compromise: beyond ratio c the pull of plan and
    steps is c P C (q_steps - J) / π, that of about stays q_about - J, and they are equal at the top.
    """
    check_rates("plans, careful", [plans, careful])
    steps, skip, about = rewards
    base = plans * (careful * steps + (1 - careful) * skip) + (1 - plans) * about
    if base >= about:
        return 1.0
    return min(1.0, truncation * plans * careful * (steps - base) / (about - base))


def contexts_noise(rate: float, num_contexts: int, group_size: int) -> float:
    """B of K equal contexts with nothing in common: K (1 - 2p)² / (4 p (1 - p)) + G (K - 1) rollouts.

    A group says √(p(1-p)) about its own context, nearly without noise, and nothing about the others.
    """
    check_rates("rate", rate)
    within = (1 - 2 * rate) ** 2 / (4 * rate * (1 - rate))
    return num_contexts * within + group_size * (num_contexts - 1)
