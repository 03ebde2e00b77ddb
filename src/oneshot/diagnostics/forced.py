"""Teacher forcing: the log-probs that a policy gives to the tokens of rollouts, whoever drew them."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from oneshot.gradients.chunks import CHUNK_TOKENS, group_chunks
from oneshot.gradients.one_pass import token_logprobs
from oneshot.policies.models import Policy
from oneshot.steps.line_search import moved
from oneshot.vectors import Vector


@torch.inference_mode()
def forced_logprobs(
    policy: Policy, rollouts: pd.DataFrame, temperature: float, chunk_tokens: int = CHUNK_TOKENS
) -> Tensor:
    """log π of every completion token [C], rollout by rollout, nats."""
    lengths = rollouts.tokens.map(len).to_numpy()
    starts = lengths.cumsum() - lengths
    logprobs_C = torch.empty(int(lengths.sum()))
    for chunk in group_chunks(rollouts, np.ones(len(rollouts), dtype=bool), chunk_tokens):
        places = np.concatenate([np.arange(starts[row], starts[row] + lengths[row]) for row in chunk])
        found, _ = token_logprobs(policy, rollouts.iloc[chunk], temperature)
        logprobs_C[torch.from_numpy(places)] = found.float().cpu()
    return logprobs_C


def of_rollouts(values_C: Tensor, rollouts: pd.DataFrame) -> Tensor:
    """The sum of each rollout's tokens [R]."""
    lengths = torch.tensor(rollouts.tokens.map(len).to_numpy())
    rows_C = torch.repeat_interleave(torch.arange(len(rollouts)), lengths)
    return values_C.new_zeros(len(rollouts)).index_add(0, rows_C, values_C)


def change_by(policy: Policy, rollouts: pd.DataFrame, temperature: float) -> Callable[[Vector, float], Tensor]:
    """A function: (direction, step) -> what that move changes in the log-prob of every token [C], nats."""
    before_C = forced_logprobs(policy, rollouts, temperature)

    def change(direction: Vector, step: float = 1.0) -> Tensor:
        with moved(policy.model, direction, step):
            return forced_logprobs(policy, rollouts, temperature) - before_C

    return change
