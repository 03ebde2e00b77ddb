"""Methods, one file each: a docstring with the mathematics, `Settings`, and `run(lab, settings)`, a generator of steps.

`METHODS` maps each name to its module. A method that learns from the one-shot batch sets `USES_BATCH = True`; the
others draw their own rollouts. One that uses rollouts again sets `IN_ONE_PROCESS = True`: what their ratios are like is
collected in one process. One that may learn nothing sets `MAY_STAND_STILL = True`. Planning imports no method: it reads
`Settings` and these constants from the source.
"""

from importlib import import_module
from types import ModuleType

METHODS = {
    "beyond": "oneshot.baselines.beyond",
    "cooling": "oneshot.baselines.cooling",
    "evolution": "oneshot.baselines.evolution",
    "extrapolation": "oneshot.baselines.extrapolation",
    "few_phases": "oneshot.baselines.few_phases",
    "gold": "oneshot.baselines.gold",
    "large_steps": "oneshot.baselines.large_steps",
    "rank_one": "oneshot.baselines.rank_one",
    "reuse": "oneshot.baselines.reuse",
    "slow_fast": "oneshot.baselines.slow_fast",
    "small_steps": "oneshot.baselines.small_steps",
    "thickets": "oneshot.baselines.thickets",
}
"""Method -> its module."""


def load_method(name: str) -> ModuleType:
    if name not in METHODS:
        raise ValueError(f"unknown method '{name}': expected one of {', '.join(METHODS)}")
    return import_module(METHODS[name])
