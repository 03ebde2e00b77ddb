r"""What a batch says, boiled down to one weight for each answer.

GRPO's advantages are A_i = (r_i - mean) / (std + ε) within a prompt's group. Rollouts that are the same answer have the
same log-prob, whatever θ, so that the gradient of a batch of N is

    g = (1/N) Σ_i A_i ∇ log π(y_i|x_i) = Σ_y w_y ∇ log π(y|x)           w_y = (1/N) Σ_(i: y_i = y) A_i

A batch without end, in groups without end, has their limit: w_y = f_x π(y|x) (q_y - V_x) / (√(V_x (1 - V_x)) + ε).
Along it ∇ Σ_x f_x 2 arcsin √V_x: what GRPO climbs is not the accuracy, but the mean angle of the pass rates.

Shapes: Y answers, P prompts, D parameters, G rollouts a group; `num_groups` groups are drawn, N = num_groups · G.
"""

import numpy as np

from oneshot.theory.trees import Tree

EPSILON = 1e-4
"""Added to a group's standard deviation, as in oneshot.gradients.objectives."""


def endless(tree: Tree, theta_D: np.ndarray) -> np.ndarray:
    """[Y] w_y of a batch without end, drawn by π_θ."""
    mean_Y, spread_Y = _mean_and_spread(tree, theta_D)
    return tree.masses(theta_D) * (tree.rewards_Y - mean_Y) / spread_Y


def silent(tree: Tree, theta_D: np.ndarray) -> np.ndarray:
    """[Y] w_y of a batch without end whose rewards are dealt out anew within each group: they say nothing."""
    return np.zeros_like(tree.masses(theta_D))


def drawn(
    tree: Tree,
    theta_D: np.ndarray,
    num_groups: int,
    group_size: int,
    rng: np.random.Generator,
    shuffled: bool = False,
) -> np.ndarray:
    """[Y] w_y of a batch of num_groups · group_size rollouts of π_θ, prompts drawn by their frequencies.

    `shuffled`: rewards are dealt out anew within each group; what is left is noise.
    """
    ends_P = np.cumsum(tree.frequencies_P)
    prompts = np.minimum(np.searchsorted(ends_P, rng.random((num_groups, 1)), side="right"), len(ends_P) - 1)
    # Prompt x's answers share the interval from x to x + 1 by their probabilities: one search finds all rollouts.
    ends_Y = np.cumsum(np.exp(tree.logprobs(theta_D)))
    places = np.searchsorted(ends_Y, prompts + rng.random((num_groups, group_size)))
    last_P = np.append(tree.first_P[1:], len(ends_Y)) - 1
    answers = np.clip(places, tree.first_P[prompts], last_P[prompts])  # sums of floats end a hair off whole numbers
    rewards = (rng.random(answers.shape) < tree.rewards_Y[answers]).astype(float)
    rewards = rng.permuted(rewards, axis=1) if shuffled else rewards
    advantages = rewards - rewards.mean(axis=1, keepdims=True)
    advantages /= rewards.std(axis=1, ddof=1, keepdims=True) + EPSILON
    advantages *= np.ptp(rewards, axis=1, keepdims=True) > 0  # exactly 0 where all are equal, however the mean rounds
    return np.bincount(answers.ravel(), advantages.ravel(), minlength=len(ends_Y)) / answers.size


def noise_scale(tree: Tree, theta_D: np.ndarray, group_size: int) -> float:
    """tr Σ / |g|² in rollouts (McCandlish et al. 2018): the batch whose noise is as long as its gradient.

    To leading order in a large G. A group's mean varies with its rollouts and with its prompt. One rollout moves it by
    (h - g_x)/G, h = A ∇ log π - (A² - 1) g_x/2, where the second term is the rollout's part in the group's own std;
    the prompt moves it by g_x - g. Per rollout, the second variance counts G times.
    """
    mean_Y, spread_Y = _mean_and_spread(tree, theta_D)
    masses_Y = tree.masses(theta_D)
    scores_YD = np.stack([tree.gradient(one_Y, theta_D) for one_Y in np.eye(len(masses_Y))])
    parts_YD = endless(tree, theta_D)[:, None] * scores_YD
    prompts_PD = np.add.reduceat(parts_YD, tree.first_P, axis=0) / tree.frequencies_P[:, None]
    g_D = tree.frequencies_P @ prompts_PD
    within = 0.0
    for rate_Y, advantage_Y in ((tree.rewards_Y, 1 - mean_Y), (1 - tree.rewards_Y, -mean_Y)):
        advantage_Y1 = (advantage_Y / spread_Y)[:, None]
        moves_YD = advantage_Y1 * scores_YD - (advantage_Y1**2 + 1) / 2 * prompts_PD[tree.prompt_Y]
        within += masses_Y * rate_Y @ np.sum(moves_YD**2, axis=1)
    between = tree.frequencies_P @ np.sum((prompts_PD - g_D) ** 2, axis=1)
    return float((within + group_size * between) / np.sum(g_D**2))


def _mean_and_spread(tree: Tree, theta_D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[Y], [Y] mean and standard deviation (+ ε) of the rewards of each answer's prompt."""
    rates_P = np.clip(tree.pass_rates(theta_D), 0, 1)
    return rates_P[tree.prompt_Y], (np.sqrt(rates_P * (1 - rates_P)) + EPSILON)[tree.prompt_Y]
