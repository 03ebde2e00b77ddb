"""How fast the machine could be and how much work was done: the two sides of every utilisation figure."""

import time

import pandas as pd
import torch

from oneshot.models import Policy


def measure_sgemm(size: int = 1024, repeats: int = 20) -> float:
    """Peak FP32 matrix product of this process, GFLOP/s: the best of `repeats` square products, with its threads."""
    a, b = torch.randn(2, size, size)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds) / 1e9


def useful_flops(policy: Policy, rollouts: pd.DataFrame) -> tuple[float, int]:
    """(FLOPs, tokens) that one forward and backward pass over `rollouts` needs: 6 per matrix weight and token fed.

    A group's prompt counts once, every completion without its last token, which predicts nothing; the output head
    counts for the tokens that are predicted only. Attention products, norms, padding and recomputation do not count.
    """
    predicted = int(rollouts.tokens.map(len).sum())
    prompts = int(rollouts.groupby("problem_id").prompt_tokens.first().map(len).sum())
    fed = prompts + predicted - len(rollouts)
    matrices = sum(parameter.numel() for parameter in policy.model.model.layers.parameters() if parameter.dim() == 2)
    head = policy.model.lm_head.weight.numel()
    return 6.0 * (matrices * fed + head * predicted), fed
