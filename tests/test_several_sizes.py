"""One gradient with several step sizes, against closed forms: the natural gradient in the span of the parts."""

from collections import Counter

import numpy as np
import pytest
import torch
from small_policy import differentiate

from oneshot.gradients.clusters import CLUSTERS, Part, drawn, labels, parts_of
from oneshot.steps.several_sizes import DAMPING, combine
from oneshot.vectors import cosine, norm

FISHER = torch.tensor([[4.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])


def vector(*values):
    return {"w": torch.tensor(values)}


def curvature(v):
    return (v["w"] @ FISHER @ v["w"]).item()


def exact_part(*values):
    """A part on which both halves of the batch agree."""
    return Part(vector(*values), vector(*values))


def test_parts_that_span_everything_give_the_damped_natural_gradient():
    g = torch.tensor([1.0, -2.0, 0.5])
    parts = {str(place): exact_part(*(g * torch.eye(3)[place]).tolist()) for place in range(3)}
    found, _ = combine(parts, curvature)
    damped = FISHER + DAMPING * FISHER.diag().diag()
    assert cosine(found, {"w": torch.linalg.solve(damped, g)}) == pytest.approx(1, abs=1e-6)


def test_parts_alike_keep_the_gradient_and_their_common_size():
    identity = torch.eye(2)
    parts = {"a": exact_part(1.0, 0.0), "b": exact_part(0.0, 1.0)}
    found, sizes = combine(parts, lambda v: (v["w"] @ identity @ v["w"]).item())
    assert cosine(found, vector(1.0, 1.0)) == pytest.approx(1)
    assert sizes == pytest.approx({"a": 1, "b": 1})


def test_the_part_that_bends_the_policy_more_takes_the_smaller_step():
    parts = {"stiff": exact_part(1.0, 0.0, 0.0), "soft": exact_part(0.0, 0.0, 1.0)}
    sizes = combine(parts, curvature)[1]
    assert sizes["soft"] / sizes["stiff"] == pytest.approx(4)


def test_noise_is_no_slope():
    """The halves of the second part have nothing in common: the slope along it is nothing, however long it is."""
    parts = {"signal": exact_part(1.0, 0.0, 0.0), "noise": Part(vector(0.0, 9.0, 0.0), vector(0.0, 0.0, 9.0))}
    found, sizes = combine(parts, lambda v: norm(v) ** 2)
    assert sizes["noise"] == pytest.approx(0, abs=1e-6)
    assert cosine(found, vector(1.0, 0.0, 0.0)) == pytest.approx(1)


def test_a_part_without_effect_is_left_out():
    found, sizes = combine({"some": exact_part(2.0), "none": exact_part(0.0)}, lambda v: norm(v) ** 2)
    assert list(sizes) == ["some"]
    assert found["w"] > 0


@pytest.mark.parametrize("by", CLUSTERS)
def test_parts_add_up_to_the_gradient(policy, rollouts, weights, by):
    weighted = rollouts.assign(weight=weights)
    gradient = differentiate(policy, rollouts, weights, temperature=0.9, num_blocks=4)
    task_of = {problem: ("even" if problem % 2 else "odd") for problem in rollouts.problem_id}
    parts = parts_of(by, gradient, policy, weighted, task_of, 0.9)
    assert len(parts) > 1
    g = gradient.mean()
    for name, values in g.items():
        assert torch.allclose(sum(part.mean[name] for part in parts.values()), values, atol=1e-6)
    even = gradient.mean(gradient.block_ids[::2])
    for name, values in even.items():
        assert torch.allclose(sum(part.even[name] for part in parts.values()), values, atol=1e-6)


def test_clusters_are_of_whole_groups(rollouts):
    task_of = dict.fromkeys(rollouts.problem_id, "sums")
    for by in ("task", "pass_rate", "chance"):
        named = labels(by, rollouts, task_of)
        assert all(len(set(named[rollouts.problem_id == problem])) == 1 for problem in task_of)
    rates = rollouts.groupby("problem_id").reward.transform("mean")
    by_rate = labels("pass_rate", rollouts, task_of)
    assert set(by_rate[rates <= 0.25]) == {"up to 0.25"}
    assert set(by_rate[(rates > 0.25) & (rates <= 0.5)]) <= {"up to 0.5"}
    assert set(by_rate[rates > 0.5]) == {"up to 1"}
    assert sorted(Counter(drawn([f"w{place}" for place in range(8)]).values()).values()) == [2, 3, 3]
    chance = np.unique(labels("chance", rollouts, task_of), return_counts=True)[1]
    assert chance.tolist() == [16, 16, 16]
