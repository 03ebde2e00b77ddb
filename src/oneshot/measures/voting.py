"""Voting: the answer that most of several completions give, and how often it is right."""

from collections import Counter

import numpy as np
import pandas as pd

from oneshot.tasks import task_class
from oneshot.tasks.task import Problem


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


def _elected(group: pd.DataFrame, problem: Problem) -> bool:
    task = task_class(problem.task)
    said = [task.answer_in(text) for text in group.text]
    votes = Counter(answer for answer in said if answer)
    if not votes:
        return False
    (winner, _), *_ = votes.most_common(1)
    return bool(group.reward.iloc[said.index(winner)])
