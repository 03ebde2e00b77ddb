"""The whole one-shot step (sampling, scoring, gradient, update) against one optimiser step of TRL's GRPOTrainer.

Same policy (1 M parameters, pretrained for a minute so that its answers end by themselves), same prompts, group size,
number of rollouts, verifier, objective (DAPO's token mean) and longest answer. Ours: two processes of one thread, each
with half of the prompts. TRL: one process, FP32, no clipping of norms, no reference model, its best of several settings
of threads and `steps_per_generation`. The two updates come from different samples of one policy: their cosine and the
mean lengths of the answers show that the same work was done. Set-up is not timed on either side.
Needs the extra `oracles`. Ends in one JSON line.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pandas as pd
import torch
import transformers

from oneshot.engines.torch import TorchEngine
from oneshot.gradients.objectives import Batch, rollout_weights
from oneshot.gradients.one_pass import accumulate_gradient
from oneshot.gradients.rewards import shaped_rewards
from oneshot.measures.throughput import measure_sgemm
from oneshot.policies.models import Policy, build_policy, load_policy, save_policy
from oneshot.policies.pretrain import Ingredient, mixture_documents, padded_batches, pretrain
from oneshot.sampling import Draw, Sampling, draw_rollouts
from oneshot.tasks.arithmetic import Arithmetic
from oneshot.tasks.problem_sets import draw_problems
from oneshot.tasks.task import Problem
from oneshot.vectors import cosine

SIZE = {"hidden": 128, "layers": 5, "heads": 4, "feed_forward": 384}
TASK = Arithmetic(num_terms=12, largest=9, max_term=2, slip_rate=0.1)
WAYS = {"careful": (0.4, 0.4), "rough": (0.2, 0.2), "guess": (0.4, 0.4)}
GROUP_SIZE, LONGEST = 16, 32
LEARNING_RATE = 1.0
TARGETS = {"step_vs_trl": 3.0}
MICRO_BATCH = 64
TRL_SETTINGS = [(threads, rows) for threads in (1, 2) for rows in (256, 512)]
"""Threads, and rows generated at a time (`steps_per_generation` micro-batches)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=2048, help="rollouts of the step (default 2048)")
    parser.add_argument("--pretraining", type=int, default=400, help="steps of pretraining (default 400)")
    parser.add_argument("--repeats", type=int, default=2, help="measurements of each, best taken (default 2)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    problems = draw_problems(TASK, (60, 80), chosen.rollouts // GROUP_SIZE, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        save_policy(build(chosen.pretraining), folder, {})
        sgemm = measure_sgemm()
        rows = [measure("one-shot", "2 processes × 1 thread", chosen.repeats, ours, folder, problems)]
        for threads, generated in TRL_SETTINGS:
            label = f"{threads} thread{'s' * (threads > 1)}, {generated} rows generated at a time"
            rows.append(measure("TRL", label, chosen.repeats, of_trl, folder, problems, threads, generated))
    table = pd.DataFrame(rows)
    table["cosine"] = [cosine(row["update"], rows[0]["update"]) for row in rows]
    table = table.drop(columns="update")
    print(table.round(3).to_string(index=False))
    best = table[table.who == "TRL"].seconds.min()
    result = {"step_vs_trl": best / table.seconds[0], "targets": TARGETS, "sgemm_gflops": sgemm}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl_version()}
    sizes = {"group_size": GROUP_SIZE, "longest": LONGEST, "model": SIZE, "micro_batch": MICRO_BATCH}
    measured = table.to_dict("records")
    versions["python"] = platform.python_version()
    print(json.dumps({**result, "measured": measured, **vars(chosen), **sizes, **versions}))


def build(num_steps: int) -> Policy:
    """A policy whose answers end by themselves, some after 3 tokens, some after 25."""
    policy = build_policy(SIZE, seed=0, words=TASK.words, largest_number=TASK.largest_number)
    documents = mixture_documents([Ingredient(TASK, 1.0, WAYS)], (0, 60), seed=0)
    pretrain(policy, padded_batches(policy, documents, 64), num_steps=num_steps, learning_rate=3e-3)
    return policy


def measure(who: str, settings: str, repeats: int, way, *arguments) -> dict:
    """The fastest of `repeats` runs: seconds, mean length, share of informative groups, accuracy, and its update."""
    runs = [way(*arguments) for _ in range(repeats)]
    return {"who": who, "settings": settings, **min(runs, key=lambda run: run["seconds"])}


