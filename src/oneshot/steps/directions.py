r"""Directions: the ways to make one from the gradient.

From the gradient g at weights W, with Q = E[ĝ²] over micro-batches and F the diagonal of the Fisher information:

    gradient        g                                     the headline: exactly the policy gradient
    sign            sign(g)                               Adam's first step
    rms             g / √Q                                the drift of many small Adam steps at θ0
    layerwise       ‖W‖ g/‖g‖ for each tensor             LARS (You et al. 2017)
    orthogonal      √max(1, m/n) U Vᵀ of g = U S Vᵀ       Muon (Jordan et al. 2024), m × n
    natural         g / (F + λ mean F)                    diagonal natural gradient, λ = 1
    several_sizes   Σ a_c g_c over clusters of the batch  natural gradient within their span (`several_sizes`)
    probe           ∇ of hidden states along right - wrong  no policy gradient at all (`oneshot.gradients.probe`)
    random          normal noise                          a control: the same whatever g is

None has a scale of its own: a step is measured by the KL it is predicted to cause (`oneshot.steps.line_search`).
The embedding is a table of vectors, not a map, and norms have only vectors. To those, and to an output head of its own,
`orthogonal` gives g's own direction with root mean square 1. This changes an output of root mean square 1 by as much as
√(m/n) U Vᵀ does.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from oneshot.files import BadFile
from oneshot.vectors import Vector, read_header, read_tensors, save_tensors, standard_normal

DAMPING = 1.0
"""λ of the natural direction, in units of the mean of F. With less, coordinates of little effect get large steps."""
EXACT_POLAR = 1024
"""Matrices with a side of at most this are orthogonalised by SVD, larger ones by Newton–Schulz."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Muon's coefficients: five steps bring singular values above 0.003 of the Frobenius norm to between 0.68 and 1.21."""


@dataclass(frozen=True)
class Ingredients:
    """What directions are made from. Costly ingredients are functions, called only if needed."""

    gradient: Vector
    weights: Vector
    """θ0."""
    second_moment: Callable[[], Vector]
    """E[ĝ²] of a micro-batch, elementwise."""
    fisher: Callable[[], Vector]
    """Diagonal of the Fisher information per sequence."""
    several_sizes: Callable[[], Vector]
    """The parts of the gradient, each with a step size of its own."""
    probe: Callable[[], Vector]
    """The gradient that moves hidden states towards those of right answers."""


def take_direction(name: str, ingredients: Ingredients) -> Vector:
    """The direction of that name. Raises ValueError, with the known names, if there is none."""
    if name not in DIRECTIONS:
        raise ValueError(f"unknown direction '{name}': expected one of {', '.join(DIRECTIONS)}")
    return DIRECTIONS[name](ingredients)


def sign(g: Vector) -> Vector:
    return {name: values.sign() for name, values in g.items()}


def rms(g: Vector, second_moment: Vector) -> Vector:
    """g / √Q; 0 where g is 0."""
    return {name: torch.where(g[name] == 0, 0.0, g[name] / second_moment[name].sqrt()) for name in g}


def layerwise(g: Vector, weights: Vector) -> Vector:
    """Every tensor scaled to the norm of its weights, so α is a relative change. A zero gradient stays zero."""
    return {name: g[name] * (weights[name].float().norm() / g[name].norm()).nan_to_num(0, 0, 0) for name in g}


def orthogonal(g: Vector) -> Vector:
    return {name: _steepest(name, values) for name, values in g.items()}


def random(g: Vector) -> Vector:
    """Independent standard normal numbers, the same for every gradient of this shape."""
    return standard_normal(g, seed=0)


def natural(g: Vector, fisher: Vector) -> Vector:
    """g / (F + λ mean F), the mean over all parameters."""
    count = sum(values.numel() for values in fisher.values())
    mean = sum(values.double().sum().item() for values in fisher.values()) / count
    return {name: g[name] / (fisher[name] + DAMPING * mean) for name in g}


DIRECTIONS: dict[str, Callable[[Ingredients], Vector]] = {
    "gradient": lambda of: of.gradient,
    "sign": lambda of: sign(of.gradient),
    "rms": lambda of: rms(of.gradient, of.second_moment()),
    "layerwise": lambda of: layerwise(of.gradient, of.weights),
    "orthogonal": lambda of: orthogonal(of.gradient),
    "natural": lambda of: natural(of.gradient, of.fisher()),
    "several_sizes": lambda of: of.several_sizes(),
    "probe": lambda of: of.probe(),
    "random": lambda of: random(of.gradient),
}


def polar_factor(matrix: Tensor) -> Tensor:
    """U Vᵀ of the reduced SVD U S Vᵀ, without singular values that are zero to rounding."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    kept = values > values[0] * max(matrix.shape) * torch.finfo(matrix.dtype).eps
    return left[:, kept] @ right[kept]


def newton_schulz(matrix: Tensor, steps: int = 5) -> Tensor:
    """Approximately U Vᵀ, with singular values near 1: X ← aX + (bA + cA²)X with A = XXᵀ."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / matrix.norm()
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


def _steepest(name: str, values: Tensor) -> Tensor:
    length = values.norm()
    if not length:
        return torch.zeros_like(values)
    if values.dim() != 2 or "embed" in name or "lm_head" in name:
        return values / length * math.sqrt(values.numel())
    rows, columns = values.shape
    factor = polar_factor(values) if min(rows, columns) <= EXACT_POLAR else newton_schulz(values)
    return math.sqrt(max(1, rows / columns)) * factor


def save_direction(direction: Vector, path: str | Path, metadata: dict[str, str]) -> None:
    """Write safetensors, FP32. `metadata` must hold θ0's fingerprint."""
    save_tensors({name: values.contiguous() for name, values in direction.items()}, path, metadata)


def load_direction(path: str | Path, fingerprint: str) -> Vector:
    """The direction in that file. Raises BadFile if it holds none, or one that was made at another policy."""
    header, _ = read_header(path, "direction")
    if header["fingerprint"] != fingerprint:
        raise BadFile(f"{path}: made at policy {header['fingerprint']}, not at {fingerprint}")
    return read_tensors(path)
