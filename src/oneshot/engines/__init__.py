"""The registry of engines, which draw tokens. An engine uses the weights that its policy has when it is called.

`torch` is the reference, on a CPU or a GPU; `vllm` is for large models. Importing this module does not import torch.
"""

from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oneshot.engines.protocol import Engine
    from oneshot.policies.models import Policy

ENGINES = {"torch": "oneshot.engines.torch:TorchEngine", "vllm": "oneshot.engines.vllm:VllmEngine"}
TRAINER = {"products": "float32", "processes": 1}
"""Keys of `engine` in a config that are about gradients and steps, and their defaults; an engine may take them, too."""
INSTALL = {
    "vllm": "on GPUs: pip install -c constraints.txt -e '.[vllm]'; on a CPU, to try it: scripts/install_vllm_cpu.sh"
}


class EngineUnavailable(ValueError):
    """The engine does not exist or is not installed; the message says what to do."""


def check_engine(name: str) -> None:
    """Raise EngineUnavailable if this host has no such engine. Imports nothing large."""
    if name not in ENGINES:
        raise EngineUnavailable(f"'{name}' is no engine: expected one of {', '.join(ENGINES)}")
    if name in INSTALL and not find_spec(name):
        raise EngineUnavailable(f"{name} is not installed ({INSTALL[name]})")


def trainer(engine: dict) -> dict[str, str | int]:
    """How to load a policy for gradients and steps beside the config's `engine`: device, and the keys of TRAINER.

    The device is that of the torch engine; for vLLM a GPU, if there is any.
    """
    import torch  # takes seconds; not needed to plan the DAG from this registry

    how = {key: engine.get(key, default) for key, default in TRAINER.items()}
    if engine["name"] == "vllm":
        return {"device": "cuda" if torch.cuda.is_available() else "cpu", **how}
    return {"device": engine.get("device", "cpu"), **how}


def get_engine(name: str, policy: "Policy", **settings) -> "Engine":
    """The engine of that name for `policy`. `settings` (other keys of `engine` in a config) go to its constructor."""
    check_engine(name)
    module, _, attribute = ENGINES[name].partition(":")
    engine = getattr(import_module(module), attribute)
    return engine(policy, **taken(engine, settings))


def taken(engine: type, settings: dict) -> dict:
    """`settings` without those keys of the trainer's that this class of engines does not take."""
    own = signature(engine).parameters
    return {key: value for key, value in settings.items() if key in own or key not in TRAINER}
