r"""Objectives as weights on log-probabilities.

Whatever the objective J, its gradient is a sum over the log-probs l_it = log π(y_it | x_i, y_i<t) of its batch:

    ∇J = (1/N) Σ_i Σ_t w_it ∇ l_it          w_it = N ∂J/∂l_it

so an objective is a function of log-probs, written here as its authors write it, and its weights are its derivative.
On-policy (l equal to the sampler's l_old; for DPO, to the reference) every ratio is 1, nothing is clipped and w_it is
the same for all tokens of a rollout: w_i, known before the pass. Objectives then differ only by advantage and length:

    policy_gradient       A_i                               the headline: no division by any length
    grpo, gspo            A_i / |y_i|                       a mean over each rollout's tokens
    dr_grpo               (r_i - mean) / longest            a fixed divisor
    dapo                  A_i N / Σ|y|                      a mean over all tokens of the batch
    reinforce_pp          r whitened over tokens · N / Σ|y|; `_baseline` subtracts the group's mean first
    star                  r_i N / Σ r|y|                    fine-tuning on correct answers (rejection, RAFT, STaR)
    dpo                   ±β/2, for each (right, wrong) pair of a group, over the number of pairs
    maxrl                 r / mean - 1                      the gradient of log expected reward
    posterior             exp(r/β) / mean of exp(r/β)       fine-tuning on the base policy tilted by its reward

Not expressible as such weights: penalties on whole distributions (full KL), DAPO's resampling, STaR's rationalised
answers (other prompts), REINFORCE++'s KL in the reward (zero at θ0).

Shapes: P prompts, G rollouts each, R = P·G rollouts, prompt-major; C completion tokens, rollout by rollout.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

EPSILON = 1e-4
"""Added to a group's standard deviation, as in TRL's GRPO."""
CLIP = (0.2, 0.2)
"""How far a token's ratio may fall below and rise above 1 before it stops counting (PPO, GRPO)."""
DAPO_CLIP = (0.2, 0.28)
GSPO_CLIP = (3e-4, 4e-4)
"""The same for the ratio of a whole sequence, per token (Zheng et al. 2025)."""
DPO_BETA = 0.1
POSTERIOR_BETA = 0.1
"""Nats of log-odds that a reward of 1 is worth: its inverse."""
WHITENING_EPSILON = 1e-8


