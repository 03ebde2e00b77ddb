"""Weights: an objective at θ0 as a column of the rollout table."""

import pandas as pd
import torch

from oneshot.gradients.objectives import (
    Batch,
    grpo_weights,
    maxrl_weights,
    posterior_weights,
    reward_gradient_weights,
    rollout_weights,
)
from oneshot.gradients.rewards import shaped_rewards

CLOSED_FORM = {
    "policy_gradient": grpo_weights,
    "reward_gradient": reward_gradient_weights,
    "maxrl": maxrl_weights,
    "posterior": posterior_weights,
}
"""Objectives whose weights at θ0 are computed in closed form, without the rounding of differentiation."""


def weigh(
    rollouts: pd.DataFrame, objective: str = "policy_gradient", rewards: str = "binary", longest: int | None = None
) -> pd.DataFrame:
    """The rollouts with a column `weight`: w_i of the objective at the policy that drew them.

    `rewards` names the reward function (`oneshot.gradients.rewards`); `longest` is the most tokens that a completion
    may have, Dr. GRPO's divisor.
    """
    rewards_PG = shaped_rewards(rollouts, rewards)
    if objective in CLOSED_FORM:
        weights_PG = CLOSED_FORM[objective](rewards_PG)
    else:
        lengths_R = torch.tensor(rollouts.tokens.map(len).to_numpy())
        weights_PG = rollout_weights(objective, Batch(rewards_PG, lengths_R, longest or int(lengths_R.max())))
    return rollouts.assign(weight=weights_PG.flatten().numpy())
