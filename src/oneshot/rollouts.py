"""The rollout table, one row per rollout: a pandas frame in memory, Parquet on disk.

    problem_id      int64     content hash of the problem
    sample_id       int32     0 … G-1 within the problem's group
    prompt_tokens   int32[]   as the policy saw them
    tokens          int32[]   the completion, its end token included
    logprobs        float32[] log π of each token under the sampling temperature, nats
    entropy_nats    float32   mean entropy of π over the completion's tokens
    ended           bool      false if it was cut off
    text            str       the completion, decoded, without its end token
    status          str       the verdict, or cut_off
    reward          float32   the verifier's binary reward: 1 or 0
    credit          float32   partial credit, 0 to 1; equal to the reward if the task gives none

Rows of a group are adjacent and ordered by `sample_id`; all groups have the same size. A group may hold equal answers
(a confident policy repeats itself), and these must have equal rewards. If all answers are equal in every group, the
sampler is broken.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from oneshot.files import BadFile, atomic_path

SCHEMA = pa.schema(
    [
        ("problem_id", pa.int64()),
        ("sample_id", pa.int32()),
        ("prompt_tokens", pa.list_(pa.int32())),
        ("tokens", pa.list_(pa.int32())),
        ("logprobs", pa.list_(pa.float32())),
        ("entropy_nats", pa.float32()),
        ("ended", pa.bool_()),
        ("text", pa.string()),
        ("status", pa.string()),
        ("reward", pa.float32()),
        ("credit", pa.float32()),
    ]
)


def save_rollouts(rollouts: pd.DataFrame, path: str | Path, metadata: dict[str, str]) -> None:
    """Write the table with `metadata` (provenance: policy fingerprint, temperature, seeds, versions) in its schema."""
    schema = SCHEMA.with_metadata({"oneshot": json.dumps(metadata, sort_keys=True)})
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_pandas(rollouts, schema=schema, preserve_index=False), temporary)


def load_rollouts(path: str | Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """(table, metadata), checked. Raises BadFile that names the file and what is wrong with it."""
    try:
        table = pq.read_table(path)
        metadata = json.loads(table.schema.metadata[b"oneshot"])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{path}: not a rollout table ({type(error).__name__}: missing, truncated or foreign)") from error
    if not table.schema.remove_metadata().equals(SCHEMA):
        raise BadFile(f"{path}: not a rollout table: expected the columns {', '.join(SCHEMA.names)}")
    rollouts = table.to_pandas()
    check_rollouts(rollouts, str(path))
    return rollouts, metadata


def load_batch(paths: list[str | Path]) -> tuple[pd.DataFrame, dict[str, str]]:
    """(table, metadata): the shards of one batch concatenated, and the metadata of the first."""
    shards = [load_rollouts(path) for path in paths]
    return pd.concat([rollouts for rollouts, _ in shards], ignore_index=True), shards[0][1]


def check_rollouts(rollouts: pd.DataFrame, name: str) -> None:
    """Raise BadFile, naming the first bad rollout, if no valid gradient can be computed from the table."""
    if rollouts.empty:
        raise BadFile(f"{name}: no rollouts")
    num_tokens, num_logprobs = rollouts.tokens.map(len), rollouts.logprobs.map(len)
    _refuse(rollouts, num_tokens == 0, "has an empty completion", name)
    _refuse(rollouts, num_tokens != num_logprobs, "has not one log-prob a token", name)
    finite = rollouts.logprobs.map(lambda values: np.isfinite(values).all())
    _refuse(rollouts, ~finite | ~np.isfinite(rollouts.reward), "has a log-prob or reward that is not finite", name)
    _refuse(rollouts, rollouts.duplicated(["problem_id", "sample_id"]), "is there twice", name)
    group_size = num_groups(rollouts)[1]
    expected_ids = np.tile(np.arange(group_size), len(rollouts) // group_size)
    first_of_group = rollouts.problem_id.to_numpy()[::group_size].repeat(group_size)
    misplaced = (rollouts.sample_id != expected_ids) | (rollouts.problem_id != first_of_group)
    _refuse(rollouts, misplaced, "is not where its group is", name)
    answers = pd.Series([np.asarray(row).tobytes() for row in rollouts.tokens], index=rollouts.index)
    same = [rollouts.problem_id, answers]
    paid_otherwise = rollouts.reward.groupby(same).transform("nunique") > 1
    _refuse(rollouts, paid_otherwise, "has an answer that is there twice in its group, paid differently", name)
    distinct = answers.groupby(rollouts.problem_id).transform("nunique")
    copied = (distinct == 1).all() and group_size > 1
    _refuse(rollouts, distinct.eq(1) & copied, "is a copy of its whole group, and so is every other: one key?", name)


def num_groups(rollouts: pd.DataFrame) -> tuple[int, int]:
    """(number of groups P, group size G). Raises BadFile if the groups cannot all have one size."""
    num_problems = rollouts.problem_id.nunique()
    if len(rollouts) % num_problems:
        raise BadFile(f"{len(rollouts)} rollouts of {num_problems} problems: groups of unequal size")
    return num_problems, len(rollouts) // num_problems


def digest(rollouts: pd.DataFrame) -> str:
    """16 hex digits over problem ids, sample ids and completion tokens: equal rollouts, equal digest."""
    state = hashlib.blake2b(digest_size=8)
    for column in ("problem_id", "sample_id"):
        state.update(np.ascontiguousarray(rollouts[column], dtype=np.int64).tobytes())
    lengths = rollouts.tokens.map(len).to_numpy(dtype=np.int64)
    state.update(lengths.tobytes())
    state.update(np.concatenate(rollouts.tokens.to_numpy()).astype(np.int32).tobytes())
    return state.hexdigest()


def _refuse(rollouts: pd.DataFrame, bad: pd.Series, complaint: str, name: str) -> None:
    if bad.any():
        row = rollouts[bad.to_numpy()].iloc[0]
        raise BadFile(f"{name}: rollout (problem {row.problem_id}, sample {row.sample_id}) {complaint}")
