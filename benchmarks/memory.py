"""The memory that the gradient pass of 7B and 14B models needs on a GPU and on its host.

Weights are counted from the models' shapes. What autograd keeps is counted on one and two layers of full width with a
few tokens, and extrapolated to all layers and to a chunk of the given size. With `--run` the pass itself is run on the
GPU at hand, on random weights in BF16, and its peak is printed next to the count. Ends in one JSON line.
"""

import argparse
import json
import platform
import time

import pandas as pd
import torch
import transformers
from transformers import AutoModelForCausalLM, Qwen2Config

from oneshot.gradients.memory import gradient_memory, short_chunk
from oneshot.gradients.one_pass import backward_chunk, streamed
from oneshot.policies.models import Policy

QWEN_7B = Qwen2Config(
    vocab_size=152064,
    hidden_size=3584,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
    intermediate_size=18944,
    tie_word_embeddings=False,
)
QWEN_14B = Qwen2Config(
    vocab_size=152064,
    hidden_size=5120,
    num_hidden_layers=48,
    num_attention_heads=40,
    num_key_value_heads=8,
    intermediate_size=13824,
    tie_word_embeddings=False,
)
MODELS = {"7b": QWEN_7B, "14b": QWEN_14B}
GIB = 2**30


def measured_peak(config: Qwen2Config, chunk_tokens: int) -> dict[str, float]:
    """GiB that PyTorch allocates on the GPU during one chunk's pass in BF16, and seconds that a second one takes."""
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    prompt = chunk_tokens // 4
    rollouts = short_chunk(4, prompt, 1 + (chunk_tokens - prompt) // 4).assign(weight=1.0)
    sums = {name: torch.zeros(weight.shape) for name, weight in model.named_parameters()}
    with streamed(model, sums):
        for _ in range(2):
            torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            backward_chunk(Policy(model, None), rollouts, 1.0)
            torch.cuda.synchronize()
    return {"run_gib": torch.cuda.max_memory_allocated() / GIB, "run_seconds": time.perf_counter() - started}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunk-tokens", type=int, default=4096, help="packed tokens of a chunk (default 4096)")
    parser.add_argument("--run", nargs="*", default=[], choices=MODELS, help="run these on the GPU at hand")
    chosen = parser.parse_args()
    measured = {}
    for name in chosen.run:
        measured[f"{name} bfloat16"] = measured_peak(MODELS[name], chosen.chunk_tokens)
        torch.cuda.empty_cache()
    torch.set_num_threads(1)
    rollouts = short_chunk(4, prompt=32, completion=33)
    fed = 32 + 4 * 32
    found = {}
    for name, config in MODELS.items():
        for dtype in (torch.bfloat16, torch.float32):
            needed = gradient_memory(config, rollouts, dtype=dtype)
            activations = needed.activations * chosen.chunk_tokens / fed
            found[f"{name} {str(dtype).removeprefix('torch.')}"] = {
                "weights_gib": needed.weights / GIB,
                "largest_gradient_gib": needed.largest_gradient / GIB,
                "activations_gib": activations / GIB,
                "logits_gib": needed.logits / GIB,
                "device_gib": (needed.device - needed.activations + activations) / GIB,
                "host_gib": needed.host / GIB,
                **measured.get(f"{name} {str(dtype).removeprefix('torch.')}", {}),
            }
    print(pd.DataFrame(found).T.round(1).to_string())
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps({"measured": found, **vars(chosen), **versions}))


if __name__ == "__main__":
    main()
