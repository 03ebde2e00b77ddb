"""The protocol of engines: prompts and keys in, completions out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from oneshot.policies.models import Policy


@dataclass(frozen=True)
class Generation:
    """Completions of P prompts with G samples each, R = P·G rows, prompt-major. T is the longest completion.

    A row's tokens include its end token; everything beyond `lengths` is padding. `ended` is false for a row
    that was cut off at `max_new_tokens`.
    """

    tokens_RT: Tensor
    """int64 token ids."""
    logprobs_RT: Tensor
    """FP32 log π of each drawn token, in nats, under the sampling temperature (temperature 1 if that is 0)."""
    entropy_R: Tensor
    """FP32 mean over the row's tokens of the entropy of π, in nats, under the same temperature. An engine that does
    not see all of π gives an estimate, or nan if it has none."""
    lengths_R: Tensor
    ended_R: Tensor


class Engine(Protocol):
    policy: Policy
    """The policy that the engine samples from."""

    def generate(
        self,
        prompts: list[list[int]],
        keys_PG: Tensor,
        *,
        temperature: float,
        max_new_tokens: int,
        also_greedy: bool = False,
        on_finished: Callable[[int], object],
    ) -> Generation:
        """Draw a completion for every key, with the policy's current weights; `temperature` 0 is greedy.

        With `also_greedy` every prompt gets one completion more, the last of its group, decoded greedily.
        `on_finished(n)` is called from time to time with the number of rollouts finished since the last call.
        """


def check_prompts(prompts: list[list[int]], max_new_tokens: int, context: int) -> None:
    """Raise ValueError unless every prompt is non-empty and leaves room for the completion."""
    for index, prompt in enumerate(prompts):
        if not 0 < len(prompt) <= context - max_new_tokens:
            raise ValueError(
                f"prompt {index} has {len(prompt)} tokens: expected 1 to {context - max_new_tokens}"
                f" (a context of {context} less max_new_tokens {max_new_tokens})"
            )
