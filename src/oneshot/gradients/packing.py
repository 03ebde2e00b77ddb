r"""Each prompt is computed once for all its rollouts, and so is every prefix that prompts or completions share.

Only the attention products are padded.

A chunk is one packed row of T tokens: first the prefixes that several prompts share, then the rest of each group's
prompt, then the completions. Of a completion, only the tokens after its shared prefix are added, without its last
token, which predicts nothing. Each group is therefore a prefix tree that branches where its completions diverge; equal
completions are one branch. Embedding, projections, norms and MLP run on the packed row. Attention takes the row apart:
shared prefixes attend to themselves; prompts to their prefix and themselves; completions, in full and in slices of
similar length, to all of their prompt and themselves.

    packed row        [shared prefixes][prompt₁ prompt₂ …][branches of slice 1 …][slice 2 …]
    attention mask    all tokens of the prefix, and the sequence's own tokens causally

The first token of every completion is predicted by its prompt's last position, so G log-probs depend on one hidden
state. Rollouts with the same tokens up to a position share that log-prob. Layers with a sliding window see as far as
their window. Attention is replaced through the registry of `transformers`, so Qwen3, Qwen2, Llama and OLMo share one
code path and none is forked.

Shapes: T packed tokens, P groups, R rollouts, C completion tokens, Q different ones (position and token), H heads,
D head dimension, E hidden, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from oneshot.gradients.prefix_tree import branches, paths_of
from oneshot.gradients.slices import Slice, Slices, as_tensor
from oneshot.policies.models import Policy
from oneshot.prefixes import shared_prefixes

NAME = "shared_prefix"
NUM_SLICES = 8
"""Slices that a chunk's completions are cut into by length: more slices mean less padding and more calls."""


@dataclass(frozen=True)
class Layout:
    """A packed chunk of rollouts."""

    tokens_T: Tensor
    positions_T: Tensor
    """Position of each token in its own sequence."""
    slices: list[Slice]
    """In order: prefixes that prompts share, if any (with an empty row for prompts without); prompts; completions."""
    gathered_A: Tensor
    """Place in the packed row of each token of all slices, row by row; padding repeats the row's last token."""
    kept_T: Tensor
    """Index of one copy of each packed token among the slices (a token may be copied into several rows)."""
    predictors_Q: Tensor
    """Place in the packed row of the hidden state that predicts each different completion token."""
    targets_Q: Tensor
    different_C: Tensor
    """Index into Q of each completion token, rollout by rollout."""
    rows_C: Tensor
    """The row of the rollout table that each completion token belongs to."""

    def to(self, device: torch.device) -> "Layout":
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Layout(**moved, slices=[part.to(device) for part in self.slices])


def pack(rollouts: pd.DataFrame) -> Layout:
    """Lay out rollouts, in which the rows of a group are adjacent; every shared prefix is fed once."""
    completions = [np.asarray(tokens, dtype=np.int64) for tokens in rollouts.tokens]
    prompts, prompt_of = _prompts(rollouts)
    shared = shared_prefixes([prompt.tolist() for prompt in prompts])
    beginnings = list(dict.fromkeys(shared))
    beginning_of = np.array([beginnings.index(beginning) for beginning in shared])

    row = _PackedRow()
    of_beginnings = [row.add(beginning, 0) for beginning in beginnings]
    asked = zip(prompts, map(len, shared), strict=True)
    of_prompts = [row.add(prompt[common:], common) for prompt, common in asked]
    fed = [completion[:-1] for completion in completions]
    order, parts_at = branches(fed, prompt_of)
    by_length = [one for one in np.argsort([*map(len, fed)], kind="stable") if len(fed[one]) > parts_at[one]]
    starts = np.array([*map(len, prompts)])[prompt_of] + parts_at
    branch_of = {one: row.add(fed[one][parts_at[one] :], starts[one]) for one in by_length}
    paths = paths_of(branch_of, order, parts_at)

    slices = Slices(np.concatenate(row.positions))
    continued = (slices.add(of_beginnings), beginning_of) if any(beginnings) else ()
    above = slices.add(of_prompts, *continued)
    for part in np.array_split(by_length, NUM_SLICES):
        if len(part):
            slices.add([paths[one] for one in part], above, prompt_of[part])
    predictors = [np.r_[of_prompts[prompt][-1], path] for prompt, path in zip(prompt_of, paths, strict=True)]
    predictors_C, targets_C = np.concatenate(predictors), np.concatenate(completions)
    different, different_of = _different(predictors_C, targets_C)
    return Layout(
        tokens_T=as_tensor(np.concatenate(row.tokens)),
        positions_T=as_tensor(np.concatenate(row.positions)),
        slices=slices.parts,
        gathered_A=as_tensor(np.concatenate(slices.gathered)),
        kept_T=slices.kept(),
        predictors_Q=as_tensor(predictors_C[different]),
        targets_Q=as_tensor(targets_C[different]),
        different_C=as_tensor(different_of),
        rows_C=as_tensor(np.repeat(np.arange(len(rollouts)), [*map(len, completions)])),
    )


