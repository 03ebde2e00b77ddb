r"""Arms: what each way of using rollouts reaches.

    one_step      θ0 + α g, the best α                                     1 sampling phase, 1 gradient step
    reuse         the batch's surrogate, climbed in many gradient steps    1 sampling phase, many gradient steps
    phases        k times: draw a batch, take its step, search its α       k phases, k steps
    flow          tiny steps along the exact gradient                      the limit of many phases, endless batches
    small_steps   GRPO: many small steps, each along a small fresh batch   many phases, many steps

Searches know the exact accuracy, as if validation had no end: what an arm reaches is the best that it could.

The surrogate of a batch with weights w, drawn at θ0, and ratios ρ_y = π_θ(y|x) / π_0(y|x), truncated at c:

    S_c(θ) = Σ_y w_y φ_c(ρ_y)        φ_c(ρ) = ρ up to c, c (1 + log ρ/c) beyond
    ∇S_c = Σ_y w_y min(ρ_y, c) ∇ log π(y|x)

If c = ∞, the batch has no end and its weights are f_x π_0(y|x) q_y, S is the accuracy at any θ: E_π0[ρ r] = E_πθ[r].
Without ratios (c = 0 here) S is Σ_y w_y log π(y|x). Truncated ratios: Ionides 2008; with ∇ log π beyond c: CISPO,
Chen et al. 2025.

Shapes: Y answers, D parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from oneshot.theory.batches import drawn, endless
from oneshot.theory.trees import Tree

TOLERANCE = 1e-3
"""Accuracies closer than this are not told apart: the shortest step among the best is kept."""
ROUNDING = 1e-9
"""Accuracies closer than this are equal: which of them is larger depends on the processor."""
MULTIPLES = np.geomspace(0.01, 1e6, 161)
"""Step sizes tried, in multiples of α_base."""
TARGET_KL = 0.2
"""κ: predicted KL of α_base, nats per answer."""
TINY_KL, TINY_STEPS = 0.01, 400
"""Predicted KL of each step of `reuse` and `flow`, and how many there are at most."""
BETAS, LEARNING_RATE = (0.9, 0.999), 0.1
"""Adam's, of `small_steps`; one learning rate for all designs, in logits."""


@dataclass(frozen=True)
class Reached:
    """Where an arm ends up, and how often it sampled and stepped on the way."""

    theta_D: np.ndarray
    accuracy: float
    sampling_phases: int
    gradient_steps: int


def one_step(tree: Tree, weights_Y: np.ndarray) -> Reached:
    """The best point on the straight line from θ0 along the batch's gradient."""
    return _reached(tree, best_step(tree, tree.base, tree.gradient(weights_Y, tree.base)), 1, 1)


def reuse(tree: Tree, weights_Y: np.ndarray, truncation: float) -> Reached:
    """The first of the best points on the path that climbs the batch's surrogate; truncation 0: no ratios."""
    path = climb(tree, surrogate(tree, weights_Y, truncation))
    accuracies = np.array([tree.accuracy(theta_D) for theta_D in path])
    first = int(np.argmax(accuracies > accuracies.max() - ROUNDING))
    return _reached(tree, path[first], 1, first)


def phases(tree: Tree, num_phases: int, draw: Callable[[Tree, np.ndarray], np.ndarray] = endless) -> Reached:
    """`draw(tree, θ)` gives the weights of each phase's batch."""
    theta_D = tree.base
    for _ in range(num_phases):
        theta_D = best_step(tree, theta_D, tree.gradient(draw(tree, theta_D), theta_D))
    return _reached(tree, theta_D, num_phases, num_phases)


def flow(tree: Tree) -> Reached:
    """The end of the path along GRPO's exact gradient, which is that of Σ_x f_x 2 arcsin √V_x."""

    def angle(theta_D):
        rates_P = np.clip(tree.pass_rates(theta_D), 0, 1)
        value = tree.frequencies_P @ (2 * np.arcsin(np.sqrt(rates_P)))
        return value, tree.gradient(endless(tree, theta_D), theta_D)

    path = climb(tree, angle)
    return _reached(tree, path[-1], len(path) - 1, len(path) - 1)


