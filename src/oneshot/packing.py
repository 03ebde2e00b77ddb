r"""Rollouts of one prompt share its forward and backward pass, and all that they have in common; nothing is padded but
attention's inner products.

A chunk is laid out in one row of T tokens: what several prompts begin with once, the rest of each group's prompt once,
then every completion from where it leaves those already there, without its last token, which predicts nothing. A group
is so a tree, whose branches part where its rollouts do; equal rollouts are one branch. Embedding, projections, norms
and MLP run on the packed row. In attention the row is taken apart: each beginning attends to itself; prompts to their
beginning and themselves; completions, whole and in slices of similar length, to all of their prompt and themselves.

    packed row      [beginnings][prompt₁ prompt₂ …][branches of slice 1 …][slice 2 …]
    who sees whom   what stands before it in its own sequence, whole; then itself, causally

The first token of every completion is predicted by its prompt's last position, so G log-probs hang on one hidden
state; rollouts that went the same way to the same token have one log-prob between them. Layers with a sliding window
see that far. Goes through `transformers`' attention registry: one code path for Qwen3, Qwen2, Llama and OLMo, none
forked.

Shapes: T packed tokens, P groups, R rollouts, C completion tokens, Q different ones (position and token), H heads,
D head dimension, E hidden, V vocabulary.
"""

from dataclasses import dataclass
from itertools import pairwise

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
    """Sequences of similar length in a packed row, padded on the right for attention. M: what stands before, then L."""

    valid_RL: Tensor
    """Tokens; the others are padding."""
    above: int | None
    """The slice that its rows continue, by its place in the layout. None: they continue no other."""
    owners_R: Tensor | None
    """The row of that slice which each row continues."""
    mask_R1LM: Tensor | None
    """Who may be seen: the real tokens of what stands before, oneself causally. None: oneself only."""
    positions_RM: Tensor
    """Where in its own sequence each token stands that its rows may see; the last L are the rows' own."""
    longest: int
    """Tokens of the longest row, what it continues included."""

    def mask(self, window: int | None) -> Tensor | None:
        """Who may be seen [R, 1, L, M] by a layer whose tokens see `window` positions, themselves among them."""
        if not window or self.longest <= window:
            return self.mask_R1LM
        length = self.valid_RL.shape[1]
        causal = _causal(length).to(self.valid_RL.device)
        near_RLM = self.positions_RM[:, -length:, None] - self.positions_RM[:, None] < window
        return near_RLM[:, None] & (causal if self.mask_R1LM is None else self.mask_R1LM)

    def to(self, device: torch.device) -> "Slice":
        return Slice(*(value.to(device) if isinstance(value, Tensor) else value for value in vars(self).values()))


@dataclass(frozen=True)
class Layout:
    """A packed chunk of rollouts."""

    tokens_T: Tensor
    positions_T: Tensor
    """Position of each token in its own sequence."""
    slices: list[Slice]
    """What prompts share, a row each (an empty one for those that share nothing), if any do; prompts; completions."""
    gathered_A: Tensor
    """Where in the packed row each token of all slices stands, row by row; padding repeats the row's last token."""
    kept_T: Tensor
    """Which of the slices' tokens each packed token is: one of those that stand for it in several rows."""
    predictors_Q: Tensor
    """The packed position whose hidden state predicts each different completion token."""
    targets_Q: Tensor
    different_C: Tensor
    """Which of the different ones each completion token is, rollout by rollout."""
    rows_C: Tensor
    """The row of the rollout table that each completion token belongs to."""

    def to(self, device: torch.device) -> "Layout":
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Layout(**moved, slices=[part.to(device) for part in self.slices])


