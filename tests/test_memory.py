"""The bookkeeping of memory against what autograd really keeps."""

import gc
import weakref

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen3Config

from oneshot.gradients.memory import gradient_memory, saved_bytes
from oneshot.gradients.one_pass import token_logprobs
from oneshot.policies.models import Policy

SHAPE = {
    "vocab_size": 188,
    "hidden_size": 32,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
}


def test_saved_bytes_by_hand():
    """The backward pass of (x·w)² keeps x for w and the product for its square; w itself is a parameter."""
    model = torch.nn.Linear(3, 5, bias=False)
    x = torch.ones(7, 3)
    assert saved_bytes(lambda: (model(x) ** 2).sum(), model) == 4 * (7 * 3 + 7 * 5)


def test_what_was_counted_is_freed():
    """exp keeps its own output, and through it the model."""

    def count():
        model = torch.nn.Linear(3, 5, bias=False)
        saved_bytes(lambda: model(torch.ones(7, 3)).exp(), model)
        return weakref.ref(model.weight)

    alive = count()
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("config", [Qwen3Config(head_dim=8, **SHAPE), Qwen2Config(**SHAPE)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bookkeeping_is_what_a_model_of_full_depth_takes(rollouts, config, dtype):
    needed = gradient_memory(config, rollouts, dtype=dtype)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    kept = saved_bytes(lambda: token_logprobs(Policy(model, None), rollouts, 1.0), model)
    assert needed.activations == pytest.approx(kept, rel=0.02)
    sizes = [parameter.numel() for parameter in model.parameters()]
    assert needed.weights == sum(sizes) * dtype.itemsize
    assert needed.largest_gradient == 188 * 32 * dtype.itemsize
    assert needed.host == 3 * 4 * sum(sizes)
    assert needed.logits == 0
    assert needed.device == needed.weights + needed.largest_gradient + needed.activations


def test_a_large_vocabulary_is_not_kept(rollouts):
    """Autograd keeps no more than with a smaller vocabulary; logits and their gradient exist for a few tokens."""
    large = Qwen2Config(**{**SHAPE, "vocab_size": 6000})
    needed = gradient_memory(large, rollouts, dtype=torch.float32)
    model = AutoModelForCausalLM.from_config(large, dtype=torch.float32)
    kept = saved_bytes(lambda: token_logprobs(Policy(model, None), rollouts, 1.0), model)
    assert needed.activations == pytest.approx(kept, rel=0.02)
    assert needed.logits == 2 * 256 * 6000 * 4
