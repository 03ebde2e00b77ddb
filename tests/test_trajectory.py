"""Trajectories: what is kept comes back, to three digits, and belongs to its θ0."""

import copy

import pytest
import torch

from oneshot.files import BadFile
from oneshot.measures.trajectory import Trajectory, load_trajectory


@pytest.fixture
def saved(policy, tmp_path):
    """A policy that takes three random steps, tiny and large, of which the first and the third are kept."""
    trained, moves = copy.deepcopy(policy.model), {}
    trajectory, generator = Trajectory(policy.model, [1, 3, 10]), torch.Generator().manual_seed(0)
    for step, size in ((1, 1e-7), (2, 1e-3), (3, 0.1)):
        with torch.no_grad():
            for parameter in trained.parameters():
                parameter.add_(size * torch.randn(parameter.shape, generator=generator))
        trajectory.add(step, trained)
        before = dict(policy.model.named_parameters())
        moves[step] = {name: (weight - before[name]).detach() for name, weight in trained.named_parameters()}
    trajectory.save(tmp_path / "trajectory.safetensors", {"fingerprint": "abc"})
    return tmp_path / "trajectory.safetensors", moves


def test_kept_moves_come_back(saved):
    path, moves = saved
    loaded = load_trajectory(path, "abc")
    assert list(loaded) == [1, 3]
    for step, move in loaded.items():
        for name, values in move.items():
            assert torch.allclose(values, moves[step][name], rtol=1e-3, atol=1e-6 * values.abs().max()), (step, name)


def test_a_step_that_changes_nothing_is_zero(policy, tmp_path):
    trajectory = Trajectory(policy.model, [1])
    trajectory.add(1, policy.model)
    trajectory.save(tmp_path / "t.safetensors", {"fingerprint": "abc"})
    assert all(not values.any() for values in load_trajectory(tmp_path / "t.safetensors", "abc")[1].values())


def test_steps_that_were_never_taken_are_named(policy, tmp_path):
    trajectory = Trajectory(policy.model, [10, 20])
    trajectory.add(1, policy.model)
    with pytest.raises(ValueError, match="took none of these steps: 10, 20"):
        trajectory.save(tmp_path / "t.safetensors", {"fingerprint": "abc"})
    assert not list(tmp_path.iterdir())


def test_another_start_and_another_file_are_refused(saved, tmp_path):
    with pytest.raises(BadFile, match="starts at policy abc, not at xyz"):
        load_trajectory(saved[0], "xyz")
    saved[0].write_bytes(saved[0].read_bytes()[:50])
    with pytest.raises(BadFile, match="not a trajectory"):
        load_trajectory(saved[0], "abc")
