"""Sampling with vLLM, for models too large for the CPU engine; the same protocol.

Weights. They are changed only in the policy's `transformers` model. Before every call the engine compares the versions
of its parameters with those it has loaded. If any was written to (a move, a restore, an optimiser step), all weights go
to vLLM's workers through a safetensors file and vLLM's own `reload_weights`, which fuses, shards and casts them; cached
prefixes are dropped. So an engine in the model's precision samples from the trainer's weights bit for bit, at θ0 + α·d
and back at θ0.

A write through `.data` does not change a parameter's version and would go unnoticed; nothing here does that.

After every reload, if model and engine are FP32, a few tokens are drawn and scored by the model itself. A reload that
failed silently (vLLM has had such bugs, see `refresh_tied_head`) stops the run.

Noise. The key of a rollout is its seed, and vLLM gives every rollout a generator of its own. A rollout does not depend
on its batch if the kernels do not (on CPUs; on GPUs only in vLLM's batch-invariant mode). Its tokens differ from those
that the CPU engine draws under the same key. Generators on CPUs use only the lower 32 bits of a seed, so among 50,000
rollouts two share their noise with probability 0.25; on GPUs they use all 63.

Entropy. It is exact if the vocabulary is small enough to ask vLLM for all of π. Otherwise it is estimated from the
drawn tokens, as the mean of -log π over a rollout. The sum of -log π is an unbiased estimate of the summed entropy; the
mean divides it by a random length, so it is slightly biased. A greedy rollout has no such estimate: nan.

There is one engine per process. Parallel shards of the DAG take one GPU each (`oneshot.workflow.gpus`; vLLM refuses
data parallelism in one process); a model too large for one GPU takes several (`tensor_parallel`).
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
"""Up to this size the engine asks for all log-probs of a position, so the entropy is exact."""
CANARY_TOKENS = 4
CANARY_NATS = 1e-3
"""Largest allowed difference of a token's log-prob between engine and model after a reload, both in FP32."""


