r"""Sketches: a few thousand numbers that preserve the inner products of vectors too large to keep.

    S(a)_m = Σ_{j: h(j) = m} σ(j) a_j        h(j) uniform in 0 … M-1, σ(j) = ±1, both seeded

A count sketch (Charikar, Chen & Farach-Colton 2002). It is linear, so sketches of blocks add up as the blocks do, and
E⟨S(a), S(b)⟩ = ⟨a, b⟩ with a standard deviation of at most √((|a|²|b|² + ⟨a, b⟩²)/M). Buckets and signs are drawn from
the parameter's name and the seed: the same on every machine, and never stored.
"""

import hashlib

import torch
from torch import Tensor

from oneshot.vectors import Vector

SLICE = 1 << 22
"""Entries for which buckets and signs exist at one time."""


def sketch(direction: Vector, size: int, seed: int = 0) -> Tensor:
    """The sketch [size] of a direction, FP32 (summed in FP64)."""
    buckets_M = torch.zeros(size, dtype=torch.float64)
    for name, values in direction.items():
        digest = hashlib.blake2b(f"{seed}|{name}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
        for part in values.flatten().split(SLICE):
            drawn = torch.randint(0, 2 * size, part.shape, generator=generator)
            signs = 1 - 2 * (drawn % 2)
            buckets_M.index_add_(0, drawn // 2, signs * part.double())
    return buckets_M.float()
