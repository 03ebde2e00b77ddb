r"""One batch, many steps: no fresh rollout is drawn to learn from.

    for every minibatch of whole groups, in several passes over the batch:
        θ ← AdamW step up  (1/n) Σ_i min(ρ_i, c) A_i ∇ log π_θ(y_i)          ρ_i = π_θ(y_i) / π_0(y_i), a rollout's

The advantages A_i stay those of θ0. The ratios re-value the batch under the policy that it has become; with c = 0 they
are left out, and the gradient goes on as if nothing had moved (a control).

What is searched is the path's length, in place of α: the policy is measured on validation problems after some shares
of the path, and the best of them stands for the arm.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch

from oneshot.baselines.lab import Lab, Step
from oneshot.gradients.ratios import effective_sample_size, sequence_log_ratios, truncated
from oneshot.gradients.weights import weigh
from oneshot.rollouts import num_groups
from oneshot.steps.master_weights import MasterWeights, adamw

USES_BATCH = True


@dataclass(frozen=True)
class Settings:
    learning_rate: float
    groups_per_step: int
    """Of the batch; a pass takes every group once, in an order of its own."""
    passes: int = 2
    cap: float = 2.0
    """c, the largest ratio; 0: no ratios."""
    looks: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    """Shares of the path after which the policy is measured on validation problems."""


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """Train the lab's policy on its batch; ends at the best length found."""
    batch, steps = weigh(lab.batch, rewards=lab.rewards), list(minibatches(lab.batch, settings))
    masters = MasterWeights(lab.policy.model, partial(adamw, learning_rate=settings.learning_rate))
    looks = {max(1, round(share * len(steps))) for share in settings.looks}
    found, best, kept = {}, 0, {}
    for number, rows in enumerate(lab.track(steps), start=1):
        with lab.ledger.clock():
            record = climb(lab, masters, batch.iloc[rows], settings.cap)
            if number in looks:
                record["accuracy"] = found[number] = lab.validate().reward.mean()
        if number in looks and found[number] > found.get(best, -1):
            best = number
            kept = {name: weight.detach().clone() for name, weight in lab.policy.model.named_parameters()}
        yield Step(number, record)
    lab.policy.model.load_state_dict(kept, strict=False)
    yield Step(best, {}, measured=True, chosen=True)


def climb(lab: Lab, masters: MasterWeights, rollouts: pd.DataFrame, cap: float) -> dict[str, float]:
    """One step on reused rollouts; what their ratios were like before it, over the groups that have a gradient."""
    log_ratios, correct = [], truncated(cap)

    def reweigh(weights_C, change_C, rows_C):
        log_ratios.append(sequence_log_ratios(change_C, rows_C))
        return correct(weights_C, change_C, rows_C) if cap else weights_C

    lab.climb(masters, rollouts, reweigh)
    if not log_ratios:
        return {}
    logs_R = torch.cat(log_ratios)
    return {
        "effective_sample_size": effective_sample_size(logs_R),
        "largest_ratio": logs_R.max().exp().item(),
        "truncated_share": (logs_R > math.log(cap)).float().mean().item() if cap else 0.0,
    }


def minibatches(batch: pd.DataFrame, settings: Settings) -> Iterator[np.ndarray]:
    """Row numbers of the batch's groups, a few at a time, for every pass; a rest too small for a step is left out."""
    num_problems, group_size = num_groups(batch)
    rng = np.random.default_rng(0)
    for _ in range(settings.passes):
        order = rng.permutation(num_problems)
        for start in range(0, num_problems - settings.groups_per_step + 1, settings.groups_per_step):
            groups = np.sort(order[start : start + settings.groups_per_step])
            yield (groups[:, None] * group_size + np.arange(group_size)).ravel()
