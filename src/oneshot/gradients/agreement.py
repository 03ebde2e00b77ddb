"""Do sampler and trainer agree about the log-probs of the rollouts? If not, g is another policy's gradient.

Nor is it one where a log-prob or a gradient is not finite.
"""

import torch
from torch import Tensor


class OffPolicy(ValueError):
    """Sampler and trainer disagree about the log-probs of the rollouts."""


class NotFinite(ValueError):
    """A log-prob or a gradient is infinite or no number: the policy has gone too far."""


def summarise_gap(gaps: list[Tensor]) -> Tensor:
    """(largest, mean) of the tokens' |Δ log-prob|."""
    gap_C = torch.cat([torch.zeros(0), *gaps])
    return torch.stack([gap_C.max(), gap_C.mean()]) if len(gap_C) else torch.zeros(2)


def check_gap(gap: Tensor, bound_nats: float) -> tuple[float, float]:
    """(largest, mean) |Δ log-prob| between sampler and trainer, of `gap` [..., 2], nats per token.

    Raises OffPolicy if the largest is above the bound.
    """
    largest, mean = gap[..., 0].max().item(), gap[..., 1].mean().item()
    if largest > bound_nats:
        raise OffPolicy(
            f"sampler and trainer differ by up to {largest:.2g} nats a token ({mean:.2g} on average), more than "
            f"max_gap_nats {bound_nats:g}: the rollouts are not the trainer's own (other weights, precision or "
            "temperature?)"
        )
    return largest, mean
