r"""The gradient over several processes: `torchrun --nproc-per-node W -m oneshot.gradients.distributed …`.

Blocks are dealt out: process r of W takes every W-th block, from the r-th on. Kept blocks are collected in block order,
so g has the same bits as from one process. A model too large for one GPU is sharded by FSDP2 (`--sharded`): then all
processes work on the same block, each on some of its groups, and block sums round differently.

Gloo transfers tensors in main memory, NCCL those on GPUs. Start one process per GPU, or one per core without GPUs.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from oneshot.files import BadFile
from oneshot.gradients.agreement import NotFinite, summarise_gap
from oneshot.gradients.block_sums import Gradient, save_gradient
from oneshot.gradients.builder import GradientBuilder
from oneshot.gradients.chunks import CHUNK_TOKENS, group_chunks
from oneshot.gradients.one_pass import (
    Blocks,
    accumulate_gradient,
    backward_chunk,
    has_weight,
    streamed,
    token_logprobs,
)
from oneshot.gradients.weights import weigh
from oneshot.policies.models import Policy, fingerprint, load_policy
from oneshot.rollouts import digest, load_rollouts, num_groups
from oneshot.vectors import Vector
from oneshot.workflow.provenance import stamp


def distributed_gradient(policy: Policy, rollouts: pd.DataFrame, *, blocks: Blocks, **options) -> Gradient | None:
    """`accumulate_gradient` with the blocks dealt out to all processes; returns None except in process 0.

    Raises ValueError if the processes cannot have equally many blocks.
    """
    rank, size = dist.get_rank(), dist.get_world_size()
    if blocks.count % size:
        raise ValueError(f"{blocks.count} blocks cannot be dealt out to {size} processes")
    mine = replace(blocks, chosen=tuple(blocks.numbers[rank::size]))
    return _collect(accumulate_gradient(policy, rollouts, blocks=mine, **options))


def sharded_gradient(
    policy: Policy,
    rollouts: pd.DataFrame,
    *,
    temperature: float,
    blocks: Blocks,
    chunk_tokens: int = CHUNK_TOKENS,
    sketch_size: int = 0,
    logprobs: "TokenLogprobs | None" = None,
) -> Gradient | None:
    """`accumulate_gradient` with the model sharded (in place) over all processes; returns None except in process 0.

    `logprobs`: of a model that has been sharded already.
    """
    size = blocks.rows_per_block(rollouts)
    builder = GradientBuilder(policy.model, blocks.numbers, size, sketch_size) if not dist.get_rank() else None
    logprobs = logprobs or TokenLogprobs(policy)
    for number, part in blocks.of(rollouts):
        shards = {name: torch.zeros(weight.to_local().shape) for name, weight in policy.model.named_parameters()}
        with streamed(policy.model, shards):
            gap = backward_share(policy, part, temperature, chunk_tokens, logprobs)
        whole = builder.new_block() if builder else {}
        for name, weight in policy.model.named_parameters():
            gathered = _whole(shards[name], weight)
            if builder:
                whole[name].copy_(gathered)
        if builder:
            _refuse_not_finite(whole, number)
            builder.add(whole, gap, digest(part))
    return builder.gradient() if builder else None


def backward_share(policy, rollouts, temperature, chunk_tokens, logprobs) -> Tensor:
    """Backward passes over this process's groups of a block; returns (largest, mean) |Δ log-prob| of the whole block.

    FSDP2 needs all processes in every pass, so a process with fewer chunks goes on with a rollout of weight zero.
    """
    rank, size = dist.get_rank(), dist.get_world_size()
    _, group_size = num_groups(rollouts)
    mine = (np.arange(len(rollouts)) // group_size) % size == rank
    chunks = list(group_chunks(rollouts, mine & has_weight(rollouts), chunk_tokens))
    most = torch.tensor(len(chunks))
    dist.all_reduce(most, dist.ReduceOp.MAX)
    gaps = [backward_chunk(policy, rollouts.iloc[chunk], temperature, logprobs=logprobs) for chunk in chunks]
    for _ in range(len(chunks), int(most)):
        backward_chunk(policy, rollouts[:1].assign(weight=0.0), temperature, logprobs=logprobs)
    gathered: list = [None] * size
    dist.all_gather_object(gathered, torch.cat([torch.zeros(0), *gaps]))
    return summarise_gap(gathered)


def _whole(part: Tensor, weight: DTensor) -> Tensor:
    """One parameter's gradient on the host, gathered from the shards of all processes."""
    local = part.to(weight.device)
    sharded = DTensor.from_local(
        local, weight.device_mesh, weight.placements, run_check=False, shape=weight.shape, stride=weight.stride()
    )
    return sharded.full_tensor().cpu()


