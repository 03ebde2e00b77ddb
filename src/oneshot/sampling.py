"""Sampling: problems in, scored rollouts out.

The key of every rollout is (run, purpose, step, problem, sample). A problem drawn again in another step or for another
purpose therefore gets fresh noise. The same key gives every policy the same noise (common random numbers).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from oneshot.engines.noise import rollout_key
from oneshot.engines.protocol import Engine, Generation
from oneshot.policies.models import Policy
from oneshot.tasks import task_class
from oneshot.tasks.task import Problem
from oneshot.verifiers import Status, Verdict

CUT_OFF = "cut_off"
"""Status of a completion that reached the token limit: it is not verified and gets no reward."""
GREEDY = 0.0
"""The temperature that means greedy decoding: the most probable token each time."""


@dataclass(frozen=True)
class Sampling:
    """How rollouts are drawn."""

    temperature: float
    """Temperature of the softmax, in sampling and in the gradient; GREEDY for greedy decoding."""
    max_new_tokens: int
    """Longer completions are cut off."""
    group_size: int = 1
    """G, rollouts per problem."""


@dataclass(frozen=True)
class Draw:
    """The purpose of a set of rollouts. With problem and sample, it is the key of their noise."""

    run: str
    """Names experiment, model, task, policy and run seed."""
    purpose: str
    step: int = 0

    def key(self, problem_id: int, sample_id: int) -> int:
        return rollout_key(self.run, self.purpose, self.step, problem_id, sample_id)


def draw_rollouts(
    engine: Engine,
    problems: list[Problem],
    draw: Draw,
    sampling: Sampling,
    *,
    openings: Sequence[str] = (),
    also_greedy: bool = False,
    on_finished: Callable[[int], object] = lambda count: None,
) -> pd.DataFrame:
    """`group_size` rollouts per problem from the engine's policy, scored by the problem's task.

    Returns the table of `oneshot.rollouts`. `openings` are forced starts of the answers, one for each problem: fed as
    part of the prompt, verified as part of the completion. With `also_greedy` each problem gets one more, decoded
    greedily, as its last; what it shares with the others is computed once. `on_finished(n)` is called from time to time
    with the number of rollouts finished since the last call.
    """
    openings = openings or [""] * len(problems)
    prompts = [
        engine.policy.encode_prompt(problem.task, problem.prompt, opening)
        for problem, opening in zip(problems, openings, strict=True)
    ]
    keys_PG = torch.tensor(
        [
            [
                rollout_key(draw.run, draw.purpose, draw.step, problem.id, sample)
                for sample in range(sampling.group_size)
            ]
            for problem in problems
        ]
    )
    generation = engine.generate(
        prompts,
        keys_PG,
        temperature=sampling.temperature,
        max_new_tokens=sampling.max_new_tokens,
        also_greedy=also_greedy,
        on_finished=on_finished,
    )
    return score(engine.policy, problems, prompts, generation, openings)


def score(
    policy: Policy,
    problems: list[Problem],
    prompts: list[list[int]],
    generation: Generation,
    openings: Sequence[str],
) -> pd.DataFrame:
    """The rollout table of a generation: padding removed, decoded, and verified with its problem's opening in front.

    The end token is among a rollout's tokens, but not in its text.
    """
    lengths = generation.lengths_R.tolist()
    group_size = len(lengths) // len(problems)
    tokens = _ragged(generation.tokens_RT.int(), lengths)
    ended = generation.ended_R.tolist()
    said = (ids[:-1] if end else ids for ids, end in zip(tokens, ended, strict=True))
    texts = [openings[row // group_size] + policy.decode(ids) for row, ids in enumerate(said)]
    of_row = [problem for problem in problems for _ in range(group_size)]
    answers = zip(of_row, texts, ended, strict=True)
    verdicts = _verdicts([(problem, text) if end else None for problem, text, end in answers])
    return pd.DataFrame(
        {
            "problem_id": [problem.id for problem in of_row],
            "sample_id": np.tile(np.arange(group_size, dtype=np.int32), len(problems)),
            "prompt_tokens": [prompt for prompt in prompts for _ in range(group_size)],
            "tokens": tokens,
            "logprobs": _ragged(generation.logprobs_RT, lengths),
            "entropy_nats": generation.entropy_R.numpy(),
            "ended": ended,
            "text": texts,
            "status": [str(verdict.status) if verdict else CUT_OFF for verdict in verdicts],
            "reward": np.array([verdict.reward if verdict else 0.0 for verdict in verdicts], dtype=np.float32),
            "credit": np.array([verdict.credit if verdict else 0.0 for verdict in verdicts], dtype=np.float32),
        }
    )


def _verdicts(answers: list[tuple[Problem, str] | None]) -> list[Verdict | None]:
    """The verdict of each answer by its problem's task; None for answers that were cut off."""
    verdicts: list[Verdict | None] = [None] * len(answers)
    for name in {answer[0].task for answer in answers if answer}:
        rows = [row for row, answer in enumerate(answers) if answer and answer[0].task == name]
        for row, verdict in zip(rows, task_class(name).verify_many(answers[row] for row in rows), strict=True):
            verdicts[row] = verdict
    return verdicts


def summarise_rollouts(rollouts: pd.DataFrame) -> dict[str, float]:
    """Accuracy, shares of unparsable and cut-off rollouts, mean entropy and mean length of a table.

    Entropy is in nats per token, the mean over all tokens: a long completion counts by its length.
    """
    lengths = rollouts.tokens.map(len)
    return {
        "accuracy": rollouts.reward.mean(),
        "unparsable_rate": (rollouts.status == Status.UNPARSABLE).mean(),
        "cut_off_rate": (~rollouts.ended).mean(),
        "entropy_nats": (rollouts.entropy_nats * lengths).sum() / lengths.sum(),
        "tokens_per_rollout": lengths.mean(),
    }


def _ragged(values_RT: torch.Tensor, lengths: list[int]) -> list:
    return [row[:length] for row, length in zip(values_RT.numpy(), lengths, strict=True)]
