"""What a way of using rollouts costs on GPUs, worked out from the config before anything is run.

    drawing     a host decodes as many rollouts at once as its memory holds keys and values for; every token takes
                moving (weights, keys, values) and computing (2 FLOPs per parameter and rollout), one after the other
    learning    6 FLOPs per parameter and token, a group's prompt once
    a way       phases of drawing, steps of learning and rounds of search follow one another; what is inside of each is
                spread over all hosts, each of which holds the whole model

What GPUs reach of their vendor's rates is assumed, in the config's `cost`. Left out are moving weights into the engine,
sampling's tail (the last rollouts to end), and verifying. `benchmarks/cost.py` holds both formulas to measured seconds.

    python -m oneshot.workflow.cost paper           # a table
    python -m oneshot.workflow.cost record paper    # and expected/cost.csv, for the paper
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from oneshot.figures.style import label, markdown
from oneshot.files import BadFile, project_root, write_csv
from oneshot.measures.ledger import DIFFERENTIATING, DRAWING
from oneshot.steps.rounds import rounds
from oneshot.workflow import experiment
from oneshot.workflow.plan import HEADLINE, Plan

GB, FP32 = 1e9, 4
RECORD = "expected/cost.csv"


@dataclass(frozen=True)
class Way:
    """How an arm uses rollouts: what follows one another, and how much of it can be done side by side."""

    arm: str
    phases: int
    """Times that the policy draws rollouts to learn from."""
    drawn: int
    """Rollouts of a phase."""
    steps: int
    differentiated: int
    """Rollouts of a step."""
    searched: tuple[int, ...]
    """Rollouts of each round of the search."""
    kept: float = 0
    """What it leaves on disk, in FP32 models: gradients of blocks and shards and a direction, or a path in FP16."""

    @property
    def rollouts(self) -> int:
        return self.phases * self.drawn + sum(self.searched)


@dataclass(frozen=True)
class Size:
    """A model's numbers, from its shape."""

    parameters: int
    weight_bytes: float
    cache_bytes: float
    """Keys and values of a token."""


@dataclass(frozen=True)
class Host:
    """What holds the model once: a GPU, or as many as its engine is spread over. Rates are what they are to reach."""

    gpus: int
    drawing_flops: float
    """Per second, and so on."""
    drawing_bytes: float
    learning_flops: float
    cache_bytes: float
    """That keys and values may take."""


@dataclass(frozen=True)
class Lengths:
    """Tokens."""

    prompt: float
    completion: float
    group: int
    """Rollouts that share a prompt."""


