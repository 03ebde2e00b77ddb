r"""A softmax policy on a small decision tree, exactly: its value, its gradient, and its distance from another.

A prompt x is drawn with frequency f_x. Its answers y are paths through a tree; at each decision on the way the policy
picks one of a few options o by a softmax over their logits z, which are linear in the parameters θ:

    z = z0 + Φθ                                                     base policy: θ = 0
    log π(y|x) = Σ_(o on y's path) [z_o - log Σ_(o' of o's decision) exp z_o']
    V_x = Σ_y π(y|x) q_y        J = Σ_x f_x V_x                      q_y: how often y is rewarded; J: accuracy

Whatever is linear in log-probs has a gradient that needs no tree walk. With one weight w_y for each answer, and
u_o = Σ_(y through o) w_y the weight that passes through an option,

    ∂/∂z_o Σ_y w_y log π(y|x) = u_o - π_o Σ_(o' of o's decision) u_o'

Policy gradient, surrogates of a reused batch and Fisher products are this one sum with different weights.

Shapes: P prompts, Y answers of all prompts, prompt by prompt; I decisions, O options of all decisions, decision by
decision; D parameters.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse


@dataclass(frozen=True, eq=False)
class Tree:
    """A base policy and its prompts. A wrong number is refused in one line."""

    logits_O: np.ndarray
    """z0."""
    features_OD: np.ndarray
    """Φ: how each parameter moves each logit."""
    first_I: np.ndarray
    """The first option of each decision."""
    paths_YO: sparse.csr_array
    """1 where an answer takes an option."""
    first_P: np.ndarray
    """The first answer of each prompt."""
    rewards_Y: np.ndarray
    """q_y, in [0, 1]."""
    frequencies_P: np.ndarray
    """f_x, which sum to 1."""

    def __post_init__(self):
        check_shares("frequencies", self.frequencies_P)
        num_answers = self.paths_YO.shape[0]
        if len(self.rewards_Y) != num_answers:
            raise ValueError(f"rewards: {len(self.rewards_Y)} for {num_answers} answers")
        if not np.all((self.rewards_Y >= 0) & (self.rewards_Y <= 1)):
            raise ValueError("rewards: expected how often each answer is right, between 0 and 1")
        if not np.all(np.isfinite(self.logits_O)):
            raise ValueError("logits: not all finite")

    @cached_property
    def decision_O(self) -> np.ndarray:
        """The decision of each option."""
        return np.repeat(np.arange(len(self.first_I)), np.diff([*self.first_I, len(self.logits_O)]))

    @cached_property
    def prompt_Y(self) -> np.ndarray:
        """The prompt of each answer."""
        return np.repeat(np.arange(len(self.first_P)), np.diff([*self.first_P, len(self.rewards_Y)]))

    @property
    def base(self) -> np.ndarray:
        """θ0."""
        return np.zeros(self.features_OD.shape[1])

    def option_logprobs(self, theta_D: np.ndarray) -> np.ndarray:
        """[O] log π of each option, given that its decision is met."""
        logits_O = self.logits_O + self.features_OD @ theta_D
        logits_O = logits_O - np.maximum.reduceat(logits_O, self.first_I)[self.decision_O]
        return logits_O - np.log(np.add.reduceat(np.exp(logits_O), self.first_I))[self.decision_O]

    def logprobs(self, theta_D: np.ndarray) -> np.ndarray:
        """[Y] log π(y|x), nats."""
        return self.paths_YO @ self.option_logprobs(theta_D)

    def masses(self, theta_D: np.ndarray) -> np.ndarray:
        """[Y] f_x π(y|x): how often a rollout is this answer; sums to 1."""
        return self.frequencies_P[self.prompt_Y] * np.exp(self.logprobs(theta_D))

    def pass_rates(self, theta_D: np.ndarray) -> np.ndarray:
        """[P] V_x."""
        return np.add.reduceat(np.exp(self.logprobs(theta_D)) * self.rewards_Y, self.first_P)

    def accuracy(self, theta_D: np.ndarray) -> float:
        """J."""
        return float(self.frequencies_P @ self.pass_rates(theta_D))

    def gradient(self, weights_Y: np.ndarray, theta_D: np.ndarray) -> np.ndarray:
        """[D] ∇ Σ_y w_y log π(y|x), the weights held still."""
        through_O = self.paths_YO.T @ weights_Y
        met_O = np.add.reduceat(through_O, self.first_I)[self.decision_O]
        return self.features_OD.T @ (through_O - np.exp(self.option_logprobs(theta_D)) * met_O)

    def scores(self, direction_D: np.ndarray, theta_D: np.ndarray) -> np.ndarray:
        """[Y] d·∇ log π(y|x): how fast each log-prob moves along a direction."""
        slope_O = self.features_OD @ direction_D
        mean_I = np.add.reduceat(np.exp(self.option_logprobs(theta_D)) * slope_O, self.first_I)
        return self.paths_YO @ (slope_O - mean_I[self.decision_O])

    def curvature(self, direction_D: np.ndarray, theta_D: np.ndarray) -> float:
        """dᵀFd, nats: twice the KL of a small step d, to second order."""
        return float(self.masses(theta_D) @ self.scores(direction_D, theta_D) ** 2)

    def kl(self, theta_D: np.ndarray, from_D: np.ndarray | None = None) -> float:
        """KL(π_θ‖π_from) in nats per answer; from θ0 if nothing is said."""
        from_D = self.base if from_D is None else from_D
        return float(self.masses(theta_D) @ (self.logprobs(theta_D) - self.logprobs(from_D)))

    def renyi(self, theta_D: np.ndarray) -> float:
        """D₂ = log E_π0[ρ²] in nats, ρ = π_θ/π_0: of N base rollouts, N e^-D₂ are worth something to π_θ."""
        log_ratios_Y = self.logprobs(theta_D) - self.logprobs(self.base)
        return float(np.log(self.masses(theta_D) @ np.exp(log_ratios_Y)))


def check_shares(name: str, shares: np.ndarray) -> None:
    """ValueError in one line unless these are positive and sum to 1."""
    if not (np.all(np.asarray(shares) > 0) and abs(np.sum(shares) - 1) < 1e-9):
        raise ValueError(
            f"{name}: expected positive numbers that sum to 1, not {np.array2string(np.asarray(shares), threshold=6)}"
        )


def check_rates(name: str, rates: np.ndarray) -> None:
    """ValueError in one line unless all of these are probabilities with a logit."""
    wrong = [float(rate) for rate in np.atleast_1d(rates) if not 0 < rate < 1]
    if wrong:
        raise ValueError(f"{name}: expected probabilities between 0 and 1, both left out, not {wrong[0]:g}")
