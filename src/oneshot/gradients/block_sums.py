r"""The result of one pass: the sums of a gradient's blocks or, for a large model, two totals and sketches.

With s_b the sum of block b (n rollouts each, K blocks, N = nK):

    g = (1/N) Σ_b s_b                             the gradient
    (1/K) Σ_b (s_b/n)²                            second moment, elementwise, of a batch of n rollouts
    ⟨s_a, s_b⟩                                    agreement of subsets: exact, or from sketches
    |G|², tr Σ  from E|s_b/n|² = |G|² + tr Σ/n    signal and noise; their ratio is the noise scale

Kept blocks are added in block order, so any number of shards gives the same bits. Sketched shards keep only the totals
of the even and of the odd blocks, which are added shard by shard, so there the number of shards changes the last bits.

The noise scale tr Σ/|G|² (McCandlish et al. 2018, "B_simple") is the batch, in rollouts, at which noise and signal
are equal. Groups are independent but rollouts within a group are not, so it holds for batches of whole groups.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from oneshot.files import BadFile
from oneshot.statistics import jackknife_interval
from oneshot.vectors import Vector, read_header, read_tensors, save_tensors


@dataclass(frozen=True)
class Gradient:
    """Block sums of a gradient. Shards of one gradient have different blocks of the same size."""

    block_ids: list[int]
    sums: dict[str, Tensor]
    """Parameter name -> [K, *parameter shape], FP32: Σ_i w_i ∇ log π of each block, not divided by anything.
    For a sketched gradient, [2, *parameter shape]: the totals of its even blocks and of its odd ones."""
    rollouts_per_block: int
    sampler_gap: Tensor
    """|Δ log-prob| between sampler and trainer over the tokens of each block: [K, 2], largest and mean, nats."""
    digests: list[str]
    """A digest of each block's rollouts."""
    squares: dict[str, Tensor] = field(default_factory=dict)
    """For a sketched gradient: parameter name -> Σ_b s_b², elementwise."""
    sketches: Tensor | None = None
    """For a sketched gradient: [K, M], whose inner products estimate those of the block sums."""

    @property
    def num_rollouts(self) -> int:
        return len(self.block_ids) * self.rollouts_per_block

    @property
    def sketch_size(self) -> int:
        """M; 0 if the blocks themselves are kept."""
        return 0 if self.sketches is None else self.sketches.shape[1]

    def mean(self, block_ids: Iterable[int] | None = None) -> Vector:
        """g over all blocks, or over some: the subset's sum divided by the subset's number of rollouts.

        Raises ValueError for blocks that are not kept: a sketched gradient has totals of all even and all odd ones.
        """
        chosen = self.block_ids if block_ids is None else list(block_ids)
        num_rollouts, rows = len(chosen) * self.rollouts_per_block, self._rows(chosen)
        return {name: sums[rows].sum(dim=0) / num_rollouts for name, sums in self.sums.items()}

    def _rows(self, chosen: list[int]) -> list[int]:
        if self.sketches is None:
            return [self.block_ids.index(block) for block in chosen]
        halves = sorted({block % 2 for block in chosen})
        if sorted(chosen) != sorted(block for block in self.block_ids if block % 2 in halves):
            raise ValueError("the blocks of a sketched gradient are not kept: all of them, the even or the odd")
        return halves

    def inner_products(self) -> Tensor:
        """⟨s_a/n, s_b/n⟩ for all pairs of blocks: [K, K], FP64."""
        if self.sketches is not None:
            rows = self.sketches.double() / self.rollouts_per_block
            return rows @ rows.T
        products = torch.zeros(len(self.block_ids), len(self.block_ids), dtype=torch.float64)
        for sums in self.sums.values():
            rows = sums.flatten(1).double() / self.rollouts_per_block
            products += rows @ rows.T
        return products

    def subset_cosine(self, one: Iterable[int], other: Iterable[int]) -> float:
        """Cosine between the means of two disjoint subsets of blocks; estimated from sketches if there are any."""
        products = self.inner_products()
        rows, columns = ([self.block_ids.index(block) for block in subset] for subset in (one, other))
        across = products[rows][:, columns].sum()
        return (across / (products[rows][:, rows].sum() * products[columns][:, columns].sum()).sqrt()).item()

    def second_moment(self, batch: int | None = None) -> Vector:
        """E[ĝ²], elementwise, of the gradient ĝ of `batch` rollouts (default: one block's).

        For another batch size, the variance between blocks is scaled with 1/batch. Values are clamped at zero.
        """
        if len(self.block_ids) < 2:
            raise ValueError("one block has no variance: cut the batch into more")
        num_blocks, size = len(self.block_ids), self.rollouts_per_block
        squares = self.squares or {name: sums.square().sum(dim=0) for name, sums in self.sums.items()}
        of_blocks = {name: total / (num_blocks * size**2) for name, total in squares.items()}
        if batch is None:
            return of_blocks
        g = self.mean()
        variance = {name: (of_blocks[name] - g[name].square()) * num_blocks / (num_blocks - 1) for name in g}
        signal = {name: g[name].square() - variance[name] / num_blocks for name in g}
        return {name: (signal[name] + variance[name] * size / batch).clamp(min=0) for name in g}

    def noise_scale(self) -> tuple[float, float, float]:
        """tr Σ/|G|² in rollouts with its 95 % jackknife interval over blocks: (value, low, high).

        Both parts are estimated without bias. Infinite if there is no signal above the noise; the ends are nan if that
        is so, or with fewer than three blocks.
        """
        products, count = self.inner_products().numpy(), len(self.block_ids)
        total, own, across = products.sum(), products.diagonal(), products.sum(axis=1)
        whole = _noise_scale(total, own.sum(), count, self.rollouts_per_block)
        without = total - 2 * across + own, own.sum() - own
        parts = _noise_scale(*without, count - 1, self.rollouts_per_block) if count > 2 else np.array([])
        return jackknife_interval(whole.item(), parts)


