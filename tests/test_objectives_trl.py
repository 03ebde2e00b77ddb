"""Objectives against TRL's own loss and its gradient, on the same tokens, at θ0 and away from it.

GRPO, Dr. GRPO, DAPO and GSPO are GRPOTrainer's, advantages and padding included; DPO is DPOTrainer's; STaR is what
SFTTrainer minimises on the kept answers. TRL has no REINFORCE++, which is compared with a loop over tokens, written
from its paper.
"""

import numpy as np
import pytest
import torch
from datasets import Dataset
from small_policy import TINY
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from oneshot.gradients.objectives import OBJECTIVES, Batch, rollout_weights, token_weights
from oneshot.gradients.one_pass import token_logprobs
from oneshot.policies.models import build_policy

LONGEST = 8
"""More than any rollout has: a fixed divisor is not the longest length that happened to be drawn."""
TRL = {
    "grpo": {"loss_type": "grpo", "epsilon": 0.2},
    "dr_grpo": {"loss_type": "dr_grpo", "epsilon": 0.2, "scale_rewards": "none"},
    "dapo": {"loss_type": "dapo", "epsilon": 0.2, "epsilon_high": 0.28},
    "gspo": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
}


@pytest.fixture
def rollouts(rollouts):
    """Cut to lengths of 1 to 6, so that dividing by one's own length, by all tokens and by a constant differ."""
    lengths = np.random.default_rng(1).integers(1, 7, len(rollouts))
    cut = {
        column: [values[:length] for values, length in zip(rollouts[column], lengths, strict=True)]
        for column in ("tokens", "logprobs")
    }
    return rollouts.assign(**cut)


@pytest.fixture
def batch(rollouts):
    rewards_PG = torch.tensor(rollouts.reward.to_numpy()).view(12, 4)
    return Batch(rewards_PG, torch.tensor(rollouts.tokens.map(len).to_numpy()), LONGEST)


@pytest.fixture
def old_C(policy, rollouts):
    with torch.no_grad():
        return token_logprobs(policy, rollouts, 1.0)[0]


