"""The gradient pass against a padded `transformers` loop, and against the machine's peak rate in matrix products.

Rollouts of `1m` and `4m` are random tokens, the hardest case, because completions share nothing: prompts of 24 tokens,
completions of 8 to 72 (mean 40), 16 per prompt; the weights are GRPO advantages of random rewards. Those of `own` are
drawn by a policy of 1 M parameters, the step benchmark's: also 16 per prompt, with shared prefixes that are fed once.
The peer is what a careful trainer does without sharing: all rows sorted by length, padded, SDPA under a causal mask,
logits of the completion tokens only. The same loop with rows in the order they were drawn is timed too. The packed
gradient is checked against the peer's. `fewer_flops` is what the sorted peer computes over what is computed here: the
ratio that equal efficiency would give. One thread; each is measured several times in turn, and the best counts. Ends in
one JSON line.
"""

import argparse
import json
import platform
import time

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import transformers
from step import LONGEST, TASK, build

from oneshot.engines.torch import TorchEngine
from oneshot.gradients.objectives import grpo_weights
from oneshot.gradients.one_pass import accumulate_gradient
from oneshot.gradients.rewards import shaped_rewards
from oneshot.measures.throughput import measure_sgemm, useful_flops
from oneshot.policies.models import Policy, build_policy
from oneshot.sampling import Draw, Sampling, draw_rollouts
from oneshot.tasks.problem_sets import draw_problems

SIZES = {
    "1m": {"hidden": 128, "layers": 5, "heads": 4, "feed_forward": 384},
    "4m": {"hidden": 256, "layers": 5, "heads": 8, "feed_forward": 768},
}
PADDED_TOKENS = 2048
"""Tokens in a chunk of the peer: its best of 1,024 to 8,192 here."""
OWN_PROMPTS, OWN_GROUP_SIZE = 256, 16
TARGETS = {"gradient_vs_padded": 2.0, "utilisation_1m": 0.45, "utilisation_4m": 0.60}


def random_rollouts(num_groups: int, group_size: int, prompt: int, shortest: int, longest: int, vocabulary: int):
    """A rollout table of random tokens, and GRPO weights of random rewards; every group has both rewards."""
    rng = np.random.default_rng(0)
    rows = []
    for problem in range(num_groups):
        prompt_tokens = rng.integers(0, vocabulary, prompt).astype(np.int32)
        for sample in range(group_size):
            tokens = rng.integers(0, vocabulary, rng.integers(shortest, longest + 1)).astype(np.int32)
            rows.append((problem, sample, prompt_tokens, tokens, np.zeros(len(tokens), dtype=np.float32)))
    rollouts = pd.DataFrame(rows, columns=["problem_id", "sample_id", "prompt_tokens", "tokens", "logprobs"])
    rewards_PG = torch.from_numpy(rng.integers(0, 2, (num_groups, group_size)).astype(np.float32))
    rewards_PG[:, 0], rewards_PG[:, 1] = 0, 1
    return rollouts, grpo_weights(rewards_PG).flatten().numpy()


def padded_chunks(rollouts: pd.DataFrame, by_length: bool) -> list[np.ndarray]:
    """Rows in chunks of at most PADDED_TOKENS tokens, padding included."""
    lengths = (rollouts.prompt_tokens.map(len) + rollouts.tokens.map(len)).to_numpy()
    order = np.argsort(lengths, kind="stable") if by_length else np.arange(len(lengths))
    chunks, start = [], 0
    for stop in range(1, len(order) + 1):
        full = stop == len(order) or lengths[order[start : stop + 1]].max() * (stop + 1 - start) > PADDED_TOKENS
        if full:
            chunks.append(order[start:stop])
            start = stop
    return chunks


def padded_flops(policy: Policy, rollouts: pd.DataFrame) -> float:
    """FLOPs of matrix products in the sorted peer's passes, counted as `useful_flops` counts them, padding included."""
    matrices = sum(weight.numel() for weight in policy.model.model.layers.parameters() if weight.dim() == 2)
    lengths = (rollouts.prompt_tokens.map(len) + rollouts.tokens.map(len)).to_numpy() - 1
    fed = sum(len(rows) * lengths[rows].max() for rows in padded_chunks(rollouts, by_length=True))
    return 6.0 * (matrices * fed + policy.model.lm_head.weight.numel() * rollouts.tokens.map(len).sum())


