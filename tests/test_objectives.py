"""Advantages against numbers worked out by hand."""

import math

import pandas as pd
import pytest
import torch

from oneshot.gradients.objectives import (
    grpo_weights,
    maxrl_weights,
    mean_removed,
    posterior_weights,
    reward_gradient_weights,
)
from oneshot.gradients.rewards import NothingToLearn, check_informative, partial_rewards, ranked_rewards


def test_grpo_weights_by_hand():
    """Rewards 1, 0, 0, 0: mean 1/4, variance with ddof 1 is (9/16 + 3/16) / 3 = 1/4, std 1/2."""
    weights = grpo_weights(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    expected = torch.tensor([[0.75, -0.25, -0.25, -0.25]]) / (0.5 + 1e-4)
    assert torch.allclose(weights, expected, rtol=1e-6)
    assert weights[0, 0] > 0 > weights[0, 1]


def test_right_answers_are_pushed_up():
    weights = grpo_weights(torch.tensor([[1.0, 1.0, 0.0, 1.0, 0.0]]))
    assert ((weights > 0) == torch.tensor([[True, True, False, True, False]])).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_groups_of_equal_rewards_weigh_exactly_nothing(value):
    """Also where the mean of equal numbers rounds: three times 0.1."""
    for weigh in (grpo_weights, reward_gradient_weights, mean_removed):
        assert (weigh(torch.full((2, 3), value)) == 0).all()


def test_reward_gradient_weights_are_leave_one_out():
    """r_i minus the mean of the others, which is G/(G-1) times r_i minus the mean of all."""
    rewards = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0]])
    others = torch.stack([torch.cat((rewards[0, :i], rewards[0, i + 1 :])).mean() for i in range(5)])
    assert torch.allclose(reward_gradient_weights(rewards)[0], rewards[0] - others)


def test_reward_gradient_is_unbiased_by_enumeration():
    """Three-armed bandit, all pairs of draws: the expectation of Σ w ∇log π / G is ∇ Σ π r exactly."""
    logits = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64, requires_grad=True)
    reward = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    (expected,) = torch.autograd.grad((logits.softmax(0) * reward).sum(), logits)
    total = torch.zeros(3, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            weights = reward_gradient_weights(reward[[i, j]].float()[None])[0].double()
            logprobs = logits.log_softmax(0)
            (score,) = torch.autograd.grad((weights * logprobs[[i, j]]).sum() / 2, logits)
            total += logits.softmax(0)[i].item() * logits.softmax(0)[j].item() * score
    assert torch.allclose(total, expected)


def test_fine_tuning_weights_by_hand():
    """One right answer in four is worth 3 under MaxRL, and nearly all of the group under the tilted base."""
    rewards_PG = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0] * 4, [1.0] * 4])
    expected = [[3, -1, -1, -1], [1 / 3, 1 / 3, 1 / 3, -1], [0] * 4, [0] * 4]
    assert torch.allclose(maxrl_weights(rewards_PG), torch.tensor(expected, dtype=torch.float32), atol=1e-6)
    odds = math.exp(10)
    one, three = 4 / (odds + 3), 4 / (3 * odds + 1)
    expected = [[one * odds, one, one, one], [three * odds] * 3 + [three], [0] * 4, [0] * 4]
    assert torch.allclose(posterior_weights(rewards_PG), torch.tensor(expected), rtol=1e-5)


def test_maxrl_is_the_gradient_of_the_log_of_the_reward():
    """Σ_i w_i ∇ log π_i / G = ∇ log Σ_y π(y) r(y), if a group holds every answer in proportion."""
    logits = torch.tensor([0.5, -0.2, 0.1], requires_grad=True)
    counts, rewards = [5, 2, 3], torch.tensor([0.0, 1.0, 0.0])
    with torch.no_grad():
        logits.copy_(torch.tensor(counts, dtype=torch.float32).log())
    answers = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    weights = maxrl_weights(rewards[answers][None])[0]
    (found,) = torch.autograd.grad((weights * logits.log_softmax(0)[answers]).mean(), logits)
    (expected,) = torch.autograd.grad((logits.softmax(0) * rewards).sum().log(), logits)
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_batch_that_teaches_nothing_is_refused():
    batch = pd.DataFrame({"problem_id": [1, 1, 2, 2], "reward": [0.0, 0.0, 1.0, 1.0], "credit": 0.0})
    with pytest.raises(NothingToLearn, match=r"2 of 4 rollouts are right and no group.*no α\*.*rewards: ranked"):
        check_informative(batch)
    assert check_informative(batch.assign(reward=[0.0, 1.0, 1.0, 1.0])) == 1


def test_the_wrong_shape_is_refused():
    with pytest.raises(Exception, match="grpo_weights"):
        grpo_weights(torch.zeros(4))


def test_weights_are_finite():
    assert math.isfinite(grpo_weights(torch.tensor([[1.0, 0.0]])).sum().item())


BINARY = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
CREDIT = torch.tensor([[0.0, 0.9, 0.3, 0.3], [1.0, 0.9, 0.0, 0.0], [0.2, 0.2, 0.2, 0.2]])


def test_ranking_pays_the_less_wrong_where_all_are_wrong():
    """Beaten plus half the ties over G - 1: by hand. Groups with a right answer keep the binary reward."""
    expected = torch.tensor([[0.0, 1.0, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]])
    assert torch.equal(ranked_rewards(BINARY, CREDIT), expected)
    weights = grpo_weights(ranked_rewards(BINARY, CREDIT))
    assert weights[0, 1] > 0 > weights[0, 0]
    assert (weights[2] == 0).all()  # equally wrong: nothing to learn


def test_ranking_sees_the_order_of_the_credit_and_nothing_else():
    assert torch.equal(ranked_rewards(BINARY, CREDIT), ranked_rewards(BINARY, CREDIT**3 / 7))


def test_partial_credit_never_reaches_a_right_answer():
    expected = torch.tensor([[0.0, 0.45, 0.15, 0.15], [1.0, 0.45, 0.0, 0.0], [0.1, 0.1, 0.1, 0.1]])
    assert torch.allclose(partial_rewards(BINARY, CREDIT), expected)


def test_a_batch_with_nothing_right_can_still_teach_by_rank():
    batch = pd.DataFrame({"problem_id": [1, 1, 2, 2], "reward": [0.0] * 4, "credit": [0.0, 0.5, 0.2, 0.2]})
    with pytest.raises(NothingToLearn):
        check_informative(batch)
    assert check_informative(batch, "ranked") == check_informative(batch, "partial") == 1
    with pytest.raises(ValueError, match="unknown reward function 'generous'"):
        check_informative(batch, "generous")
