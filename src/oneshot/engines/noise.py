"""Keyed noise: Gumbel variates that depend on what is drawn, not on when or in which batch.

    key(run, purpose, step, problem, sample)     63 bits for one rollout
    noise[t, v] = -log(-log u),  u = hash(key, position t, token v) in (0, 1)

A token is argmax_v (log π_v + noise_v), an exact draw from π. The noise belongs to the rollout, so a
rollout does not depend on the batch it was drawn in. Two policies that answer the same problem under the
same key use the same noise (common random numbers) up to the first token on which they differ.

The hash is splitmix64's finaliser (Steele, Lea & Flood 2014) in wrapping 64-bit integer arithmetic, which
gives the same bits on every device. u has 23 bits, so u and 1 - u are exact in FP32 and variates lie in
[-2.8, 16.7]: only probabilities below 1e-7 lose accuracy.
"""

import hashlib

import torch
from torch import Tensor

GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
MIX_2 = -7723592293110705685  # 0x94D049BB133111EB


def rollout_key(run: str, purpose: str, step: int, problem_id: int, sample_id: int) -> int:
    """The 63-bit key of one rollout. `run` names the run (`oneshot.arms.run_key`), `purpose` the use."""
    text = f"{run}|{purpose}|{step}|{problem_id}|{sample_id}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def gumbel(keys_B: Tensor, positions_B: Tensor, vocabulary: int) -> Tensor:
    """FP32 Gumbel variates [B, V] for rollout keys and token positions (both int64 [B])."""
    states_B = _mix(keys_B + (positions_B + 1) * GOLDEN)
    tokens_V = torch.arange(1, vocabulary + 1, device=keys_B.device) * GOLDEN
    bits_BV = _mix(states_B[:, None] + tokens_V[None, :])
    uniform_BV = _logical_shift(bits_BV, 41).float().add_(0.5).mul_(2.0**-23)
    return uniform_BV.log_().neg_().log_().neg_()


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _logical_shift(x, 30)).mul_(MIX_1)
    x = x.bitwise_xor_(_logical_shift(x, 27)).mul_(MIX_2)
    return x.bitwise_xor_(_logical_shift(x, 31))


def _logical_shift(x: Tensor, bits: int) -> Tensor:
    """Right shift filling with zeros (torch's >> on signed integers fills with the sign)."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)