def branches(sequences: list[np.ndarray], groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order in which each sequence of a group follows the one it shares most with, and how many tokens it shares.

    The order is the lexicographic one within each group: what a sequence does not share with the one before it, it
    shares with none before it. The second array is in the order of `sequences`.
    """
    keys = [sequence.astype(">i4").tobytes() for sequence in sequences]
    order = sorted(range(len(sequences)), key=lambda row: (groups[row], keys[row]))
    shared = np.zeros(len(sequences), dtype=np.int64)
    for before, row in pairwise(order):
        if groups[before] == groups[row]:
            shared[row] = _common(sequences[before], sequences[row])
    return np.array(order), shared


def pack(rollouts: pd.DataFrame) -> Layout:
    """Lay out rollouts, rows of a group standing together; whatever several of them begin with is fed once."""
    completions = [np.asarray(tokens, dtype=np.int64) for tokens in rollouts.tokens]
    starts = np.flatnonzero(np.r_[True, np.diff(rollouts.problem_id.to_numpy()) != 0])
    prompts = [np.asarray(prompt) for prompt in rollouts.prompt_tokens.iloc[starts]]
    prompt_of = np.repeat(np.arange(len(prompts)), np.diff(np.r_[starts, len(rollouts)]))
    shared = shared_prefixes([prompt.tolist() for prompt in prompts])
    beginnings = list(dict.fromkeys(shared))
    beginning_of = np.array([beginnings.index(beginning) for beginning in shared])

    row = _PackedRow()
    of_beginnings = [row.add(beginning, 0) for beginning in beginnings]
    of_prompts = [
        row.add(prompt[len(beginning) :], len(beginning)) for prompt, beginning in zip(prompts, shared, strict=True)
    ]
    fed = np.array([len(completion) - 1 for completion in completions])
    order, parts_at = branches([completion[:-1] for completion in completions], prompt_of)
    by_length = [one for one in np.argsort(fed, kind="stable") if fed[one] > parts_at[one]]
    branch_of = {
        one: row.add(completions[one][parts_at[one] : -1], len(prompts[prompt_of[one]]) + parts_at[one])
        for one in by_length
    }
    paths = _paths(branch_of, order, parts_at)

    slices = _Slices(np.concatenate(row.positions))
    continued = (slices.add(of_beginnings), beginning_of) if any(beginnings) else ()
    asked = slices.add(of_prompts, *continued)
    for part in np.array_split(by_length, NUM_SLICES):
        if len(part):
            slices.add([paths[one] for one in part], asked, prompt_of[part])
    predictors = [np.r_[of_prompts[prompt][-1], path] for prompt, path in zip(prompt_of, paths, strict=True)]
    pairs = np.stack([np.concatenate(predictors), np.concatenate(completions)])
    different, different_of = np.unique(_as_one_number(pairs), return_index=True, return_inverse=True)[1:]
    return Layout(
        tokens_T=_tensor(np.concatenate(row.tokens)),
        positions_T=_tensor(np.concatenate(row.positions)),
        slices=slices.parts,
        gathered_A=_tensor(np.concatenate(slices.gathered)),
        kept_T=slices.kept(),
        predictors_Q=_tensor(pairs[0, different]),
        targets_Q=_tensor(pairs[1, different]),
        different_C=_tensor(different_of),
        rows_C=_tensor(np.repeat(np.arange(len(rollouts)), fed + 1)),
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
    """The attention function that `transformers` calls in every layer: [1, T, H, D], and no weights."""
    sizes = [part.valid_RL.numel() for part in layout.slices]
    queries, keys, values = (  # of all slices at once: each by itself would cost the backward pass a row of zeros
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


class _PackedRow:
    """Sequences set one behind the other."""

    def __init__(self):
        self.tokens, self.positions, self.length = [], [], 0

    def add(self, tokens: np.ndarray, first_position: int) -> np.ndarray:
        """Where these tokens, the first at that position of its own sequence, now stand."""
        steps = np.arange(len(tokens))
        self.tokens.append(tokens)
        self.positions.append(first_position + steps)
        self.length += len(tokens)
        return self.length - len(tokens) + steps


def _paths(branch_of: dict[int, np.ndarray], order: np.ndarray, parts_at: np.ndarray) -> list[np.ndarray]:
    """Where each completion's tokens stand: the beginning with the one before it in `order`, then its own branch."""
    nothing = np.empty(0, dtype=np.int64)
    paths = [nothing] * len(order)
    before = nothing
    for one in order:
        before = paths[one] = np.concatenate([before[: parts_at[one]], branch_of.get(one, nothing)])
    return paths


def _as_one_number(pairs: np.ndarray) -> np.ndarray:
    return pairs[0] * (pairs[1].max() + 1) + pairs[1]


class _Slices:
    """The slices of a layout, one after the other."""

    def __init__(self, positions_T: np.ndarray):
        self.positions_T = positions_T
        self.parts: list[Slice] = []
        self.gathered: list[np.ndarray] = []
        self.seen: list[Tensor] = []
        """Slice by slice, which places that its rows may see hold tokens, not padding [R, M]."""

    def add(self, paths: list[np.ndarray], above: int | None = None, owners: np.ndarray | None = None) -> int:
        """A slice of sequences, by where their tokens stand, that continue those rows of an earlier one; its place."""
        lengths = np.array([len(path) for path in paths])
        steps = np.arange(lengths.max())
        padded = np.stack(
            [np.pad(path, (0, len(steps) - len(path)), mode="edge" if len(path) else "constant") for path in paths]
        )
        seen_RM = valid_RL = torch.from_numpy(steps < lengths[:, None])
        positions_RM = _tensor(self.positions_T[padded])
        mask_R1LM = None
        if above is not None:
            before_RM = self.seen[above][owners]
            mask_R1LM = _mask(before_RM, len(steps))
            seen_RM = torch.cat([before_RM, valid_RL], dim=1)
            positions_RM = torch.cat([self.parts[above].positions_RM[owners], positions_RM], dim=1)
        self.parts.append(
            Slice(
                valid_RL=valid_RL,
                above=above,
                owners_R=None if owners is None else _tensor(owners),
                mask_R1LM=mask_R1LM,
                positions_RM=positions_RM,
                longest=1 + int((positions_RM * seen_RM).max()),
            )
        )
        self.gathered.append(padded.flatten())
        self.seen.append(seen_RM)
        return len(self.parts) - 1

    def kept(self) -> Tensor:
        """For each packed token one of the slices' tokens that stands there."""
        tokens = np.flatnonzero(torch.cat([part.valid_RL.flatten() for part in self.parts]))
        return _tensor(tokens[np.unique(np.concatenate(self.gathered)[tokens], return_index=True)[1]])


def _mask(before_RM: Tensor, length: int) -> Tensor:
    """[R, 1, L, before + L], or one row for all if all of what stands before is tokens."""
    if before_RM.all():
        before_RM = before_RM[:1]
    causal = _causal(length).expand(len(before_RM), -1, -1)
    return torch.cat([before_RM[:, None].expand(-1, length, -1), causal], dim=2)[:, None]


def _causal(length: int) -> Tensor:
    """[L, L]: oneself and those before."""
    return torch.ones(length, length, dtype=torch.bool).tril()


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """The number of tokens with which both begin."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if len(differs) else length


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64))


AttentionInterface.register(NAME, shared_prefix_attention)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)
