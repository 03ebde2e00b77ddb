"""The torch engine and the trainer on another device, against a CPU. Imported by the test of each device.

A module that imports `*` from here says which device `other` is on: it defines the fixture `device`.
"""

from functools import partial

import pytest
import torch
from small_policy import differentiate, lab_of, random_direction
from torch.optim import AdamW

from oneshot.engines import torch as torch_engine
from oneshot.engines.noise import rollout_key
from oneshot.engines.torch import TorchEngine
from oneshot.gradients.weights import weigh
from oneshot.measures.evaluate import sequence_kl
from oneshot.policies.models import fingerprint, load_policy, save_policy
from oneshot.steps.fisher import fisher_diagonal
from oneshot.steps.line_search import effective_move, moved
from oneshot.steps.master_weights import MasterWeights


@pytest.fixture
def other(policy, device, tmp_path):
    """The same policy on the other device."""
    save_policy(policy, tmp_path, {})
    moved_over = load_policy(tmp_path, device)
    moved_over.model.tie_weights()  # a device written in Python unties tied weights; others do not
    return moved_over


def same(one, two):
    assert one.keys() == two.keys()
    return all(torch.allclose(one[name], two[name].cpu(), atol=1e-6) for name in one)


def weights_of(policy):
    return {name: weight.detach().to("cpu", copy=True) for name, weight in policy.model.named_parameters()}


def test_the_pass(policy, other, device, rollouts, weights):
    assert other.model.device.type == device
    expected, found = (
        differentiate(each, rollouts, weights, temperature=0.9, num_blocks=3) for each in (policy, other)
    )
    assert same(expected.mean(), found.mean())
    assert found.sampler_gap.max() < 1e-4
    assert same(*(fisher_diagonal(each, rollouts[:3], 0.9) for each in (policy, other)))


def test_the_sampler(policy, other, device, problems, monkeypatch):
    monkeypatch.setattr(torch_engine, "FIRST_SLOTS", 2)
    prompts = [policy.encode_prompt(problem.task, problem.prompt) for problem in problems[:4]]
    keys_PG = torch.tensor([[rollout_key("d", "d", 0, p, g) for g in range(3)] for p in range(4)])
    options = {"temperature": 0.9, "max_new_tokens": 6, "also_greedy": True}
    generate = TorchEngine.generate.__wrapped__  # Python has no inference mode
    with torch.no_grad():
        expected = generate(TorchEngine(policy, num_slots=5), prompts, keys_PG, **options)
        found = generate(TorchEngine(other, num_slots=5, device=device), prompts, keys_PG, **options)
    assert found.tokens_RT.tolist() == expected.tokens_RT.tolist()
    assert torch.allclose(found.logprobs_RT, expected.logprobs_RT, atol=1e-5)
    assert torch.allclose(found.entropy_R, expected.entropy_R, atol=1e-5)


def test_a_move_and_its_divergence(policy, other, rollouts, tmp_path):
    direction, before = random_direction(policy), fingerprint(policy.model)
    assert effective_move(other.model, direction, 0.1) == effective_move(policy.model, direction, 0.1)
    reached, kl_nats = [], []
    for one in (policy, other):
        base = load_policy(tmp_path, one.model.device)
        with moved(one.model, direction, 0.1), torch.no_grad():
            reached.append(weights_of(one))
            kl_nats.append(sequence_kl.__wrapped__(one, base, rollouts, 0.9))  # Python has no inference mode
        assert fingerprint(one.model) == before
    assert same(*reached)
    assert torch.allclose(*kl_nats)
    assert kl_nats[0].min() > 0


def test_a_step(policy, other, rollouts):
    # At the usual ε, Adam makes a step of the rounding where a gradient is next to nothing.
    for each in (policy, other):
        masters = MasterWeights(each.model, partial(AdamW, lr=1e-2, eps=1e-2, weight_decay=0.0))
        assert max(lab_of(each).climb(masters, weigh(rollouts))) < 1e-4
    assert same(weights_of(policy), weights_of(other))
