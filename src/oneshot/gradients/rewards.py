r"""Reward functions: what advantages are computed from. Verdicts are binary; some functions also grade wrong answers.

Shapes: P prompts, G rollouts each.
"""

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

CREDIT_CAP = 0.5
"""Largest reward for partial credit; a right answer is worth 1."""


def partial_rewards(rewards_PG: Float[Tensor, "P G"], credit_PG: Float[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """1 for a right answer, else CREDIT_CAP times its partial credit (0 to 1)."""
    return rewards_PG.maximum(CREDIT_CAP * credit_PG * (rewards_PG < 1))


def ranked_rewards(rewards_PG: Float[Tensor, "P G"], credit_PG: Float[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """Groups that are all wrong are ranked by partial credit, less wrong above more wrong; others stay binary.

    The reward of a ranked rollout is the number of its group's rollouts it beats plus half of those it ties with, over
    G - 1: between 0 and 1, whatever the scale of the credit. If all tie, the group has no gradient.
    """
    beaten_PG = (credit_PG[:, :, None] > credit_PG[:, None, :]).sum(dim=2)
    tied_PG = (credit_PG[:, :, None] == credit_PG[:, None, :]).sum(dim=2) - 1
    ranked_PG = (beaten_PG + 0.5 * tied_PG) / (rewards_PG.shape[1] - 1)
    all_wrong_P1 = rewards_PG.amax(dim=1, keepdim=True) == 0
    return ranked_PG.to(rewards_PG.dtype).where(all_wrong_P1, rewards_PG)


REWARDS = {
    "binary": lambda rewards_PG, credit_PG: rewards_PG,
    "partial": partial_rewards,
    "ranked": ranked_rewards,
}
"""Reward functions by name: (binary rewards, partial credit) -> what the advantages are computed from."""


def shaped_rewards(rollouts: pd.DataFrame, name: str = "binary") -> Float[Tensor, "P G"]:
    """The rewards of a rollout table, one row per group, under the reward function of that name."""
    if name not in REWARDS:
        raise ValueError(f"unknown reward function '{name}': expected one of {', '.join(REWARDS)}")
    num_problems = rollouts.problem_id.nunique()
    rewards_PG, credit_PG = (
        torch.tensor(rollouts[column].to_numpy(dtype="float32")).view(num_problems, -1)
        for column in ("reward", "credit")
    )
    return REWARDS[name](rewards_PG, credit_PG)


class NothingToLearn(ValueError):
    """No group of the batch holds two different rewards, so the gradient is exactly zero."""


def count_informative(rollouts: pd.DataFrame, rewards: str = "binary") -> int:
    """The number of groups with a non-zero advantage."""
    rewards_PG = shaped_rewards(rollouts, rewards)
    return int((rewards_PG.amax(dim=1) > rewards_PG.amin(dim=1)).sum())


def check_informative(rollouts: pd.DataFrame, rewards: str = "binary") -> int:
    """`count_informative`. Raises NothingToLearn, with the ways out, if it is 0."""
    num_informative = count_informative(rollouts, rewards)
    if not num_informative:
        count = f"{int((rollouts.reward > 0).sum()):,} of {len(rollouts):,} rollouts are right"
        raise NothingToLearn(
            f"{count} and no group holds two different rewards, so g = 0 and there is no α*: sample more "
            "(batch.prompts, sampling.group_size), take an easier task, or fall back on partial credit or on "
            "ranking wrong answers (rewards: partial, rewards: ranked)"
        )
    return num_informative
