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
from oneshot.gradient import CHUNK_TOKENS, completion_states, group_chunks
from oneshot.models import Policy
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
    for chunk in group_chunks(rollouts, np.ones(len(rollouts), dtype=bool), chunk_tokens):
        hidden_CE, rows_C = completion_states(policy, rollouts.iloc[chunk])
        other_CE, _ = completion_states(other, rollouts.iloc[chunk])
        at_once = max(1, LOGITS_AT_ONCE // policy.model.config.vocab_size)
        for part in torch.arange(len(rows_C)).split(at_once):
            log_p_CV = _log_softmax(policy, hidden_CE[part], temperature)
            log_q_CV = _log_softmax(other, other_CE[part], temperature)
            kl_C = (log_p_CV.exp() * (log_p_CV - log_q_CV)).sum(dim=-1)
            kl.index_add_(0, torch.from_numpy(chunk)[rows_C[part]], kl_C)
    return kl


def _log_softmax(policy: Policy, hidden_CE: Tensor, temperature: float) -> Tensor:
    return torch.log_softmax(policy.model.lm_head(hidden_CE).double() / temperature, dim=-1)
