r"""The one gradient:  g = (1/N) Σ_i Σ_t w_it ∇_θ log π_θ(y_it | x_i, y_i<t)

    backward_chunk       the equation, for a few rollouts: one forward and backward pass
    accumulate_gradient  the equation, for all of them, in blocks that add up

The weights w are a column of the rollout table, one per rollout (w_it = w_i) or one per token. At θ0 the headline
has w_it = A_i, GRPO's advantage (`oneshot.gradients.objectives`).

A block is a fixed run of consecutive groups, whose sum is kept separately. Shards add up block by block, always in
block order, so the number of shards or workers changes no bit of g. Blocks are also the subsets whose agreement is
measured. Within a block, groups of weight zero are skipped; the rest are sorted by length, cut into chunks and packed,
and tokens that rollouts share are computed once (`oneshot.gradients.packing`). So the memory of a pass grows neither
with N nor with the block.

Gradients leave the backward pass one parameter at a time: each is added in FP32 to its sum on the host and freed before
the next one is complete.

Departures from the usual trainers: 1. no division by the length |y_i|; 2. no clipping, as every ratio is 1 at θ0;
3. log π is under the sampling temperature, here as in the sampler.

Shapes (see `oneshot`): B rollouts of a chunk, C their completion tokens, Q different ones, E hidden.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import Module

from oneshot.gradients.agreement import NotFinite, summarise_gap
from oneshot.gradients.block_sums import Gradient
from oneshot.gradients.builder import GradientBuilder
from oneshot.gradients.chunks import CHUNK_TOKENS, group_chunks
from oneshot.gradients.packing import pack, packed_hidden
from oneshot.gradients.ratios import Correction, Reused
from oneshot.policies.models import Policy
from oneshot.rollouts import digest, num_groups
from oneshot.vectors import Vector

SMALL_VOCABULARY = 4096
"""Up to this size all logits of a chunk fit next to its other activations."""
HEAD_CHUNK_TOKENS = 256
"""For larger vocabularies: tokens whose logits exist at one time."""


def backward_chunk(
    policy: Policy,
    rollouts: pd.DataFrame,
    temperature: float,
    *,
    logprobs: Callable[[Policy, pd.DataFrame, float], tuple[Tensor, Tensor]] | None = None,
    reweigh: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Add ∇ Σ_it w_it log π to every parameter's `.grad`; returns each token's |Δ log-prob| to the sampler [C], nats.

    `logprobs` replaces `token_logprobs` where the model is sharded. `reweigh` makes weights of the weights, Δ log-prob
    to the sampler and row of every token [C]. Raises NotFinite, naming the rollout, if a log-prob is infinite
    or no number.
    """
    logprobs_C, rows_C = (logprobs or token_logprobs)(policy, rollouts, temperature)
    check_finite(logprobs_C, rows_C, rollouts)
    weights_C = spread_weights(rollouts, rows_C)
    sampled_C = torch.as_tensor(np.concatenate(rollouts.logprobs.to_numpy()), device=rows_C.device)
    change_C = logprobs_C.detach().float() - sampled_C
    if reweigh:
        weights_C = reweigh(weights_C, change_C, rows_C)
    (weights_C * logprobs_C.float()).sum().backward()
    return change_C.abs().cpu()


def token_logprobs(policy: Policy, rollouts: pd.DataFrame, temperature: float) -> tuple[Tensor, Tensor]:
    """log π of every completion token [C], and the row of `rollouts` it belongs to [C]. Differentiable.

    With a large vocabulary, logits are computed a few hundred tokens at a time, and again in the backward pass, so
    [C, V] never exists. The head's products keep the precision of its weights: rounded logits would show in log π.
    """
    layout, head = pack(rollouts).to(policy.model.device), policy.model.lm_head
    with policy.rounded():
        hidden_QE = packed_hidden(policy, layout)
    hidden_QE = hidden_QE.to(head.weight.dtype) / temperature
    if head.out_features <= SMALL_VOCABULARY:
        losses_Q = F.cross_entropy(head(hidden_QE), layout.targets_Q, reduction="none")
    else:
        chunking = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=HEAD_CHUNK_TOKENS)
        losses_Q = F.linear_cross_entropy(hidden_QE, head.weight, layout.targets_Q, reduction="none", options=chunking)
    return -losses_Q.index_select(0, layout.different_C), layout.rows_C


def spread_weights(rollouts: pd.DataFrame, rows_C: Tensor) -> Tensor:
    """w of every completion token [C], FP32, from a column `weight` that holds numbers or arrays."""
    if rollouts.weight.dtype == object:
        return torch.as_tensor(np.concatenate(rollouts.weight.to_numpy()), dtype=torch.float32, device=rows_C.device)
    return torch.tensor(rollouts.weight.to_numpy(), dtype=torch.float32, device=rows_C.device)[rows_C]


def has_weight(rollouts: pd.DataFrame) -> np.ndarray:
    """Which rollouts have a non-zero weight on any token."""
    if rollouts.weight.dtype == object:
        return rollouts.weight.map(np.any).to_numpy(dtype=bool)
    return rollouts.weight.to_numpy() != 0


