"""Several processes against one, over Gloo: dealt-out blocks agree to the last bit, FSDP2's shards to rounding."""

import os
import subprocess
import sys

import pytest
import torch
from small_policy import differentiate

from oneshot.gradients import distributed
from oneshot.gradients.block_sums import load_gradient
from oneshot.gradients.one_pass import Blocks, accumulate_gradient
from oneshot.policies.models import fingerprint, save_policy
from oneshot.rollouts import save_rollouts
from oneshot.vectors import norm


@pytest.fixture
def written(policy, rollouts, tmp_path):
    """A folder with the policy and its rollouts, as the notebooks leave them."""
    save_policy(policy, tmp_path / "policy", {})
    origin = {"fingerprint": fingerprint(policy.model), "run": "test", "temperature": 0.9}
    save_rollouts(rollouts, tmp_path / "rollouts.parquet", origin)
    return tmp_path


def torchrun(folder, *arguments, processes=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
    command += [
        "-m",
        "oneshot.gradients.distributed",
        "--policy",
        folder / "policy",
        "--rollouts",
        folder / "rollouts.parquet",
    ]
    command += [*arguments, "--out", folder / "gradient.safetensors"]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return done.returncode, done.stderr


def relative_error(g, expected):
    return norm({name: g[name] - expected[name] for name in g}) / norm(expected)


class PlayedGroup:
    """`torch.distributed` of two processes that run one after the other: rank 1 sends, then rank 0 receives."""

    def __init__(self):
        self.rank, self.sent = 1, []

    def get_rank(self):
        return self.rank

    def get_world_size(self):
        return 2

    def gather(self, values, parts):
        if self.rank:
            self.sent.append(values.clone())
        else:
            parts[0].copy_(values)
            parts[1].copy_(self.sent.pop(0))

    def gather_object(self, value, parts):
        if self.rank:
            self.sent.append(value)
        else:
            parts[:] = [value, self.sent.pop(0)]

    def reduce(self, values, _):
        if self.rank:
            self.sent.append(values.clone())
        else:
            values += self.sent.pop(0)


@pytest.mark.parametrize("sketch_size", [0, 16])
def test_dealing_out_and_collecting_give_the_same_bits(policy, rollouts, weights, monkeypatch, sketch_size):
    weighted, blocks = rollouts.assign(weight=weights), Blocks(4)
    options = {"temperature": 0.9, "blocks": blocks, "sketch_size": sketch_size}
    alone = accumulate_gradient(policy, weighted, **options)
    monkeypatch.setattr(distributed, "dist", group := PlayedGroup())
    assert distributed.distributed_gradient(policy, weighted, **options) is None
    group.rank = 0
    combined = distributed.distributed_gradient(policy, weighted, **options)
    assert group.sent == []
    check_equal(combined, alone)


def check_equal(combined, alone):
    assert (combined.block_ids, combined.digests) == (alone.block_ids, alone.digests)
    assert torch.equal(combined.sampler_gap, alone.sampler_gap)
    exact = alone.sketches is None  # sketched sums are added in another order
    for name, sums in alone.sums.items():
        assert torch.equal(combined.sums[name], sums) if exact else torch.allclose(combined.sums[name], sums, atol=1e-5)
    if not exact:
        assert torch.equal(combined.sketches, alone.sketches)


@pytest.mark.slow
def test_blocks_dealt_out_by_torchrun_give_the_same_bits(policy, rollouts, weights, written):
    code, said = torchrun(written, "--blocks", "4")
    assert code == 0, said
    combined = load_gradient([written / "gradient.safetensors"], fingerprint(policy.model))
    alone = differentiate(policy, rollouts, weights, temperature=0.9, num_blocks=4)
    check_equal(combined, alone)


@pytest.mark.slow
@pytest.mark.parametrize("sketch_size", [0, 64])
def test_a_sharded_model_gives_the_same_gradient(policy, rollouts, weights, written, sketch_size):
    code, said = torchrun(written, "--blocks", "3", "--sharded", "--sketch-size", sketch_size)
    assert code == 0, said
    sharded = load_gradient([written / "gradient.safetensors"], fingerprint(policy.model))
    alone = differentiate(policy, rollouts, weights, temperature=0.9, num_blocks=3, sketch_size=sketch_size)
    assert relative_error(sharded.mean(), alone.mean()) < 1e-5
    assert torch.allclose(sharded.sampler_gap, alone.sampler_gap, atol=1e-6)
    if sketch_size:
        assert torch.allclose(sharded.sketches, alone.sketches, atol=1e-4)


@pytest.mark.slow
def test_blocks_that_cannot_be_dealt_out_are_refused(written):
    code, said = torchrun(written, "--blocks", "3")
    assert code != 0
    assert "3 blocks cannot be dealt out to 2 processes" in said
