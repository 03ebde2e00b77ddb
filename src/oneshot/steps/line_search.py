r"""The line search: θ0 + α·d for a few α, the best on held-out problems kept.

α_base is scale-free. To second order KL(π_θ0 ‖ π_θ0+αd) = ½ α² dᵀFd per sequence, F the Fisher information,
so α_base = sqrt(2κ / dᵀFd) is the step that is predicted to move the policy by κ nats per sequence, whatever
the norm of d. dᵀFd is measured, as 2·KL(π_θ0 ‖ π_θ0+hd) / h² at a small h.

The grid is extended if its best point lies on an edge, and refined around the best point. Accuracies on
the validation problems only choose α*, which is measured again on test problems.
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
    shuffled: bool = False
    """Whether each group's rewards are dealt out anew: a control."""
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
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_((parameter.float() + step * direction[name].to(parameter.device)).to(parameter.dtype))
        yield
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(base[name])


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


def search(
    evaluate: Callable[[float], dict[str, float]], multiples: list[float], *, num_evaluations: int
) -> pd.DataFrame:
    """The landscape: one row for each multiple of α_base tried, 0 (the base policy) among them, in increasing order.

    `evaluate(multiple)` gives the row's measurements, among them `accuracy`. After the base and the grid,
    each evaluation goes beyond the edge if the best point is on one (`origin` extension), else between
    the best and the better of its neighbours (`refinement`). The number of evaluations is fixed, and with
    it the cost of the search.
    """
    if num_evaluations < len(multiples) + 1:
        raise ValueError(
            f"line_search.evaluations is {num_evaluations}: the base and the grid alone take {len(multiples) + 1}"
        )
    rows = {multiple: {"origin": "grid", **evaluate(multiple)} for multiple in (0.0, *multiples)}
    while len(rows) < num_evaluations:
        origin, multiple = next_multiple(rows)
        rows[multiple] = {"origin": origin, **evaluate(multiple)}
    return pd.DataFrame([{"multiple": multiple, **rows[multiple]} for multiple in sorted(rows)])


def step_rows(landscape: pd.DataFrame, model: Module, direction: Vector, alpha_base: float) -> list[dict]:
    """The table `steps` of a searched arm: of each multiple its α, its origin and what rounding leaves of the move.

    `landscape` also has the columns `predicted_kl_nats` and `collapsed`; the model is at θ0.
    """
    rows = []
    for row in landscape.to_dict("records"):
        alpha = row["multiple"] * alpha_base
        kept = {key: row[key] for key in ("origin", "predicted_kl_nats", "collapsed")}
        rows.append({"point": row["multiple"], "alpha": alpha, **kept, **effective_move(model, direction, alpha)})
    return rows


def best_multiple(rows: dict[float, dict]) -> float:
    """The most accurate multiple. Ties go to the smallest, which moves the policy least."""
    return min(rows, key=lambda multiple: (-rows[multiple]["accuracy"], multiple))


def next_multiple(rows: dict[float, dict]) -> tuple[str, float]:
    """(origin, multiple) of the next point: beyond an edge by the grid's ratio there, else a geometric mean."""
    tried = sorted(multiple for multiple in rows if multiple > 0)
    best = best_multiple(rows)
    if best <= tried[0]:
        return "extension", tried[0] ** 2 / tried[1]
    if best == tried[-1]:
        return "extension", tried[-1] ** 2 / tried[-2]
    index = tried.index(best)
    neighbour = best_multiple({multiple: rows[multiple] for multiple in (tried[index - 1], tried[index + 1])})
    return "refinement", math.sqrt(best * neighbour)
