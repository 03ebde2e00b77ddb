r"""Ratios: what makes rollouts of the base policy speak about a policy that has moved away from it.

    ρ_i = π_θ(y_i | x_i) / π_0(y_i | x_i) = exp Σ_t Δ_it          Δ_it = log π_θ - log π_0 of a token

A weight times its rollout's ρ gives an unbiased gradient at θ, of a variance that grows like exp D₂(π_θ ‖ π_0). What
is done about that variance: `oneshot.gradients.corrections`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reused:
    """Completion tokens of another policy's rollouts, as the current policy sees them: C tokens, R rollouts."""

    weights_C: Tensor
    """A_i, the same for all tokens of a rollout."""
    change_C: Tensor
    """log ρ_it, nats."""
    rows_C: Tensor
    """The rollout of each token, 0 … R-1."""
    groups_R: Tensor
    """The group of each rollout, 0 … P-1."""
    whole: bool = True
    """Whether all rollouts of every group are here."""

    @property
    def log_ratios_R(self) -> Tensor:
        return sequence_log_ratios(self.change_C, self.rows_C)

    @property
    def advantages_R(self) -> Tensor:
        return self.change_C.new_zeros(len(self.groups_R)).index_copy(0, self.rows_C, self.weights_C)

    def group_sums(self, values_R: Tensor) -> Tensor:
        """The sum over its group, at every rollout [R]. Raises ValueError if a group is not whole."""
        if not self.whole:
            raise ValueError("a correction of whole groups, and one does not fit into a chunk: lower group_size")
        sums_P = values_R.new_zeros(int(self.groups_R.max()) + 1).index_add(0, self.groups_R, values_R)
        return sums_P[self.groups_R]

    def group_tops(self, values_R: Tensor) -> Tensor:
        """The largest of its group, at every rollout [R]."""
        tops_P = values_R.new_full((int(self.groups_R.max()) + 1,), -torch.inf)
        return tops_P.scatter_reduce(0, self.groups_R, values_R, "amax")[self.groups_R]

    def group_softmax(self, logits_R: Tensor) -> Tensor:
        """exp of the logits over its sum in the group [R]."""
        odds_R = (logits_R - self.group_tops(logits_R)).exp()
        return odds_R / self.group_sums(odds_R)

    @property
    def sizes_R(self) -> Tensor:
        return self.group_sums(torch.ones_like(self.log_ratios_R))


Correction = Callable[[Reused], Tensor]
"""Reused rollouts -> the weights to use [C]."""


def sequence_log_ratios(change_C: Tensor, rows_C: Tensor) -> Tensor:
    """log ρ of every rollout [R] from Δ log-prob of its tokens [C] and their rows [C], which are 0 … R-1."""
    return change_C.new_zeros(int(rows_C.max()) + 1).index_add(0, rows_C, change_C)


def effective_sample_size(log_ratios_R: Tensor) -> float:
    """(Σρ)² / Σρ² as a share of the rollouts: 1 where all count the same, 1/R where one outweighs all others."""
    logs_R = log_ratios_R.double()
    log_size = 2 * logs_R.logsumexp(dim=0) - (2 * logs_R).logsumexp(dim=0)
    return log_size.exp().item() / len(logs_R)