def noise_scale_of(products: np.ndarray, gradient: Gradient) -> float:
    """The noise scale, in rollouts, from the inner products of some of a gradient's blocks."""
    total, trace = np.array(products.sum()), np.array(products.trace())
    return _noise_scale(total, trace, len(products), gradient.rollouts_per_block).item()


def _noise_scale(total: np.ndarray, trace: np.ndarray, count: int, size: int) -> np.ndarray:
    """tr Σ/|G|² from the sum and the trace of the inner products of `count` mean gradients, each of `size` rollouts."""
    signal = (total - trace) / (count * (count - 1))
    noise = (trace / count - signal) * size
    return np.divide(noise, signal, out=np.full_like(noise, np.inf), where=signal > 0)


def combine(shards: list[Gradient]) -> Gradient:
    """The gradient of these shards, in the order given: blocks are concatenated, totals added."""
    sketched = shards[0].sketches is not None
    join = (lambda parts: sum(parts[1:], parts[0])) if sketched else torch.cat
    return Gradient(
        [block for shard in shards for block in shard.block_ids],
        {name: join([shard.sums[name] for shard in shards]) for name in shards[0].sums},
        shards[0].rollouts_per_block,
        torch.cat([shard.sampler_gap for shard in shards]),
        [digest for shard in shards for digest in shard.digests],
        {name: join([shard.squares[name] for shard in shards]) for name in shards[0].squares},
        torch.cat([shard.sketches for shard in shards]) if sketched else None,
    )


def save_gradient(gradient: Gradient, path: str | Path, metadata: dict[str, str]) -> None:
    """Write safetensors, one tensor per parameter with a leading block axis. `metadata` must hold θ0's fingerprint."""
    header = {
        "block_ids": gradient.block_ids,
        "rollouts_per_block": gradient.rollouts_per_block,
        "digests": gradient.digests,
        **metadata,
    }
    tensors = {f"sums/{name}": values for name, values in gradient.sums.items()}
    tensors |= {f"squares/{name}": values for name, values in gradient.squares.items()}
    tensors |= {"sampler_gap": gradient.sampler_gap}
    if gradient.sketches is not None:
        tensors["sketches"] = gradient.sketches
    save_tensors(tensors, path, header)


def load_gradient(paths: list[str | Path], fingerprint: str, every: int = 1) -> Gradient:
    """The gradient whose shards are at `paths`, combined in block order.

    The blocks must be 0, `every`, 2·`every`, … without a gap. Raises BadFile for missing, duplicate and foreign shards.
    """
    loaded = [(path, load_shard(path, fingerprint)) for path in paths]
    loaded.sort(key=lambda entry: entry[1].block_ids)
    names, shards = ", ".join(map(str, paths)), [shard for _, shard in loaded]
    _refuse_doubled(loaded)
    block_ids = [block for shard in shards for block in shard.block_ids]
    if block_ids != list(range(0, every * len(block_ids), every)):
        raise BadFile(f"{names}: blocks {block_ids}: a shard is missing or there twice")
    if len({shard.rollouts_per_block for shard in shards}) > 1:
        raise BadFile(f"{names}: shards with blocks of different sizes")
    if len({shard.sketch_size for shard in shards}) > 1:
        raise BadFile(f"{names}: shards with sketches of different sizes")
    return combine(shards)


def _refuse_doubled(loaded: list[tuple[str | Path, Gradient]]) -> None:
    seen: dict[str, str | Path] = {}
    for path, shard in loaded:
        for digest in shard.digests:
            if digest in seen:
                same = "given twice" if seen[digest] == path else f"holds the same rollouts as {seen[digest]}"
                raise BadFile(f"{path}: {same}")
            seen[digest] = path


def load_shard(path: str | Path, fingerprint: str) -> Gradient:
    header, _ = read_header(path, "gradient")
    tensors = read_tensors(path)
    if header["fingerprint"] != fingerprint:
        raise BadFile(f"{path}: taken at policy {header['fingerprint']}, not at {fingerprint}")
    broken = [name.removeprefix("sums/") for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise BadFile(f"{path}: '{broken[0]}' holds values that are not finite")
    return Gradient(
        header["block_ids"],
        {name.removeprefix("sums/"): values for name, values in tensors.items() if name.startswith("sums/")},
        header["rollouts_per_block"],
        tensors["sampler_gap"],
        header["digests"],
        {name.removeprefix("squares/"): values for name, values in tensors.items() if name.startswith("squares/")},
        tensors.get("sketches"),
    )
