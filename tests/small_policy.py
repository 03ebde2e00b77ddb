"""A policy small enough to compute everything by hand, and rollouts it could have drawn."""

import copy

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

with install_import_hook(["oneshot.gradients.objectives", "oneshot.gradients.rewards"], "beartype.beartype"):
    import oneshot.gradients.objectives

from oneshot.baselines.lab import Lab
from oneshot.engines.torch import TorchEngine
from oneshot.gradients.one_pass import Blocks, accumulate_gradient
from oneshot.measures.evaluate import Examination
from oneshot.measures.ledger import Ledger
from oneshot.policies.models import Policy, build_policy
from oneshot.sampling import Draw, Sampling, draw_rollouts
from oneshot.tasks import get_task
from oneshot.tasks.problem_sets import draw_problems

torch.set_num_threads(1)
TINY = {"hidden": 16, "layers": 2, "heads": 2, "feed_forward": 32}


@pytest.fixture
def policy():
    return build_policy(TINY, seed=0)


@pytest.fixture
def engine(policy):
    return TorchEngine(policy, num_slots=8)


@pytest.fixture
def problems():
    return draw_problems(get_task("arithmetic"), (0, 60), 12, seed=0)


@pytest.fixture
def rollouts(policy, engine, problems):
    """12 groups of 4, with rewards set by hand: the first group all wrong, the second all right, the rest mixed."""
    drawn = draw_rollouts(engine, problems, Draw("test", "test"), Sampling(0.9, 6, group_size=4))
    rewards = np.random.default_rng(0).integers(0, 2, (12, 4)).astype(np.float32)
    rewards[0], rewards[1], rewards[2:, 0], rewards[2:, 1] = 0, 1, 0, 1
    return drawn.assign(reward=rewards.flatten())


@pytest.fixture
def weights(rollouts):
    rewards_PG = torch.tensor(rollouts.reward.to_numpy()).view(12, 4)
    return oneshot.gradients.objectives.grpo_weights(rewards_PG).flatten().numpy()


def logprob_by_hand(policy, prompt_tokens, tokens, temperature):
    """log π of each token, one forward pass per token, no padding, no batch: what every fast path must equal."""
    values = []
    for position in range(len(tokens)):
        prefix = torch.tensor([[*prompt_tokens, *tokens[:position]]])
        logits_V = policy.model(prefix).logits[0, -1] / temperature
        values.append(logits_V[tokens[position]] - logits_V.logsumexp(dim=0))
    return torch.stack(values)


def differentiate(policy, rollouts, weights, num_blocks=1, first_block=0, block_ids=None, **options):
    """`accumulate_gradient` for weights that are not a column yet."""
    blocks = Blocks(num_blocks, first_block, None if block_ids is None else tuple(block_ids))
    return accumulate_gradient(policy, rollouts.assign(weight=weights), blocks=blocks, **options)


def lab_of(policy, problems=(), **options):
    """A lab around a small policy; θ0 is its current weights."""
    base = Policy(copy.deepcopy(policy.model), policy.tokenizer)
    sampling = Sampling(0.9, 6, group_size=4)
    exam = Examination(list(problems), "test", "validation", sampling)
    ledger = Ledger(policy.num_parameters)
    return Lab(TorchEngine(policy), base, list(problems), exam, sampling, "test", ledger, **options)


def random_direction(policy, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(p.shape, generator=generator) for name, p in policy.model.named_parameters()}