@dataclass(frozen=True)
class Blocks:
    """How a table of whole groups is cut into equal blocks."""

    count: int = 1
    """Blocks in the table."""
    first: int = 0
    """The number of the table's first block."""
    chosen: tuple[int, ...] | None = None
    """The numbers of the blocks to differentiate. None: all."""

    @classmethod
    def finest(cls, rollouts: pd.DataFrame, most: int = 50) -> "Blocks":
        """As many equal blocks of whole groups as the table can be cut into, but at most `most`."""
        num_problems, _ = num_groups(rollouts)
        return cls(max(count for count in range(1, most + 1) if num_problems % count == 0))

    @property
    def numbers(self) -> list[int]:
        return list(range(self.first, self.first + self.count) if self.chosen is None else self.chosen)

    def rows_per_block(self, rollouts: pd.DataFrame) -> int:
        num_problems, group_size = num_groups(rollouts)
        if num_problems % self.count:
            raise ValueError(f"{num_problems} groups do not make {self.count} equal blocks")
        return num_problems // self.count * group_size

    def of(self, rollouts: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
        """(number, rollouts) of each chosen block."""
        size = self.rows_per_block(rollouts)
        for number in self.numbers:
            start = (number - self.first) * size
            yield number, rollouts.iloc[start : start + size]


def accumulate_gradient(
    policy: Policy,
    rollouts: pd.DataFrame,
    *,
    temperature: float,
    blocks: Blocks = Blocks(),
    chunk_tokens: int = CHUNK_TOKENS,
    sketch_size: int = 0,
    progress: Callable = iter,
) -> Gradient:
    """The block sums of g for `rollouts`, which have a column `weight`.

    With a `sketch_size` only totals, squares and a sketch of that many numbers per block are kept.
    Raises NotFinite, naming the rollout, if a log-prob or a gradient is infinite or no number.
    """
    builder = GradientBuilder(policy.model, blocks.numbers, blocks.rows_per_block(rollouts), sketch_size)
    policy.model.zero_grad()
    for number, part in progress(list(blocks.of(rollouts))):
        block_sum = builder.new_block()
        with streamed(policy.model, block_sum):
            gap = backward_weighted_logprobs(policy, part, temperature, chunk_tokens)
        if not all(values.isfinite().all() for values in block_sum.values()):
            raise NotFinite(_culprit(policy, part, temperature, number))
        builder.add(block_sum, gap, digest(part))
    return builder.gradient()


def accumulate_by_sign(policy: Policy, rollouts: pd.DataFrame, **options) -> tuple[Gradient, Gradient]:
    """(g of the positive weights, g of the negative ones), which add up to g. Arguments as in `accumulate_gradient`.

    Takes two passes, because a backward pass gives one sum.
    """
    parts = (rollouts.weight.clip(lower=0), rollouts.weight.clip(upper=0))
    return tuple(accumulate_gradient(policy, rollouts.assign(weight=part), **options) for part in parts)


@contextmanager
def streamed(model: Module, into: Vector) -> Iterator[None]:
    """Inside the block, every gradient is added to `into` (FP32) as soon as it is complete, and freed.

    For a parameter sharded by FSDP2, `into` holds this process's shard.
    """

    def taking(name: str):
        def take(parameter: Tensor) -> None:
            gradient, parameter.grad = parameter.grad, None
            local = gradient.to_local() if isinstance(gradient, DTensor) else gradient
            into[name].add_(local.to(into[name].device, torch.float32))

        return take

    named = list(model.named_parameters())
    handles = [parameter.register_post_accumulate_grad_hook(taking(name)) for name, parameter in named]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def backward_weighted_logprobs(
    policy: Policy,
    rollouts: pd.DataFrame,
    temperature: float,
    chunk_tokens: int = CHUNK_TOKENS,
    correction: Correction | None = None,
) -> Tensor:
    """`backward_chunk` over all rollouts with a weight; returns (largest, mean) |Δ log-prob| to the sampler.

    `correction` is for rollouts that another policy drew, whose groups it gets whole unless one is larger than a chunk.
    """
    chosen, gaps = has_weight(rollouts), []
    groups = pd.factorize(rollouts.problem_id)[0]
    sizes = np.bincount(groups[chosen], minlength=1)

    def reweigh(chunk, weights_C, change_C, rows_C):
        present, groups_R = np.unique(groups[chunk], return_inverse=True)
        whole = (np.bincount(groups_R) == sizes[present]).all()
        return correction(Reused(weights_C, change_C, rows_C, torch.as_tensor(groups_R, device=rows_C.device), whole))

    for chunk in group_chunks(rollouts, chosen, chunk_tokens):
        changing = partial(reweigh, chunk) if correction else None
        gaps.append(backward_chunk(policy, rollouts.iloc[chunk], temperature, reweigh=changing))
    return summarise_gap(gaps)


def check_finite(logprobs_C: Tensor, rows_C: Tensor, rollouts: pd.DataFrame) -> None:
    bad_C = ~logprobs_C.isfinite()
    if bad_C.any():
        row = rollouts.iloc[int(rows_C[bad_C][0])]
        raise NotFinite(f"rollout (problem {row.problem_id}, sample {row.sample_id}): its log-prob is not finite")


def _culprit(policy: Policy, rollouts: pd.DataFrame, temperature: float, block: int) -> str:
    """Which rollout of a block has a gradient that is not finite, and in which parameter."""
    for row in np.flatnonzero(has_weight(rollouts)):
        policy.model.zero_grad()
        backward_weighted_logprobs(policy, rollouts[row : row + 1], temperature)
        for name, parameter in policy.model.named_parameters():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                problem, sample = rollouts.iloc[row][["problem_id", "sample_id"]]
                return f"rollout (problem {problem}, sample {sample}): the gradient of '{name}' is not finite"
    return (
        f"the gradient of block {block} is not finite, though that of each of its rollouts is: they overflow together"
    )