def moved_away(policy, distance):
    """Far enough that some tokens are clipped; `distance` 0 is θ0 itself."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter += distance * torch.randn(parameter.shape, generator=generator)


def ours(policy, rollouts, name, old_C, batch):
    """(loss, gradient of the loss) by weights on log-probs."""
    policy.model.zero_grad()
    logprobs_C, _ = token_logprobs(policy, rollouts, 1.0)
    weights_C = token_weights(name, logprobs_C, old_C, batch)
    (-(weights_C * logprobs_C).sum() / batch.num_rollouts).backward()
    return -OBJECTIVES[name](logprobs_C, old_C, batch).item(), take_gradients(policy.model)


def take_gradients(model):
    return torch.cat([p.grad.flatten() if p.grad is not None else torch.zeros(p.numel()) for p in model.parameters()])


def padded(rows, value=0):
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


def masks(rows):
    return padded([[1] * len(row) for row in rows])


def by_rollout(values_C, lengths):
    """[C] -> [R, T], padded with zeros, as TRL has it."""
    return torch.nn.utils.rnn.pad_sequence(values_C.split(lengths), batch_first=True)


def assert_same(found, expected):
    (loss, gradient), (expected_loss, expected_gradient) = found, expected
    assert loss == pytest.approx(expected_loss, rel=1e-5, abs=1e-7)
    assert expected_gradient.norm() > 1e-3
    assert (gradient - expected_gradient).norm() < 1e-5 * expected_gradient.norm()


def grpo_of_trl(policy, rollouts, name, old_C, batch, folder):
    options = {"output_dir": str(folder), "report_to": [], "bf16": False, "use_cpu": True, "beta": 0.0}
    options |= {"max_completion_length": LONGEST, "num_generations": 4, "per_device_train_batch_size": 4}
    lengths = batch.lengths_R.tolist()
    drawn = {
        "prompt_ids": [list(map(int, tokens)) for tokens in rollouts.prompt_tokens],
        "completion_ids": [list(map(int, tokens)) for tokens in rollouts.tokens],
        "logprobs": [values.tolist() for values in old_C.split(lengths)],
    }
    trainer = GRPOTrainer(
        policy.model,
        reward_funcs=lambda **_: batch.rewards_PG.flatten().tolist(),
        rollout_func=lambda prompts, trainer: drawn,
        args=GRPOConfig(**options, **TRL[name]),
        train_dataset=Dataset.from_dict({"prompt": ["1"] * 4}),
        processing_class=policy.tokenizer,
    )
    inputs = trainer._generate_and_score_completions([{"prompt": "1"} for _ in lengths])
    inputs["old_per_token_logps"] = by_rollout(old_C, lengths)
    policy.model.zero_grad()
    loss = trainer._compute_loss(policy.model, inputs)
    loss.backward()
    return loss.item(), take_gradients(policy.model)


@pytest.mark.filterwarnings("ignore:You are using 'rollout_func'")
@pytest.mark.parametrize("distance", [0.0, 0.05])
@pytest.mark.parametrize("name", TRL)
def test_grpo_family(policy, rollouts, old_C, batch, name, distance, tmp_path):
    moved_away(policy, distance)
    expected = grpo_of_trl(policy, rollouts, name, old_C, batch, tmp_path)
    assert_same(ours(policy, rollouts, name, old_C, batch), expected)
    if distance:
        logprobs_C, _ = token_logprobs(policy, rollouts, 1.0)
        weights_C = token_weights(name, logprobs_C, old_C, batch)
        informative_C = batch.spread(batch.rewards_PG.var(dim=1, keepdim=True).expand(-1, 4)) > 0
        assert 0.02 < (weights_C[informative_C] == 0).float().mean() < 0.98  # some tokens are clipped, some are not


@pytest.mark.parametrize("distance", [0.0, 0.05])
def test_dpo(policy, rollouts, old_C, batch, distance, tmp_path):
    moved_away(policy, distance)
    pairs = [
        (4 * group + right, 4 * group + wrong)
        for group, rewards in enumerate(batch.rewards_PG.tolist())
        for right in range(4)
        for wrong in range(4)
        if rewards[right] > rewards[wrong]
    ]
    trainer = DPOTrainer(
        policy.model,
        ref_model=build_policy(TINY, seed=0).model,
        args=DPOConfig(output_dir=str(tmp_path), report_to=[], bf16=False, use_cpu=True, beta=0.1),
        train_dataset=Dataset.from_dict({"prompt": ["1"], "chosen": ["2"], "rejected": ["3"]}),
        processing_class=policy.tokenizer,
    )
    policy.model.eval()
    order = [right for right, _ in pairs] + [wrong for _, wrong in pairs]
    prompts, completions = (rollouts[column].to_numpy()[order] for column in ("prompt_tokens", "tokens"))
    sequences = [np.r_[prompt, completion] for prompt, completion in zip(prompts, completions, strict=True)]
    scored = [[0] * len(prompt) + [1] * len(tokens) for prompt, tokens in zip(prompts, completions, strict=True)]
    inputs = {"input_ids": padded(sequences), "attention_mask": masks(sequences), "completion_mask": padded(scored)}
    policy.model.zero_grad()
    loss = trainer._compute_loss(policy.model, inputs, return_outputs=False)
    loss.backward()
    assert_same(ours(policy, rollouts, "dpo", old_C, batch), (loss.item(), take_gradients(policy.model)))


@pytest.mark.parametrize("distance", [0.0, 0.05])
def test_star_is_fine_tuning_on_the_right_answers(policy, rollouts, old_C, batch, distance, tmp_path):
    moved_away(policy, distance)
    trainer = SFTTrainer(
        policy.model,
        args=SFTConfig(output_dir=str(tmp_path), report_to=[], bf16=False, use_cpu=True),
        train_dataset=Dataset.from_dict({"prompt": ["1"], "completion": ["2"]}),
        processing_class=policy.tokenizer,
    )
    right = rollouts[rollouts.reward > 0]
    sequences = [np.r_[row.prompt_tokens, row.tokens] for row in right.itertuples()]
    labels = [[-100] * len(row.prompt_tokens) + list(row.tokens) for row in right.itertuples()]
    inputs = {"input_ids": padded(sequences), "attention_mask": masks(sequences), "labels": padded(labels, -100)}
    policy.model.zero_grad()
    loss = trainer.compute_loss(policy.model, inputs)
    loss.backward()
    assert_same(ours(policy, rollouts, "star", old_C, batch), (loss.item(), take_gradients(policy.model)))


@pytest.mark.parametrize("name", ["reinforce_pp", "reinforce_pp_baseline"])
@pytest.mark.parametrize("distance", [0.0, 0.05])
def test_reinforce_pp_token_by_token(policy, rollouts, old_C, batch, name, distance):
    moved_away(policy, distance)
    policy.model.zero_grad()
    logprobs_C, rows_C = token_logprobs(policy, rollouts, 1.0)
    rewards = rollouts.reward.to_numpy(dtype=float)
    if name.endswith("baseline"):
        rewards = rewards - np.repeat([rewards[i : i + 4].mean() for i in range(0, 48, 4)], 4)
    of_tokens = [rewards[row] for row in rows_C.tolist()]
    mean, deviation = np.mean(of_tokens), np.sqrt(np.var(of_tokens) + 1e-8)
    loss = 0.0
    for logprob, old, reward in zip(logprobs_C, old_C, of_tokens, strict=True):
        advantage, ratio = (reward - mean) / deviation, torch.exp(logprob.double() - old.double())
        clipped = min(max(ratio.item(), 0.8), 1.2)
        loss = loss - (ratio if ratio.item() * advantage <= clipped * advantage else clipped) * advantage
    loss = loss / len(of_tokens)
    loss.backward()
    assert_same(ours(policy, rollouts, name, old_C, batch), (loss.item(), take_gradients(policy.model)))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_at_the_base_weights_are_known_before_the_pass(old_C, batch, name):
    """The same for all tokens of a rollout, whatever its log-probs are."""
    weights_C = token_weights(name, old_C, old_C, batch)
    assert torch.allclose(weights_C, batch.spread(rollout_weights(name, batch)), rtol=1e-5, atol=1e-7)


def test_weights_at_the_base_by_hand():
    """One group: a right answer of 2 tokens, a wrong one of 1, a wrong one of 3. ddof 1: std = 1/√3."""
    batch = Batch(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([2, 1, 3]), longest=4)
    advantages = torch.tensor([[2 / 3, -1 / 3, -1 / 3]]) / (3**-0.5 + 1e-4)
    expected = {
        "policy_gradient": advantages,
        "grpo": advantages / torch.tensor([2, 1, 3]),
        "gspo": advantages / torch.tensor([2, 1, 3]),
        "dr_grpo": torch.tensor([[2 / 3, -1 / 3, -1 / 3]]) / 4,
        "dapo": advantages * 3 / 6,
        "reinforce_pp": torch.tensor([[2 / 3, -1 / 3, -1 / 3]]) / (2 / 9) ** 0.5 * 3 / 6,
        "star": torch.tensor([[1.0, 0, 0]]) * 3 / 2,
        "dpo": torch.tensor([[2.0, -1, -1]]) * 0.1 / 2 / 2 * 3,
    }
    for name, weights in expected.items():
        assert torch.allclose(rollout_weights(name, batch), weights, rtol=1e-5), name


def test_an_unknown_objective_is_refused(batch):
    with pytest.raises(ValueError, match="unknown objective 'ppo': expected one of policy_gradient, grpo"):
        rollout_weights("ppo", batch)
