r"""The one gradient:  g = (1/N) Σ_i w_i Σ_t ∇_θ log π_θ(y_it | x_i, y_i<t)  at θ0.

One pass over the rollouts, in blocks. A block is a fixed run of consecutive groups; its sum Σ_i w_i ∇ log π
is kept by itself. Blocks are the unit in which shards add up (always in block order, so the number of
shards or workers changes no bit of g) and the subsets of the consistency diagnostic. Within a block, the
groups of weight zero are skipped and the rest is sorted by length, cut into chunks and packed, each prompt once
(`oneshot.packing`), so memory grows neither with N nor with the block.

log π is under the sampling temperature: the temperature is in the softmax here as it was in the sampler's.
Departure from the usual trainers: no division by the length |y_i|, no clipping (at θ0 every ratio is 1).

Shapes: B rollouts of a chunk, L positions, C completion tokens of the chunk, V vocabulary, K blocks.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from oneshot.directions import Direction
from oneshot.models import Policy
from oneshot.packing import pack, packed_hidden
from oneshot.provenance import BadFile, atomic_path
from oneshot.rollouts import num_groups

CHUNK_TOKENS = 3072
"""Packed tokens in one forward and backward pass: few enough to stay in a core's cache. Changes g by rounding only."""
SMALL_VOCABULARY = 4096
"""Up to here all logits of a chunk fit beside its other activations."""
HEAD_CHUNK_TOKENS = 256
"""Beyond, tokens whose logits exist at one time."""


@dataclass(frozen=True)
class Gradient:
    """Block sums of a gradient. Shard-wise parts have different `block_ids` and the same everything else."""

    block_ids: list[int]
    sums: dict[str, Tensor]
    """Parameter name -> [K, *parameter shape], FP32: Σ_i w_i ∇ log π of each block, not divided by anything."""
    rollouts_per_block: int
    sampler_gap: Tensor
    """|Δ log-prob| between sampler and trainer over the tokens of each block: [K, 2], largest and mean, nats."""

    @property
    def num_rollouts(self) -> int:
        return len(self.block_ids) * self.rollouts_per_block

    def mean(self, block_ids: Iterable[int] | None = None) -> Direction:
        """g over all blocks, or over some: the subset's sum divided by the subset's number of rollouts."""
        rows = [self.block_ids.index(block) for block in (self.block_ids if block_ids is None else block_ids)]
        num_rollouts = len(rows) * self.rollouts_per_block
        return {name: sums[rows].sum(dim=0) / num_rollouts for name, sums in self.sums.items()}


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
    progress: Callable = iter,
) -> Gradient:
    """The block sums of g for `rollouts` with one weight w_i a rollout.

    The groups are cut into `num_blocks` equal blocks, numbered from `first_block`; `block_ids` picks some of
    them. Raises ValueError naming the rollout if a log-prob is not finite, the parameter if a gradient is not.
    """
    num_problems, group_size = num_groups(rollouts)
    if num_problems % num_blocks:
        raise ValueError(f"{num_problems} groups do not make {num_blocks} equal blocks: change one_shot.blocks")
    rows_per_block = num_problems // num_blocks * group_size
    chosen = list(block_ids) if block_ids is not None else list(range(first_block, first_block + num_blocks))
    parameters = dict(policy.model.named_parameters())
    sums = {name: torch.zeros(len(chosen), *parameter.shape) for name, parameter in parameters.items()}
    gaps = torch.zeros(len(chosen), 2)
    for index, block in enumerate(progress(chosen)):
        rows = slice((block - first_block) * rows_per_block, (block - first_block + 1) * rows_per_block)
        policy.model.zero_grad()
        gaps[index] = backward_weighted_logprobs(policy, rollouts[rows], weights[rows], temperature, chunk_tokens)
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                sums[name][index] = parameter.grad
            if not sums[name][index].isfinite().all():
                raise ValueError(f"the gradient of '{name}' is not finite in block {block}")
    policy.model.zero_grad()
    return Gradient(chosen, sums, rows_per_block, gaps)


def backward_weighted_logprobs(
    policy: Policy, rollouts: pd.DataFrame, weights: np.ndarray, temperature: float, chunk_tokens: int = CHUNK_TOKENS
) -> Tensor:
    """Add ∇ Σ_i w_i Σ_t log π to every parameter's `.grad`; returns (largest, mean) |Δ log-prob| to the sampler."""
    largest, total, count = 0.0, 0.0, 0
    for chunk in group_chunks(rollouts, weights != 0, chunk_tokens):
        chosen = rollouts.iloc[chunk]
        logprobs_C, rows_C = token_logprobs(policy, chosen, temperature)
        check_finite(logprobs_C, rows_C, chosen)
        weights_B = torch.as_tensor(weights[chunk], dtype=torch.float32)
        (weights_B[rows_C] * logprobs_C).sum().backward()
        gap_C = (logprobs_C.detach() - torch.as_tensor(np.concatenate(chosen.logprobs.to_numpy()))).abs()
        largest, total, count = max(largest, gap_C.max().item()), total + gap_C.sum().item(), count + len(gap_C)
    return torch.tensor([largest, total / max(count, 1)])