def ways(plan: Plan, model: str, task: str) -> Iterator[Way]:
    """The three ways, as the config counts them; the search ends where the headline arm's does."""
    group, batch = plan.batch_group_size(model, task), plan.batch_rollouts(model, task)
    made, asked = (plan.section(name, model, task) for name in ("batch", "evaluation"))
    validation = plan.config["splits"][task]["validation"]["problems"]
    searched = tuple(_race(plan.section("line_search", model, task), validation, asked["samples"]))
    yield Way(HEADLINE, 1, batch, 1, batch, searched, kept=_gradients(made) + 1)
    paths = {arm: len(plan.arm(model, task, arm).get("path", ())) / 2 for arm in ("one_batch", "grpo")}
    reuse = plan.arm(model, task, "one_batch")["settings"]
    steps, a_step = reuse["passes"] * (batch // group // reuse["groups_per_step"]), reuse["groups_per_step"] * group
    yield Way("one_batch", 1, batch, steps, a_step, (validation * asked["samples"],) * 4, paths["one_batch"])
    grpo = plan.arm(model, task, "grpo")["settings"]
    a_step = grpo["prompts_per_step"] * plan.section("sampling", model, task)["group_size"]
    steps = max(grpo["steps"], math.ceil(plan.run_cost(model, task) / a_step))
    yield Way("grpo", steps, a_step, steps, a_step, (), paths["grpo"])


def _gradients(batch: dict) -> int:
    """Vectors in a batch's files: blocks, or two totals and squares, and the reward's gradient."""
    return 6 * batch["shards"] if batch["sketch_size"] else batch["blocks"] + batch["shards"]


def _race(search: dict, validation: int, samples: int) -> Iterator[int]:
    before = 0
    for standing, asked in rounds(search["evaluations"], validation, search["shares"]):
        yield standing * (asked - before) * samples
        before = asked


def size_of(shape: dict, dtype: str) -> Size:
    """From a shape, the keys of a `transformers` config. No weight is made."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**shape)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    bytes_each = getattr(torch, dtype).itemsize
    parameters = sum(parameter.numel() for parameter in model.parameters())
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cache = 2 * config.num_hidden_layers * config.num_key_value_heads * head * bytes_each
    return Size(parameters, parameters * bytes_each, cache)


def host_of(gpus: dict, engine: dict, size: Size) -> Host:
    """From the config's `cost.gpus` and `engine`. Raises BadFile where the engine's memory cannot hold the weights."""
    number, share = engine.get("tensor_parallel", 1), engine.get("gpu_memory_utilization", 0.5)
    cache = number * share * gpus["memory_gb"] * GB - size.weight_bytes
    if cache <= 0:
        raise BadFile(f"engine.gpu_memory_utilization: {share:g} of {number} GPUs do not hold the weights")
    flops, moved = number * gpus["tflops"] * 1e12, number * gpus["terabytes_per_second"] * 1e12
    return Host(number, flops * gpus["drawing"], moved * gpus["drawing"], flops * gpus["learning"], cache)


def drawing_seconds(rollouts: int, size: Size, host: Host, lengths: Lengths, number: int) -> float:
    """Seconds until `number` hosts have drawn so many rollouts."""
    each = math.ceil(rollouts / number)
    at_once = max(1, int(host.cache_bytes / (size.cache_bytes * (lengths.prompt + lengths.completion))))
    waves = [at_once] * (each // at_once) + [each % at_once] * (each % at_once > 0)
    prompts = math.ceil(each / lengths.group) * lengths.prompt
    reading = DRAWING * size.parameters * prompts / host.drawing_flops
    return reading + sum(lengths.completion * _token_seconds(wave, size, host, lengths) for wave in waves)


def _token_seconds(wave: int, size: Size, host: Host, lengths: Lengths) -> float:
    """For one more token of every rollout of a wave; keys and values as they are half-way."""
    moved = size.weight_bytes + wave * size.cache_bytes * (lengths.prompt + lengths.completion / 2)
    return moved / host.drawing_bytes + DRAWING * size.parameters * wave / host.drawing_flops


def learning_seconds(rollouts: int, size: Size, host: Host, lengths: Lengths, number: int) -> float:
    """Seconds until `number` hosts have differentiated so many rollouts, a prompt once for its group."""
    tokens = rollouts * (lengths.completion + lengths.prompt / lengths.group)
    return DIFFERENTIATING * size.parameters * tokens / (host.learning_flops * number)


def seconds(way: Way, size: Size, host: Host, lengths: Lengths, number: int) -> float:
    """From the first rollout to the last step, on so many hosts."""
    draw = sum(drawing_seconds(drawn, size, host, lengths, number) for drawn in way.searched)
    draw += way.phases * drawing_seconds(way.drawn, size, host, lengths, number)
    return draw + way.steps * learning_seconds(way.differentiated, size, host, lengths, number)


def flops(way: Way, size: Size, lengths: Lengths) -> float:
    """As the ledger charges them: every rollout with its prompt, each gradient of it too."""
    tokens = lengths.prompt + lengths.completion
    return size.parameters * tokens * (DRAWING * way.rollouts + DIFFERENTIATING * way.steps * way.differentiated)


def table(config: dict) -> pd.DataFrame:
    """A row for each model, split and way. Raises BadFile, naming the key, where the config does not say enough."""
    plan = Plan(config)
    if "cost" not in config:
        raise BadFile(f"{config['experiment']}: its config has no section `cost`, which says what the GPUs are")
    cost, rows = config["cost"], []
    sizes = {model: _size(config, model) for model in dict.fromkeys(job.model for job in plan.jobs)}
    for model, task in dict.fromkeys((job.model, job.task) for job in plan.jobs):
        host = host_of(cost["gpus"], plan.section("engine", model, task), sizes[model])
        completion = cost["completion_share"] * plan.section("sampling", model, task)["max_new_tokens"]
        lengths = Lengths(cost["prompt_tokens"], completion, plan.batch_group_size(model, task))
        for way in ways(plan, model, task):
            row = _row(way, sizes[model], host, lengths, cost["numbers"])
            rows.append({"model": model, "task": task, **row})
    return pd.DataFrame(rows)


def _size(config: dict, model: str) -> Size:
    if model not in config["cost"]["shapes"]:
        raise BadFile(f"cost.shapes.{model}: missing: what a model costs is worked out from its shape")
    return size_of(config["cost"]["shapes"][model], config["models"][model].get("dtype", "float32"))


def _row(way: Way, size: Size, host: Host, lengths: Lengths, numbers: list[int]) -> dict:
    """Hours are nan on fewer GPUs than hold the model once."""
    hours = {
        number: seconds(way, size, host, lengths, number // host.gpus) / 3600 if number >= host.gpus else math.nan
        for number in numbers
    }
    return {
        "arm": way.arm,
        "sampling_phases": way.phases,
        "gradient_steps": way.steps,
        "rollouts": way.rollouts,
        "million_tokens": way.rollouts * lengths.completion / 1e6,
        "exaflops": flops(way, size, lengths) / 1e18,
        "weights_gb": size.weight_bytes / GB,
        "gpu_gb": (host.cache_bytes + (2 + 1) * size.weight_bytes) / host.gpus / GB,  # the engine, the policy, the base
        "disk_gb": way.kept * size.parameters * FP32 / GB,
        **{f"hours_on_{number}": value for number, value in hours.items()},
        **{f"gpu_hours_on_{number}": value * number for number, value in hours.items()},
    }


def told(rows: pd.DataFrame) -> str:
    """The table in Markdown, three digits of every number."""
    shown = rows.assign(arm=list(map(label, rows.arm))).map(_rounded)
    return "\n".join(markdown([name.replace("_", " ") for name in shown], shown.to_numpy().tolist()))


def _rounded(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell
    if math.isnan(cell):
        return ""
    return f"{cell:,.0f}" if cell >= 100 else f"{cell:.3g}"


def main() -> None:
    root, arguments = project_root(), sys.argv[1:]
    if not arguments or arguments[:-1] not in ([], ["record"]):
        sys.exit("usage: python -m oneshot.workflow.cost [record] EXPERIMENT")
    try:
        rows = table(experiment.load(arguments[-1], root / "config"))
    except (BadFile, OSError, ValueError) as error:
        sys.exit(str(error))
    print(told(rows))
    if len(arguments) == 2:
        write_csv(rows, root / RECORD, sealed=False)


if __name__ == "__main__":
    main()
