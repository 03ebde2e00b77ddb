"""Set-up of vLLM in this process, and workarounds for its bugs.

Nothing here knows a policy or a rollout; `oneshot.engines.vllm` is the engine.
"""

import io
import os
from collections.abc import Callable

import torch
from tqdm import tqdm
from transformers import PreTrainedModel

CPU_CACHE_BYTES = 256 * 2**20
"""Size of the key-value cache on a CPU; by default vLLM takes most of the memory."""


def import_vllm():
    """The vllm module, set up for use in this process.

    In-process execution keeps scheduling deterministic. The second model runner is off, because the first also runs on
    CPUs, where it is tested. Compilation is off on CPUs, where it costs more than it saves.
    """
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    if not torch.cuda.is_available():
        os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
    import vllm

    return vllm


def leave_to_trainer(model: PreTrainedModel) -> None:
    """Keep `model`, and other existing instances of its class, callable.

    For an architecture that vLLM does not implement (OLMo3), it patches the class of `transformers`: calls then read an
    attribute, `do_not_compile`, that instances not made by vLLM lack.
    """
    type(model.model).do_not_compile = True


def platform_options(gpu_memory_utilization: float, context: int, num_slots: int) -> dict:
    if torch.cuda.is_available():
        return {"gpu_memory_utilization": gpu_memory_utilization, "enable_sleep_mode": True}
    # Seeded requests fail on CPUs when a prompt is prefilled in parts (an offset that only GPU generators have).
    return {
        "kv_cache_memory_bytes": CPU_CACHE_BYTES,
        "block_size": 32,
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(context, 8 * num_slots, 2048),
    }


class Progress(tqdm):
    """vLLM's progress bar, which calls `on_finished` and draws nothing."""

    def __init__(self, *args, on_finished: Callable[[int], object], **options):
        self.on_finished = on_finished
        super().__init__(*args, **{**options, "file": io.StringIO()})

    def update(self, n: float | None = 1) -> bool | None:
        self.on_finished(int(n))
        return super().update(n)


def fast_folder() -> str | None:
    """A folder in main memory, if there is one: weights pass through it at every move."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
