"""Voting: the answer that most of several completions give, and how often it is right."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from oneshot.engines.protocol import Engine
from oneshot.measures.evaluate import Examination
from oneshot.sampling import GREEDY
from oneshot.steps.line_search import moved
from oneshot.tasks import task_class
from oneshot.tasks.task import Problem
from oneshot.vectors import Vector


def majority(rollouts: pd.DataFrame, problems: list[Problem]) -> pd.Series:
    """Problem id -> whether the answer that most of its rollouts give is right.

    Answers are compared as their task reads them; completions without an answer do not vote. A tie goes to the answer
    that was given first, in the order of the table. Nothing said is wrong.
    """
    known = {problem.id: problem for problem in problems}
    return rollouts.groupby("problem_id", sort=False).apply(lambda group: _elected(group, known[group.name]))


def power_accuracy(rollouts: pd.DataFrame, exponent: float) -> float:
    """Accuracy of sampling whole answers from p^exponent, estimated from rollouts of p, many a problem.

    Each of a problem's rollouts counts as p^(exponent - 1), p the probability of the whole answer: as if one of them
    were picked by that. Low temperature sharpens tokens one by one; this sharpens answers (2510.14901).
    """
    logs = rollouts.logprobs.map(np.sum) * (exponent - 1)
    weights = np.exp(logs - logs.groupby(rollouts.problem_id).transform("max"))
    sums = weights.groupby(rollouts.problem_id).sum()
    return float(((weights * rollouts.reward).groupby(rollouts.problem_id).sum() / sums).mean())


def ensemble_accuracy(exam: Examination, engine: Engine, voters: Sequence[Callable[[], Vector]]) -> float:
    """The share of problems on which the vote of the greedy answers of several policies is right.

    `voters` give moves from the engine's policy, which is θ0 again afterwards, bit for bit.
    """
    greedy = replace(exam, sampling=replace(exam.sampling, temperature=GREEDY, group_size=1))
    drawn = []
    for voter in voters:
        with moved(engine.policy.model, voter(), 1.0):
            drawn.append(greedy.draw(engine))
    return float(majority(pd.concat(drawn), exam.problems).mean())


def _elected(group: pd.DataFrame, problem: Problem) -> bool:
    task = task_class(problem.task)
    said = [task.answer_in(text) for text in group.text]
    votes = Counter(answer for answer in said if answer)
    if not votes:
        return False
    (winner, _), *_ = votes.most_common(1)
    return bool(group.reward.iloc[said.index(winner)])