def small_steps(tree: Tree, num_steps: int, num_groups: int, group_size: int, rng: np.random.Generator) -> Reached:
    """GRPO: at each step a fresh batch of num_groups groups, and Adam."""
    theta_D, mean_D, square_D = tree.base, tree.base, tree.base
    for step in range(1, num_steps + 1):
        g_D = tree.gradient(drawn(tree, theta_D, num_groups, group_size, rng), theta_D)
        mean_D = BETAS[0] * mean_D + (1 - BETAS[0]) * g_D
        square_D = BETAS[1] * square_D + (1 - BETAS[1]) * g_D**2
        root_D = np.sqrt(square_D / (1 - BETAS[1] ** step)) + 1e-8
        theta_D = theta_D + LEARNING_RATE * mean_D / (1 - BETAS[0] ** step) / root_D
    return _reached(tree, theta_D, num_steps, num_steps)


def base_step(tree: Tree, direction_D: np.ndarray, theta_D: np.ndarray, target_kl: float = TARGET_KL) -> float:
    """α_base = √(2κ / dᵀFd); infinite along a direction that leaves the policy as it is."""
    curvature = tree.curvature(direction_D, theta_D)
    return float(np.sqrt(2 * target_kl / curvature)) if curvature > 0 else np.inf


def best_step(tree: Tree, theta_D: np.ndarray, direction_D: np.ndarray) -> np.ndarray:
    """[D] θ + α d, α ≥ 0 the shortest step that is as accurate as any, to TOLERANCE."""
    scale = base_step(tree, direction_D, theta_D)
    if not np.isfinite(scale):
        return theta_D

    def accuracy(multiple: float) -> float:
        return tree.accuracy(theta_D + multiple * scale * direction_D)

    tried = [0.0, *MULTIPLES]
    accuracies = [accuracy(multiple) for multiple in tried]
    top = int(np.argmax(accuracies))
    around = tried[max(top - 1, 0)], tried[min(top + 1, len(MULTIPLES))]
    tried.append(minimize_scalar(lambda multiple: -accuracy(multiple), bounds=around, method="bounded").x)
    accuracies.append(accuracy(tried[-1]))
    shortest = np.min(np.array(tried)[np.array(accuracies) >= max(accuracies) - TOLERANCE])
    return theta_D + shortest * scale * direction_D


def surrogate(tree: Tree, weights_Y: np.ndarray, truncation: float) -> Callable:
    """θ -> S_c and its gradient [D]; truncation 0: no ratios."""
    drawn_Y = tree.logprobs(tree.base)

    def value_and_gradient(theta_D):
        log_Y = tree.logprobs(theta_D) - drawn_Y
        if truncation == 0:
            return weights_Y @ log_Y, tree.gradient(weights_Y, theta_D)
        capped_Y = np.minimum(np.exp(log_Y), truncation)
        beyond_Y = np.maximum(log_Y - np.log(truncation), 0)
        return weights_Y @ (capped_Y * (1 + beyond_Y)), tree.gradient(weights_Y * capped_Y, theta_D)

    return value_and_gradient


def climb(tree: Tree, objective: Callable) -> list[np.ndarray]:
    """[D] each: the points from θ0 up the objective, in steps of TINY_KL, shortened where one would lead down.

    Steps of equal KL run through what gradient flow crawls through: to a policy that is sure, the way has a finite
    length in √KL. The path is the flow's, the clock is not.
    """
    path, step_kl = [tree.base], TINY_KL
    value, direction_D = objective(tree.base)
    while len(path) <= TINY_STEPS and step_kl > 1e-12:
        scale = base_step(tree, direction_D, path[-1], step_kl)
        if not np.isfinite(scale):  # nothing to climb, or a policy that is sure of every answer
            break
        theta_D = path[-1] + scale * direction_D
        new_value, new_direction_D = objective(theta_D)
        if new_value > value:
            path.append(theta_D)
            value, direction_D = new_value, new_direction_D
        else:
            step_kl /= 16
    return path


def _reached(tree: Tree, theta_D: np.ndarray, sampling_phases: int, gradient_steps: int) -> Reached:
    return Reached(theta_D, tree.accuracy(theta_D), sampling_phases, gradient_steps)
