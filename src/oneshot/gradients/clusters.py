"""Clusters: the gradient of a batch as a sum of parts, so that each can have a step size of its own.

    task         the task that was asked (privileged: the labels are ours)
    pass_rate    how often the group is right: up to a quarter, up to a half, or more
    chance       as many clusters, drawn: a control
    kind         no clusters of rollouts but of parameters: embeddings, attention, the rest
    tensors      as many clusters of parameters, whole tensors, drawn: a control

Every part is kept as two halves, from even and from odd blocks, so that what one half says of it can be held against
the other.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from oneshot.gradients.block_sums import Gradient
from oneshot.gradients.one_pass import Blocks, accumulate_gradient
from oneshot.policies.models import Policy
from oneshot.vectors import Vector

CLUSTERS = ("task", "pass_rate", "chance", "kind", "tensors")
PASS_RATES = (0.25, 0.5)
"""The upper ends of the first clusters by pass rate."""
BY_CHANCE = 3
KINDS = {"embeddings": ("embed", "lm_head"), "attention": ("self_attn",), "rest": ("",)}
"""Kind of parameter -> parts of its name; the first that fits counts."""


@dataclass(frozen=True)
class Part:
    """One cluster's part of a gradient, from even and from odd blocks: means over all rollouts of these blocks."""

    even: Vector
    odd: Vector

    @property
    def mean(self) -> Vector:
        return {name: (values + self.odd[name]) / 2 for name, values in self.even.items()}


def parts_of(
    by: str,
    gradient: Gradient,
    policy: Policy,
    rollouts: pd.DataFrame,
    task_of: dict[int, str],
    temperature: float,
) -> dict[str, Part]:
    """Cluster -> its part; the parts add up to the gradient. `rollouts` have a column `weight`.

    Clusters of rollouts take a pass each over their own rollouts, which is one pass over the batch in all.
    """
    if by in ("kind", "tensors"):
        whole = _halves(gradient)
        return _by_parameters(whole, kind_of if by == "kind" else drawn(list(whole.even)).get)
    labels_R, found = labels(by, rollouts, task_of), {}
    for label in sorted(set(labels_R)):
        alone = rollouts.assign(weight=np.where(labels_R == label, rollouts.weight, 0.0))
        how = {"blocks": Blocks.finest(alone, len(gradient.block_ids)), "sketch_size": gradient.sketch_size}
        found[label] = _halves(accumulate_gradient(policy, alone, temperature=temperature, **how))
    return found


def labels(by: str, rollouts: pd.DataFrame, task_of: dict[int, str]) -> np.ndarray:
    """The cluster of every rollout [R]; those of one group share it."""
    if by == "task":
        return rollouts.problem_id.map(task_of).to_numpy()
    rates = rollouts.groupby("problem_id", sort=False).reward.mean()
    if by == "pass_rate":
        ends = np.array([*PASS_RATES, 1.0])[np.searchsorted(PASS_RATES, rates)]
        names = [f"up to {end:g}" for end in ends]
    else:
        names = [f"drawn {place}" for place in np.random.default_rng(0).permutation(len(rates)) % BY_CHANCE]
    return rollouts.problem_id.map(dict(zip(rates.index, names, strict=True))).to_numpy()


def _halves(gradient: Gradient) -> Part:
    return Part(gradient.mean(gradient.block_ids[::2]), gradient.mean(gradient.block_ids[1::2]))


def _by_parameters(whole: Part, cluster_of: Callable[[str], str]) -> dict[str, Part]:
    clusters = dict.fromkeys(map(cluster_of, whole.even))

    def only(cluster: str, vector: Vector) -> Vector:
        """The vector with zeros in place of all parameters of other clusters."""
        return {
            name: values if cluster_of(name) == cluster else torch.zeros_like(values) for name, values in vector.items()
        }

    return {cluster: Part(only(cluster, whole.even), only(cluster, whole.odd)) for cluster in clusters}


def drawn(names: list[str]) -> dict[str, str]:
    """Name of a tensor -> its cluster, as many clusters as there are kinds, and none of them empty."""
    places = np.random.default_rng(0).permutation(len(names)) % len(KINDS)
    return {name: f"drawn {place}" for name, place in zip(names, places, strict=True)}


def kind_of(name: str) -> str:
    """The kind of the parameter of that name."""
    return next(kind for kind, marks in KINDS.items() if any(mark in name for mark in marks))
