r"""Objectives as weights on log-probabilities.

At θ = θ0, on-policy, every policy-gradient objective has the form

    g = (1/N) Σ_i w_i Σ_t ∇ log π(y_it | x_i, y_i<t)

and differs from the others in the rollout weights w_i alone. Shapes: P prompts, G rollouts each.
"""

import pandas as pd
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-4
"""Added to a group's standard deviation, as in TRL's GRPO."""


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


class NothingToLearn(ValueError):
    """No group of the batch holds both a right and a wrong answer: the gradient is exactly zero."""


def check_informative(rollouts: pd.DataFrame) -> int:
    """The number of groups with a non-zero advantage; NothingToLearn, with the ways out, if there is none."""
    spread = rollouts.groupby("problem_id").reward.agg(lambda rewards: rewards.max() > rewards.min())
    if not spread.any():
        count = f"{int((rollouts.reward > 0).sum()):,} of {len(rollouts):,} rollouts are right"
        raise NothingToLearn(
            f"{count} and no group holds both a right and a wrong answer, so g = 0 and there is no α*: "
            "sample more (one_shot.prompts, sampling.group_size), take an easier task, or fall back on rewards "
            "that rank wrong answers"
        )
    return int(spread.sum())


def mean_removed(rewards_PG: Float[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """r_i minus its group's mean; exactly 0 where all rewards of the group are equal, however the mean rounds."""
    informative_P1 = rewards_PG.amax(dim=1, keepdim=True) > rewards_PG.amin(dim=1, keepdim=True)
    return (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)) * informative_P1
