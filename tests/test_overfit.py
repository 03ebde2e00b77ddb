"""Two ways for a batch to fail its step: what its groups say, and directions and gains of parts of it."""

import pandas as pd
import pytest

from oneshot.diagnostics import overfit
from oneshot.gradients.one_pass import Blocks, accumulate_gradient
from oneshot.gradients.weights import weigh
from oneshot.policies.models import fingerprint
from oneshot.sampling import Draw, Sampling
from oneshot.steps.directions import random
from oneshot.vectors import cosine, norm


@pytest.mark.parametrize("size", [16, 24, 48], ids=["a block", "no whole blocks", "all"])
def test_a_part_of_the_batch_has_the_gradient_of_its_rollouts(policy, rollouts, size):
    weighted = weigh(rollouts)
    stored = accumulate_gradient(policy, weighted, temperature=0.9, blocks=Blocks(3))
    found = overfit.direction_of_first(policy, rollouts, stored, size, "binary", 0.9)
    expected = accumulate_gradient(policy, weighted.head(size), temperature=0.9).mean()
    assert cosine(found, expected) == pytest.approx(1)
    assert norm(found) == pytest.approx(norm(expected), rel=1e-5)


def test_gains_are_over_home_and_on_each_set_apart(engine, problems, rollouts, monkeypatch):
    """Accuracies by number of the call: 1 and 2 at θ0, 3 and 5 along the line."""
    found, groups, visited = iter([0.1, 0.2, 0.3, 0.5]), [], []

    def answer(sampler, asked, draw, rules):
        visited.append(fingerprint(sampler.policy.model))
        groups.append(rules.group_size)
        return pd.DataFrame({"reward": [next(found)]})

    monkeypatch.setattr(overfit, "draw_rollouts", answer)
    start, sets = fingerprint(engine.policy.model), {"batch": problems[:2], "others": problems}
    direction = random(dict(engine.policy.model.named_parameters()))
    table = overfit.gains_along(
        engine, direction, {0.0: 0.0, 2.0: 0.1}, sets, Draw("a", "b"), Sampling(1.0, 8, group_size=24)
    )
    assert table.gain.tolist() == pytest.approx([0, 0, 0.2, 0.3])
    assert table["where"].tolist() == ["batch", "others"] * 2
    assert groups == [12, 2, 12, 2]
    assert visited[0] == visited[1] == start == fingerprint(engine.policy.model) != visited[2] == visited[3]


def test_groups_that_are_all_wrong_are_told_apart_by_partial_credit_alone(rollouts):
    """The first group is all wrong, the second all right, the other ten mixed."""
    credit = [0.0, 0.5, 0.0, 0.0] + [0.0] * 44
    told = overfit.informative_groups(rollouts.assign(credit=credit)).set_index(["groups", "rewards"])
    assert told.of.groupby("groups").first().to_dict() == {"all groups": 12, "all wrong": 1}
    assert told.informative.loc["all groups"].to_dict() == {"binary": 10, "partial": 11, "ranked": 11}
    assert told.informative.loc["all wrong"].to_dict() == {"binary": 0, "partial": 1, "ranked": 1}


def test_without_a_wrong_group_there_is_nothing_to_count(rollouts):
    told = overfit.informative_groups(rollouts[rollouts.reward.groupby(rollouts.problem_id).transform("max") > 0])
    assert told[told.groups == "all wrong"].informative.tolist() == [0, 0, 0]
