r"""The diagonal of the Fisher information per sequence:  F_jj = E_x,y[(∂_j Σ_t log π(y_t | x, y_<t))²]  at θ0.

Estimated on rollouts of π itself, so it is the Fisher information and not the "empirical" one of other answers. Takes
one backward pass per rollout; a few hundred are enough for a damped diagonal.
"""

import pandas as pd
import torch

from oneshot.gradients.one_pass import backward_weighted_logprobs, streamed
from oneshot.policies.models import Policy
from oneshot.vectors import Vector


def fisher_diagonal(policy: Policy, rollouts: pd.DataFrame, temperature: float) -> Vector:
    """Mean over `rollouts`, which must be the policy's own, of the squared score of a whole completion. FP32."""
    diagonal = {name: torch.zeros(parameter.shape) for name, parameter in policy.model.named_parameters()}
    policy.model.zero_grad()
    for row in range(len(rollouts)):
        score = {name: torch.zeros_like(values) for name, values in diagonal.items()}
        with streamed(policy.model, score):
            backward_weighted_logprobs(policy, rollouts[row : row + 1].assign(weight=1.0), temperature)
        for name, values in score.items():
            diagonal[name] += values.square() / len(rollouts)
    return diagonal