def packed_hidden(policy: Policy, layout: Layout) -> Tensor:
    """The hidden state [Q, E] that predicts each different completion token."""
    config = policy.model.config
    usual = config._attn_implementation
    config._attn_implementation = NAME
    try:
        hidden_1TE = policy.model.model(
            input_ids=layout.tokens_T[None], position_ids=layout.positions_T[None], use_cache=False, layout=layout
        ).last_hidden_state
    finally:
        config._attn_implementation = usual
    return hidden_1TE[0].index_select(0, layout.predictors_Q)


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
    """The attention function that `transformers` calls in every layer: ([1, T, H, D], no weights)."""
    sizes = [part.valid_RL.numel() for part in layout.slices]
    queries, keys, values = (  # one gather for all slices: in the backward pass, each gather costs a row of zeros
        tensor[0].transpose(0, 1).index_select(0, layout.gathered_A).split(sizes)
        for tensor in (query_1HTD, key_1HTD, value_1HTD)
    )
    grouped = query_1HTD.shape[1] != key_1HTD.shape[1]
    seen, outputs = [], []
    for part, *own in zip(layout.slices, queries, keys, values, strict=True):
        query, key, value = (tensor.unflatten(0, part.valid_RL.shape) for tensor in own)
        if part.above is not None:
            before = (tensor.index_select(0, part.owners_R) for tensor in seen[part.above])
            key, value = (torch.cat(both, dim=1) for both in zip(before, (key, value), strict=True))
        seen.append((key, value))
        mask = part.mask(sliding_window)
        out_RHLD = F.scaled_dot_product_attention(
            *(tensor.transpose(1, 2) for tensor in (query, key, value)),
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=grouped,
        )
        outputs.append(out_RHLD.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs).index_select(0, layout.kept_T)[None], None


def _prompts(rollouts: pd.DataFrame) -> tuple[list[np.ndarray], np.ndarray]:
    """Each group's prompt, and which of them each rollout answers."""
    starts = np.flatnonzero(np.r_[True, np.diff(rollouts.problem_id.to_numpy()) != 0])
    prompts = [np.asarray(prompt) for prompt in rollouts.prompt_tokens.iloc[starts]]
    return prompts, np.repeat(np.arange(len(prompts)), np.diff(np.r_[starts, len(rollouts)]))


def _different(predictors_C: np.ndarray, targets_C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index of one completion token per distinct (predictor, target) [Q], index into those of each token [C])."""
    codes_C = predictors_C * (targets_C.max() + 1) + targets_C
    return np.unique(codes_C, return_index=True, return_inverse=True)[1:]


class _PackedRow:
    """Sequences appended to one row."""

    def __init__(self):
        self.tokens, self.positions, self.length = [], [], 0

    def add(self, tokens: np.ndarray, first_position: int) -> np.ndarray:
        """Append tokens, the first at that position of its own sequence; returns their places in the row."""
        steps = np.arange(len(tokens))
        self.tokens.append(tokens)
        self.positions.append(first_position + steps)
        self.length += len(tokens)
        return self.length - len(tokens) + steps


AttentionInterface.register(NAME, shared_prefix_attention)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)
