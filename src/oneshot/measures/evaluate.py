"""Measuring a policy on held-out problems: accuracy sampled and greedy, entropy, and the KL to the base.

All policies of one run are measured on the same problems under the same keys (common random numbers), so the difference
between two of them is measured more precisely than either.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import Module

from oneshot.arms import WHOLE_SPLIT
from oneshot.engines.protocol import Engine
from oneshot.gradients.chunks import CHUNK_TOKENS, group_chunks
from oneshot.gradients.packing import pack, packed_hidden
from oneshot.policies.models import Policy
from oneshot.sampling import Draw, Sampling, draw_rollouts, summarise_rollouts
from oneshot.tasks.task import Problem

TRIES = "tries"
"""The examination of many samples a problem."""
LOGITS_AT_ONCE = 2**23
"""Logits that exist at one time, for each of two policies: 64 MiB in FP64."""


@dataclass(frozen=True)
class Examination:
    """Fixed problems, a fixed number of samples and fixed keys: the same measurement for every arm."""

    problems: list[Problem]
    run: str
    split: str
    sampling: Sampling
    """`group_size` is the number of samples per problem."""
    base_temperature: float | None = None
    """Of the base policy in the KL; None: that of the samples."""

    @property
    def num_rollouts(self) -> int:
        return len(self.problems) * self.sampling.group_size

    def at(self, temperature: float | None) -> "Examination":
        """The same at another temperature, against the base at its own; None: as it is."""
        if temperature is None:
            return self
        own = self.base_temperature or self.sampling.temperature
        return replace(self, sampling=replace(self.sampling, temperature=temperature), base_temperature=own)

    def part(self, start: int, stop: int) -> "Examination":
        """The same on some of the problems, in order."""
        return replace(self, problems=self.problems[start:stop])

    def draw(self, engine: Engine) -> pd.DataFrame:
        """Sampled rollouts of the engine's policy as it is now."""
        return draw_rollouts(engine, self.problems, Draw(self.run, self.split), self.sampling)

    def draw_both(self, engine: Engine) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Sampled rollouts, and one greedy rollout per problem."""
        drawn = draw_rollouts(engine, self.problems, Draw(self.run, self.split), self.sampling, also_greedy=True)
        greedy = drawn.sample_id == self.sampling.group_size
        return drawn[~greedy].reset_index(drop=True), drawn[greedy].assign(sample_id=0).reset_index(drop=True)


class Sitting:
    """An examination that one policy takes part by part: what it has answered it is not asked again."""

    def __init__(self, examination: Examination):
        self.whole, self.asked, self.drawn = examination, 0, []

    def draw_up_to(self, problem: int, engine: Engine) -> tuple[pd.DataFrame, pd.DataFrame]:
        """All rollouts so far, sampled and greedy, once that many problems have been asked."""
        self.drawn.append(self.whole.part(self.asked, problem).draw_both(engine))
        self.asked = problem
        return tuple(pd.concat(tables, ignore_index=True) for tables in zip(*self.drawn, strict=True))

    @property
    def so_far(self) -> Examination:
        """The examination on the problems that have been asked."""
        return self.whole.part(0, self.asked)

    @property
    def newest(self) -> pd.DataFrame:
        """The sampled rollouts of the last part."""
        return self.drawn[-1][0]


def examinations(
    sets: dict[str, list[Problem]],
    run: str,
    sampling: Sampling,
    samples: int,
    retention_samples: int,
    tries: int = 0,
    tried_problems: int = 0,
) -> dict[str, Examination]:
    """Split -> the examination on its problems, with that many samples per problem.

    With `tries` there is one more, `tries`: so many samples of each of the first `tried_problems` test problems.
    """
    counts = {split: retention_samples if split == "retention" else samples for split in sets}
    if tries and "test" in sets:
        sets, counts = {**sets, TRIES: sets["test"][:tried_problems]}, {**counts, TRIES: tries}
    return {
        split: Examination(problems, run, split, replace(sampling, group_size=counts[split]))
        for split, problems in sets.items()
    }


@dataclass(frozen=True)
class Measurement:
    """What an examination found about one policy."""

    sampled: pd.DataFrame
    """The rollout table."""
    rows: list[dict]
    """One row for the whole split and, if it mixes tasks, one per task (column `asked`)."""
    by_problem: pd.DataFrame
    """problem_id, asked (its task), correct of samples, greedy_correct."""


def measure(
    examination: Examination,
    engine: Engine,
    base: Policy,
    *,
    drawn: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    retention: Examination | None = None,
) -> Measurement:
    """Measure the engine's policy on an examination, sampled and greedy, with its KL to `base`.

    The KL is taken along the first sample of each problem: more of them tell little, and cost as much as drawing.
    `drawn` are the examination's rollouts of both kinds, if they are drawn already. With `retention`, the row of the
    whole split also has the sampled accuracy there, on a task not trained on.
    """
    sampled, greedy = drawn or examination.draw_both(engine)
    temperatures = (examination.sampling.temperature, examination.base_temperature)
    first = sampled[sampled.sample_id == 0]
    kl = sequence_kl(engine.policy, base, first, *temperatures).numpy()
    task_of = {problem.id: problem.task for problem in examination.problems}
    tables = (sampled, greedy, first.assign(kl_nats=kl))
    rows = [_figures(WHOLE_SPLIT, *tables)]
    if retention:
        rows[0]["retention_accuracy"] = retention.draw(engine).reward.mean()
    tasks = list(dict.fromkeys(task_of.values()))
    for task in tasks if len(tasks) > 1 else ():
        rows.append(_figures(task, *(table[table.problem_id.map(task_of) == task] for table in tables)))
    return Measurement(sampled, rows, _by_problem(sampled, greedy, task_of))


def _figures(asked: str, sampled: pd.DataFrame, greedy: pd.DataFrame, first: pd.DataFrame) -> dict:
    return {
        "asked": asked,
        **summarise_rollouts(sampled),
        "greedy_accuracy": greedy.reward.mean(),
        "kl_nats": first.kl_nats.mean(),
        "kl_nats_per_token": first.kl_nats.sum() / first.tokens.map(len).sum(),
    }


def _by_problem(sampled: pd.DataFrame, greedy: pd.DataFrame, task_of: dict[int, str]) -> pd.DataFrame:
    groups = sampled.groupby("problem_id", sort=False).reward
    counts = pd.DataFrame({"correct": groups.sum().astype(int), "samples": groups.size()})
    counts["greedy_correct"] = greedy.set_index("problem_id").reward.astype(int)
    counts = counts.reset_index()
    counts.insert(1, "asked", counts.problem_id.map(task_of))
    return counts


@torch.inference_mode()
def sequence_kl(
    policy: Policy,
    other: Policy,
    rollouts: pd.DataFrame,
    temperature: float,
    other_temperature: float | None = None,
    chunk_tokens: int = CHUNK_TOKENS,
) -> Tensor:
    """KL(policy ‖ other) along each of `rollouts`, which must be the policy's own: [R], nats per sequence, FP64.

    The other policy has the same temperature unless it is given its own.

    The sum over positions of the exact KL between the two next-token distributions (Rao-Blackwellised: its expectation
    over the policy's rollouts is the KL between the distributions of whole completions).
    """
    kl = torch.zeros(len(rollouts), dtype=torch.float64)
    temperatures = (temperature, other_temperature or temperature)
    if temperatures[0] == temperatures[1] and _equal(policy.model, other.model):
        return kl
    at_once = max(1, LOGITS_AT_ONCE // policy.model.config.vocab_size)
    for chunk in group_chunks(rollouts, np.ones(len(rollouts), dtype=bool), chunk_tokens):
        layout = pack(rollouts.iloc[chunk]).to(policy.model.device)
        states = zip(*(packed_hidden(each, layout).split(at_once) for each in (policy, other)), strict=True)
        kl_Q = torch.cat([_token_kl((policy, other), hidden, temperatures) for hidden in states])
        kl.index_add_(0, torch.from_numpy(chunk)[layout.rows_C.cpu()], kl_Q[layout.different_C].cpu())
    return kl


def _equal(model: Module, other: Module) -> bool:
    return all(torch.equal(*pair) for pair in zip(model.parameters(), other.parameters(), strict=True))


def _token_kl(
    policies: tuple[Policy, Policy], hidden: tuple[Tensor, Tensor], temperatures: tuple[float, float]
) -> Tensor:
    """KL between the next-token distributions of both policies at their hidden states [Q, E]: nats, FP64 [Q]."""
    log_p_QV, log_q_QV = map(_log_softmax, policies, hidden, temperatures)
    return (log_p_QV.exp() * (log_p_QV - log_q_QV)).sum(dim=-1)


def _log_softmax(policy: Policy, hidden_QE: Tensor, temperature: float) -> Tensor:
    return torch.log_softmax(policy.model.lm_head(hidden_QE).double() / temperature, dim=-1)
