r"""The line: θ0 + α·d, and the natural scale of α. The search along it is `oneshot.steps.search`.

α_base is scale-free. To second order KL(π_θ0 ‖ π_θ0+αd) = ½ α² dᵀFd per sequence, F the Fisher information,
so α_base = sqrt(2κ / dᵀFd) is the step that is predicted to move the policy by κ nats per sequence, whatever
the norm of d. dᵀFd is measured, as 2·KL(π_θ0 ‖ π_θ0+hd) / h² at a small h.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd
import torch
from torch.nn import Module

from oneshot.vectors import Vector, norm


@dataclass(frozen=True)
class Settings:
    """An arm whose step is searched along one direction made from the one batch."""

    direction: str
    """One of `oneshot.steps.directions.DIRECTIONS`."""
    microbatch: int = 50
    """Rollouts of the batches whose second moment the direction `rms` divides by."""
    rollouts: int = 0
    """Of the batch, only so many, whole groups from its beginning; 0: all of it."""
    group_size: int = 0
    """Of every group, only the first so many; 0: all of it."""
    false_rewards: str = ""
    """One of `oneshot.gradients.false_rewards.FALSE_REWARDS`, a control; empty: the verifier's."""
    clusters: str = ""
    """One of `oneshot.gradients.clusters.CLUSTERS`, for the direction `several_sizes`."""


PROBE_KL = 1e-3
"""KL per sequence, in nats, at which dᵀFd is measured: small enough to be quadratic, large enough for FP32."""


@contextmanager
def moved(model: Module, direction: Vector, step: float) -> Iterator[None]:
    """The model at θ0 + step·d inside the block, at θ0 bit for bit after it (restored from a copy, also on errors).

    The copy is kept on the host. Gradients may be taken inside the block.
    """
    parameters = dict(model.named_parameters())
    if set(direction) != set(parameters):
        raise ValueError(f"direction and model differ in the parameters {sorted(set(direction) ^ set(parameters))[:3]}")
    base = {name: parameter.detach().to("cpu", copy=True) for name, parameter in parameters.items()}
    try:
        move(model, direction, step)
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(base[name])


@torch.no_grad()
def move(model: Module, direction: Vector, step: float = 1.0) -> None:
    """Move the model by step·d for good, in FP32 and then rounded to its own precision."""
    for name, parameter in model.named_parameters():
        parameter.copy_((parameter.float() + step * direction[name].to(parameter.device)).to(parameter.dtype))


def effective_move(model: Module, direction: Vector, step: float) -> dict[str, float]:
    """What rounding to the model's own precision leaves of step·d, on the model at θ0.

    `moved_share`: share of all weights that change. `move_cosine`: cosine between their change and step·d (nan if
    nothing changes). Both are 1 in FP32, except for the smallest steps; BF16 keeps 8 bits of a weight.
    """
    changed, count, across, square_moved, square_meant = 0, 0, 0.0, 0.0, 0.0
    for name, parameter in model.named_parameters():
        before = parameter.detach().float().cpu()
        meant = step * direction[name]
        got = (before + meant).to(parameter.dtype).float() - before
        changed, count = changed + int((got != 0).sum()), count + got.numel()
        across += (got.double() * meant).sum().item()
        square_moved += got.double().square().sum().item()
        square_meant += meant.double().square().sum().item()
    lengths = math.sqrt(square_moved * square_meant)
    return {"moved_share": changed / count, "move_cosine": across / lengths if lengths else math.nan}


def measure_curvature(kl_at: Callable[[float], float], direction: Vector) -> float:
    """dᵀFd per sequence. `kl_at(h)` is KL(π_θ0 ‖ π_θ0+hd) in nats per sequence.

    The mean of the KL at h and -h is used: the cubic terms cancel. Starts from a step of norm 1e-3 and rescales
    h, KL growing with h², until KL is within a factor 2 of PROBE_KL. 0 along a direction that is zero.
    """
    length = norm(direction)
    if not length:
        return 0.0
    step = 1e-3 / length
    for _ in range(20):
        kl_nats = (kl_at(step) + kl_at(-step)) / 2
        if PROBE_KL / 2 <= kl_nats <= 2 * PROBE_KL:
            return 2 * kl_nats / step**2
        step *= min(max(math.sqrt(PROBE_KL / max(kl_nats, 1e-12)), 1e-2), 1e2)
    raise ValueError(
        f"no step along the direction has a KL near {PROBE_KL} nats (last: {kl_nats:.3g} at h = {step:.3g})"
    )


def base_step(curvature: float, target_kl_nats: float) -> float:
    """α_base = sqrt(2κ / dᵀFd); 0 along a direction that is zero: then every step stays at θ0."""
    return math.sqrt(2 * target_kl_nats / curvature) if curvature else 0.0


def step_rows(landscape: pd.DataFrame, model: Module, direction: Vector, alpha_base: float) -> list[dict]:
    """The table `steps` of a searched arm: of each multiple its α, why and on how many problems it was tried, and what
    rounding leaves of the move.

    `landscape` also has the columns `predicted_kl_nats` and `collapsed`; the model is at θ0.
    """
    rows = []
    for row in landscape.to_dict("records"):
        alpha = row["multiple"] * alpha_base
        kept = {key: row[key] for key in ("origin", "problems", "predicted_kl_nats", "collapsed")}
        rows.append({"point": row["multiple"], "alpha": alpha, **kept, **effective_move(model, direction, alpha)})
    return rows
