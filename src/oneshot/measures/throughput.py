"""The two sides of utilisation: the machine's peak rate, and the work that was needed."""

import time

import numpy as np
import pandas as pd
import torch

from oneshot.gradients.prefix_tree import branches
from oneshot.policies.models import Policy


def measure_sgemm(device: str | torch.device = "cpu", size: int = 1024, repeats: int = 20) -> float:
    """Peak FP32 rate of this process's threads in matrix products, GFLOP/s: the best of `repeats` square products."""
    a, b = torch.randn(2, size, size, device=device)
    finish = torch.cuda.synchronize if a.is_cuda else lambda: None
    finish()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(a, b)
        finish()
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds) / 1e9


def useful_flops(policy: Policy, rollouts: pd.DataFrame) -> tuple[float, int]:
    """(FLOPs, tokens fed) that one forward and backward pass over `rollouts` needs: 6 per matrix weight and token fed.

    A group's prompt counts once, and so does every prefix that its completions share. A completion's last token is not
    fed. The output head counts once for every different token predicted. Attention products, norms, padding and
    recomputation do not count.
    """
    groups = pd.factorize(rollouts.problem_id)[0]
    completions = [np.asarray(tokens) for tokens in rollouts.tokens]
    predicted, fed = (
        sum(map(len, sequences)) - branches(sequences, groups)[1].sum()
        for sequences in (completions, [tokens[:-1] for tokens in completions])
    )
    fed += rollouts.groupby("problem_id").prompt_tokens.first().map(len).sum()
    matrices = sum(parameter.numel() for parameter in policy.model.model.layers.parameters() if parameter.dim() == 2)
    head = policy.model.lm_head.weight.numel()
    return 6.0 * (matrices * fed + head * predicted), int(fed)


def utilisation(policy: Policy, rollouts: pd.DataFrame, seconds: float) -> dict[str, float]:
    """Tokens, seconds and both rates of one forward and backward pass: columns of a timings table."""
    flops, tokens = useful_flops(policy, rollouts)
    rates = {"gflops": flops / seconds / 1e9, "sgemm_gflops": measure_sgemm(policy.model.device)}
    return {"tokens": tokens, "seconds": seconds, **rates}
