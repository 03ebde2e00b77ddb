"""Measuring a policy on held-out problems: accuracy sampled and greedy, entropy, and the KL to the base.

All policies of one run meet the same problems under the same keys (common random numbers), so that the
difference between two of them is measured more sharply than either.

Shapes: C completion tokens, V vocabulary.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from oneshot.engines import Engine
from oneshot.gradient import CHUNK_TOKENS, group_chunks
from oneshot.models import Policy
from oneshot.packing import pack, packed_hidden
from oneshot.sampling import draw_rollouts, rates
from oneshot.tasks import Problem

GREEDY = 0.0
LOGITS_AT_ONCE = 2**23
"""In FP64, of each of two policies: 64 MiB."""


@dataclass(frozen=True)
class Examination:
    """Fixed problems, a fixed number of samples, fixed keys: what every arm is measured by."""

    problems: list[Problem]
    run: str
    purpose: str
    num_samples: int
    temperature: float
    max_new_tokens: int

    def draw(self, engine: Engine, policy: Policy) -> pd.DataFrame:
        """Sampled rollouts of the policy as it is now."""
        return self._draw(engine, policy, self.num_samples, self.temperature)

    def draw_greedy(self, engine: Engine, policy: Policy) -> pd.DataFrame:
        """One rollout a problem, the most probable token each time."""
        return self._draw(engine, policy, 1, GREEDY)

    def _draw(self, engine: Engine, policy: Policy, group_size: int, temperature: float) -> pd.DataFrame:
        return draw_rollouts(
            engine,
            policy,
            self.problems,
            run=self.run,
            purpose=self.purpose,
            group_size=group_size,
            temperature=temperature,
            max_new_tokens=self.max_new_tokens,
        )


def measure(
    examination: Examination, engine: Engine, policy: Policy, base: Policy, retention: Examination | None = None
) -> tuple[dict[str, float], pd.DataFrame]:
    """One row of figures for the policy, sampled and greedy, with its KL to `base`; and its right answers by problem.

    With `retention`, the row also has the sampled accuracy on that examination, of a task not trained on.
    """
    sampled, greedy = examination.draw(engine, policy), examination.draw_greedy(engine, policy)
    kl = sequence_kl(policy, base, sampled, examination.temperature)
    row = {
        **rates(sampled),
        "greedy_accuracy": greedy.reward.mean(),
        "kl_nats": kl.mean().item(),
        "kl_nats_per_token": (kl.sum() / sampled.tokens.map(len).sum()).item(),
    }
    if retention:
        row["retention_accuracy"] = retention.draw(engine, policy).reward.mean()
    by_problem = pd.DataFrame(
        {
            "correct": sampled.groupby("problem_id", sort=False).reward.sum().astype(int),
            "samples": examination.num_samples,
            "greedy_correct": greedy.set_index("problem_id").reward.astype(int),
        }
    ).reset_index()
    return row, by_problem


@torch.inference_mode()
def sequence_kl(
    policy: Policy, other: Policy, rollouts: pd.DataFrame, temperature: float, chunk_tokens: int = CHUNK_TOKENS
) -> Tensor:
    """KL(policy ‖ other) along each of `rollouts`, which must be the policy's own: nats per sequence, FP64, one a row.

    The sum over positions of the exact KL between the two next-token distributions (Rao-Blackwellised: its
    expectation over the policy's rollouts is the KL between the distributions of whole completions).
    """
    kl = torch.zeros(len(rollouts), dtype=torch.float64)
    at_once = max(1, LOGITS_AT_ONCE // policy.model.config.vocab_size)
    for chunk in group_chunks(rollouts, np.ones(len(rollouts), dtype=bool), chunk_tokens):
        layout = pack(rollouts.iloc[chunk]).to(policy.model.device)
        states = zip(*(packed_hidden(each, layout).split(at_once) for each in (policy, other)), strict=True)
        kl_Q = torch.cat([_token_kl(policy, other, *hidden, temperature) for hidden in states])
        kl.index_add_(0, torch.from_numpy(chunk)[layout.rows_C.cpu()], kl_Q[layout.different_C].cpu())
    return kl


def _token_kl(policy: Policy, other: Policy, hidden_QE: Tensor, other_QE: Tensor, temperature: float) -> Tensor:
    """KL between the next-token distributions of both policies at these hidden states: nats, FP64 [Q]."""
    log_p_QV, log_q_QV = _log_softmax(policy, hidden_QE, temperature), _log_softmax(other, other_QE, temperature)
    return (log_p_QV.exp() * (log_p_QV - log_q_QV)).sum(dim=-1)


def _log_softmax(policy: Policy, hidden_QE: Tensor, temperature: float) -> Tensor:
    return torch.log_softmax(policy.model.lm_head(hidden_QE).double() / temperature, dim=-1)
