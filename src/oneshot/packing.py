r"""Rollouts of one prompt share its forward and backward pass, and nothing is padded but attention's inner products.

A chunk is laid out in one row of T tokens: each group's prompt once, then every completion without its last token,
which predicts nothing. Embedding, projections, norms and MLP run on the packed row. In attention the row is taken
apart: prompts attend to themselves; completions, in slices of similar length, to their prompt and themselves.

    packed row      [prompt₁ prompt₂ …][completions of slice 1 …][slice 2 …]
    who sees whom   prompt: causal        completion: its whole prompt, then causal

The first token of every completion is predicted by its prompt's last position, so G log-probs hang on one hidden
state. Goes through `transformers`' attention registry: one code path for Qwen3, Qwen2, Llama and OLMo, none forked.

Shapes: T packed tokens, P groups, R rollouts, C completion tokens, H heads, D head dimension, E hidden, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from oneshot.models import Policy

NAME = "shared_prefix"
NUM_SLICES = 8
"""Completions of a chunk are attended to in this many slices by length: more slices, less padding, more calls."""


@dataclass(frozen=True)
class Slice:
    """Rows of similar length in a packed row, padded on the right for attention."""

    positions_RL: Tensor
    """Where in the packed row each token stands; padding repeats the row's last token."""
    valid_RL: Tensor
    owners_R: Tensor | None
    """The row of the prompt slice that each row continues; None for prompts themselves."""

    def to(self, device: torch.device) -> "Slice":
        owners_R = None if self.owners_R is None else self.owners_R.to(device)
        return Slice(self.positions_RL.to(device), self.valid_RL.to(device), owners_R)


@dataclass(frozen=True)
class Layout:
    """A packed chunk of rollouts."""

    tokens_T: Tensor
    positions_T: Tensor
    """Position of each token in its own sequence."""
    prompts: Slice
    completions: list[Slice]
    predictors_C: Tensor
    """The packed position whose hidden state predicts each completion token, rollout by rollout."""
    targets_C: Tensor
    rows_C: Tensor
    """The row of the rollout table that each completion token belongs to."""

    def to(self, device: torch.device) -> "Layout":
        moved = {name: value.to(device) for name, value in vars(self).items() if name != "completions"}
        return Layout(**moved, completions=[part.to(device) for part in self.completions])


def pack(rollouts: pd.DataFrame) -> Layout:
    """Lay out rollouts, rows of a group standing together; a group's prompt is fed once."""
    prompts, completions = rollouts.prompt_tokens.to_numpy(), rollouts.tokens.to_numpy()
    starts = np.flatnonzero(np.r_[True, np.diff(rollouts.problem_id.to_numpy()) != 0])
    owners = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(rollouts)]))
    lengths = np.array([len(prompts[start]) for start in starts])
    fed = np.array([len(completion) - 1 for completion in completions])
    ends = np.cumsum(lengths)
    by_length = np.argsort(fed, kind="stable")
    by_length = by_length[fed[by_length] > 0]
    begins = np.zeros(len(rollouts), dtype=np.int64)
    begins[by_length] = ends[-1] + np.r_[0, np.cumsum(fed[by_length])[:-1]]
    tokens = [*(prompts[start] for start in starts), *(completions[row][:-1] for row in by_length)]
    positions = [
        *(np.arange(length) for length in lengths),
        *(lengths[owners[row]] + np.arange(fed[row]) for row in by_length),
    ]
    of_row = zip(ends[owners], begins, fed, strict=True)
    predictors = [np.r_[end - 1, begin + np.arange(count)] for end, begin, count in of_row]
    slices = [part for part in np.array_split(by_length, NUM_SLICES) if len(part)]
    return Layout(
        tokens_T=_tensor(np.concatenate(tokens)),
        positions_T=_tensor(np.concatenate(positions)),
        prompts=_slice(ends - lengths, lengths, None),
        completions=[_slice(begins[part], fed[part], owners[part]) for part in slices],
        predictors_C=_tensor(np.concatenate(predictors)),
        targets_C=_tensor(np.concatenate(completions)),
        rows_C=_tensor(np.repeat(np.arange(len(rollouts)), fed + 1)),
    )


def packed_hidden(policy: Policy, layout: Layout) -> Tensor:
    """The hidden state [C, E] that predicts each completion token."""
    config = policy.model.config
    usual = config._attn_implementation
    config._attn_implementation = NAME
    try:
        hidden_1TE = policy.model.model(
            input_ids=layout.tokens_T[None], position_ids=layout.positions_T[None], use_cache=False, layout=layout
        ).last_hidden_state
    finally:
        config._attn_implementation = usual
    return hidden_1TE[0, layout.predictors_C]


def shared_prefix_attention(
    module: nn.Module,
    query_1HTD: Tensor,
    key_1HTD: Tensor,
    value_1HTD: Tensor,
    attention_mask: None,
    *,
    scaling: float,
    layout: Layout,
    sliding_window: int | None = None,
    **_,
) -> tuple[Tensor, None]:
    """The attention function that `transformers` calls in every layer: [1, T, H, D], and no weights."""
    if sliding_window and int(layout.positions_T.max()) >= sliding_window:
        raise ValueError(f"a rollout is longer than the model's sliding window of {sliding_window} tokens")
    query_THD, key_THD, value_THD = (tensor[0].transpose(0, 1) for tensor in (query_1HTD, key_1HTD, value_1HTD))
    grouped = query_THD.shape[1] != key_THD.shape[1]

    def attend(part: Slice, keys: Tensor, values: Tensor, **mask) -> Tensor:
        queries = query_THD[part.positions_RL].transpose(1, 2)
        out_RHLD = F.scaled_dot_product_attention(
            queries, keys.transpose(1, 2), values.transpose(1, 2), scale=scaling, enable_gqa=grouped, **mask
        )
        return out_RHLD.transpose(1, 2)[part.valid_RL]

    keys_PLHD, values_PLHD = key_THD[layout.prompts.positions_RL], value_THD[layout.prompts.positions_RL]
    outputs = [attend(layout.prompts, keys_PLHD, values_PLHD, is_causal=True)]
    for part in layout.completions:
        keys = torch.cat([keys_PLHD[part.owners_R], key_THD[part.positions_RL]], dim=1)
        values = torch.cat([values_PLHD[part.owners_R], value_THD[part.positions_RL]], dim=1)
        outputs.append(attend(part, keys, values, attn_mask=_mask(layout.prompts, part)))
    return torch.cat(outputs)[None], None


def _mask(prompts: Slice, part: Slice) -> Tensor:
    """Who may be seen: the real tokens of the prompt, and the completion up to oneself. [R or 1, 1, L, prompt + L]."""
    length = part.positions_RL.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=part.positions_RL.device).tril()
    prompt = prompts.valid_RL[part.owners_R] if not prompts.valid_RL.all() else prompts.valid_RL[:1]
    return torch.cat([prompt[:, None].expand(-1, length, -1), causal.expand(len(prompt), -1, -1)], dim=2)[:, None]


def _slice(begins: np.ndarray, lengths: np.ndarray, owners: np.ndarray | None) -> Slice:
    steps = np.arange(lengths.max())
    positions = begins[:, None] + np.minimum(steps, lengths[:, None] - 1)
    valid = steps < lengths[:, None]
    return Slice(_tensor(positions), torch.from_numpy(valid), None if owners is None else _tensor(owners))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))


AttentionInterface.register(NAME, shared_prefix_attention)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)