def ours(folder: str, problems: list[Problem]) -> dict:
    """One step in two processes, started and warmed up before the clock."""
    with ProcessPoolExecutor(2, get_context("spawn"), start_worker, (folder,)) as pool:
        list(pool.map(half_step, [problems[:2], problems[2:4]]))
        started = time.perf_counter()
        halves = list(pool.map(half_step, [problems[::2], problems[1::2]]))
        tokens = sum(half["tokens"] for half in halves)
        update = {
            name: torch.from_numpy(sum(half["sum"][name] for half in halves)) * (LEARNING_RATE / tokens)
            for name in halves[0]["sum"]
        }
        policy = load_policy(folder)
        with torch.no_grad():
            for name, parameter in policy.model.named_parameters():
                parameter += update[name]
        seconds = time.perf_counter() - started
    num_rollouts = len(problems) * GROUP_SIZE
    accuracy = sum(half["right"] for half in halves) / num_rollouts
    return {
        "seconds": seconds,
        "length": tokens / num_rollouts,
        "informative": sum(half["informative"] for half in halves) / len(problems),
        "accuracy": accuracy,
        "update": update,
    }


def start_worker(folder: str) -> None:
    global worker_policy
    torch.set_num_threads(1)
    worker_policy = load_policy(folder)


def half_step(problems: list[Problem]) -> dict:
    """Sample, score and differentiate: Σ A_i ∇ log π, not divided by anything."""
    sampling = Sampling(1.0, LONGEST, GROUP_SIZE)
    rollouts = draw_rollouts(TorchEngine(worker_policy), problems, Draw("benchmark", "step"), sampling)
    batch = Batch(shaped_rewards(rollouts), torch.tensor(rollouts.tokens.map(len).to_numpy()), LONGEST)
    tokens = int(batch.lengths_R.sum())
    weights = rollout_weights("dapo", batch).flatten().numpy() * tokens / len(rollouts)
    sums = accumulate_gradient(worker_policy, rollouts.assign(weight=weights), temperature=1.0).sums
    of_parameters = {name: values[0].numpy() for name, values in sums.items()}
    informative = int((batch.rewards_PG.amax(dim=1) > batch.rewards_PG.amin(dim=1)).sum())
    return {"sum": of_parameters, "tokens": tokens, "right": float(rollouts.reward.sum()), "informative": informative}


def of_trl(folder: str, problems: list[Problem], threads: int, generated: int) -> dict:
    """One optimiser step of GRPOTrainer in a process of its own: its threads are set before torch starts."""
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        return pool.submit(trl_step, folder, problems, generated).result()


def trl_step(folder: str, problems: list[Problem], generated: int) -> dict:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    policy = load_policy(folder)
    before = {name: parameter.detach().clone() for name, parameter in policy.model.named_parameters()}
    lengths, rewards = [], []

    def reward(completions, completion_ids, index, **_):
        answers = [(problems[i], text) for i, text in zip(index, completions, strict=True)]
        paid = [verdict.reward for verdict in TASK.verify_many(answers)]
        lengths.extend(map(len, completion_ids))
        rewards.extend(paid)
        return paid

    clock = StepClock()
    trainer = GRPOTrainer(
        policy.model,
        reward_funcs=reward,
        args=GRPOConfig(**trl_config(folder, len(problems) * GROUP_SIZE, generated)),
        train_dataset=Dataset.from_dict(
            {"prompt": [problem.prompt for problem in problems], "index": list(range(len(problems)))}
        ),
        processing_class=policy.tokenizer,
        callbacks=[clock],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    update = {name: parameter.detach() - before[name] for name, parameter in policy.model.named_parameters()}
    groups = torch.tensor(rewards).view(-1, GROUP_SIZE)
    return {
        "seconds": clock.seconds,
        "length": sum(lengths) / len(lengths),
        "informative": (groups.amax(dim=1) > groups.amin(dim=1)).float().mean().item(),
        "accuracy": sum(rewards) / len(rewards),
        "update": update,
    }


def trl_config(folder: str, num_rollouts: int, generated: int) -> dict:
    """One plain gradient step over all rollouts; defaults that only cost time are off."""
    return {
        "output_dir": os.path.join(folder, "trl"),
        "per_device_train_batch_size": MICRO_BATCH,
        "gradient_accumulation_steps": num_rollouts // MICRO_BATCH,
        "steps_per_generation": min(generated, num_rollouts) // MICRO_BATCH,
        "num_generations": GROUP_SIZE,
        "max_completion_length": LONGEST,
        "max_steps": 1,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "loss_type": "dapo",
        "beta": 0.0,
        "temperature": 1.0,
        "top_k": 0,
        "max_grad_norm": 0.0,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "shuffle_dataset": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "seed": 1,
    }


class StepClock(transformers.TrainerCallback):
    """Seconds between the beginning and the end of the optimiser step."""

    def on_step_begin(self, *_, **__):
        self.started = time.perf_counter()

    def on_step_end(self, *_, **__):
        self.seconds = time.perf_counter() - self.started


def trl_version() -> str:
    from importlib.metadata import version

    return version("trl")


if __name__ == "__main__":
    main()
