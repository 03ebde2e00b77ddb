"""The decoder's attention: one softmax over what a slot has seen itself and the prefix that it shares with others.

Shapes: B rows, S slots, M positions of a slot's own, C positions of a shared prefix, H key-value heads, Q queries per
key-value head, R = S·Q rows of one head, K head size.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Prefix:
    """A beginning that the prompts of several slots share, kept once."""

    slots: Tensor
    """Which slots continue it."""
    keys_values: list[Tensor]
    """[1, H, C, K], layer by layer, as `Decoder.prefill` returns them."""

    @property
    def length(self) -> int:
        return self.keys_values[0].shape[2]


def score(query_SHQK: Tensor, keys_values: list[Tensor], mask_S11C: Tensor) -> tuple[Tensor, Tensor]:
    """Scores [S, H, Q, C] of a shared prefix, one product for all its slots, and its values [H, C, K]."""
    (key_HCK,), (value_HCK,) = keys_values[:2]
    scores_HRC = query_SHQK.transpose(0, 1).flatten(1, 2) @ key_HCK.transpose(1, 2)
    return scores_HRC.unflatten(1, (len(query_SHQK), -1)).transpose(0, 1) + mask_S11C, value_HCK


def mix(scores_SHQM: Tensor, values_SHKM: Tensor, shared: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Attention [S, H, Q, K]: one softmax over a slot's own scores and those of the prefix that it continues, if any.

    `shared`: of each prefix its slots, their scores [S', H, Q, C] and its values [H, C, K]. Scores are FP32, as the
    mask that was added to them is; products are taken in the precision of the values.
    """
    precision = values_SHKM.dtype
    if not shared:
        return (values_SHKM @ scores_SHQM.softmax(dim=-1).to(precision).transpose(2, 3)).transpose(2, 3)
    top_SHQ1 = scores_SHQM.amax(dim=-1, keepdim=True)
    for slots, scores_SHQC, _ in shared:
        top_SHQ1[slots] = top_SHQ1[slots].maximum(scores_SHQC.amax(dim=-1, keepdim=True))
    odds_SHQM = (scores_SHQM - top_SHQ1).exp()
    total_SHQ1 = odds_SHQM.sum(dim=-1, keepdim=True)
    mixed_SHQK = (values_SHKM @ odds_SHQM.to(precision).transpose(2, 3)).transpose(2, 3)
    for slots, scores_SHQC, value_HCK in shared:
        odds_SHQC = (scores_SHQC - top_SHQ1[slots]).exp()
        total_SHQ1[slots] += odds_SHQC.sum(dim=-1, keepdim=True)
        mixed_HRK = odds_SHQC.to(precision).transpose(0, 1).flatten(1, 2) @ value_HCK
        mixed_SHQK[slots] += mixed_HRK.unflatten(1, (len(slots), -1)).transpose(0, 1)
    return (mixed_SHQK / total_SHQ1).to(precision)


def mask(positions_B: Tensor, length: int, window: int | None) -> Tensor:
    """[B, 1, 1, M]: what is added to the scores, -inf where a token does not see a position."""
    return torch.where(seen(positions_B, length, window), 0.0, -torch.inf)[:, None, None]


def seen(positions_B: Tensor, length: int, window: int | None) -> Tensor:
    """[B, M]: whether a token at each of these positions sees each of the first `length` positions."""
    distance_BM = positions_B[:, None] - torch.arange(length, device=positions_B.device)
    return (distance_BM >= 0) & (distance_BM < (window or math.inf))
