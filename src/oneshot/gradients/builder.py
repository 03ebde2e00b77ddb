"""Collects the blocks of a gradient while a pass goes over them."""

import torch
from torch import Tensor
from torch.nn import Module

from oneshot.gradients.block_sums import Gradient
from oneshot.gradients.sketch import sketch
from oneshot.vectors import Vector


class GradientBuilder:
    """Collects the blocks of one pass: their sums or, with a sketch size, totals, squares and sketches."""

    def __init__(self, model: Module, block_ids: list[int], rollouts_per_block: int, sketch_size: int = 0):
        self.block_ids, self.rollouts_per_block, self.sketch_size = block_ids, rollouts_per_block, sketch_size
        self.shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        rows = 2 if sketch_size else len(block_ids)
        self.sums = {name: torch.zeros(rows, *shape) for name, shape in self.shapes.items()}
        self.squares = {name: torch.zeros(shape) for name, shape in self.shapes.items()} if sketch_size else {}
        self.sketches, self.gaps, self.digests = [], [], []

    def new_block(self) -> Vector:
        """Zeros to add the next block's gradient to: its row, or a scratch copy if rows are not kept."""
        if self.sketch_size:
            return {name: torch.zeros(shape) for name, shape in self.shapes.items()}
        return {name: sums[len(self.gaps)] for name, sums in self.sums.items()}

    def add(self, block_sum: Vector, gap: Tensor, digest: str) -> None:
        if self.sketch_size:
            self.sketches.append(sketch(block_sum, self.sketch_size))
            half = self.block_ids[len(self.gaps)] % 2
            for name, values in block_sum.items():
                self.sums[name][half] += values
                self.squares[name] += values.square()
        self.gaps.append(gap)
        self.digests.append(digest)

    def gradient(self) -> Gradient:
        return Gradient(
            self.block_ids,
            self.sums,
            self.rollouts_per_block,
            torch.stack(self.gaps) if self.gaps else torch.zeros(0, 2),
            self.digests,
            self.squares,
            torch.stack(self.sketches) if self.sketches else None,
        )
