"""The plan: the jobs of an experiment, and their parameters.

An experiment runs a table of cells, each a product of models, tasks, policies, runs and arms. A setting is a (model,
task) pair; `override` in a cell changes sections of the config for its settings. A job's parameters are looked up by
the names that its notebook has for them: wildcards, sections of the config for the setting, and a few values derived
from the config (FOLLOWING).
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from oneshot.baselines import METHODS
from oneshot.engines import ENGINES
from oneshot.steps.rounds import problems_asked
from oneshot.tasks import TASKS
from oneshot.workflow import signatures

HEADLINE = "one_shot"
"""The arm whose cost the others match."""
SEARCHED = "line_search"
"""The method of notebooks 03: a step of searched size along a direction made from the one batch."""
SEARCH_SETTINGS = "oneshot.steps.line_search"
"""The module of that method's `Settings`."""


@dataclass(frozen=True)
class Job:
    """One run of one arm at one setting."""

    model: str
    task: str
    policy: int
    run: int
    arm: str = ""


class Plan:
    """Answers the Snakefile's questions about a checked config."""

    def __init__(self, config: dict):
        self.config = config

    @cached_property
    def jobs(self) -> list[Job]:
        """Every arm's runs, in the order of the cells, none twice."""
        rows = (job for cell in self.config["cells"] for job in _jobs(cell) if job.arm)
        return list(dict.fromkeys(rows))

    def of_run(self, model: str, task: str, policy: int, run: int) -> list[Job]:
        """The arms of one run of a policy."""
        return [job for job in self.jobs if (job.model, job.task, job.policy, job.run) == (model, task, policy, run)]

    def twins(self, model: str, task: str, policy: int, run: int) -> list[Job]:
        """The same arms in another run of the same policy, the first one that has them; those without are left out."""
        arms = {job.arm for job in self.of_run(model, task, policy, run)}
        others = [
            job
            for job in self.jobs
            if (job.model, job.task, job.policy) == (model, task, policy) and job.run != run and job.arm in arms
        ]
        return list({job.arm: job for job in reversed(others)}.values())

    @cached_property
    def policies(self) -> list[Job]:
        """One job, without an arm, for each (model, task, policy) that is examined."""
        rows = [Job(job.model, job.task, job.policy, 0) for cell in self.config["cells"] for job in _jobs(cell)]
        return list(dict.fromkeys(rows))

    @cached_property
    def tuned(self) -> list[Job]:
        """One job for each setting and arm that is tuned, on the policy that no result is reported on."""
        policy = self.config["tuning"]["policy"]
        rows = (Job(job.model, job.task, policy, 0, job.arm) for job in self.jobs)
        return [job for job in dict.fromkeys(rows) if self.arm(job.model, job.task, job.arm).get("tune")]

    def section(self, name: str, model: str, task: str) -> object:
        """A section of the config for a setting, with the cells' overrides merged into it, in order."""
        value = copy.deepcopy(self.config.get(name))
        for cell in self.config["cells"]:
            if name in cell.get("override", {}) and model in cell["models"] and task in cell["tasks"]:
                value = merged(value, cell["override"][name])
        return value

    def arm(self, model: str, task: str, arm: str) -> dict:
        """An arm's entry for a setting: method, settings, tune."""
        return self.section("arms", model, task)[arm]

    def is_pretrained(self, model: str) -> bool:
        """Whether a model is loaded with pretrained weights."""
        return "source" in self.config["models"][model]

    def tasks_asked(self, task: str) -> list[str]:
        """The tasks whose problems the splits of this task hold."""
        return list(dict.fromkeys(name for split in self.config["splits"][task].values() for name in split["tasks"]))

    def tasks_taught(self, model: str) -> list[str]:
        """The tasks that a from-scratch model is pretrained on."""
        return list(self.config["mixtures"][self.config["models"][model]["mixture"]]["tasks"])

    def batch_group_size(self, model: str, task: str) -> int:
        """Rollouts of a prompt in the one batch."""
        own = self.section("batch", model, task).get("group_size")
        return own or self.section("sampling", model, task)["group_size"]

    def batch_rollouts(self, model: str, task: str) -> int:
        """N of the one batch."""
        return self.section("batch", model, task)["prompts"] * self.batch_group_size(model, task)

    def run_cost(self, model: str, task: str) -> int:
        """Rollouts that the headline arm draws in all: its batch and every evaluation of its search."""
        validation = self.config["splits"][task]["validation"]["problems"]
        search = self.section("line_search", model, task)
        asked = problems_asked(search["evaluations"], validation, search["shares"])
        samples = self.section("evaluation", model, task)["samples"]
        return self.batch_rollouts(model, task) + asked * samples

    @cached_property
    def arms(self) -> list[str]:
        """The arms that are run anywhere."""
        return sorted({job.arm for job in self.jobs})

    @property
    def trained(self) -> list[str]:
        """Those of them that are methods of oneshot.baselines."""
        return [arm for arm in self.arms if not self.is_searched(arm)]

    def is_searched(self, arm: str) -> bool:
        """Whether an arm is a step of searched size, or else a method of oneshot.baselines."""
        return self.config["arms"][arm]["method"] == SEARCHED

    def keeps_path(self, arm: str) -> bool:
        """Whether the weights after some of an arm's steps are kept."""
        return bool(self.config["arms"][arm].get("path"))

    def uses_batch(self, arm: str) -> bool:
        """Whether an arm learns from the one-shot batch."""
        method = self.config["arms"][arm]["method"]
        return self.is_searched(arm) or signatures.constant(METHODS[method], "USES_BATCH", False)

    def num_gpus(self, model: str = "", task: str = "") -> int:
        """GPUs that a job with a policy asks for, if the host has any: the torch engine needs none on a CPU."""
        engine = self.section("engine", model, task)
        on_gpu = engine["name"] == "vllm" or engine.get("device") == "cuda"
        return max(engine.get("tensor_parallel", 1), engine.get("processes", 1)) if on_gpu else 0

    def parameters(self, notebook: str, wildcards: dict[str, str]) -> dict:
        """A job's parameters: one value for each parameter of its notebook that is not a file.

        Raises ValueError for a parameter that is neither a wildcard nor a section nor one of FOLLOWING.
        """
        wildcards = {name: int(value) if value.isdecimal() else value for name, value in wildcards.items()}
        values = {}
        for name in signatures.parameters(notebook):
            if name in FOLLOWING:
                values[name] = FOLLOWING[name](self, wildcards)
            elif name in wildcards:
                values[name] = wildcards[name]
            elif name in self.config:
                values[name] = self.section(name, wildcards.get("model", ""), wildcards.get("task", ""))
            elif name != "out" and not name.endswith(("_path", "_paths", "_folders")):
                raise ValueError(f"notebooks/{notebook}.ipynb: nothing is called '{name}' that its parameter could be")
        return values

    def picked(self, notebook: str, wildcards: dict[str, str]) -> list[str]:
        """Registry entries, `module` or `module:attribute`, that a job runs because config or wildcards name them."""
        names = signatures.parameters(notebook)
        entries = [ENGINES[self.config["engine"]["name"]]] if "engine" in names else []
        tasks = self.tasks_asked(wildcards["task"]) if "task" in wildcards else []
        tasks += self.tasks_taught(wildcards["model"]) if "mixture" in names else []
        entries += [TASKS[task] for task in tasks]
        if "method" in names:
            entries.append(METHODS[self.config["arms"][wildcards["arm"]]["method"]])
        if "figure" in names:
            entries.append(f"oneshot.figures.{wildcards['figure']}")
        return entries


