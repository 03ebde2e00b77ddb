"""Fine-tuning on gold answers: they are right, the step is that of cross-entropy, and it learns them."""

import random

import pytest
import torch
import torch.nn.functional as F
from small_policy import lab_of
from torch.optim import SGD

from oneshot.baselines import gold
from oneshot.steps.master_weights import MasterWeights
from oneshot.tasks import get_task, task_class
from oneshot.tasks.task import Problem

TASKS = ["arithmetic", "sorting", "plan", "ladder", "contexts_16", "addition", "worked_sum", "chain_sum", "programs"]
SETTINGS = gold.Settings(learning_rate=1e-2, prompts=12, problems_per_step=4, passes=60)


@pytest.mark.parametrize("name", TASKS)
def test_gold_completions_are_right(name):
    task, rng = get_task(name), random.Random(0)
    pairs = [(problem, task.gold(problem)) for problem in (task.draw(rng) for _ in range(20))]
    assert all(verdict.reward == 1 for verdict in task.verify_many(pairs))
    assert pairs == [(problem, task_class(name).gold(problem)) for problem, _ in pairs]  # the same every time


def test_a_task_without_a_key_says_so():
    with pytest.raises(ValueError, match="'aime24': no gold completion"):
        task_class("aime24").gold(Problem("aime24", "How many?", "1"))


def test_a_step_is_that_of_cross_entropy(policy, problems):
    """With every token of the table weighing 1 / mean length, a step over all of it is the mean over its tokens."""
    names = dict(policy.model.named_parameters())
    answers = gold.gold_answers(policy, problems)
    losses = []
    for row in answers.itertuples():
        logits = policy.model(torch.tensor([row.prompt_tokens + row.tokens])).logits[0, len(row.prompt_tokens) - 1 : -1]
        losses.append(F.cross_entropy(logits / 0.9, torch.tensor(row.tokens), reduction="none"))
        assert row.tokens[-1] == policy.end_id
    gradients = torch.autograd.grad(torch.cat(losses).mean(), names.values())
    expected = {name: names[name].detach() - one for name, one in zip(names, gradients, strict=True)}
    masters = MasterWeights(policy.model, lambda weights: SGD(weights, lr=1.0))
    lab_of(policy).climb(masters, answers, lambda answered: answered.weights_C)
    for name, parameter in names.items():
        assert torch.allclose(parameter, expected[name], atol=1e-5), name


def test_it_learns_the_answers_and_draws_only_to_search(policy, problems):
    lab = lab_of(policy, problems)
    *steps, last = list(gold.run(lab, SETTINGS))
    assert steps[-1].record["logprob_nats"] > steps[0].record["logprob_nats"] + 1
    assert (len(steps), last.measured, last.chosen) == (180, True, True)
    spent = lab.ledger.spent()
    assert (spent["sampling_phases"], spent["gradient_steps"], spent["search_rounds"]) == (0, 180, 4)
    assert spent["rollouts"] == 4 * len(problems) * lab.sampling.group_size
