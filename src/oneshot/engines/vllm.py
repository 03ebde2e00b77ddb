"""The vLLM engine: the same protocol as the CPU engine, for models and machines that engine is too slow for.

Weights. The policy's `transformers` model stays the one place where weights are changed. Before every call the engine
compares the versions of its parameters with those it has loaded; if any was written to (moved along a direction, put
back, taken a step) all are handed to vLLM's workers through a safetensors file and vLLM's own `reload_weights`, which
fuses, shards and casts them, and cached prefixes are dropped. So the sampler has the trainer's very bits, at θ0 + α·d
and back at θ0.

A write through `.data` leaves a parameter's version as it was and goes unnoticed: nothing here does that.

After every load, and where all is FP32, a few tokens are drawn and scored by the model itself: a reload that went wrong
without a word (vLLM has had such faults, see `refresh_tied_head`) stops the run.

Noise. Every rollout has its own seed, its key; vLLM draws from a generator of its own for each. A rollout does not
depend on its batch where the kernels do not (on CPU; on GPUs only in vLLM's batch-invariant mode), and its tokens are
not those that the CPU engine draws under the same key. Generators of CPUs use the lower 32 bits of a seed: of 50,000
rollouts two share their noise with probability 0.25; GPUs use all 63.

Entropy. Exact where the vocabulary is small enough to ask vLLM for all of π. Else only the drawn tokens' log-probs are
there: the mean of -log π over a rollout's tokens. Its sum has the summed entropy as expectation; the mean is a ratio of
two chance quantities, so slightly biased where lengths vary. A greedy rollout draws nothing and has no estimate: nan.

One engine in this process: a GPU each for parallel shards of the DAG (`oneshot.workflow.gpus`; vLLM refuses data
parallelism in one process), several (`tensor_parallel`) for a model too large for one.
"""

import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from oneshot.engines import check_engine
from oneshot.engines.protocol import Generation, check_prompts
from oneshot.engines.vllm_runtime import Progress, fast_folder, import_vllm, leave_to_trainer, platform_options
from oneshot.policies.models import Policy, checkpoint, save_policy

SMALL_VOCABULARY = 256
"""Up to this size all log-probs of a position are asked for, and its entropy is exact."""
CANARY_TOKENS = 4
CANARY_NATS = 1e-3
"""Largest difference of a token's log-prob between engine and model after weights were loaded, both in FP32."""