class VllmEngine:
    """Samples from `policy` with its current weights and at most `num_slots` rollouts in flight.

    `context` is the longest prompt plus completion in tokens (default: the model's own), `dtype` the engine's precision
    (default: the model's). With `sleep` it frees its GPU memory for the trainer between calls. It holds memory until it
    is closed; use it in a `with` block, or call `close`.
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
        """Free the engine's memory and delete its copy of the weights."""
        self.llm.llm_engine.engine_core.shutdown()
        self.folder.cleanup()

    def generate(
        self,
        prompts: list[list[int]],
        keys_PG: Tensor,
        *,
        temperature: float,
        max_new_tokens: int,
        also_greedy: bool = False,
        on_finished: Callable[[int], object] = lambda count: None,
    ) -> Generation:
        check_prompts(prompts, max_new_tokens, self.context)
        self._refresh()
        temperatures_G = [temperature] * keys_PG.shape[1] + [0.0] * also_greedy
        keys_PG = nn.functional.pad(keys_PG, (0, int(also_greedy)))
        generation = self._draw(prompts, keys_PG, temperatures_G, max_new_tokens, on_finished)
        if self.sleeps:
            self.sleep()
        return generation

    def _draw(self, prompts, keys_PG, temperatures_G, max_new_tokens, on_finished=lambda count: None) -> Generation:
        from vllm import SamplingParams

        all_logprobs = self.policy.model.config.vocab_size <= SMALL_VOCABULARY
        asked = [{"prompt_token_ids": list(map(int, prompt))} for prompt in prompts for _ in range(keys_PG.shape[1])]
        sampling = [
            SamplingParams(
                temperature=temperature,
                seed=key if temperature else None,
                max_tokens=max_new_tokens,
                stop_token_ids=[self.policy.end_id],
                ignore_eos=True,  # the model's own end tokens; ours is above
                logprobs=-1 if all_logprobs else 0,
                flat_logprobs=True,
                detokenize=False,
            )
            for keys_G in keys_PG.tolist()
            for key, temperature in zip(keys_G, temperatures_G, strict=True)
        ]
        with torch.random.fork_rng(), self._nothing_left_behind():
            outputs = self.llm.generate(asked, sampling, use_tqdm=partial(Progress, on_finished=on_finished))
        sampled_G = [temperature > 0 for temperature in temperatures_G]
        return _generation([output.outputs[0] for output in outputs], self.policy.end_id, sampled_G)

    @contextmanager
    def _nothing_left_behind(self):
        """Abort the requests of an interrupted call; otherwise the next call would get their completions."""
        try:
            yield
        except BaseException:
            self.llm.llm_engine.abort_request(list(self.llm.llm_engine.output_processor.request_states), internal=True)
            raise

    def sleep(self) -> None:
        """Free the GPU for the trainer: drop weights and cache until the next call. Does nothing on a CPU."""
        if torch.cuda.is_available():
            self.llm.sleep(level=2)
            self.asleep, self.loaded = True, None

    def _refresh(self) -> None:
        """Load the policy's weights into the workers if any was written to since the last load."""
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
        """Raise RuntimeError if the log-probs of a few tokens are not the model's. Checks FP32 only."""
        model = self.policy.model
        if self.dtype != "float32" or model.dtype != torch.float32:
            return
        prompt = [token % model.config.vocab_size for token in range(1, 1 + CANARY_TOKENS)]
        drawn = self._draw([prompt], torch.zeros(1, 1), [0.0], CANARY_TOKENS)
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
    """Extension of vLLM's workers: loads a checkpoint into the running model."""

    def load_checkpoint(self, path: str) -> None:
        with safe_open(path, "pt") as file:
            weights = ((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118 (not a dict)
            self.reload_weights(weights_iterator=weights, is_checkpoint_format=True)
        refresh_tied_head(self.get_model())


def refresh_tied_head(model: nn.Module) -> None:
    """Repack a tied head: on CPUs it keeps a packed copy of the old embedding through a reload."""
    head, embedding = getattr(model, "lm_head", None), getattr(getattr(model, "model", None), "embed_tokens", None)
    if head is not None and embedding is not None and head.weight.data_ptr() == embedding.weight.data_ptr():
        head.quant_method.process_weights_after_loading(head)


def _generation(completions: list, end_id: int, sampled_G: list[bool]) -> Generation:
    """vLLM's completions as rows: token ids, log-probs, how they ended. `sampled_G`: which of a group are drawn."""
    lengths_R = torch.tensor([len(completion.token_ids) for completion in completions])
    shape = (len(completions), int(lengths_R.max()))
    tokens_RT, logprobs_RT = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape)
    entropy_R = torch.zeros(len(completions))
    for row, completion in enumerate(completions):
        length = len(completion.token_ids)
        tokens_RT[row, :length] = torch.tensor(list(completion.token_ids))
        drawn_and_all = torch.tensor(completion.logprobs.logprobs).view(length, -1)
        logprobs_RT[row, :length] = drawn_and_all[:, 0]
        entropy_R[row] = _mean_entropy(drawn_and_all, sampled_G[row % len(sampled_G)])
    ended_R = tokens_RT.gather(1, lengths_R[:, None] - 1).flatten() == end_id
    return Generation(tokens_RT, logprobs_RT, entropy_R, lengths_R, ended_R)


def _mean_entropy(drawn_and_all: Tensor, sampled: bool) -> Tensor:
    """Mean entropy over a row's tokens, nats, from [T, 1] (the drawn tokens' log-probs) or [T, 1 + V] (then all)."""
    if drawn_and_all.shape[1] > 1:
        return torch.special.entr(drawn_and_all[:, 1:].exp()).sum(dim=1).mean()
    return -drawn_and_all.mean() if sampled else torch.tensor(torch.nan)
