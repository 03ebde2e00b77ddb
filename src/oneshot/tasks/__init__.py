"""The registry of tasks: name -> "module:class", imported when the task is asked for.

The table holds strings, not imports, so an experiment depends only on the code of its own tasks: adding or editing
another re-runs nothing.
"""

from importlib import import_module

from oneshot.tasks.task import Task

CONTEXTS = ("contexts_1", "contexts_4", "contexts_16", "contexts_64", "contexts_300")
GYM_FAMILIES = (
    "basic_arithmetic",
    "chain_sum",
    "gcd",
    "lcm",
    "leg_counting",
    "letter_counting",
    "number_sequence",
    "products",
    "simple_equations",
    "spell_backward",
)
MATHEMATICS = ("aime24", "aime25", "dapo_math", "gsm8k", "math500", "math_train")
PROGRAMS = ("leetcode_train", "livecodebench_release_v6", "livecodebench_v6", "mbpp_rest", "mbppplus")
TASKS = {
    "addition": "oneshot.tasks.addition:Addition",
    "arithmetic": "oneshot.tasks.arithmetic:Arithmetic",
    "capitals": "oneshot.tasks.capitals:Capitals",
    "ladder": "oneshot.tasks.ladder:Ladder",
    "plan": "oneshot.tasks.plan:Plan",
    "programs": "oneshot.tasks.programs:Programs",
    "sorting": "oneshot.tasks.sorting:Sorting",
    "worked_sum": "oneshot.tasks.worked_sum:WorkedSum",
    **dict.fromkeys(CONTEXTS, "oneshot.tasks.contexts:Contexts"),
    **dict.fromkeys(GYM_FAMILIES, "oneshot.tasks.gym:GymTask"),
    **dict.fromkeys(MATHEMATICS, "oneshot.tasks.published:PublishedTask"),
    **dict.fromkeys(PROGRAMS, "oneshot.tasks.published_programs:PublishedPrograms"),
}


def task_class(name: str) -> type[Task]:
    """The class of the task of that name. Raises ValueError, with the known names, if there is none."""
    if name not in TASKS:
        raise ValueError(f"unknown task '{name}': expected one of {', '.join(sorted(TASKS))}")
    module, _, attribute = TASKS[name].partition(":")
    return getattr(import_module(module), attribute)


def get_task(name: str, **settings) -> Task:
    """The task of that name with its settings from the config. Raises ValueError for a setting it does not have."""
    return task_class(name).create(name, settings)
