r"""The one gradient:  g = (1/N) Σ_i w_i Σ_t ∇_θ log π_θ(y_it | x_i, y_i<t)  at θ0.

One pass over the rollouts, in blocks. A block is a fixed run of consecutive groups; its sum Σ_i w_i ∇ log π
is kept by itself. Blocks are the unit in which shards add up (always in block order, so the number of
shards or workers changes no bit of g) and the subsets of the consistency diagnostic. Within a block, the
groups of weight zero are skipped and the rest is sorted by length, cut into chunks and packed, what rollouts share once
(`oneshot.packing`), so memory grows neither with N nor with the block.

Gradients leave the backward pass parameter by parameter: each is added in FP32 to where it is kept, on the host, and
freed before the next one is complete. Of a model too large to keep every block, the total, the sum of squares and one
seeded sketch a block are kept (`oneshot.block_sums`).

log π is under the sampling temperature: the temperature is in the softmax here as it was in the sampler's.
Departure from the usual trainers: no division by the length |y_i|, no clipping (at θ0 every ratio is 1).

Shapes: B rollouts of a chunk, L positions, C completion tokens of the chunk, V vocabulary, K blocks.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import Module

from oneshot.block_sums import Gradient, GradientBuilder
from oneshot.directions import Direction
from oneshot.models import Policy
from oneshot.packing import branches, pack, packed_hidden
from oneshot.rollouts import digest, num_groups

CHUNK_TOKENS = 3072
"""Packed tokens in one forward and backward pass: few enough to stay in a core's cache. Changes g by rounding only."""
SMALL_VOCABULARY = 4096
"""Up to here all logits of a chunk fit beside its other activations."""
HEAD_CHUNK_TOKENS = 256
"""Beyond, tokens whose logits exist at one time."""


def accumulate_gradient(
    policy: Policy,
    rollouts: pd.DataFrame,
    weights: np.ndarray,
    *,
    temperature: float,
    num_blocks: int = 1,
    first_block: int = 0,
    block_ids: Iterable[int] | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
    sketch_size: int = 0,
    progress: Callable = iter,
) -> Gradient:
    """The block sums of g for `rollouts` with one weight w_i a rollout.

    The groups are cut into `num_blocks` equal blocks, numbered from `first_block`; `block_ids` picks some of
    them. With a `sketch_size` only the total, its squares and sketches of that many numbers a block are kept.
    Raises ValueError naming the rollout if a log-prob or a gradient is not finite.
    """
    num_problems, group_size = num_groups(rollouts)
    if num_problems % num_blocks:
        raise ValueError(f"{num_problems} groups do not make {num_blocks} equal blocks: change one_shot.blocks")
    rows_per_block = num_problems // num_blocks * group_size
    chosen = list(block_ids) if block_ids is not None else list(range(first_block, first_block + num_blocks))
    builder = GradientBuilder(policy.model, chosen, rows_per_block, sketch_size)
    policy.model.zero_grad()
    for block in progress(chosen):
        rows = slice((block - first_block) * rows_per_block, (block - first_block + 1) * rows_per_block)
        block_sum = builder.new_block()
        with streamed(policy.model, block_sum):
            gap = backward_weighted_logprobs(policy, rollouts[rows], weights[rows], temperature, chunk_tokens)
        if not all(values.isfinite().all() for values in block_sum.values()):
            raise ValueError(_culprit(policy, rollouts[rows], weights[rows], temperature, block))
        builder.add(block_sum, gap, digest(rollouts[rows]))
    return builder.gradient()


def accumulate_by_sign(
    policy: Policy, rollouts: pd.DataFrame, weights: np.ndarray, *, share: float, num_blocks: int, **options
) -> tuple[Gradient, Gradient]:
    """(g of the positive weights, g of the negative ones) on every (1/share)-th block; on these, they add up to g.

    The same call as `accumulate_gradient`, which has to go over these blocks again: a backward pass gives one sum.
    """
    first = options.pop("first_block", 0)
    every = round(1 / share)
    chosen = [block for block in range(first, first + num_blocks) if block % every == 0]
    return tuple(
        accumulate_gradient(
            policy, rollouts, part, num_blocks=num_blocks, first_block=first, block_ids=chosen, **options
        )
        for part in (np.maximum(weights, 0), np.minimum(weights, 0))
    )


@contextmanager
def streamed(model: Module, into: Direction) -> Iterator[None]:
    """Inside the block, every gradient is added to `into` (FP32) as soon as it is complete, and freed.

    Of a parameter sharded by FSDP2, `into` has this process's part.
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
    policy: Policy, rollouts: pd.DataFrame, weights: np.ndarray, temperature: float, chunk_tokens: int = CHUNK_TOKENS
) -> Tensor:
    """Add ∇ Σ_i w_i Σ_t log π to every parameter's `.grad`; returns (largest, mean) |Δ log-prob| to the sampler."""
    chunks = group_chunks(rollouts, weights != 0, chunk_tokens)
    gaps = [backward_chunk(policy, rollouts.iloc[chunk], weights[chunk], temperature) for chunk in chunks]
    return summarise_gap(gaps)


