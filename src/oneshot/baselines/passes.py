"""Passes over one batch: minibatches of whole groups, what their ratios are like, and the search for a length."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from oneshot.baselines.lab import Lab, Step
from oneshot.gradients.ratios import Correction, Reused, effective_sample_size
from oneshot.rollouts import num_groups
from oneshot.steps.master_weights import MasterWeights


def minibatches(batch: pd.DataFrame, groups_per_step: int, passes: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Row numbers of the batch's groups, a few at a time, for every pass; a rest too small for a step is left out."""
    num_problems, group_size = num_groups(batch)
    if groups_per_step > num_problems:
        raise ValueError(f"groups_per_step: {groups_per_step} are more than the {num_problems} groups of the batch")
    rng = np.random.default_rng(seed)
    for _ in range(passes):
        order = rng.permutation(num_problems)
        for start in range(0, num_problems - groups_per_step + 1, groups_per_step):
            groups = np.sort(order[start : start + groups_per_step])
            yield (groups[:, None] * group_size + np.arange(group_size)).ravel()


def climb(lab: Lab, masters: MasterWeights, rollouts: pd.DataFrame, correction: Correction) -> dict[str, float]:
    """One step on reused rollouts; what their ratios were like before it, over the groups that have a gradient.

    `silenced_share`: tokens left without a weight. `kept_weight`: the size of all weights together, over that at θ0.
    """
    log_ratios, silenced, sizes = [], [], []

    def observed(reused: Reused) -> Tensor:
        weights_C = correction(reused)
        log_ratios.append(reused.log_ratios_R)
        silenced.append(weights_C == 0)
        sizes.append((weights_C.abs().sum(), reused.weights_C.abs().sum()))
        return weights_C

    lab.climb(masters, rollouts, observed)
    if not log_ratios:
        return {}
    logs_R, (now, before) = torch.cat(log_ratios), map(sum, zip(*sizes, strict=True))
    return {
        "effective_sample_size": effective_sample_size(logs_R),
        "largest_ratio": logs_R.max().exp().item(),
        "silenced_share": torch.cat(silenced).float().mean().item(),
        "kept_weight": (now / before).item(),
    }


def search_length(
    lab: Lab, steps: list[np.ndarray], looks: Sequence[float], climb: Callable[[np.ndarray], dict[str, float]]
) -> Iterator[Step]:
    """Climb on every minibatch; end at the best of some lengths, shares of the path, on validation problems."""
    looks = {max(1, round(share * len(steps))) for share in looks}
    found, best, kept = {}, 0, {}
    for number, rows in enumerate(lab.track(steps), start=1):
        drawn = None
        with lab.ledger.clock():
            record = climb(rows)
            if number in looks:
                drawn = lab.validate()
                record["accuracy"] = found[number] = drawn[0].reward.mean()
        if number in looks and found[number] > found.get(best, -1):
            best = number
            kept = {name: weight.detach().clone() for name, weight in lab.policy.model.named_parameters()}
        yield Step(number, record, drawn=drawn)
    lab.policy.model.load_state_dict(kept, strict=False)
    yield Step(best, {}, measured=True, chosen=True)