def grpo_weights(rewards_PG: Float[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """A_i = (r_i - mean) / (std + ε) within each group, std with ddof 1 (Shao et al. 2024, outcome supervision).

    A group whose rewards are all equal gets exactly 0.
    """
    return mean_removed(rewards_PG) / (rewards_PG.std(dim=1, keepdim=True) + EPSILON)


def reward_gradient_weights(rewards_PG: Float[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """w_i = G/(G-1) · (r_i - mean): with these weights g is an unbiased estimate of ∇J, J the expected reward.

    Subtracting the mean of the *other* G - 1 rewards is an unbiased baseline (leave-one-out, Kool et al. 2019).
    """
    group_size = rewards_PG.shape[1]
    return group_size / (group_size - 1) * mean_removed(rewards_PG)


def maxrl_weights(rewards_PG: Float[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """r_i / mean - 1, the gradient of the log of the expected reward (MaxRL, 2602.02710); 0 in a group of equals."""
    return mean_removed(rewards_PG) / rewards_PG.mean(dim=1, keepdim=True).clamp(min=EPSILON)


def posterior_weights(rewards_PG: Float[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """exp(r_i/β) over its mean: maximum likelihood for the tilted base (DGO). Departure: 0 in a group of equals."""
    informative_P1 = rewards_PG.amax(dim=1, keepdim=True) > rewards_PG.amin(dim=1, keepdim=True)
    return rewards_PG.shape[1] * (rewards_PG / POSTERIOR_BETA).softmax(dim=1) * informative_P1


def mean_removed(rewards_PG: Float[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """r_i minus its group's mean; exactly 0 where all rewards of the group are equal, however the mean rounds."""
    informative_P1 = rewards_PG.amax(dim=1, keepdim=True) > rewards_PG.amin(dim=1, keepdim=True)
    return (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)) * informative_P1


@dataclass(frozen=True)
class Batch:
    """What an objective needs besides log-probs."""

    rewards_PG: Float[Tensor, "P G"]
    lengths_R: Int[Tensor, " R"]
    """Completion tokens of each rollout."""
    longest: int
    """The most tokens a completion may have: Dr. GRPO's divisor."""

    @property
    def num_rollouts(self) -> int:
        return self.rewards_PG.numel()

    @property
    def rows_C(self) -> Int[Tensor, " C"]:
        """The rollout each token belongs to."""
        return torch.repeat_interleave(torch.arange(self.num_rollouts, device=self.lengths_R.device), self.lengths_R)

    def spread(self, values_PG: Float[Tensor, "P G"]) -> Float[Tensor, " C"]:
        """A rollout's value at each of its tokens."""
        return values_PG.flatten()[self.rows_C]

    def totals(self, values_C: Float[Tensor, " C"]) -> Float[Tensor, " R"]:
        """The sum of each rollout's tokens."""
        return values_C.new_zeros(self.num_rollouts).index_add(0, self.rows_C, values_C)


def rollout_weights(name: str, batch: Batch) -> Float[Tensor, "P G"]:
    """w_i of the named objective at θ0, where the policy is the one that drew the rollouts."""
    zero_C = batch.rewards_PG.new_zeros(int(batch.lengths_R.sum()))
    weights_C = token_weights(name, zero_C, zero_C, batch)
    first_R = batch.lengths_R.cumsum(0) - batch.lengths_R
    return weights_C[first_R].view_as(batch.rewards_PG)


def token_weights(
    name: str, logprobs_C: Float[Tensor, " C"], old_C: Float[Tensor, " C"], batch: Batch
) -> Float[Tensor, " C"]:
    """w_it of the named objective. `logprobs_C` are the policy's log-probs, `old_C` the sampler's.

    Raises ValueError for an unknown name.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective '{name}': expected one of {', '.join(OBJECTIVES)}")
    variable_C = logprobs_C.detach().requires_grad_()
    with torch.enable_grad():
        value = OBJECTIVES[name](variable_C, old_C, batch)
    return batch.num_rollouts * torch.autograd.grad(value, variable_C)[0]


def policy_gradient(logprobs_C: Tensor, old_C: Tensor, batch: Batch) -> Tensor:
    return (batch.spread(grpo_weights(batch.rewards_PG)) * logprobs_C).sum() / batch.num_rollouts


def grpo(logprobs_C: Tensor, old_C: Tensor, batch: Batch) -> Tensor:
    """Shao et al. 2024: each rollout's mean over its tokens."""
    return (batch.totals(_clipped(logprobs_C, old_C, batch, grpo_weights)) / batch.lengths_R).mean()


def dr_grpo(logprobs_C: Tensor, old_C: Tensor, batch: Batch) -> Tensor:
    """Liu et al. 2025: no standard deviation, no length but the longest possible."""
    return _clipped(logprobs_C, old_C, batch, mean_removed).sum() / (batch.num_rollouts * batch.longest)


def dapo(logprobs_C: Tensor, old_C: Tensor, batch: Batch) -> Tensor:
    """Yu et al. 2025: a mean over tokens, a looser upper clip."""
    return _clipped(logprobs_C, old_C, batch, grpo_weights, DAPO_CLIP).mean()


def reinforce_pp(logprobs_C: Tensor, old_C: Tensor, batch: Batch) -> Tensor:
    """Hu et al. 2025: rewards whitened over all tokens of the batch, PPO's clip."""
    return _clipped(logprobs_C, old_C, batch, lambda rewards_PG: _whitened(rewards_PG, batch)).mean()


def reinforce_pp_baseline(logprobs_C: Tensor, old_C: Tensor, batch: Batch) -> Tensor:
    return _clipped(logprobs_C, old_C, batch, lambda rewards_PG: _whitened(mean_removed(rewards_PG), batch)).mean()


def gspo(logprobs_C: Tensor, old_C: Tensor, batch: Batch) -> Tensor:
    """Zheng et al. 2025: one ratio a sequence, the geometric mean of its tokens' ratios."""
    ratios_R = (batch.totals(logprobs_C - old_C) / batch.lengths_R).exp()
    return _surrogate(ratios_R, grpo_weights(batch.rewards_PG).flatten(), GSPO_CLIP).mean()


def star(logprobs_C: Tensor, old_C: Tensor, batch: Batch) -> Tensor:
    """Log-likelihood of the correct answers, a mean over their tokens; 0 if there is none."""
    kept_C = batch.spread(batch.rewards_PG)
    return (kept_C * logprobs_C).sum() / kept_C.sum().clamp(min=1)


def dpo(logprobs_C: Tensor, old_C: Tensor, batch: Batch) -> Tensor:
    """Rafailov et al. 2023 on all (right, wrong) pairs of a group, the reference being the policy that drew them."""
    margins_PG = batch.totals(logprobs_C - old_C).view_as(batch.rewards_PG)
    pairs_PGG = batch.rewards_PG[:, :, None] > batch.rewards_PG[:, None, :]
    gains_PGG = F.logsigmoid(DPO_BETA * (margins_PG[:, :, None] - margins_PG[:, None, :]))
    return gains_PGG[pairs_PGG].sum() / pairs_PGG.sum().clamp(min=1)


OBJECTIVES: dict[str, Callable[[Tensor, Tensor, Batch], Tensor]] = {
    function.__name__: function
    for function in (policy_gradient, grpo, dr_grpo, dapo, reinforce_pp, reinforce_pp_baseline, gspo, star, dpo)
}
"""Objectives by name: (log-probs, log-probs when drawn, batch) -> J, to be maximised."""


def _clipped(logprobs_C, old_C, batch: Batch, advantages: Callable, clip: tuple[float, float] = CLIP) -> Tensor:
    return _surrogate((logprobs_C - old_C).exp(), batch.spread(advantages(batch.rewards_PG)), clip)


def _surrogate(ratios: Tensor, advantages: Tensor, clip: tuple[float, float]) -> Tensor:
    """min(ρA, clip(ρ)A): a ratio beyond the clip in the direction of its advantage has no gradient."""
    return torch.minimum(ratios * advantages, ratios.clamp(1 - clip[0], 1 + clip[1]) * advantages)


def _whitened(values_PG: Tensor, batch: Batch) -> Tensor:
    """Mean 0 and variance 1 over the tokens of the batch, so long answers count for more in both."""
    values_C = batch.spread(values_PG)
    return (values_PG - values_C.mean()) / (values_C.var(correction=0) + WHITENING_EPSILON).sqrt()
