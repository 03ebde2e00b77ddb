r"""Two models decoded in lock-step, with logits beyond those of either:  z = z_0 + β (z_θ - z_0).

Logits extrapolation (Wang et al. 2026, 2601.04537). Every token takes both models and two caches; no single model has
these logits.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from oneshot.engines.attention import Prefix
from oneshot.engines.decoder import Decoder
from oneshot.engines.torch import TorchEngine
from oneshot.policies.models import Policy


class ExtrapolatingEngine(TorchEngine):
    """Draws from the extrapolated logits of `policy`, away from those of `origin`, a model of the same shape.

    `factor` is β: 1 is the policy itself, 0 the origin. What draws report (log-probs, entropy) is of these logits.
    """

    def __init__(self, policy: Policy, origin: Policy, factor: float, **settings):
        super().__init__(policy, **settings)
        self.origin, self.factor = origin, factor

    def decoder(self) -> "_LockStep":
        decoder, origin = (Decoder(policy.model, self.precision) for policy in (self.policy, self.origin))
        return _LockStep(decoder, origin, self.factor)


class _LockStep:
    """Looks like a decoder. Its caches are those of both, one list after the other."""

    def __init__(self, decoder: Decoder, origin: Decoder, factor: float):
        self.decoder, self.origin, self.factor = decoder, origin, factor

    def empty_caches(self, num_slots: int, length: int) -> list[Tensor]:
        return [cache for each in (self.decoder, self.origin) for cache in each.empty_caches(num_slots, length)]

    def prefill(self, prompts: list[list[int]], prefix: list[Tensor] | None = None) -> list[Tensor]:
        own, others = _halves(prefix) if prefix else (None, None)
        return [*self.decoder.prefill(prompts, own), *self.origin.prefill(prompts, others)]

    def step(
        self, tokens_S: Tensor, positions_S: Tensor, caches: list[Tensor], prefixes: Sequence[Prefix] = ()
    ) -> Tensor:
        logits_SV, origin_SV = (
            each.step(tokens_S, positions_S, own, [_half(prefix, place) for prefix in prefixes])
            for place, (each, own) in enumerate(zip((self.decoder, self.origin), _halves(caches), strict=True))
        )
        return origin_SV + self.factor * (logits_SV - origin_SV)


def _halves(tensors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    middle = len(tensors) // 2
    return tensors[:middle], tensors[middle:]


def _half(prefix: Prefix, place: int) -> Prefix:
    return replace(prefix, keys_values=_halves(prefix.keys_values)[place])
