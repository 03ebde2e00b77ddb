"""Neighbours of θ0: what they are, that θ0 stays, and closed forms of the two numbers that describe them."""

import pandas as pd
import pytest

from oneshot.diagnostics import neighbours
from oneshot.diagnostics.experts import density, specialism
from oneshot.policies.models import fingerprint
from oneshot.sampling import GREEDY, Sampling
from oneshot.steps.line_search import move
from oneshot.tasks import get_task
from oneshot.tasks.problem_sets import draw_problems
from oneshot.vectors import standard_normal


def test_density_counts_those_that_gain_the_margin():
    scores = pd.Series([0.1, 0.3, 0.35, 0.4])
    assert density(scores, home=0.3, margin=0.05) == 0.5
    assert density(scores, home=0.3, margin=0.0) == 0.75
    assert density(scores, home=0.3, margin=0.2) == 0


@pytest.mark.parametrize(
    ("second", "expected"), [([1, 2, 3, 4], 0), ([4, 3, 2, 1], 2), ([2, 4, 1, 3], 1), ([5, 5, 5, 5], None)]
)
def test_specialism_is_one_less_the_correlation_of_ranks(second, expected):
    found = specialism(pd.DataFrame({"one": [0.1, 0.2, 0.4, 0.8], "two": second}))
    assert found == pytest.approx(expected) if expected is not None else pd.isna(found)


def test_three_tasks_of_which_two_agree():
    scores = pd.DataFrame({"one": [1, 2, 3], "two": [1, 2, 3], "three": [3, 2, 1]})
    assert specialism(scores) == pytest.approx(1 - (1 - 1 - 1) / 3)


def test_every_neighbour_is_scored_where_it_is_by_task_and_home_is_restored(engine, problems, monkeypatch):
    """The tiny policy is never right, so what is asked here is which policy each score is of."""
    model, visited = engine.policy.model, []
    start = fingerprint(model)

    def answer(sampler, asked, draw, sampling):
        visited.append(fingerprint(sampler.policy.model))
        assert sampling == Sampling(GREEDY, 8)
        return pd.DataFrame({"reward": [len(visited) * (problem.task == "arithmetic") for problem in asked]})

    monkeypatch.setattr(neighbours, "draw_rollouts", answer)
    sorting = draw_problems(get_task("sorting"), (0, 60), 3, seed=0)
    found = neighbours.tried(engine, problems + sorting, 0.3, (1, 2), 8)
    assert fingerprint(model) == start == visited[0]
    assert found.pivot(index="neighbour", columns="asked", values="accuracy").to_dict("list") == {
        "arithmetic": [1, 2, 3],
        "sorting": [0, 0, 0],
    }
    assert found.sigma.unique().tolist() == [0.3]
    move(model, standard_normal(dict(model.named_parameters()), 2), 0.3)
    assert fingerprint(model) == visited[2]
