"""Pretraining of the from-scratch family on a generated mixture of tasks and ways to answer.

The mixture is the organism: it decides how often the base policy is right and which way to answer it
prefers. It is written in the config, shown in notebook 00, accepted on the base policy alone and frozen
before any gradient of the experiment is taken. Problems come from a hash range of their own, so the
policy has seen none of the problems it is later trained, searched or tested on.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from oneshot.policies.models import Policy
from oneshot.tasks.task import Problem, TaughtTask

IGNORED = -100


@dataclass(frozen=True)
class Ingredient:
    """A task's share of the mixture, and how often each way to answer is taken: way -> (easiest, hardest problem).

    Between the two the shares are interpolated by the problem's difficulty.
    """

    task: TaughtTask
    share: float
    ways: dict[str, tuple[float, float]]
    practice: float = 0.0
    """Share of its documents, after the lessons, that are lessons still, with the opening given in the prompt. They
    keep up the skill of a way that is rarely taken, and make it no likelier to be taken."""

    def way(self, problem: Problem, rng: random.Random) -> str:
        difficulty = self.task.difficulty(problem)
        shares = [(1 - difficulty) * easiest + difficulty * hardest for easiest, hardest in self.ways.values()]
        return rng.choices(list(self.ways), shares)[0]


def build_mixture(tasks: dict[str, TaughtTask], shares: dict[str, dict]) -> list[Ingredient]:
    """The mixture written in the config: task name -> {share, ways: {way: [easiest, hardest]}, practice}."""
    for name, entry in shares.items():
        if unknown := set(entry["ways"]) - set(tasks[name].ways):
            raise ValueError(f"pretraining.mixture.{name}.ways: unknown way '{unknown.pop()}'")
    return [
        Ingredient(tasks[name], entry["share"], entry["ways"], entry.get("practice", 0.0))
        for name, entry in shares.items()
    ]


def mixture_documents(
    mixture: list[Ingredient], buckets: tuple[int, int], seed: int, num_lessons: int = 0
) -> Iterator[tuple[str, str]]:
    """Endless (prompt, completion) pairs: a task by its share, a problem from `buckets`, a way by its share.

    The first `num_lessons` documents are lessons: right answers, whatever the ways' shares and reliabilities.
    """
    rng = random.Random(f"pretraining/{seed}")
    shares = [ingredient.share for ingredient in mixture]
    served = 0
    while True:
        ingredient = rng.choices(mixture, shares)[0]
        problem = ingredient.task.draw(rng)
        if buckets[0] <= ingredient.task.bucket(problem) < buckets[1]:
            if served < num_lessons:
                yield problem.prompt, ingredient.task.lesson(problem, rng)
            elif ingredient.practice and rng.random() < ingredient.practice:
                yield practised(ingredient.task, problem, rng)
            else:
                yield problem.prompt, ingredient.task.demonstrate(problem, ingredient.way(problem, rng), rng)
            served += 1


def practised(task: TaughtTask, problem: Problem, rng: random.Random) -> tuple[str, str]:
    """A lesson whose opening is part of the prompt: (prompt, completion)."""
    lesson = task.lesson(problem, rng)
    openings = (task.opening(way, problem) for way in task.ways)
    opening = next(opening for opening in openings if lesson.startswith(opening))
    return problem.prompt + opening, lesson.removeprefix(opening)


def padded_batches(
    policy: Policy, documents: Iterator[tuple[str, str]], batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (token_ids_BT, labels_BT) batches; neither prompt nor padding is scored.

    Documents stay in random order. Batches sorted by length would save padding, but their means over tokens would
    weigh the opening of a short way more than that of a long one, and the policy would come to prefer short ways.
    """
    while True:
        token_ids, labels = [], []
        for prompt, completion in islice(documents, batch_size):
            prompt_ids, completion_ids = policy.encode(prompt), [*policy.encode(completion), policy.end_id]
            token_ids.append(prompt_ids + completion_ids)
            labels.append([IGNORED] * len(prompt_ids) + completion_ids)
        yield _pad(token_ids, 0), _pad(labels, IGNORED)


def pretrain(policy: Policy, batches: Iterator, *, num_steps: int, learning_rate: float, progress=iter) -> list[float]:
    """AdamW with linear warm-up and cosine decay to zero, in place. Returns the loss of every step, nats per token."""
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_up_then_cosine(step, num_steps))
    losses = []
    for _ in progress(range(num_steps)):
        token_ids_BT, labels_BT = next(batches)
        logits_BTV = policy.model(input_ids=token_ids_BT[:, :-1], use_cache=False).logits
        loss = F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT[:, 1:].flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


def warm_up_then_cosine(step: int, num_steps: int) -> float:
    """Learning-rate factor: up over the first 3 %, then a half cosine to zero."""
    warm_up = max(1, round(0.03 * num_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up)))


def _pad(rows: list[list[int]], fill: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])
