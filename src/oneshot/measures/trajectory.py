"""Trajectories: where a policy was after some steps of its training, as moves from θ0.

A file holds Δθ_k = θ_k - θ0 for every step k that was kept: FP16, each tensor in units of its largest entry, which
keeps three digits of every entry but the tiniest. So a step takes 2 bytes a parameter: 1 MB for an organism of half a
million, 270 MB for SmolLM2-135M.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import Module

from oneshot.files import BadFile
from oneshot.vectors import Vector, read_header, save_tensors

UNIT = "unit"
"""Ending of the name of the scalar that a tensor is in units of."""


class Trajectory:
    """Collects the moves of a model that is being trained from `base`."""

    def __init__(self, base: Module, steps: Sequence[float]):
        self.base, self.steps = dict(base.named_parameters()), set(steps)
        self.kept: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, step: float, model: Module) -> None:
        """Keep the model as it is after this step, if that is one of those to keep."""
        if step not in self.steps:
            return
        for name, weight in model.named_parameters():
            move = weight.float().cpu() - self.base[name].float().cpu()
            unit = move.abs().max()
            self.kept[f"{step:g}/{name}"] = (move / unit.clamp(min=torch.finfo(torch.float32).tiny)).half()
            self.kept[f"{step:g}/{name}/{UNIT}"] = unit

    def save(self, path: str | Path, metadata: dict[str, str]) -> None:
        """Write what was kept. `metadata` must hold θ0's fingerprint. Raises ValueError if nothing was."""
        if not self.kept:
            raise ValueError(
                f"path: the arm took none of these steps: {', '.join(map('{:g}'.format, sorted(self.steps)))}"
            )
        save_tensors(self.kept, path, metadata)


class Kept(Mapping[float, Vector]):
    """Step -> Δθ, FP32, in the order of the steps; read from the file when it is asked for."""

    def __init__(self, path: str | Path, names: dict[float, list[str]]):
        self.path, self.names = path, names

    def __getitem__(self, step: float) -> Vector:
        with safe_open(self.path, "pt") as file:
            return {
                name.partition("/")[2]: file.get_tensor(name).float() * file.get_tensor(f"{name}/{UNIT}")
                for name in self.names[step]
            }

    def __iter__(self) -> Iterator[float]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def load_trajectory(path: str | Path, fingerprint: str) -> Kept:
    """The trajectory in that file. Raises BadFile for another file, or a trajectory from another θ0."""
    header, found = read_header(path, "trajectory")
    if header["fingerprint"] != fingerprint:
        raise BadFile(f"{path}: starts at policy {header['fingerprint']}, not at {fingerprint}")
    names: dict[float, list[str]] = {}
    for name in found:
        if not name.endswith(f"/{UNIT}"):
            names.setdefault(float(name.partition("/")[0]), []).append(name)
    return Kept(path, dict(sorted(names.items())))
