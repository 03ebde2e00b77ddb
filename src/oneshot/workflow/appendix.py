"""The tables of the paper's appendix: base policies, expectations, tuning, and what was recorded when."""

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from oneshot.figures import style
from oneshot.figures.expectations_table import FAILED, KEPT, beside
from oneshot.figures.tables import RIVAL, SETTING, Tables
from oneshot.workflow import expected, experiment, measured
from oneshot.workflow.plan import Plan

MEASURED = ("sampled", "greedy", "best_low_temperature", "pass_at_64", "retention")
"""Quantities of acceptance that the paper shows."""
ROUNDED = 1e-3
"""Settings closer than this are the same: configs write a third of 1e-4 with as many digits as a reader wants."""


def policies(tables: Tables) -> pd.DataFrame:
    """A row for each setting: size of its models, how many were accepted, and means of what they were accepted by."""
    rows = tables.other("acceptance", ["policy", "quantity", "value", "parameters"])
    about = rows.groupby(SETTING, sort=False).agg(parameters=("parameters", "max"), policies=("policy", "nunique"))
    means = rows.groupby([*SETTING, "quantity"], sort=False).value.mean().unstack().reindex(columns=list(MEASURED))
    return about.join(means).reset_index()


def expectations(tables: Tables, root: Path) -> pd.DataFrame:
    """Every expectation that has been decided, beside its outcome, in the order of the configs; the rival's aside."""
    written = pd.DataFrame(_written(root), columns=[*SETTING, "arm", "low", "high", "because"])
    run = tables.points[[*SETTING, "arm"]].drop_duplicates()
    measurable = run[run.arm == RIVAL][SETTING]
    known = written[written.arm != RIVAL].merge(run, on=[*SETTING, "arm"]).merge(measurable, on=SETTING)
    found = beside(known, tables)
    found = found[found.outcome.isin([KEPT, FAILED])]
    return found.assign(label=list(map(style.label, found.arm)))


def _written(root: Path) -> Iterator[tuple]:
    for name in measured.EXPERIMENTS:
        plan = Plan(experiment.load(name, root / "config"))
        for model, task, arm in dict.fromkeys((job.model, job.task, job.arm) for job in plan.jobs):
            entry = plan.config["expectations"][task][arm]
            yield (name, model, task, arm, *entry["gain_recovered"], entry["because"].strip())


def tuning(tables: Tables, root: Path) -> pd.DataFrame:
    """A row for each tuned arm: how many values were tried, which won, and what the config has instead, if anything."""
    tried = tables.other("tuning", ["arm", "setting", "value", "accuracy", "chosen"])
    rows = []
    for (name, model, task, arm), of_arm in tried.groupby([*SETTING, "arm"], sort=False):
        won = of_arm[of_arm.chosen].drop_duplicates("setting", keep="last").set_index("setting").value
        used = Plan(experiment.load(name, root / "config")).arm(model, task, arm)["settings"]
        configured = {key: used[key] for key in won.index if key in used}
        other = {key: value for key, value in configured.items() if not math.isclose(value, won[key], rel_tol=ROUNDED)}
        head = {"experiment": name, "model": model, "task": task, "arm": arm, "label": style.label(arm)}
        rows.append({**head, "tried": len(of_arm), "won": _told(won.to_dict()), "used": _told(other)})
    return pd.DataFrame(rows)


def _told(settings: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in settings.items())


def record(root: Path) -> pd.DataFrame:
    """A row for each recorded experiment: how many tables, of how many commits."""
    rows = []
    for name in measured.EXPERIMENTS:
        archive = expected.archive_of(name, root)
        if archive.exists():
            _, manifest = expected.read(archive)
            commits = {entry["commit"] for entry in manifest.values()}
            rows.append({"experiment": name, "tables": len(manifest), "commits": len(commits)})
    return pd.DataFrame(rows, columns=["experiment", "tables", "commits"])