def _refuse_not_finite(block_sum: Vector, block: int) -> None:
    for name, values in block_sum.items():
        if not values.isfinite().all():
            raise NotFinite(f"the gradient of '{name}' is not finite in block {block}")


class TokenLogprobs(nn.Module):
    """`token_logprobs` as the forward pass of a module, around which FSDP2 gathers parameters."""

    def __init__(self, policy: Policy, compute: torch.dtype | None = None):
        """`compute`: what weights are rounded to where they are used; None: they stay as they are."""
        super().__init__()
        self.model = policy.model
        precision = MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=torch.float32)
        for layer in policy.model.model.layers:
            fully_shard(layer, mp_policy=precision)
        fully_shard(self, mp_policy=precision)
        for module in self.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)
                module.set_gradient_divide_factor(1.0)

    def forward(self, policy: Policy, rollouts: pd.DataFrame, temperature: float) -> tuple[Tensor, Tensor]:
        return token_logprobs(policy, rollouts, temperature)


def _collect(gradient: Gradient) -> Gradient | None:
    """In process 0, the gradient whose blocks were dealt out: blocks interleaved, totals added. Elsewhere None."""
    sketched = gradient.sketches is not None
    join = _add_up if sketched else _interleave
    sums = {name: join(values) for name, values in gradient.sums.items()}
    squares = {name: join(values) for name, values in gradient.squares.items()}
    gaps = _interleave(gradient.sampler_gap)
    sketches = _interleave(gradient.sketches) if sketched else None
    labels: list | None = None if dist.get_rank() else [None] * dist.get_world_size()
    dist.gather_object(list(zip(gradient.block_ids, gradient.digests, strict=True)), labels)
    if labels is None:
        return None
    block_ids, digests = zip(*sorted(label for part in labels for label in part), strict=True)
    return Gradient(list(block_ids), sums, gradient.rollouts_per_block, gaps, list(digests), squares, sketches)


def _interleave(rows: Tensor) -> Tensor | None:
    """In process 0, row 0 of every process, then row 1 of every process, … Elsewhere None."""
    parts = None if dist.get_rank() else [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.gather(rows.contiguous(), parts)
    return None if parts is None else torch.stack(parts, dim=1).flatten(0, 1)


def _add_up(values: Tensor) -> Tensor:
    dist.reduce(values, 0)
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", required=True, help="folder of the policy that drew the rollouts")
    parser.add_argument("--rollouts", required=True, help="Parquet file")
    parser.add_argument("--rewards", default="binary", help="binary, partial or ranked")
    parser.add_argument("--blocks", type=int, required=True, help="equal runs of groups whose sums are kept apart")
    parser.add_argument("--first-block", type=int, default=0, help="number of the first of them")
    parser.add_argument("--sketch-size", type=int, default=0, help="keep sketches of this size instead of blocks")
    parser.add_argument("--sharded", action="store_true", help="shard the model over the processes (FSDP2)")
    parser.add_argument("--out", required=True, help="safetensors file to write")
    processes(partial(run, parser.parse_args()))


def processes(work: Callable[[torch.device], None]) -> None:
    """Run `work` on this process's device, as one of those that torchrun has started."""
    on_gpu = torch.cuda.is_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        work(torch.device("cuda", dist.get_node_local_rank()) if on_gpu else torch.device("cpu"))
    finally:
        dist.destroy_process_group()


def run(chosen: argparse.Namespace, device: torch.device) -> None:
    """One process's part of the command; process 0 writes the file."""
    policy = load_policy(chosen.policy)
    rollouts, origin = load_rollouts(chosen.rollouts)
    if origin["fingerprint"] != fingerprint(policy.model):
        raise BadFile(f"{chosen.rollouts}: drawn from policy {origin['fingerprint']}, not from {chosen.policy}")
    policy.model.to(device)
    gradient = (sharded_gradient if chosen.sharded else distributed_gradient)(
        policy,
        weigh(rollouts, rewards=chosen.rewards),
        temperature=origin["temperature"],
        blocks=Blocks(chosen.blocks, chosen.first_block),
        sketch_size=chosen.sketch_size,
    )
    if gradient is not None:
        save_gradient(gradient, chosen.out, {**origin, **stamp()})


if __name__ == "__main__":
    main()
