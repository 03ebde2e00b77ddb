r"""Fine-tuning on gold answers: what the key to the batch's problems teaches, without a rollout or a reward.

    for every minibatch of problems, in several passes:
        θ ← AdamW step up  Σ_it log π_θ(y*_it | x_i) / Σ_i |y*_i|        y*: the gold completion

The problems are those of the one batch, once each. Every token weighs the same, as in `star`, which fine-tunes on the
right ones among the policy's own answers. What is searched is the path's length, as in `reuse`; these are all the
rollouts that it draws.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor

from oneshot.baselines.lab import Lab, Step, next_problems
from oneshot.baselines.passes import minibatches, search_length
from oneshot.gradients.ratios import Reused
from oneshot.policies.models import Policy
from oneshot.tasks import task_class
from oneshot.tasks.task import Problem

IN_ONE_PROCESS = True


@dataclass(frozen=True)
class Settings:
    learning_rate: float
    prompts: int
    """Problems, the first of the training set: as many as the batch has prompts."""
    problems_per_step: int
    passes: int = 2
    looks: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    """Shares of the path after which the policy is measured on validation problems."""


def run(lab: Lab, settings: Settings) -> Iterator[Step]:
    """Train the lab's policy on the gold answers; ends at the best length found."""
    answers = gold_answers(lab.policy, next_problems(lab.train, 1, settings.prompts))
    masters = lab.masters(settings.learning_rate)

    def climb(rows: np.ndarray) -> dict[str, float]:
        logprobs = []

        def observed(answered: Reused) -> Tensor:
            logprobs.append(answered.change_C)
            return answered.weights_C

        lab.climb(masters, answers.iloc[rows], observed)
        total, count = sum(part.sum().item() for part in logprobs), sum(map(len, logprobs))
        return {"logprob_nats": total / count}

    steps = list(minibatches(answers, settings.problems_per_step, settings.passes))
    yield from search_length(lab, steps, settings.looks, climb)


def gold_answers(policy: Policy, problems: list[Problem]) -> pd.DataFrame:
    """A rollout table of gold completions, one a problem, with weights; no policy drew them, so log-probs are 0."""
    rows = []
    for problem in problems:
        tokens = [*policy.encode(task_class(problem.task).gold(problem)), policy.end_id]
        prompt = policy.encode_prompt(problem.task, problem.prompt)
        rows.append({"problem_id": problem.id, "sample_id": 0, "prompt_tokens": prompt, "tokens": tokens})
    table = pd.DataFrame(rows)
    lengths = table.tokens.map(len)
    return table.assign(logprobs=[np.zeros(length, dtype=np.float32) for length in lengths], weight=1 / lengths.mean())
