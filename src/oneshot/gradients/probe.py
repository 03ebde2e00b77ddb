r"""The probe: move hidden states of answers the way in which those of right ones differ from those of wrong ones.

    s_i = mean over its tokens of h_L, the last hidden state, from which each is predicted      [E]
    D_p = mean of s over the right answers of a problem - mean over its wrong ones                [P, E]
    v   = the first right singular vector of D, turned so that it points along the mean of D
    Δθ  = ∇_θ (1/R) Σ_i ⟨s_i, v⟩ at θ0

An SVD probe: no likelihood and no advantage, only what right answers have in common inside the network. Whether states
that are moved so bring more right answers is what the line search tells. Rollouts of groups that are all right or all
wrong are left out.
"""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from oneshot.gradients.chunks import CHUNK_TOKENS, group_chunks
from oneshot.gradients.one_pass import streamed
from oneshot.gradients.packing import pack, packed_hidden
from oneshot.gradients.rewards import shaped_rewards
from oneshot.policies.models import Policy
from oneshot.vectors import Vector


def probe_direction(policy: Policy, rollouts: pd.DataFrame, chunk_tokens: int = CHUNK_TOKENS) -> Vector:
    """Δθ; zeros if no group holds right and wrong answers."""
    told = informative(rollouts)
    total = {name: torch.zeros(weight.shape) for name, weight in policy.model.named_parameters()}
    if told.any():
        v_E = separating(states(policy, rollouts, told, chunk_tokens), rollouts[told])
        with streamed(policy.model, total):
            for chunk in group_chunks(rollouts, told, chunk_tokens):
                (_states(policy, rollouts.iloc[chunk]) @ v_E.to(policy.model.device)).sum().backward()
    return {name: values / max(1, told.sum()) for name, values in total.items()}


def informative(rollouts: pd.DataFrame) -> np.ndarray:
    """Which rollouts are of groups with right and wrong answers [R]."""
    rewards_PG = shaped_rewards(rollouts)
    return (rewards_PG.amax(dim=1) > rewards_PG.amin(dim=1)).repeat_interleave(rewards_PG.shape[1]).numpy()


@torch.no_grad()
def states(policy: Policy, rollouts: pd.DataFrame, chosen: np.ndarray, chunk_tokens: int = CHUNK_TOKENS) -> Tensor:
    """s of the chosen rollouts, in their order [R, E], FP32."""
    found_RE = torch.empty(len(rollouts), policy.model.config.hidden_size)
    for chunk in group_chunks(rollouts, chosen, chunk_tokens):
        found_RE[torch.from_numpy(chunk)] = _states(policy, rollouts.iloc[chunk]).cpu()
    return found_RE[torch.from_numpy(chosen)]


def separating(states_RE: Tensor, rollouts: pd.DataFrame) -> Tensor:
    """v [E], of length 1."""
    rewards_PG1 = shaped_rewards(rollouts)[:, :, None]
    states_PGE = states_RE.view(*rewards_PG1.shape[:2], -1)
    right_PE, wrong_PE = (
        (states_PGE * sides_PG1).sum(dim=1) / sides_PG1.sum(dim=1) for sides_PG1 in (rewards_PG1, 1 - rewards_PG1)
    )
    differences_PE = right_PE - wrong_PE
    v_E = torch.linalg.svd(differences_PE, full_matrices=False).Vh[0]
    return v_E * (differences_PE.mean(dim=0) @ v_E).sign()


def _states(policy: Policy, rollouts: pd.DataFrame) -> Tensor:
    """s of each rollout [R, E]. Differentiable."""
    layout = pack(rollouts).to(policy.model.device)
    hidden_CE = packed_hidden(policy, layout).float().index_select(0, layout.different_C)
    sums_RE = hidden_CE.new_zeros(len(rollouts), hidden_CE.shape[1]).index_add(0, layout.rows_C, hidden_CE)
    lengths_R = torch.bincount(layout.rows_C, minlength=len(rollouts))
    return sums_RE / lengths_R[:, None]