def padded_gradient(
    policy: Policy, rollouts: pd.DataFrame, weights: np.ndarray, by_length: bool
) -> dict[str, torch.Tensor]:
    """The peer: Σ w ∇ log π, rows padded on the right."""
    policy.model.zero_grad()
    lengths = (rollouts.prompt_tokens.map(len) + rollouts.tokens.map(len)).to_numpy()
    for rows in padded_chunks(rollouts, by_length):
        chunk = rollouts.iloc[rows]
        tokens_BL = torch.zeros(len(rows), lengths[rows].max(), dtype=torch.long)
        predicts_BL = torch.zeros(len(rows), lengths[rows].max(), dtype=torch.bool)
        for row, (prompt, completion) in enumerate(zip(chunk.prompt_tokens, chunk.tokens, strict=True)):
            tokens_BL[row, : len(prompt) + len(completion)] = torch.from_numpy(np.r_[prompt, completion])
            predicts_BL[row, len(prompt) - 1 : len(prompt) + len(completion) - 1] = True
        hidden_BLE = policy.model.model(input_ids=tokens_BL[:, :-1], use_cache=False).last_hidden_state
        rows_C, positions_C = predicts_BL.nonzero(as_tuple=True)
        logits_CV = policy.model.lm_head(hidden_BLE[rows_C, positions_C])
        losses_C = F.cross_entropy(logits_CV, tokens_BL[rows_C, positions_C + 1], reduction="none")
        (-torch.from_numpy(weights[rows])[rows_C] * losses_C).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in policy.model.named_parameters()}


def own_rollouts(policy: Policy) -> tuple[pd.DataFrame, np.ndarray]:
    """The policy's rollouts and their GRPO weights; rollouts of weight zero are left out."""
    problems = draw_problems(TASK, (60, 80), OWN_PROMPTS, seed=0)
    sampling = Sampling(1.0, LONGEST, OWN_GROUP_SIZE)
    rollouts = draw_rollouts(TorchEngine(policy), problems, Draw("benchmark", "gradient"), sampling)
    weights = grpo_weights(shaped_rewards(rollouts)).flatten().numpy()
    return rollouts[weights != 0].reset_index(drop=True), weights[weights != 0]


def compare(policy: Policy, rollouts: pd.DataFrame, weights: np.ndarray, repeats: int) -> dict[str, float]:
    flops, fed = useful_flops(policy, rollouts)
    ways = {
        "packed": lambda: accumulate_gradient(policy, rollouts.assign(weight=weights), temperature=1.0).sums,
        "padded": lambda: padded_gradient(policy, rollouts, weights, by_length=True),
        "unsorted": lambda: padded_gradient(policy, rollouts, weights, by_length=False),
    }
    seconds, gradients = {name: [] for name in ways}, {}
    sgemm = 0.0
    for _ in range(repeats):
        sgemm = max(sgemm, measure_sgemm())
        for name, way in ways.items():
            started = time.perf_counter()
            gradients[name] = way()
            seconds[name].append(time.perf_counter() - started)
    for name, expected in gradients["padded"].items():
        error = (gradients["packed"][name][0] - expected).norm() / expected.norm()
        assert error < 1e-4, f"{name}: the two gradients differ by {error:.1e}"
    best = {name: min(values) for name, values in seconds.items()}
    return {
        "parameters": policy.num_parameters,
        "tokens_per_rollout": rollouts.tokens.map(len).mean(),
        "fed_per_rollout": fed / len(rollouts),
        "rollouts_per_second": len(rollouts) / best["packed"],
        "padded_rollouts_per_second": len(rollouts) / best["padded"],
        "ratio": best["padded"] / best["packed"],
        "fewer_flops": padded_flops(policy, rollouts) / flops,
        "ratio_unsorted": best["unsorted"] / best["packed"],
        "gflops": flops / best["packed"] / 1e9,
        "sgemm_gflops": sgemm,
        "utilisation": flops / best["packed"] / 1e9 / sgemm,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=64, help="prompts a pass (default 64)")
    parser.add_argument("--group-size", type=int, default=16, help="completions a prompt (default 16)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each (default 3)")
    parser.add_argument("--pretraining", type=int, default=400, help="steps the policy of `own` is pretrained (400)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, size in SIZES.items():
        policy = build_policy(size, seed=0)
        drawn = random_rollouts(chosen.groups, chosen.group_size, 24, 8, 72, len(policy.tokenizer))
        found[name] = compare(policy, *drawn, chosen.repeats)
    policy = build(chosen.pretraining)
    found["own"] = compare(policy, *own_rollouts(policy), chosen.repeats)
    print(pd.DataFrame(found).T.round(2).to_string())
    result = {
        "gradient_vs_padded": min(found[name]["ratio"] for name in SIZES),
        "gradient_vs_unsorted": min(found[name]["ratio_unsorted"] for name in SIZES),
        "gradient_vs_padded_own": found["own"]["ratio"],
    }
    result |= {f"utilisation_{name}": measured["utilisation"] for name, measured in found.items()}
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
    print(json.dumps({**result, "targets": TARGETS, "measured": found, **vars(chosen), **versions}))


if __name__ == "__main__":
    main()
