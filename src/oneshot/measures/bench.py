"""The bench: what a notebook opens before it measures or moves a policy. Paths are those of notebook parameters."""

from dataclasses import replace

import pandas as pd

from oneshot.arms import IDENTITY, TABLES
from oneshot.engines import trainer
from oneshot.files import read_csv, require
from oneshot.measures.evaluate import Examination, examinations
from oneshot.policies.models import Policy, load_policy
from oneshot.rollouts import load_batch
from oneshot.sampling import Sampling
from oneshot.tasks.problem_sets import load_problems


def open_policies(path: str, engine: dict) -> tuple[Policy, Policy]:
    """(policy, base): one to move and one that stays at θ0, both loaded as goes with the config's `engine`."""
    folder = require(path, "00_pretrain").parent
    return load_policy(folder, **trainer(engine)), load_policy(folder, **trainer(engine))


def open_batch(
    paths: list[str], rollouts: int = 0, group_size: int = 0
) -> tuple[pd.DataFrame | None, dict[str, str], float]:
    """(rollouts, metadata, share of the batch) of the one batch, from all its shards.

    With `group_size` only the first so many of every group, with `rollouts` only the first so many of what is left.
    (None, {}, 0) without paths.
    """
    if not paths:
        return None, {}, 0.0
    batch, origin = load_batch([require(path, "01_sample") for path in paths])
    used = batch[batch.groupby("problem_id").cumcount() < group_size] if group_size else batch
    used = used.head(rollouts or len(batch)).reset_index(drop=True)
    return used, origin, len(used) / len(batch)


def open_base(paths: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(points, right answers by problem) of the base, without the columns that say whose they are."""
    tables = zip(paths, ("points", "by_problem"), strict=True)
    points, by_problem = (read_csv(require(path, "01_base"), TABLES[name]) for path, name in tables)
    return points.drop(columns=IDENTITY, errors="ignore"), by_problem.drop(columns=IDENTITY, errors="ignore")


def open_examinations(
    paths: dict[str, str], run: str, sampling: Sampling, evaluation: dict[str, float]
) -> dict[str, Examination]:
    """Split -> the examination on the problems in its file, with as many samples per problem as `evaluation` says.

    At the temperature of `sampling`, unless `evaluation` has one of its own.
    """
    sets = {split: load_problems(require(path, "00_problems")) for split, path in paths.items()}
    counts = {name: value for name, value in evaluation.items() if name != "temperature"}
    temperature = evaluation.get("temperature", sampling.temperature)
    return examinations(sets, run, replace(sampling, temperature=temperature), **counts)


def seconds_in(paths: list[str], notebook: str) -> float:
    """Seconds in these timings tables together; `notebook` is the one that writes the last of them."""
    return pd.concat([read_csv(require(path, notebook), ["seconds"]).seconds for path in paths]).sum()