def group_chunks(rollouts: pd.DataFrame, chosen: np.ndarray, chunk_tokens: int) -> Iterator[np.ndarray]:
    """Row numbers of the chosen rollouts, group by group, in chunks of at most `chunk_tokens` tokens when packed.

    Groups of similar prompt and completion lengths come together; one group too large for a chunk is a chunk.
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
    groups = frame.groupby("problem", sort=False).agg(
        prompt=("prompt", "first"), longest=("fed", "max"), fed=("fed", "sum"), rows=("row", list)
    )
    chunk: list[int] = []
    tokens = 0
    for group in groups.sort_values(["prompt", "longest"], kind="stable").itertuples():
        if chunk and tokens + group.prompt + group.fed > chunk_tokens:
            yield np.array(chunk)
            chunk, tokens = [], 0
        chunk += group.rows
        tokens += group.prompt + group.fed
    yield np.array(chunk)


def token_logprobs(policy: Policy, rollouts: pd.DataFrame, temperature: float) -> tuple[Tensor, Tensor]:
    """log π of every completion token [C], and the row of `rollouts` it belongs to [C]. Differentiable.

    With a large vocabulary, logits are computed some hundred tokens at a time, and again in the backward pass:
    [C, V] never exists.
    """
    layout, head = pack(rollouts), policy.model.lm_head
    hidden_CE = packed_hidden(policy, layout) / temperature
    if head.out_features <= SMALL_VOCABULARY:
        return -F.cross_entropy(head(hidden_CE), layout.targets_C, reduction="none"), layout.rows_C
    chunking = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=HEAD_CHUNK_TOKENS)
    losses_C = F.linear_cross_entropy(hidden_CE, head.weight, layout.targets_C, reduction="none", options=chunking)
    return -losses_C, layout.rows_C


def completion_logits(policy: Policy, rollouts: pd.DataFrame) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [C, V] that predict the completion tokens [C] of `rollouts`, with the row of each, and the tokens."""
    layout = pack(rollouts)
    return policy.model.lm_head(packed_hidden(policy, layout)), layout.rows_C, layout.targets_C


def check_finite(logprobs_C: Tensor, rows_C: Tensor, rollouts: pd.DataFrame) -> None:
    bad_C = ~logprobs_C.isfinite()
    if bad_C.any():
        row = rollouts.iloc[int(rows_C[bad_C][0])]
        raise ValueError(f"rollout (problem {row.problem_id}, sample {row.sample_id}): its log-prob is not finite")


def save_gradient(gradient: Gradient, path: str | Path, metadata: dict[str, str]) -> None:
    """Safetensors, one tensor a parameter with a leading block axis; `metadata` must hold `policy`, the fingerprint."""
    header = {"block_ids": gradient.block_ids, "rollouts_per_block": gradient.rollouts_per_block, **metadata}
    tensors = {**gradient.sums, "sampler_gap": gradient.sampler_gap}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, {"oneshot": json.dumps(header, sort_keys=True)})


def load_gradient(paths: list[str | Path], fingerprint: str, every: int = 1) -> Gradient:
    """The shards of one gradient put together in block order; refuses missing, doubled and foreign shards by name.

    The blocks must be 0, `every`, 2·`every`, … without a gap.
    """
    shards = sorted((_load_shard(path, fingerprint) for path in paths), key=lambda shard: shard.block_ids)
    block_ids = [block for shard in shards for block in shard.block_ids]
    if block_ids != list(range(0, every * len(block_ids), every)):
        raise BadFile(f"{', '.join(map(str, paths))}: blocks {block_ids}: a shard is missing or there twice")
    if len({shard.rollouts_per_block for shard in shards}) > 1:
        raise BadFile(f"{', '.join(map(str, paths))}: shards with blocks of different sizes")
    sums = {name: torch.cat([shard.sums[name] for shard in shards]) for name in shards[0].sums}
    gaps = torch.cat([shard.sampler_gap for shard in shards])
    return Gradient(block_ids, sums, shards[0].rollouts_per_block, gaps)


def _load_shard(path: str | Path, fingerprint: str) -> Gradient:
    try:
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["oneshot"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{path}: not a gradient ({type(error).__name__}: truncated or foreign file)") from error
    if header["policy"] != fingerprint:
        raise BadFile(f"{path}: taken at policy {header['policy']}, not at {fingerprint}")
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise BadFile(f"{path}: '{broken[0]}' holds values that are not finite")
    gaps = tensors.pop("sampler_gap")
    return Gradient(header["block_ids"], tensors, header["rollouts_per_block"], gaps)
