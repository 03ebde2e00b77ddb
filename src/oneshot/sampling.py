"""Drawing and scoring rollouts: problems in, the rollout table out.

The key of every rollout is (run, purpose, step, problem, sample), so the same problem met in another step
or for another purpose gets fresh noise, and the same key gives the same luck to every policy.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from oneshot.engines import Engine, Generation
from oneshot.engines.noise import rollout_key
from oneshot.models import Policy
from oneshot.tasks import Problem, get_task
from oneshot.verifiers import Status, Verdict

CUT_OFF = "cut_off"
"""Status of a completion that reached the token limit: never shown to the verifier, never paid."""


def draw_rollouts(
    engine: Engine,
    policy: Policy,
    problems: list[Problem],
    *,
    run: str,
    purpose: str,
    step: int = 0,
    group_size: int,
    temperature: float,
    max_new_tokens: int,
    opening: str = "",
    on_finished: Callable[[int], object] = lambda count: None,
) -> pd.DataFrame:
    """`group_size` rollouts for every problem, scored by its task's verifier: the table of `oneshot.rollouts`.

    `opening` is put into the policy's mouth: it counts as prompt, the completion goes on from there,
    and what is verified is both.
    `on_finished` is told how many rollouts have ended since it was last called.
    """
    prompts = [policy.encode_prompt(problem.task, problem.prompt, opening) for problem in problems]
    keys_PG = torch.tensor(
        [[rollout_key(run, purpose, step, problem.id, sample) for sample in range(group_size)] for problem in problems]
    )
    generation = engine.generate(
        prompts, keys_PG, temperature=temperature, max_new_tokens=max_new_tokens, on_finished=on_finished
    )
    return score(policy, problems, prompts, generation, opening)


def score(
    policy: Policy, problems: list[Problem], prompts: list[list[int]], generation: Generation, opening: str = ""
) -> pd.DataFrame:
    """The rollout table of a generation: cut, decoded and verified, with its opening."""
    lengths = generation.lengths_R.tolist()
    group_size = len(lengths) // len(problems)
    tokens = _ragged(generation.tokens_RT.int(), lengths)
    ended = generation.ended_R.tolist()
    texts = [opening + policy.decode(row) for row in tokens]
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
    """Each answer's verdict, given by its problem's task; None for what was cut off."""
    verdicts: list[Verdict | None] = [None] * len(answers)
    for name in {answer[0].task for answer in answers if answer}:
        rows = [row for row, answer in enumerate(answers) if answer and answer[0].task == name]
        for row, verdict in zip(rows, get_task(name).verify_many(answers[row] for row in rows), strict=True):
            verdicts[row] = verdict
    return verdicts


def rates(rollouts: pd.DataFrame) -> dict[str, float]:
    """What a table says of its policy: accuracy, the shares of unparsable and cut-off rollouts, entropy, length."""
    return {
        "accuracy": rollouts.reward.mean(),
        "unparsable_rate": (rollouts.status == Status.UNPARSABLE).mean(),
        "cut_off_rate": (~rollouts.ended).mean(),
        "entropy_nats": rollouts.entropy_nats.mean(),
        "tokens_per_rollout": rollouts.tokens.map(len).mean(),
    }


def _ragged(values_RT: torch.Tensor, lengths: list[int]) -> list:
    return [row[:length] for row, length in zip(values_RT.numpy(), lengths, strict=True)]