class VllmEngine:
    """Samples from `policy`, as its weights are at the time, with at most `num_slots` rollouts in flight.

    `context` is the longest prompt plus completion (default: the model's own), `dtype` the engine's precision (default:
    the model's). With `sleep` it gives its GPU's memory to the trainer between calls. Close it, or use it in a `with`
    block: it holds memory.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        context: int | None = None,
        num_slots: int = 256,
        dtype: str | None = None,
        tensor_parallel: int = 1,
        gpu_memory_utilization: float = 0.9,
        sleep: bool = False,
    ):
        check_engine("vllm")
        context = context or policy.model.config.max_position_embeddings
        self.policy, self.context = policy, context
        self.dtype = dtype or str(policy.model.dtype).removeprefix("torch.")
        self.folder = tempfile.TemporaryDirectory(prefix="oneshot-vllm-", dir=fast_folder())
        save_policy(policy, self.folder.name, {})
        options = {
            "model": self.folder.name,
            "dtype": self.dtype,
            "max_model_len": context,
            "max_num_seqs": num_slots,
            "tensor_parallel_size": tensor_parallel,
            "logprobs_mode": "processed_logprobs",
            "max_logprobs": -1,
            "worker_extension_cls": "oneshot.engines.vllm.WeightLoader",
            "disable_log_stats": True,
            "seed": 0,
        }
        vllm = import_vllm()
        with torch.random.fork_rng():
            self.llm = vllm.LLM(**options, **platform_options(gpu_memory_utilization, context, num_slots))
        leave_to_trainer(policy.model)
        self.loaded, self.asleep, self.sleeps = self._versions(), False, sleep
        if sleep:
            self.sleep()

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
        check_prompts(prompts, max_new_tokens, self.context)
        self._refresh()
        generation = self._draw(prompts, keys_PG, temperature, max_new_tokens, on_finished)
        if self.sleeps:
            self.sleep()
        return generation

    def _draw(self, prompts, keys_PG, temperature, max_new_tokens, on_finished=lambda count: None) -> Generation:
        from vllm import SamplingParams

        all_logprobs = self.policy.model.config.vocab_size <= SMALL_VOCABULARY
        asked = [{"prompt_token_ids": list(map(int, prompt))} for prompt in prompts for _ in range(keys_PG.shape[1])]
        sampling = [
            SamplingParams(
                temperature=temperature,
                seed=int(key) if temperature else None,
                max_tokens=max_new_tokens,
                stop_token_ids=[self.policy.end_id],
                ignore_eos=True,  # those of config.json and generation_config.json: our one end token is above
                logprobs=-1 if all_logprobs else 0,
                flat_logprobs=True,
                detokenize=False,
            )
            for key in keys_PG.flatten()
        ]
        with torch.random.fork_rng(), self._nothing_left_behind():
            outputs = self.llm.generate(asked, sampling, use_tqdm=partial(Progress, on_finished=on_finished))
        return _generation([output.outputs[0] for output in outputs], self.policy.end_id, bool(temperature))

    @contextmanager
    def _nothing_left_behind(self):
        """Requests of a call that was broken off are given up: else the next call would get their completions."""
        try:
            yield
        except BaseException:
            self.llm.llm_engine.abort_request(list(self.llm.llm_engine.output_processor.request_states), internal=True)
            raise

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
            self._check_loaded()

    def _check_loaded(self) -> None:
        """Refuse to go on if a few tokens' log-probs are not the model's; told in FP32 alone."""
        model = self.policy.model
        if self.dtype != "float32" or model.dtype != torch.float32:
            return
        prompt = [token % model.config.vocab_size for token in range(1, 1 + CANARY_TOKENS)]
        drawn = self._draw([prompt], torch.zeros(1, 1), 0.0, CANARY_TOKENS)
        ids = torch.tensor([prompt + drawn.tokens_RT[0].tolist()], device=model.device)
        with torch.inference_mode():
            logprobs_TV = model(ids[:, :-1]).logits[0, CANARY_TOKENS - 1 :].float().log_softmax(dim=-1)
        expected_T = logprobs_TV.gather(1, ids[0, CANARY_TOKENS:, None]).flatten().cpu()
        gap_nats = (drawn.logprobs_RT[0] - expected_T).abs().max().item()
        if not gap_nats <= CANARY_NATS:
            self.loaded = None
            raise RuntimeError(f"vLLM did not take the policy's weights: log-probs differ by {gap_nats:.2g} nats")

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


def _generation(completions: list, end_id: int, sampled: bool) -> Generation:
    """vLLM's completions as rows: token ids, their log-probs, how they ended."""
    lengths_R = torch.tensor([len(completion.token_ids) for completion in completions])
    shape = (len(completions), int(lengths_R.max()))
    tokens_RT, logprobs_RT = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape)
    entropy_R = torch.zeros(len(completions))
    for row, completion in enumerate(completions):
        length = len(completion.token_ids)
        tokens_RT[row, :length] = torch.tensor(list(completion.token_ids))
        drawn_and_all = torch.tensor(completion.logprobs.logprobs).view(length, -1)
        logprobs_RT[row, :length] = drawn_and_all[:, 0]
        entropy_R[row] = _mean_entropy(drawn_and_all, sampled)
    ended_R = tokens_RT.gather(1, lengths_R[:, None] - 1).flatten() == end_id
    return Generation(tokens_RT, logprobs_RT, entropy_R, lengths_R, ended_R)


def _mean_entropy(drawn_and_all: Tensor, sampled: bool) -> Tensor:
    """Mean entropy over a row's tokens, nats, from [T, 1] (the drawn tokens' log-probs) or [T, 1 + V] (then all)."""
    if drawn_and_all.shape[1] > 1:
        return torch.special.entr(drawn_and_all[:, 1:].exp()).sum(dim=1).mean()
    return -drawn_and_all.mean() if sampled else torch.tensor(torch.nan)
