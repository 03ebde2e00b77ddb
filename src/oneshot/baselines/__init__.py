"""Methods, one file each: a docstring with the mathematics, `Settings`, and `run(lab, settings)`, a generator of steps.

`METHODS` names the file of each. A method that learns from the one-shot batch says `USES_BATCH = True`; the others draw
their own rollouts. One that is not expected to learn says `CONTROL = True`. What is known of a method before anything
runs, its settings and whether it uses the batch, is read from its source: planning imports no method.
"""

from importlib import import_module
from types import ModuleType

METHODS = {
    "cooling": "oneshot.baselines.cooling",
    "small_steps": "oneshot.baselines.small_steps",
}
"""Method -> its module."""


def load_method(name: str) -> ModuleType:
    if name not in METHODS:
        raise ValueError(f"unknown method '{name}': expected one of {', '.join(METHODS)}")
    return import_module(METHODS[name])
