"""The gradient against finite differences, a hand-written double loop, and its own additivity."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from small_policy import differentiate, logprob_by_hand, random_direction

from oneshot.files import BadFile
from oneshot.gradients import one_pass as gradient_module
from oneshot.gradients.agreement import check_gap
from oneshot.gradients.block_sums import load_gradient, save_gradient
from oneshot.gradients.chunks import group_chunks
from oneshot.gradients.one_pass import Blocks, accumulate_by_sign, streamed, token_logprobs
from oneshot.policies.models import Policy, build_policy
from oneshot.vectors import cosine, inner, norm

TEMPERATURE = 0.9


def take(policy, rollouts, weights, **options):
    return differentiate(policy, rollouts, weights, temperature=TEMPERATURE, **options)


def double_loop(policy, rollouts, weights):
    """g by the equation: a sum over rollouts of a sum over tokens, one backward pass per rollout, in FP64."""
    precise = Policy(build_copy(policy).model.double(), policy.tokenizer)
    for row, weight in zip(rollouts.itertuples(), weights, strict=True):
        logprob = logprob_by_hand(precise, row.prompt_tokens, row.tokens, TEMPERATURE).sum()
        (float(weight) / len(rollouts) * logprob).backward()
    return {name: parameter.grad for name, parameter in precise.model.named_parameters()}


def build_copy(policy):
    copy = build_policy({"hidden": 16, "layers": 2, "heads": 2, "feed_forward": 32}, seed=1)
    copy.model.load_state_dict(policy.model.state_dict())
    return copy


def relative_error(g, expected):
    return norm({name: g[name] - expected[name].float() for name in g}) / norm(expected)


def test_equals_the_double_loop(policy, rollouts, weights):
    expected = double_loop(policy, rollouts, weights)
    g = take(policy, rollouts, weights).mean()
    assert relative_error(g, expected) < 1e-5
    flipped = {name: -value for name, value in g.items()}
    assert relative_error(flipped, expected) > 1.9


def test_equals_finite_differences(policy, rollouts, weights):
    direction, h = random_direction(policy), 1e-4
    g = take(policy, rollouts, weights).mean()

    def objective(step):
        moved = Policy(build_copy(policy).model.double(), policy.tokenizer)
        with torch.no_grad():
            for name, parameter in moved.model.named_parameters():
                parameter += step * direction[name].double()
            return sum(
                float(weight) * logprob_by_hand(moved, row.prompt_tokens, row.tokens, TEMPERATURE).sum().item()
                for row, weight in zip(rollouts.itertuples(), weights, strict=True)
            ) / len(rollouts)

    slope = (objective(h) - objective(-h)) / (2 * h)
    assert inner(g, direction) == pytest.approx(slope, rel=1e-3)


def test_a_shifted_mask_would_be_caught(policy, rollouts, weights):
    """Not scoring the first token of every completion changes g by far more than the tolerance.

    (Scoring the prompt's last token as well would not: it is the same in the whole group, whose weights add up to 0.)
    """
    expected = double_loop(policy, rollouts, weights)
    longer = rollouts.tokens.map(len) > 1
    shifted = rollouts.assign(
        prompt_tokens=rollouts.prompt_tokens.where(
            ~longer, [np.append(p, t[0]) for p, t in zip(rollouts.prompt_tokens, rollouts.tokens, strict=True)]
        ),
        tokens=rollouts.tokens.where(~longer, rollouts.tokens.map(lambda row: row[1:])),
        logprobs=rollouts.logprobs.where(~longer, rollouts.logprobs.map(lambda row: row[1:])),
    )
    assert relative_error(take(policy, shifted, weights).mean(), expected) > 0.1


@pytest.mark.parametrize("chunk_tokens", [1, 40, 97, 100_000])
def test_chunks_change_rounding_only(policy, rollouts, weights, chunk_tokens):
    reference = take(policy, rollouts, weights).mean()
    assert relative_error(take(policy, rollouts, weights, chunk_tokens=chunk_tokens).mean(), reference) < 1e-6


def test_uninformative_groups_change_nothing(policy, rollouts, weights):
    assert (weights[:8] == 0).all()
    whole, part = take(policy, rollouts, weights), take(policy, rollouts[8:], weights[8:])
    for name, sums in whole.sums.items():
        assert torch.equal(sums, part.sums[name])


def test_shards_add_up_to_the_last_bit(policy, rollouts, weights, tmp_path):
    whole = take(policy, rollouts, weights, num_blocks=4)
    for shard in (1, 0):
        rows = slice(24 * shard, 24 * shard + 24)
        part = take(policy, rollouts[rows], weights[rows], num_blocks=2, first_block=2 * shard)
        save_gradient(part, tmp_path / f"{shard}.safetensors", {"fingerprint": "p"})
    combined = load_gradient([tmp_path / "1.safetensors", tmp_path / "0.safetensors"], "p")
    assert combined.num_rollouts == whole.num_rollouts == len(rollouts)
    for name, value in whole.mean().items():
        assert torch.equal(value, combined.mean()[name])


def test_mean_of_a_subset_is_the_gradient_of_the_subset(policy, rollouts, weights):
    blocks = take(policy, rollouts, weights, num_blocks=3)
    alone = take(policy, rollouts[16:32], weights[16:32])
    assert relative_error(blocks.mean([1]), alone.mean()) < 1e-6


def test_chosen_blocks_only(policy, rollouts, weights, tmp_path):
    every = take(policy, rollouts, weights, num_blocks=4, block_ids=[0, 2])
    whole = take(policy, rollouts, weights, num_blocks=4)
    assert relative_error(every.mean(), whole.mean([0, 2])) == 0
    save_gradient(every, tmp_path / "a.safetensors", {"fingerprint": "p"})
    assert load_gradient([tmp_path / "a.safetensors"], "p", every=2).block_ids == [0, 2]


def test_trainer_and_sampler_agree(policy, rollouts, weights):
    gradient = take(policy, rollouts, weights)
    assert gradient.sampler_gap.max() < 1e-5
    largest, mean = check_gap(gradient.sampler_gap, 1e-3)
    assert largest == gradient.sampler_gap[:, 0].max()
    assert mean == gradient.sampler_gap[:, 1].mean()
    other_temperature = differentiate(policy, rollouts, weights, temperature=1.3)
    assert other_temperature.sampler_gap[0, 0] > 1e-2
    with pytest.raises(ValueError, match=r"differ by up to .* more than max_gap_nats 0\.001"):
        check_gap(other_temperature.sampler_gap, 1e-3)


def test_token_logprobs_are_in_row_order(policy, rollouts):
    logprobs_C, rows_C = token_logprobs(policy, rollouts.head(3), TEMPERATURE)
    expected = torch.cat(
        [logprob_by_hand(policy, row.prompt_tokens, row.tokens, TEMPERATURE) for row in rollouts.head(3).itertuples()]
    )
    assert torch.allclose(logprobs_C, expected, atol=1e-5)
    assert rows_C.tolist() == [row for row in range(3) for _ in rollouts.tokens.iloc[row]]


def test_a_broken_policy_names_the_rollout(policy, rollouts, weights):
    with torch.no_grad():
        policy.model.lm_head.weight[rollouts.tokens.iloc[8][0]] = torch.nan
    with pytest.raises(ValueError, match=r"rollout \(problem \d+, sample \d\): its log-prob is not finite"):
        take(policy, rollouts, weights)


def test_a_gradient_that_overflows_names_the_rollout(policy, rollouts, weights, monkeypatch):
    """Log-probs are finite and their gradient is not: the rollout is found by differentiating each alone."""
    culprit = rollouts.iloc[9]

    def overflowing(policy, chosen, temperature):
        logprobs_C, rows_C = token_logprobs(policy, chosen, temperature)
        is_culprit = (chosen.problem_id == culprit.problem_id) & (chosen.sample_id == culprit.sample_id)
        bad_C = torch.tensor(is_culprit.to_numpy())[rows_C]
        logprobs_C.register_hook(lambda gradient: torch.where(bad_C, torch.inf, gradient))
        return logprobs_C, rows_C

    monkeypatch.setattr(gradient_module, "token_logprobs", overflowing)
    expected = (
        rf"rollout \(problem {culprit.problem_id}, sample {culprit.sample_id}\): the gradient of 'model.*' is not"
    )
    with pytest.raises(ValueError, match=expected):
        take(policy, rollouts, weights, num_blocks=3)


def test_gradients_leave_the_model_one_by_one(policy, rollouts, weights):
    """While one parameter's gradient is taken, no other parameter holds one: there is no second copy of the model."""
    parameters = dict(policy.model.named_parameters())
    into = {name: torch.zeros(parameter.shape) for name, parameter in parameters.items()}
    alive = []
    with streamed(policy.model, into):
        for parameter in parameters.values():
            parameter.register_post_accumulate_grad_hook(
                lambda _: alive.append(sum(other.grad is not None for other in parameters.values()))
            )
        gradient_module.backward_weighted_logprobs(policy, rollouts.assign(weight=weights), TEMPERATURE)
    assert len(alive) >= len(parameters)
    assert max(alive) == 0
    expected = take(policy, rollouts, weights).sums
    assert all(torch.equal(into[name], expected[name][0]) for name in parameters)


def test_rounded_products_give_nearly_the_same_gradient(policy, rollouts, weights):
    """Weights, sums and the head stay in FP32: only the products inside the model are rounded."""
    weighted = rollouts.assign(weight=weights)
    exact, rounded = (
        gradient_module.accumulate_gradient(replace(policy, products=products), weighted, temperature=1.0)
        for products in ("float32", "bfloat16")
    )
    assert 0.98 < cosine(exact.mean(), rounded.mean()) < 1 - 1e-6
    assert 1e-4 < rounded.sampler_gap[..., 1].mean() < 0.1
    assert all(values.dtype == torch.float32 for values in rounded.mean().values())


def test_a_bfloat16_policy_is_accumulated_in_fp32(policy, rollouts, weights):
    """Chunks of BF16 gradients are added in FP32: many chunks lose no more than one does."""
    exact = take(policy, rollouts, weights).mean()
    policy.model.bfloat16()
    one, many = (take(policy, rollouts, weights, chunk_tokens=size).mean() for size in (100_000, 1))
    assert one["model.norm.weight"].dtype == torch.float32
    assert relative_error(one, exact) < 0.05
    assert relative_error(many, exact) < 0.05


def test_signs_add_up_to_the_gradient_of_their_blocks(policy, rollouts, weights):
    blocks = Blocks(4, first=4, chosen=(4, 6))
    weighted = rollouts.assign(weight=weights)
    up, down = accumulate_by_sign(policy, weighted, temperature=TEMPERATURE, blocks=blocks)
    whole = differentiate(policy, rollouts, weights, 4, 4, temperature=TEMPERATURE)
    assert up.block_ids == down.block_ids == [4, 6]
    both = {name: up.mean()[name] + down.mean()[name] for name in up.sums}
    assert relative_error(both, whole.mean([4, 6])) < 1e-5
    assert inner(up.mean(), whole.mean([4, 6])) > inner(down.mean(), up.mean())


def test_a_group_larger_than_a_chunk_is_cut(rollouts):
    chunks = list(group_chunks(rollouts, np.ones(len(rollouts), dtype=bool), 30))
    assert sorted(np.concatenate(chunks)) == list(range(len(rollouts)))
    for chunk in chunks:
        chosen = rollouts.iloc[chunk]
        prompts = chosen.groupby("problem_id").prompt_tokens.first().map(len).sum()
        assert prompts + chosen.tokens.map(len).sum() - len(chosen) <= 30 or len(chunk) == 1


def test_unequal_blocks_are_refused(policy, rollouts, weights):
    with pytest.raises(ValueError, match=r"12 groups do not make 5 equal blocks"):
        take(policy, rollouts, weights, num_blocks=5)


def test_bad_shards_are_refused_by_name(policy, rollouts, weights, tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_gradient(take(policy, rollouts, weights, num_blocks=2), first, {"fingerprint": "p"})
    with pytest.raises(BadFile, match=r"first\.safetensors: taken at policy p, not at q"):
        load_gradient([first], "q")
    with pytest.raises(BadFile, match=r"first\.safetensors: given twice"):
        load_gradient([first, first], "p")
    save_gradient(take(policy, rollouts, weights, num_blocks=2, first_block=2), second, {"fingerprint": "p"})
    with pytest.raises(BadFile, match=r"second\.safetensors: holds the same rollouts as .*first\.safetensors"):
        load_gradient([first, second], "p")
    save_gradient(take(policy, rollouts[:24], weights[:24], num_blocks=2), first, {"fingerprint": "p"})
    save_gradient(take(policy, rollouts[24:], weights[24:], num_blocks=2, first_block=4), second, {"fingerprint": "p"})
    with pytest.raises(BadFile, match="a shard is missing"):
        load_gradient([first, second], "p")
    second.write_bytes(first.read_bytes()[:-1000])
    with pytest.raises(BadFile, match=r"second\.safetensors: not a gradient"):
        load_gradient([second], "p")


def test_a_gradient_that_is_not_finite_is_refused(policy, rollouts, weights, tmp_path):
    gradient = take(policy, rollouts, weights)
    next(iter(gradient.sums.values())).view(-1)[0] = torch.inf
    save_gradient(gradient, tmp_path / "g.safetensors", {"fingerprint": "p"})
    with pytest.raises(BadFile, match=r"g\.safetensors: 'model.* holds values that are not finite"):
        load_gradient([tmp_path / "g.safetensors"], "p")


def test_logits_in_pieces_give_the_same_gradient(policy, rollouts, weights, monkeypatch):
    """As for a large vocabulary: a few tokens' logits at a time, recomputed in the backward pass."""
    whole = differentiate(policy, rollouts, weights, temperature=TEMPERATURE).mean()
    monkeypatch.setattr(gradient_module, "SMALL_VOCABULARY", 0)
    monkeypatch.setattr(gradient_module, "HEAD_CHUNK_TOKENS", 3)
    pieces = differentiate(policy, rollouts, weights, temperature=TEMPERATURE).mean()
    for name in whole:
        assert torch.allclose(whole[name], pieces[name], atol=1e-6, rtol=1e-5)


def test_weights_may_be_one_a_token(policy, rollouts, weights):
    """The same number at every token is the number for the rollout; another at one token changes g by its gradient."""
    per_token = [np.full(len(tokens), weight) for tokens, weight in zip(rollouts.tokens, weights, strict=True)]
    spread = pd.Series(per_token, dtype=object)
    whole, same = take(policy, rollouts, weights).mean(), take(policy, rollouts, spread).mean()
    assert all(torch.equal(whole[name], same[name]) for name in whole)
    more = spread.copy()
    more[9] = spread[9] + np.eye(len(spread[9]))[0]
    changed = take(policy, rollouts, more).mean()
    policy.model.zero_grad()
    row = rollouts.iloc[9]
    (logprob_by_hand(policy, row.prompt_tokens, row.tokens, TEMPERATURE)[0] / len(rollouts)).backward()
    expected = {name: parameter.grad for name, parameter in policy.model.named_parameters()}
    assert relative_error({name: changed[name] - whole[name] for name in whole}, expected) < 1e-4
