r"""Ratios: what makes rollouts of the base policy speak about a policy that has moved away from it.

    ρ_i = π_θ(y_i | x_i) / π_0(y_i | x_i) = exp Σ_t Δ_it          Δ_it = log π_θ - log π_0 of a token

A weight times its rollout's ρ gives an unbiased gradient at θ, of a variance that grows like exp D₂(π_θ ‖ π_0).
Truncation at c bounds it: min(ρ, c) (truncated importance sampling, Ionides 2008).
"""

from torch import Tensor

from oneshot.gradients.one_pass import Reweigh


def sequence_log_ratios(change_C: Tensor, rows_C: Tensor) -> Tensor:
    """log ρ of every rollout [R] from Δ log-prob of its tokens [C] and their rows [C], which are 0 … R-1."""
    return change_C.new_zeros(int(rows_C.max()) + 1).index_add(0, rows_C, change_C)


def truncated(cap: float) -> Reweigh:
    """w_it ← min(ρ_i, cap) w_it, one ratio a rollout. Infinity truncates nothing."""

    def reweigh(weights_C: Tensor, change_C: Tensor, rows_C: Tensor) -> Tensor:
        ratios_R = sequence_log_ratios(change_C, rows_C).exp().clamp(max=cap)
        return weights_C * ratios_R[rows_C]

    return reweigh


def effective_sample_size(log_ratios_R: Tensor) -> float:
    """(Σρ)² / Σρ² as a share of the rollouts: 1 where all count the same, 1/R where one outweighs all others."""
    logs_R = log_ratios_R.double()
    log_size = 2 * logs_R.logsumexp(dim=0) - (2 * logs_R).logsumexp(dim=0)
    return log_size.exp().item() / len(logs_R)
