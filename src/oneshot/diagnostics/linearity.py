"""Is a path straight? R² of every coordinate against time, beside that of walks that go nowhere.

A coordinate's R² is that of the line fitted to its values at the steps that were kept, θ0 included. A random walk has a
high R² too, 0.4 on the average: what has wandered off has wandered off in some direction. So R² says something only
beside that of walks seen at the same steps.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from oneshot.vectors import Vector

HIGH = 0.7
"""What is called linear in the literature."""
NUM_WALKS = 20_000
NUM_COORDINATES = 50_000


def r_squared(values_TD: Tensor, steps: Sequence[float]) -> Tensor:
    """R² of every coordinate against the step [D], FP64; nan for one that never moves."""
    values_TD = values_TD.double() - values_TD.double().mean(dim=0)
    time_T = torch.tensor(steps, dtype=torch.float64)
    time_T = time_T - time_T.mean()
    across_D = (time_T[:, None] * values_TD).sum(dim=0)
    return across_D.square() / (time_T.square().sum() * values_TD.square().sum(dim=0))


def random_walks(steps: Sequence[float], count: int = NUM_WALKS, seed: int = 0) -> Tensor:
    """Walks [T, count] that start at the first step: independent normal increments, as long as the gaps allow."""
    gaps = np.diff(np.asarray(steps, dtype=float), prepend=steps[0])
    increments = np.random.default_rng(seed).normal(size=(len(steps), count)) * np.sqrt(gaps)[:, None]
    return torch.from_numpy(increments.cumsum(axis=0))


def coordinates(path: Mapping[float, Vector], count: int = NUM_COORDINATES, seed: int = 0) -> Tensor:
    """Some coordinates of a path's moves, drawn evenly over all of them [T, count], FP64; all, if there are fewer."""
    sizes = {name: values.numel() for name, values in path[next(iter(path))].items()}
    total = sum(sizes.values())
    drawn = np.random.default_rng(seed).permutation(total)[:count] if total > count else np.arange(total)
    rows = [torch.cat([move[name].flatten() for name in sizes])[torch.from_numpy(drawn)] for move in path.values()]
    return torch.stack(rows).double()


def weights_and_logprobs(path: Mapping[float, Vector], changes: Mapping[float, Vector]) -> Iterator[tuple[str, Tensor]]:
    """("weights", their coordinates) and ("log-probs", of some tokens), from θ0 on [T + 1, D].

    `changes` are those of the log-probs at every step, one tensor each.
    """
    logprobs_TC = torch.stack([value for change in changes.values() for value in change.values()])
    seen = {"weights": coordinates(path), "log-probs": logprobs_TC}
    for space, values_TD in seen.items():
        yield space, torch.cat([torch.zeros_like(values_TD[:1]), values_TD])


def summarise(values_TD: Tensor, steps: Sequence[float]) -> dict[str, float]:
    """Mean R² and the share above HIGH, of the coordinates that move and of random walks."""
    found_D, walks_D = r_squared(values_TD, steps), r_squared(random_walks(steps), steps)
    found_D = found_D[found_D.isfinite()]
    return {
        "r_squared": found_D.mean().item(),
        "share_high": (found_D > HIGH).double().mean().item(),
        "walk_r_squared": walks_D.mean().item(),
        "walk_share_high": (walks_D > HIGH).double().mean().item(),
    }
