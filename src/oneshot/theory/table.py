"""The predictions: every arm on every design, on batches of N rollouts and on batches without end.

    accuracy, low, high      mean, least and largest over independent draws of N rollouts in all
    accuracy_endless         the same arm when no batch has an end; GRPO's is the flow
    gain_recovered           gain over the base, over that of GRPO from as many rollouts; `_endless`: over the flow's
    kl_nats_endless          KL to the base, nats per answer, where the arm ends without sampling noise

Each of k phases draws N/k rollouts, each of GRPO's steps N/steps. α and the length of a path are searched for free.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from oneshot.theory import arms
from oneshot.theory.arms import Reached
from oneshot.theory.batches import drawn, endless, silent
from oneshot.theory.trees import Tree

TRUNCATION = 2.0
"""c of the arm `one_batch`."""
BASE, GRPO, SHUFFLED, MODEL = "base", "grpo", "one_shot_shuffled", "exact"
MORE_DRAWS = 10
"""Times as many draws of shuffled rewards: what a search finds in noise is a matter of luck."""


@dataclass(frozen=True)
class Settings:
    """What a run may spend, and how often it is repeated."""

    rollouts: int
    group_size: int
    steps: int
    """GRPO's."""
    draws: int
    seed: int

    def __post_init__(self):
        for field in fields(self):
            if field.name != "seed" and getattr(self, field.name) < 1:
                raise ValueError(f"{field.name}: expected at least 1, not {getattr(self, field.name)}")
        if self.group_size < 2:
            raise ValueError("group_size: 1 rollout has no advantage, expected at least 2")
        if self.rollouts < self.steps * self.group_size:
            raise ValueError(f"rollouts: {self.rollouts} are less than a group in each of {self.steps} steps")

    def draw(
        self, rng: np.random.Generator, share: int = 1, shuffled: bool = False
    ) -> Callable[[Tree, np.ndarray], np.ndarray]:
        """How a batch of 1/share of the rollouts is drawn, or one whose rewards are shuffled."""
        num_groups = self.rollouts // share // self.group_size
        return lambda tree, theta_D: drawn(tree, theta_D, num_groups, self.group_size, rng, shuffled)


ARMS: dict[str, Callable[[Tree, Callable], Reached]] = {
    "one_shot": lambda tree, batch: arms.one_step(tree, batch(1)(tree, tree.base)),
    SHUFFLED: lambda tree, batch: arms.one_step(tree, batch(1, shuffled=True)(tree, tree.base)),
    "one_batch_no_ratio": lambda tree, batch: arms.reuse(tree, batch(1)(tree, tree.base), 0),
    "one_batch": lambda tree, batch: arms.reuse(tree, batch(1)(tree, tree.base), TRUNCATION),
    "phases_2": lambda tree, batch: arms.phases(tree, 2, batch(2)),
    "phases_10": lambda tree, batch: arms.phases(tree, 10, batch(10)),
}
"""Arm -> what it reaches with `batch(share, shuffled)`, which says how a batch is drawn: `Settings.draw`."""


def predictions(designs: dict[str, Tree], settings: Settings) -> list[dict]:
    """One row for each design and arm, the base first and GRPO last."""
    return [row for name, tree in designs.items() for row in _rows(name, tree, settings)]


def _rows(design: str, tree: Tree, settings: Settings) -> list[dict]:
    start = Reached(tree.base, tree.accuracy(tree.base), 0, 0)
    found = {BASE: ([start], start)}
    for arm, reach in ARMS.items():
        rngs = _generators(settings, arm)
        found[arm] = (
            [reach(tree, partial(settings.draw, rng)) for rng in rngs],
            reach(tree, lambda share, shuffled=False: silent if shuffled else endless),
        )
    found[GRPO] = ([_grpo(tree, settings, rng) for rng in _generators(settings, GRPO)], arms.flow(tree))
    rows = [{"model": MODEL, "task": design, "arm": arm, **_row(tree, *pair)} for arm, pair in found.items()]
    for kind in ("", "_endless"):
        gains = [row[f"accuracy{kind}"] - start.accuracy for row in rows]
        for row, gain in zip(rows, gains, strict=True):
            row[f"gain_recovered{kind}"] = gain / gains[-1]
    return rows


def _row(tree: Tree, drawn_ones: list[Reached], limit: Reached) -> dict:
    accuracies = [one.accuracy for one in drawn_ones]
    spread = {"accuracy": np.mean(accuracies), "low": min(accuracies), "high": max(accuracies)}
    depth = {
        "sampling_phases": max(one.sampling_phases for one in drawn_ones),
        "gradient_steps": max(one.gradient_steps for one in drawn_ones),
    }
    endless_ones = {"accuracy_endless": limit.accuracy, "kl_nats_endless": tree.kl(limit.theta_D)}
    return {**depth, **spread, **endless_ones}


def _grpo(tree: Tree, settings: Settings, rng: np.random.Generator) -> Reached:
    num_groups = settings.rollouts // settings.steps // settings.group_size
    return arms.small_steps(tree, settings.steps, num_groups, settings.group_size, rng)


def _generators(settings: Settings, arm: str) -> list[np.random.Generator]:
    """One for each draw. Arms share no noise, so that none is lucky with another."""
    draws = settings.draws * (MORE_DRAWS if arm == SHUFFLED else 1)
    return [np.random.default_rng([settings.seed, draw, *arm.encode()]) for draw in range(draws)]