def backward_chunk(
    policy: Policy,
    rollouts: pd.DataFrame,
    weights: np.ndarray,
    temperature: float,
    logprobs: Callable[[Policy, pd.DataFrame, float], tuple[Tensor, Tensor]] | None = None,
) -> Tensor:
    """One forward and backward pass; |Δ log-prob| of every token to the sampler's. `logprobs`: see token_logprobs."""
    logprobs_C, rows_C = (logprobs or token_logprobs)(policy, rollouts, temperature)
    check_finite(logprobs_C, rows_C, rollouts)
    weights_B = torch.as_tensor(weights, dtype=torch.float32, device=logprobs_C.device)
    (weights_B[rows_C] * logprobs_C.float()).sum().backward()
    sampled_C = torch.as_tensor(np.concatenate(rollouts.logprobs.to_numpy()))
    return (logprobs_C.detach().float().cpu() - sampled_C).abs()


def summarise_gap(gaps: list[Tensor]) -> Tensor:
    """(largest, mean) of the tokens' |Δ log-prob|."""
    gap_C = torch.cat([torch.zeros(0), *gaps])
    return torch.stack([gap_C.max(), gap_C.mean()]) if len(gap_C) else torch.zeros(2)


def check_gap(gap: Tensor, bound_nats: float) -> tuple[float, float]:
    """(largest, mean) |Δ log-prob| between sampler and trainer, of `gap` [..., 2], nats a token.

    Raises ValueError if the largest is above the bound: the rollouts are not on-policy.
    """
    largest, mean = gap[..., 0].max().item(), gap[..., 1].mean().item()
    if largest > bound_nats:
        raise ValueError(
            f"sampler and trainer differ by up to {largest:.2g} nats a token ({mean:.2g} on average), more than "
            f"one_shot.max_gap_nats {bound_nats:g}: the rollouts are not the trainer's own (other weights, precision "
            "or temperature?)"
        )
    return largest, mean


def group_chunks(rollouts: pd.DataFrame, chosen: np.ndarray, chunk_tokens: int) -> Iterator[np.ndarray]:
    """Row numbers of the chosen rollouts, group by group, in chunks of at most `chunk_tokens` tokens when packed.

    Groups of similar prompt and completion lengths come together. A group too large for a chunk is cut, its prompt
    fed once in each part; a single rollout that is too large is a chunk by itself. What rollouts share counts once.
    """
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return
    frame = pd.DataFrame(
        {
            "problem": rollouts.problem_id.to_numpy()[rows],
            "prompt": rollouts.prompt_tokens.map(len).to_numpy()[rows],
            "fed": rollouts.tokens.map(len).to_numpy()[rows] - 1,
            "row": rows,
        }
    )
    completions = [np.asarray(tokens[:-1]) for tokens in rollouts.tokens.iloc[rows]]
    order, shared = branches(completions, pd.factorize(frame.problem)[0])
    groups = (
        frame.assign(added=frame.fed - shared)
        .iloc[order]
        .groupby("problem", sort=False)
        .agg(
            prompt=("prompt", "first"),
            longest=("fed", "max"),
            fed=("fed", list),
            added=("added", list),
            rows=("row", list),
        )
    )
    chunk: list[int] = []
    tokens = 0
    for group in groups.sort_values(["prompt", "longest"], kind="stable").itertuples():
        if chunk and tokens + group.prompt + sum(group.added) > chunk_tokens:
            yield np.array(chunk)
            chunk, tokens = [], 0
        tokens += group.prompt
        for row, fed, added in zip(group.rows, group.fed, group.added, strict=True):
            if tokens + added > chunk_tokens and chunk:
                yield np.array(chunk)
                chunk, tokens, added = [], group.prompt, fed
            chunk.append(row)
            tokens += added
    yield np.array(chunk)


def token_logprobs(policy: Policy, rollouts: pd.DataFrame, temperature: float) -> tuple[Tensor, Tensor]:
    """log π of every completion token [C], and the row of `rollouts` it belongs to [C]. Differentiable.

    With a large vocabulary, logits are computed some hundred tokens at a time, and again in the backward pass:
    [C, V] never exists.
    """
    layout, head = pack(rollouts).to(policy.model.device), policy.model.lm_head
    hidden_QE = packed_hidden(policy, layout) / temperature
    if head.out_features <= SMALL_VOCABULARY:
        losses_Q = F.cross_entropy(head(hidden_QE), layout.targets_Q, reduction="none")
    else:
        chunking = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=HEAD_CHUNK_TOKENS)
        losses_Q = F.linear_cross_entropy(hidden_QE, head.weight, layout.targets_Q, reduction="none", options=chunking)
    return -losses_Q.index_select(0, layout.different_C), layout.rows_C


def check_finite(logprobs_C: Tensor, rows_C: Tensor, rollouts: pd.DataFrame) -> None:
    bad_C = ~logprobs_C.isfinite()
    if bad_C.any():
        row = rollouts.iloc[int(rows_C[bad_C][0])]
        raise ValueError(f"rollout (problem {row.problem_id}, sample {row.sample_id}): its log-prob is not finite")


def _culprit(policy: Policy, rollouts: pd.DataFrame, weights: np.ndarray, temperature: float, block: int) -> str:
    """Which rollout of a block has a gradient that is not finite, and in which parameter."""
    for row in np.flatnonzero(weights):
        policy.model.zero_grad()
        backward_weighted_logprobs(policy, rollouts[row : row + 1], weights[row : row + 1], temperature)
        for name, parameter in policy.model.named_parameters():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                problem, sample = rollouts.iloc[row][["problem_id", "sample_id"]]
                return f"rollout (problem {problem}, sample {sample}): the gradient of '{name}' is not finite"
    return (
        f"the gradient of block {block} is not finite, though that of each of its rollouts is: they overflow together"
    )
