r"""Corrections: what the weight of a token becomes when the policy has moved away from the one that drew it.

    w_it = A_i at θ0      ρ_it = π_θ / π_0 of a token      ρ_i = Π_t ρ_it      W_i = ρ_i / Σ_group ρ, its share

| correction | becomes | knob | after |
| --- | --- | --- | --- |
| none | A_i | | a control: as if nothing had moved |
| truncated | min(ρ_i, c) A_i | c | Ionides 2008 |
| topr | A_i > 0: A_i; else min(ρ_i, c) A_i | c | TOPR, Le Roux et al. 2025, one ratio a sequence |
| topr_token | the same with ρ_it | c | as it is in public code |
| ppo | ρ_it A_i inside the clip, 0 beyond it in the direction of A_i | ε | PPO, GRPO; down to 1 - min(ε, 0.8) |
| gspo | s_i A_i inside a clip of s_i = ρ_i^{1/|y_i|}, 0 beyond; A of objective `gspo` | ε | GSPO; up to 1 + 4ε/3 |
| cispo | min(ρ_it, c) A_i | c | CISPO, MiniMax 2025 |
| vespo | φ(ρ_i) A_i, φ(x) = x^k e^{λ(1-x)}; k, λ = 2, 3 where A_i > 0, else 3, 2 | power of φ | VESPO 2602.10693 |
| m2po | ρ_it A_i; 0 for harmful tokens, largest (log ρ_it)² first, until the mean is small | it | M2PO 2510.01161 |
| self_normalised | G W_i (A_i - Σ_group W A) | largest ρ | the value V = Σ W r, differentiated |
| group_target | G (q_i - W_i), q ∝ exp(A/η) in the group | η | TPO 2604.06159, in ratios, with an anchor |
| regression | A_i - β log ρ_i | β | A*-PO, OAPL 2602.19362: squared loss |
| dpo | 2 A_i · mean of σ(-β log ρ_right/ρ_wrong) over the pairs i is in | β | DPO, all pairs; A of objective `dpo` |

A token is harmful if its ratio has moved the way its advantage pushes; m2po takes its mean over a chunk of the pass.
self_normalised, group_target and dpo need whole groups.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from oneshot.gradients.objectives import GSPO_CLIP
from oneshot.gradients.ratios import Correction, Reused

PPO_LOWEST = 0.8
"""The lower clip is ε, but no more than this: no ratio may go below 0."""
VESPO_RIGHT, VESPO_WRONG = (2.0, 3.0), (3.0, 2.0)
"""(k, λ) of positive and of other advantages."""
WIDEST_TARGET = 3.0
"""Nats between the largest and the smallest log target of a group."""
ANCHOR = 0.1
"""Weight of (log mean ρ)² in a group, which is 0 as long as no mass leaks to answers that were not drawn."""


def none(reused: Reused, knob: float) -> Tensor:
    return reused.weights_C


def truncated(reused: Reused, cap: float) -> Tensor:
    return reused.weights_C * reused.log_ratios_R.exp().clamp(max=cap)[reused.rows_C]


def topr(reused: Reused, cap: float) -> Tensor:
    return torch.where(reused.weights_C > 0, reused.weights_C, truncated(reused, cap))


def topr_token(reused: Reused, cap: float) -> Tensor:
    return torch.where(reused.weights_C > 0, reused.weights_C, cispo(reused, cap))


def ppo(reused: Reused, clip: float) -> Tensor:
    return _clipped(reused.weights_C, reused.change_C.exp(), min(clip, PPO_LOWEST), clip)


def gspo(reused: Reused, clip: float) -> Tensor:
    means_R = reused.log_ratios_R / reused.rows_C.bincount(minlength=len(reused.groups_R))
    return _clipped(reused.weights_C, means_R.exp()[reused.rows_C], clip, clip * GSPO_CLIP[1] / GSPO_CLIP[0])


def cispo(reused: Reused, cap: float) -> Tensor:
    return reused.weights_C * reused.change_C.exp().clamp(max=cap)


def vespo(reused: Reused, power: float) -> Tensor:
    logs_C = reused.log_ratios_R[reused.rows_C]
    right, wrong = (k * logs_C + rate * (1 - logs_C.exp()) for k, rate in (VESPO_RIGHT, VESPO_WRONG))
    return reused.weights_C * (power * torch.where(reused.weights_C > 0, right, wrong)).exp()


def m2po(reused: Reused, budget: float) -> Tensor:
    harmful_C = reused.weights_C * reused.change_C > 0
    squares_C, order_C = reused.change_C.square().where(harmful_C, 0.0).sort(descending=True)
    left_C = squares_C.flip(0).cumsum(0).flip(0)  # the sum if everything before is dropped
    count_C = harmful_C.sum() - torch.arange(len(order_C), device=order_C.device)
    dropped_C = torch.empty_like(harmful_C).scatter(0, order_C, left_C > budget * count_C.clamp(min=0))
    return torch.where(dropped_C & harmful_C, 0.0, reused.weights_C * reused.change_C.exp())


def self_normalised(reused: Reused, cap: float) -> Tensor:
    advantages_R = reused.advantages_R
    ratios_R = reused.log_ratios_R.exp().clamp(max=cap)
    shares_R = ratios_R / reused.group_sums(ratios_R)
    value_R = reused.group_sums(shares_R * advantages_R)
    return (reused.sizes_R * shares_R * (advantages_R - value_R))[reused.rows_C]


def group_target(reused: Reused, eta: float) -> Tensor:
    logs_R, sizes_R = reused.log_ratios_R, reused.sizes_R
    wanted_R = reused.advantages_R / eta
    lowest_R = -reused.group_tops(-wanted_R)
    targets_R = reused.group_softmax(wanted_R.minimum(lowest_R + WIDEST_TARGET))
    shares_R = reused.group_softmax(logs_R)
    leaked_R = (reused.group_sums(logs_R.exp()) / sizes_R).log()
    return (sizes_R * (targets_R - shares_R - 2 * ANCHOR * leaked_R * shares_R))[reused.rows_C]


def regression(reused: Reused, beta: float) -> Tensor:
    return (reused.advantages_R - beta * reused.log_ratios_R)[reused.rows_C]


def dpo(reused: Reused, beta: float) -> Tensor:
    signs_R, logs_R = reused.advantages_R.sign(), reused.log_ratios_R
    reused.group_sums(signs_R)  # raises ValueError if groups are cut
    pairs_RR = (reused.groups_R[:, None] == reused.groups_R) & (signs_R[:, None] * signs_R < 0)
    doubts_RR = (-beta * signs_R[:, None] * (logs_R[:, None] - logs_R)).sigmoid() * pairs_RR
    means_R = doubts_RR.sum(dim=1) / pairs_RR.sum(dim=1).clamp(min=1)
    return (2 * reused.advantages_R * means_R)[reused.rows_C]


CORRECTIONS: dict[str, Callable[[Reused, float], Tensor]] = {
    function.__name__: function
    for function in (
        none,
        truncated,
        topr,
        topr_token,
        ppo,
        gspo,
        cispo,
        vespo,
        m2po,
        self_normalised,
        group_target,
        regression,
        dpo,
    )
}
"""Corrections by name: (tokens, knob) -> their weights [C]."""


def _clipped(weights_C: Tensor, ratios_C: Tensor, below: float, above: float) -> Tensor:
    """The weights times their ratios; 0 where a ratio is beyond the clip in the direction of its weight."""
    clipped_C = torch.where(weights_C > 0, ratios_C > 1 + above, ratios_C < 1 - below)
    return torch.where(clipped_C, 0.0, weights_C * ratios_C)


def get_correction(name: str, knob: float) -> Correction:
    """The correction of that name at that setting of its knob. Raises ValueError for an unknown name."""
    if name not in CORRECTIONS:
        raise ValueError(f"unknown correction '{name}': expected one of {', '.join(CORRECTIONS)}")
    return lambda reused: CORRECTIONS[name](reused, knob)
