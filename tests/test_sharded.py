"""Optimiser steps of a model sharded over two processes, over Gloo, against the same steps in this one."""

import copy
from dataclasses import replace
from functools import partial
from math import inf

import pandas as pd
import pytest
import torch
import yaml
from projects import run_tiny
from safetensors.torch import load_file

from oneshot.gradients.agreement import NotFinite
from oneshot.gradients.one_pass import Blocks, accumulate_gradient, backward_weighted_logprobs, streamed
from oneshot.policies.models import fingerprint
from oneshot.steps.master_weights import MasterWeights, adamw, zeros_for
from oneshot.steps.sharded import ShardedWeights, Team, shared_gradient

pytestmark = pytest.mark.slow
RUN = "results/tiny/main/arithmetic/policy1/run0"


@pytest.fixture
def team(policy):
    with Team(replace(policy, processes=2), optimizer="adamw", learning_rate=1e-3, falls_over=4) as team:
        yield team


@pytest.fixture
def weighted(rollouts, weights):
    return rollouts.assign(weight=weights)


def one_step(policy, masters, weighted, temperature):
    total = zeros_for(policy.model)
    with streamed(policy.model, total):
        backward_weighted_logprobs(policy, weighted.assign(weight=weighted.weight / len(weighted)), temperature)
    masters.descend({name: values.neg_() for name, values in total.items()})


def largest_difference(one, other):
    return max((one[name].float() - other[name].float()).abs().max().item() for name in one)


def test_steps_are_those_of_one_process(policy, team, weighted):
    """Three steps at a falling rate; masters put elsewhere and back are where they were."""
    alone, sharded = copy.deepcopy(policy), ShardedWeights(policy, team)
    masters = MasterWeights(alone.model, partial(adamw, learning_rate=1e-3), falls_over=4)
    moved = dict(policy.model.named_parameters())
    for _ in range(3):
        before = sharded.copy()
        sharded.climb(weighted, 0.9, inf)
        one_step(alone, masters, weighted, 0.9)
        assert largest_difference(before, moved) > 2e-4
        assert largest_difference(dict(alone.model.named_parameters()), moved) < 1e-5
    end = sharded.copy()
    sharded.put(before)
    assert largest_difference(before, moved) == 0
    sharded.put(end)
    assert largest_difference(end, moved) == 0


def test_no_step_is_taken_that_must_not_be(policy, team, weighted):
    """Where sampler and trainer disagree, and where the gradient is not finite."""
    sharded, before = ShardedWeights(policy, team), fingerprint(policy.model)
    gap = sharded.climb(weighted, 1.3, 1e-3)
    assert gap[0] > 1e-2
    with pytest.raises(NotFinite, match=r"gradient of '.*' is not finite: lower the arm's learning_rate"):
        sharded.climb(weighted.assign(weight=weighted.weight * 1e40), 0.9, inf)
    assert fingerprint(policy.model) == before
    sharded.climb(weighted, 0.9, inf)
    assert fingerprint(policy.model) != before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_teams_gradient_is_that_of_one_process(policy, weighted, dtype):
    policy.model.to(dtype)
    blocks = Blocks(3, first=6)
    alone = accumulate_gradient(policy, weighted, temperature=0.9, blocks=blocks)
    shared = shared_gradient(replace(policy, processes=2), weighted, temperature=0.9, blocks=blocks)
    assert (shared.block_ids, shared.digests) == (alone.block_ids, alone.digests)
    for name, sums in alone.sums.items():
        assert torch.allclose(shared.sums[name], sums, atol=1e-5 if dtype == torch.float32 else 0.05 * sums.abs().max())


def test_processes_that_end_are_missed(policy, team, weighted):
    team.processes.terminate()
    with pytest.raises(RuntimeError, match="the processes that share the model have ended"):
        ShardedWeights(policy, team).climb(weighted, 0.9, inf)


def test_a_setting_whose_config_says_two_processes(finished):
    """Gradient and GRPO of the tiny experiment, by two processes: what one process makes of them, to rounding.

    Then with sketches in place of blocks: the same direction, and halves that agree as far.
    """
    file = finished / "config/tiny.yaml"
    config = yaml.safe_load(file.read_text())
    config["cells"][0]["override"] = {"engine": {"processes": 2}}
    gradient, arm = finished / RUN / "gradient/shard0.safetensors", finished / RUN / "arms/grpo"
    alone, before = load_file(gradient), pd.read_csv(arm / "steps.csv")
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    code, output = run_tiny(
        finished, str(gradient.relative_to(finished)), str((arm / "points.csv").relative_to(finished))
    )
    assert code == 0, output
    shared, after = load_file(gradient), pd.read_csv(arm / "steps.csv")
    for name, sums in alone.items():
        assert torch.allclose(shared[name], sums, atol=1e-5 * max(1.0, sums.abs().max().item())), name
    first = before.point <= 5
    assert after.accuracy[first].tolist() == before.accuracy[first].tolist()
    assert not after.equals(before)

    config["cells"][0]["override"]["batch"] = {"sketch_size": 64}
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    direction, of_blocks = finished / RUN / "arms/one_shot/direction.safetensors", scale_of(finished)
    along = load_file(direction)
    targets = [str(path.relative_to(finished)) for path in (direction, finished / RUN / "slope.csv")]
    code, output = run_tiny(finished, *targets)
    assert code == 0, output
    sketched = load_file(gradient)
    assert sketched["sketches"].shape == (5, 64)
    assert {len(values) for name, values in sketched.items() if name.startswith("sums/")} == {2}
    assert largest_difference(along, load_file(direction)) < 1e-5 * max(one.abs().max() for one in along.values())
    assert scale_of(finished)["half_cosine"] == pytest.approx(of_blocks["half_cosine"], abs=1e-5)


def scale_of(folder):
    return pd.read_csv(folder / RUN / "arms/one_shot/scale.csv").set_index("quantity").value