def _jobs(cell: dict) -> Iterator[Job]:
    axes = (cell["models"], cell["tasks"], cell["policies"], cell.get("runs", [0]), cell.get("arms") or [""])
    return (Job(*values) for values in product(*axes))


def leaves(node: object, key: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, value) of everything in a config that is neither a section nor a list."""
    if isinstance(node, dict):
        for name, child in node.items():
            yield from leaves(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from leaves(child, f"{key}[{number}]")
    else:
        yield key, node


def merged(base: object, changes: object) -> object:
    """`changes` on top of `base`; mappings are merged key by key, everything else is replaced."""
    if isinstance(base, dict) and isinstance(changes, dict):
        return {**base, **{key: merged(base.get(key), value) for key, value in changes.items()}}
    return copy.deepcopy(changes)


def _identity(plan: Plan, wildcards: dict) -> dict:
    known = {name: wildcards[name] for name in ("model", "task", "policy", "run", "arm") if name in wildcards}
    return {"experiment": plan.config["experiment"], **known}


def _tasks(plan: Plan, wildcards: dict) -> dict:
    names = plan.tasks_taught(wildcards["model"]) if "task" not in wildcards else plan.tasks_asked(wildcards["task"])
    return {name: plan.config["tasks"][name] for name in names}


def _acceptance(plan: Plan, wildcards: dict) -> dict:
    """The bands, for a setting on which an arm is run; other settings have none."""
    setting = (wildcards["model"], wildcards["task"])
    has_arms = any((job.model, job.task) == setting for job in plan.jobs)
    return plan.section("acceptance", *setting) if has_arms else {}


def _expectations(plan: Plan, wildcards: dict) -> dict:
    """What is expected of the arms that are run at a setting."""
    jobs = [job for job in plan.jobs if (job.model, job.task) == (wildcards["model"], wildcards["task"])]
    return {job.arm: plan.config["expectations"][job.task][job.arm] for job in jobs}


def _arm(key: str):
    return lambda plan, wildcards: plan.arm(wildcards["model"], wildcards["task"], wildcards["arm"]).get(key) or {}


FOLLOWING = {
    "identity": _identity,
    "tasks": _tasks,
    "splits": lambda plan, wildcards: plan.config["splits"][wildcards["task"]],
    "architecture": lambda plan, wildcards: plan.config["models"][wildcards["model"]],
    "mixture": lambda plan, wildcards: plan.config["mixtures"][plan.config["models"][wildcards["model"]]["mixture"]],
    "acceptance": _acceptance,
    "expectations": _expectations,
    "method": _arm("method"),
    "settings": _arm("settings"),
    "tune": _arm("tune"),
    "path": lambda plan, wildcards: plan.config["arms"][wildcards["arm"]].get("path", []),
    "budget": lambda plan, wildcards: plan.run_cost(wildcards["model"], wildcards["task"]),
    "figure": lambda plan, wildcards: wildcards["figure"],
    "config": lambda plan, wildcards: plan.config,
}
"""Parameters that are derived from the config: name -> function of plan and wildcards."""
