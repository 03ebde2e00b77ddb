"""The packed layout against one forward pass per token, for every architecture the paper uses."""

import numpy as np
import pandas as pd
import pytest
import torch
from architectures import ARCHITECTURES, tiny_model
from small_policy import logprob_by_hand

from oneshot.gradients.packing import pack, packed_hidden
from oneshot.policies.models import Policy


def random_rollouts(seed=0, group_sizes=(3, 1, 4), prompt_lengths=(5, 7, 5), longest=6, different_tokens=40):
    """Groups of any size, prompts of any length, completions down to a single token."""
    rng = np.random.default_rng(seed)
    rows = []
    for problem, (size, length) in enumerate(zip(group_sizes, prompt_lengths, strict=True)):
        prompt = rng.integers(0, 40, length)
        for sample in range(size):
            tokens = rng.integers(0, different_tokens, rng.integers(1, longest + 1))
            rows.append({"problem_id": problem, "sample_id": sample, "prompt_tokens": prompt, "tokens": tokens})
    return pd.DataFrame(rows)


def beginning_alike(rollouts, shared):
    """The same rollouts, with a common prefix before the prompts of some problems."""
    prompts = [
        np.r_[shared[problem], prompt] if problem in shared else prompt
        for problem, prompt in zip(rollouts.problem_id, rollouts.prompt_tokens, strict=True)
    ]
    return rollouts.assign(prompt_tokens=prompts)


def build(name, **changes):
    return Policy(tiny_model(name, **changes), None)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("prompt_lengths", [(5, 7, 5), (6, 6, 6)])
def test_log_probs_and_gradient_are_those_of_one_token_at_a_time(name, prompt_lengths):
    check_against_one_token_at_a_time(build(name), random_rollouts(prompt_lengths=prompt_lengths))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("alone", [(), (2,), (0,)])
def test_beginnings_that_prompts_share_are_fed_once_and_change_nothing(name, alone):
    """Two prefixes of different lengths, and a prompt with none or one that no other shares."""
    rollouts = random_rollouts(group_sizes=(3, 1, 4, 2, 3), prompt_lengths=(5, 7, 5, 1, 3))
    first, second = np.arange(18), np.arange(40)[::-2]
    shared = {0: first, 1: second, 2: first, 3: second, 4: first}
    rollouts = beginning_alike(rollouts, {problem: part for problem, part in shared.items() if problem not in alone})
    fed = 18 + 20 + (5 + 7 + 5 + 1 + 3) + sum(len(tokens) - 1 for tokens in rollouts.tokens)
    assert len(pack(rollouts).tokens_T) == fed
    check_against_one_token_at_a_time(build(name), rollouts)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_rollouts_of_a_group_share_is_fed_once_and_changes_nothing(name):
    """Of two different tokens: rollouts that are equal, that share a prefix, and that are prefixes of others."""
    rollouts = random_rollouts(group_sizes=(30, 1, 12), different_tokens=2)
    layout = pack(rollouts)
    beginnings, pairs = set(), set()
    for row in rollouts.itertuples():
        tokens = tuple(row.tokens)
        beginnings |= {(row.problem_id, tokens[:stop]) for stop in range(1, len(tokens))}
        pairs |= {(row.problem_id, tokens[:stop]) for stop in range(1, len(tokens) + 1)}
    assert len(layout.tokens_T) == 5 + 7 + 5 + len(beginnings) < 5 + 7 + 5 + sum(map(len, rollouts.tokens)) / 2
    assert len(layout.targets_Q) == len(pairs)
    check_against_one_token_at_a_time(build(name), rollouts)


def check_against_one_token_at_a_time(policy, rollouts):
    layout = pack(rollouts)
    logits = policy.model.lm_head(packed_hidden(policy, layout))
    logprobs = logits.log_softmax(-1).gather(1, layout.targets_Q[:, None])[layout.different_C, 0]
    by_hand = [
        logprob_by_hand(policy, row.prompt_tokens.tolist(), row.tokens.tolist(), 1.0) for row in rollouts.itertuples()
    ]
    assert torch.allclose(logprobs, torch.cat(by_hand), atol=1e-5)
    weights = torch.linspace(-1, 1, len(rollouts))
    names = dict(policy.model.named_parameters())
    gradients = torch.autograd.grad((weights[layout.rows_C] * logprobs).sum(), names.values())
    expected = torch.autograd.grad(
        sum(weight * one.sum() for weight, one in zip(weights, by_hand, strict=True)), names.values()
    )
    for parameter, one, other in zip(names, gradients, expected, strict=True):
        assert torch.allclose(one, other, atol=2e-5, rtol=1e-4), parameter


def test_a_prompt_is_fed_once_and_the_last_token_never():
    rollouts = random_rollouts()
    layout = pack(rollouts)
    assert len(layout.tokens_T) == 5 + 7 + 5 + sum(len(tokens) - 1 for tokens in rollouts.tokens)
    targets_C = layout.targets_Q[layout.different_C]
    assert targets_C.tolist() == np.concatenate(rollouts.tokens.to_numpy()).tolist()
    assert torch.bincount(layout.rows_C).tolist() == rollouts.tokens.map(len).tolist()


def test_the_model_is_left_as_it_was():
    policy = build("qwen3")
    before = policy.model.config._attn_implementation
    packed_hidden(policy, pack(random_rollouts()))
    assert policy.model.config._attn_implementation == before


def test_completions_of_one_token_need_no_completion_slice():
    rollouts = random_rollouts(longest=1)
    layout = pack(rollouts)
    assert len(layout.slices) == 1
    assert packed_hidden(build("llama"), layout).shape == (len(layout.targets_Q), 16)


@pytest.mark.parametrize("window", [1, 3, 8, 19, 20])
def test_a_sliding_window_ends_where_it_does_in_transformers(window):
    """Windows that end within completions, prompts and shared prefixes; three of four layers have one."""
    policy = build("olmo3", num_hidden_layers=4, sliding_window=window)
    rollouts = random_rollouts(longest=12, different_tokens=2)
    check_against_one_token_at_a_time(policy, rollouts)
    check_against_one_token_at_a_time(policy, beginning_alike(rollouts, {0: np.arange(18), 2: np.arange(18)}))
