r"""Rollouts of one prompt share its forward and backward pass, and nothing is padded but attention's inner products.

A chunk is laid out in one row of T tokens: what several prompts begin with once, the rest of each group's prompt once,
then every completion without its last token, which predicts nothing. Embedding, projections, norms and MLP run on the
packed row. In attention the row is taken apart: each beginning attends to itself; prompts to their beginning and
themselves; completions, in slices of similar length, to all of their prompt and themselves.

    packed row      [beginnings][prompt₁ prompt₂ …][completions of slice 1 …][slice 2 …]
    who sees whom   what stands before it in its own sequence, whole; then itself, causally

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
from oneshot.prefixes import shared_prefixes

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
    """The row, of beginnings for a prompt and of prompts for a completion, that each row continues; None: no other."""

    def to(self, device: torch.device) -> "Slice":
        owners_R = None if self.owners_R is None else self.owners_R.to(device)
        return Slice(self.positions_RL.to(device), self.valid_RL.to(device), owners_R)


@dataclass(frozen=True)
class Layout:
    """A packed chunk of rollouts."""

    tokens_T: Tensor
    positions_T: Tensor
    """Position of each token in its own sequence."""
    beginnings: Slice | None
    """Of the prompts that share one, a row each; an empty row for those that share none. None if no prompt does."""
    prompts: Slice
    completions: list[Slice]
    predictors_C: Tensor
    """The packed position whose hidden state predicts each completion token, rollout by rollout."""
    targets_C: Tensor
    rows_C: Tensor
    """The row of the rollout table that each completion token belongs to."""

    def to(self, device: torch.device) -> "Layout":
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor | Slice)}
        completions = [part.to(device) for part in self.completions]
        return Layout(**{"beginnings": None, **moved}, completions=completions)


def pack(rollouts: pd.DataFrame) -> Layout:
    """Lay out rollouts, rows of a group standing together; a group's prompt, and what prompts share, is fed once."""
    completions = rollouts.tokens.to_numpy()
    starts = np.flatnonzero(np.r_[True, np.diff(rollouts.problem_id.to_numpy()) != 0])
    prompts = [np.asarray(prompt) for prompt in rollouts.prompt_tokens.iloc[starts]]
    shared = shared_prefixes([prompt.tolist() for prompt in prompts])
    beginnings = list(dict.fromkeys(shared))
    of_prompt = np.array([beginnings.index(beginning) for beginning in shared])
    of_rollout = np.repeat(np.arange(len(prompts)), np.diff(np.r_[starts, len(rollouts)]))
    shared_lengths = np.array([len(beginning) for beginning in beginnings])
    lengths = np.array([len(prompt) for prompt in prompts])
    fed = np.array([len(completion) - 1 for completion in completions])

    starts_B = np.cumsum(shared_lengths) - shared_lengths
    rests = lengths - shared_lengths[of_prompt]
    starts_P = shared_lengths.sum() + np.cumsum(rests) - rests
    by_length = np.argsort(fed, kind="stable")
    by_length = by_length[fed[by_length] > 0]
    starts_R = np.zeros(len(rollouts), dtype=np.int64)
    starts_R[by_length] = shared_lengths.sum() + rests.sum() + np.cumsum(fed[by_length]) - fed[by_length]

    sequences = [
        *((beginning, 0) for beginning in beginnings),
        *(
            (prompt[length - rest :], length - rest)
            for prompt, length, rest in zip(prompts, lengths, rests, strict=True)
        ),
        *((completions[row][:-1], lengths[of_rollout[row]]) for row in by_length),
    ]
    last_of_prompt = (starts_P + rests - 1)[of_rollout]
    of_row = zip(last_of_prompt, starts_R, fed, strict=True)
    predictors = [np.r_[last, start + np.arange(count)] for last, start, count in of_row]
    slices = [part for part in np.array_split(by_length, NUM_SLICES) if len(part)]
    any_shared = shared_lengths.any()
    return Layout(
        tokens_T=_tensor(np.concatenate([tokens for tokens, _ in sequences])),
        positions_T=_tensor(np.concatenate([start + np.arange(len(tokens)) for tokens, start in sequences])),
        beginnings=_slice(starts_B, shared_lengths, None) if any_shared else None,
        prompts=_slice(starts_P, rests, of_prompt if any_shared else None),
        completions=[_slice(starts_R[part], fed[part], of_rollout[part]) for part in slices],
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
    outputs = []

    def attend(part: Slice, before: list[tuple[Sight, Tensor]]) -> Sight:
        own = Sight(key_THD[part.positions_RL], value_THD[part.positions_RL], part.valid_RL)
        keys = torch.cat([*(seen.keys[rows] for seen, rows in before), own.keys], dim=1)
        values = torch.cat([*(seen.values[rows] for seen, rows in before), own.values], dim=1)
        mask = {"attn_mask": _mask(part, before)} if before else {"is_causal": True}
        queries = query_THD[part.positions_RL].transpose(1, 2)
        out_RHLD = F.scaled_dot_product_attention(
            queries, keys.transpose(1, 2), values.transpose(1, 2), scale=scaling, enable_gqa=grouped, **mask
        )
        outputs.append(out_RHLD.transpose(1, 2)[part.valid_RL])
        return own

    above = []
    if layout.beginnings:
        above = [(attend(layout.beginnings, []), layout.prompts.owners_R)]
    prompts = attend(layout.prompts, above)
    for part in layout.completions:
        attend(part, [*((seen, rows[part.owners_R]) for seen, rows in above), (prompts, part.owners_R)])
    return torch.cat(outputs)[None], None


@dataclass(frozen=True)
class Sight:
    """What rows that continue a slice see of it."""

    keys: Tensor
    values: Tensor
    valid_RL: Tensor


def _mask(part: Slice, before: list[tuple[Sight, Tensor]]) -> Tensor:
    """Who may be seen: the real tokens of what stands before, oneself causally. [R or 1, 1, L, before + L]."""
    length = part.positions_RL.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=part.positions_RL.device).tril()
    alike = all(bool(seen.valid_RL.all()) for seen, _ in before)
    valid = torch.cat([seen.valid_RL[:1] if alike else seen.valid_RL[rows] for seen, rows in before], dim=1)
    return torch.cat([valid[:, None].expand(-1, length, -1), causal.expand(len(valid), -1, -1)], dim=2)[:, None]


def _slice(begins: np.ndarray, lengths: np.ndarray, owners: np.ndarray | None) -> Slice:
    steps = np.arange(lengths.max())
    positions = begins[:, None] + np.minimum(steps, np.maximum(lengths[:, None] - 1, 0))
    valid = steps < lengths[:, None]
    return Slice(_tensor(positions), torch.from_numpy(valid), None if owners is None else _tensor(owners))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))


AttentionInterface.register(NAME, shared_prefix_attention)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)
