"""The CPU engine against `transformers` generate at its best batch size, on the lengths of a policy's own rollouts.

The policy is the laptop experiment's main one: read from a folder of its results, or pretrained here as the config
says (six minutes). Same prompts, samples a prompt, temperature and longest answer on both sides. `generate` goes on
until the last row of a batch has ended, and is tried at several batch sizes. Mean length and accuracy of both are
printed: they sample from one distribution. One thread. Ends in one JSON line.
"""

import argparse
import json
import platform
import time

import pandas as pd
import torch
import transformers
import yaml

from oneshot.engines.torch import TorchEngine
from oneshot.models import Policy, build_policy, load_policy
from oneshot.pretrain import build_mixture, mixture_documents, padded_batches, pretrain
from oneshot.tasks import Problem, draw_problems, get_task
from oneshot.throughput import measure_sgemm

CONFIG = "config/laptop.yaml"
BATCHES = (64, 256, 512, 1024)
SLOTS = (256, 512)
TARGETS = {"sampler_vs_generate_laptop": 2.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", help="folder of a policy that a run has pretrained (default: pretrain one)")
    parser.add_argument("--steps", type=int, help="pretraining steps, if not those of the config")
    parser.add_argument("--problems", type=int, default=400, help="prompts (default 400)")
    parser.add_argument("--samples", type=int, default=10, help="rollouts a prompt (default 10)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each, best taken (default 3)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with open(CONFIG) as file:
        config = yaml.safe_load(file)
    tasks = {name: get_task(name, **settings) for name, settings in config["tasks"].items()}
    policy = load_policy(chosen.policy) if chosen.policy else raise_policy(config, tasks, chosen.steps)
    problems = draw_problems(tasks[config["task"]], config["splits"]["train"]["buckets"], chosen.problems, seed=1)
    longest = config["sampling"]["max_new_tokens"]
    ways = {f"torch engine, {slots} slots": (ours, slots) for slots in SLOTS}
    ways |= {f"generate, {rows} rows": (by_generate, rows) for rows in BATCHES}
    found: dict[str, list[dict]] = {name: [] for name in ways}
    for _ in range(chosen.repeats):
        for name, (way, width) in ways.items():
            found[name].append(way(policy, problems, chosen.samples, longest, width))
    table = pd.DataFrame({name: min(runs, key=lambda run: run["seconds"]) for name, runs in found.items()}).T
    table["rollouts_per_second"] = len(problems) * chosen.samples / table.seconds
    print(table.astype(float).round(3).to_string())
    fastest = table.rollouts_per_second.groupby(table.index.str.startswith("torch")).max()
    result = {"sampler_vs_generate_laptop": fastest[True] / fastest[False], "targets": TARGETS}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    versions["python"] = platform.python_version()
    measured = {"measured": table.to_dict("index"), "sgemm_gflops": measure_sgemm()}
    print(json.dumps({**result, **measured, **vars(chosen), **versions}))


def raise_policy(config: dict, tasks: dict, num_steps: int | None) -> Policy:
    """The main policy of the experiment, as notebook 00 raises it."""
    size, pretraining = config["sizes"][config["main_size"]], config["pretraining"]
    num_steps = num_steps or size["steps"]
    words = [word for task in tasks.values() for word in task.words]
    policy = build_policy(size, 1, words, max(task.largest_number for task in tasks.values()))
    lessons = int(pretraining["lessons"] * num_steps * pretraining["batch_size"])
    mixture = build_mixture(tasks, pretraining["mixture"])
    documents = mixture_documents(mixture, config["splits"]["pretraining"]["buckets"], 1, num_lessons=lessons)
    batches = padded_batches(policy, documents, pretraining["batch_size"])
    pretrain(policy, batches, num_steps=num_steps, learning_rate=size["learning_rate"])
    return policy


def ours(policy: Policy, problems: list[Problem], samples: int, longest: int, num_slots: int) -> dict[str, float]:
    engine = TorchEngine(policy, num_slots)
    prompts = [policy.encode_prompt(problem.task, problem.prompt) for problem in problems]
    keys_PG = torch.arange(len(problems) * samples).view(-1, samples) * 2**40
    started = time.perf_counter()
    drawn = engine.generate(prompts, keys_PG, temperature=1.0, max_new_tokens=longest)
    seconds = time.perf_counter() - started
    lengths = drawn.lengths_R.tolist()
    rows = [row[:length].tolist() for row, length in zip(drawn.tokens_RT, lengths, strict=True)]
    return {"seconds": seconds, **judged(policy, problems, samples, rows)}


@torch.inference_mode()
def by_generate(policy: Policy, problems: list[Problem], samples: int, longest: int, batch: int) -> dict[str, float]:
    """Prompts in order of length, so that little is padded; `samples` rows of each."""
    prompts = [policy.encode_prompt(problem.task, problem.prompt) for problem in problems for _ in range(samples)]
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    rows: list[list[int]] = [[] for _ in prompts]
    started = time.perf_counter()
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        width = max(len(prompts[row]) for row in chosen)
        spaces = [width - len(prompts[row]) for row in chosen]
        tokens = torch.tensor([[0] * space + prompts[row] for row, space in zip(chosen, spaces, strict=True)])
        mask = torch.tensor([[0] * space + [1] * (width - space) for space in spaces])
        out = policy.model.generate(
            tokens,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=longest,
            eos_token_id=policy.end_id,
            pad_token_id=policy.tokenizer.pad_token_id,
        )
        for row, completion in zip(chosen, out[:, width:].tolist(), strict=True):
            rows[row] = completion[: completion.index(policy.end_id) + 1] if policy.end_id in completion else completion
    return {"seconds": time.perf_counter() - started, **judged(policy, problems, samples, rows)}


def judged(policy: Policy, problems: list[Problem], samples: int, rows: list[list[int]]) -> dict[str, float]:
    """Mean length and accuracy of the answers, problem by problem."""
    task = get_task(problems[0].task)
    answers = [(problems[row // samples], policy.decode(tokens)) for row, tokens in enumerate(rows)]
    right = sum(verdict.reward for verdict in task.verify_many(answers))
    return {"length": sum(map(len, rows)) / len(rows), "accuracy": right / len(rows)}


if __name__ == "__main__":
    main()
