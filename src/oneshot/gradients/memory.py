r"""The memory of the gradient pass, computed without a GPU.

    device    weights + the largest gradient (one at a time: they are streamed off) + activations of one chunk
              + logits of a few hundred tokens and their gradient, if the vocabulary is large
    host      FP32: the total, its squares and one block (sketched), or one sum per block; no optimiser state

Activations are what autograd keeps between the forward and the backward pass. They are linear in the number of layers,
so they are counted on the model at full width with one and two layers, and extrapolated to its depth. They do not
depend on the size of a large vocabulary, whose logits are not kept, so they are counted with a smaller one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from oneshot.gradients.one_pass import HEAD_CHUNK_TOKENS, SMALL_VOCABULARY, token_logprobs
from oneshot.policies.models import Policy

FP32 = 4


@dataclass(frozen=True)
class GradientMemory:
    """Bytes."""

    weights: float
    largest_gradient: float
    activations: float
    logits: float
    host: float

    @property
    def device(self) -> float:
        return self.weights + self.largest_gradient + self.activations + self.logits


def gradient_memory(
    config: PretrainedConfig, rollouts: pd.DataFrame, *, dtype: torch.dtype, num_blocks: int = 1, sketched: bool = True
) -> GradientMemory:
    """Bytes that a pass takes if its largest chunk is `rollouts`, for a model of this config in `dtype`.

    `rollouts` may be a shorter chunk: then scale `activations` by the number of packed tokens.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    sizes = [parameter.numel() for parameter in model.parameters()]
    copies = 3 if sketched else num_blocks
    head_chunk = HEAD_CHUNK_TOKENS if config.vocab_size > SMALL_VOCABULARY else 0
    return GradientMemory(
        weights=sum(sizes) * dtype.itemsize,
        largest_gradient=max(sizes) * dtype.itemsize,
        activations=activation_bytes(config, rollouts, dtype),
        logits=2 * head_chunk * config.vocab_size * FP32,
        host=copies * sum(sizes) * FP32,
    )


def short_chunk(num_rollouts: int, prompt: int, completion: int) -> pd.DataFrame:
    """One group with completions of one length that differ from their first token on, so they share nothing."""
    rows = [
        (
            0,
            sample,
            np.ones(prompt, dtype=np.int32),
            np.full(completion, sample, dtype=np.int32),
            np.zeros(completion, dtype=np.float32),
        )
        for sample in range(num_rollouts)
    ]
    return pd.DataFrame(rows, columns=["problem_id", "sample_id", "prompt_tokens", "tokens", "logprobs"])


def activation_bytes(config: PretrainedConfig, rollouts: pd.DataFrame, dtype: torch.dtype) -> float:
    """Bytes that autograd keeps for one chunk, extrapolated from one and two layers to all."""
    one, two = (_saved_at_depth(config, depth, rollouts, dtype) for depth in (1, 2))
    return one + (config.num_hidden_layers - 1) * (two - one)


def _saved_at_depth(config: PretrainedConfig, depth: int, rollouts: pd.DataFrame, dtype: torch.dtype) -> int:
    changes = {"num_hidden_layers": depth, "layer_types": None}
    changes["vocab_size"] = min(config.vocab_size, SMALL_VOCABULARY + 1)
    shallow = type(config).from_dict({**config.to_dict(), **changes})
    model = AutoModelForCausalLM.from_config(shallow, dtype=dtype)
    return saved_bytes(lambda: token_logprobs(Policy(model, None), rollouts, 1.0), model)


def saved_bytes(forward: Callable[[], object], model: torch.nn.Module) -> int:
    """Bytes that autograd keeps of a forward pass. Each storage counts once; parameters do not count."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage
        return tensor.detach()  # an output that kept itself would never be freed

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
    del output
    return sum(storage.nbytes() for storage in kept.values())
