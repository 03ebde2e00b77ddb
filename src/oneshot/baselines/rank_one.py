r"""RELEX: the first steps of GRPO, and where a line through them would be much later.

    Δ_t = θ_t - θ0 of a tensor, t = 1 … T, stacked to D [T, d]       D ≈ c vᵀ, the first singular pair, not centred
    c_t ≈ a + b t by least squares                                    θ = θ0 + (a + b T') v

2605.21468. A tensor moves along its one direction v, as far as its coordinate would have come by step T' if it went on
as it has begun. v is a sum of the Δ_t, so that it is found from their inner products.

Departures: those of `small_steps`; Δ is kept in FP32, after every few steps if there are many.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from oneshot.baselines.lab import Lab, Step
from oneshot.baselines.small_steps import climb_on_fresh
from oneshot.vectors import Vector


@dataclass(frozen=True)
class Settings:
    """A step draws prompts_per_step × G rollouts."""

    learning_rate: float
    prompts_per_step: int
    steps: int
    """T."""
    target: int
    """T'."""
    every: int = 1
    """Steps between two Δ that are kept."""
    objective: str = "policy_gradient"


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """T small steps, then the move; the last step of the tables ends with it."""
    masters = lab.masters(settings.learning_rate)
    start, moves = masters.copy(), {}
    for step in lab.track(range(1, settings.steps + 1)):
        record = climb_on_fresh(lab, masters, step, settings.prompts_per_step, settings.objective)
        if step % settings.every == 0 or step == settings.steps:
            moves[step] = {name: values - start[name] for name, values in masters.copy().items()}
        last = step == settings.steps
        if last:
            ahead = forecast(moves, settings.target)
            masters.put({name: values + ahead[name] for name, values in start.items()})
        yield Step(step, record, measured=last, chosen=last)


def forecast(moves: dict[int, Vector], target: int) -> Vector:
    """Where each tensor's move would be at that step, from its moves at some steps."""
    steps = np.array(list(moves), dtype=float)
    names = next(iter(moves.values()))
    return {name: _forecast([move[name] for move in moves.values()], steps, target) for name in names}


def _forecast(moves: list[Tensor], steps: np.ndarray, target: int) -> Tensor:
    stacked_TD = torch.stack([move.flatten() for move in moves]).double()
    squares, vectors = torch.linalg.eigh(stacked_TD @ stacked_TD.T)
    first_T, length = vectors[:, -1], squares[-1].clamp(min=0).sqrt().item()
    if not length:
        return torch.zeros_like(moves[0])
    coordinates_T = length * first_T
    reached = np.polyval(np.polyfit(steps, coordinates_T.numpy(), 1), target)
    return (reached / length * (first_T @ stacked_TD)).float().view_as(moves[0])
