"""What is written can be read back, and what cannot be trusted is refused by name."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from oneshot.files import (
    BadFile,
    MissingInput,
    atomic_path,
    intact,
    project_root,
    read_csv,
    read_json,
    require,
    write_csv,
    write_json,
)
from oneshot.policies.models import fingerprint, load_policy, save_policy
from oneshot.rollouts import check_rollouts, load_rollouts, save_rollouts
from oneshot.vectors import save_tensors
from oneshot.workflow import provenance


def test_rollouts_round_trip(rollouts, tmp_path):
    path = tmp_path / "r.parquet"
    save_rollouts(rollouts, path, {"run": "x"})
    again, metadata = load_rollouts(path)
    assert metadata == {"run": "x"}
    for column in ("problem_id", "sample_id", "reward", "text", "status", "entropy_nats"):
        assert (again[column] == rollouts[column]).all()
    assert all(map(np.array_equal, again.tokens, rollouts.tokens))
    assert all(map(np.array_equal, again.logprobs, rollouts.logprobs))


def test_equal_tables_are_equal_files(rollouts, tmp_path):
    for name in ("a", "b"):
        save_rollouts(rollouts, tmp_path / name, {"run": "x"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_equal_tensors_are_equal_files(tmp_path):
    """Of several entries of its header, the library writes a new order each time."""
    for name in range(8):
        save_tensors({"w": torch.arange(3.0)}, tmp_path / f"{name}", dict.fromkeys("abcdefgh", name // 8))
    assert len({path.read_bytes() for path in tmp_path.iterdir() if not path.name.startswith(".")}) == 1


def test_truncated_and_foreign_parquet_are_refused(rollouts, tmp_path):
    path = tmp_path / "r.parquet"
    save_rollouts(rollouts, path, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadFile, match=r"r\.parquet: not a rollout table \(ArrowInvalid: missing, truncated or foreign"):
        load_rollouts(path)
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(BadFile, match=r"r\.parquet: not a rollout table"):
        load_rollouts(path)
    foreign = pa.table({"x": [1]}).replace_schema_metadata({"oneshot": "{}"})
    pq.write_table(foreign, path)
    with pytest.raises(BadFile, match="expected the columns problem_id, sample_id"):
        load_rollouts(path)


def spoiled(rollouts, column, value, row=5):
    values = list(rollouts[column])
    values[row] = value
    return rollouts.assign(**{column: values})


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("tokens", [], "has an empty completion"),
        ("logprobs", [0.0], "has not one log-prob a token"),
        ("reward", np.nan, "not finite"),
        ("sample_id", 2, "is there twice"),
        ("problem_id", 1, "groups of unequal size"),
    ],
)
def test_a_bad_rollout_is_named(rollouts, column, value, complaint):
    with pytest.raises(BadFile, match=complaint):
        check_rollouts(spoiled(rollouts, column, value), "r.parquet")


def test_a_shuffled_table_is_refused(rollouts):
    with pytest.raises(BadFile, match="is not where its group is"):
        check_rollouts(rollouts.sample(frac=1, random_state=0), "r.parquet")


def test_policies_round_trip_bit_for_bit(policy, tmp_path):
    save_policy(policy, tmp_path, {"policy_seed": 7})
    again = load_policy(tmp_path)
    assert fingerprint(again.model) == fingerprint(policy.model)
    assert again.encode("47+8=steps:55;sort:ab") == policy.encode("47+8=steps:55;sort:ab")
    assert read_json(tmp_path / "policy.json")["policy_seed"] == 7


def test_text_survives_the_tokenizer(policy):
    for text in ("steps:55,50,59;59", "sort:dacb=", "def f(x):\n    return x - 17", "3.14 about:me"):
        assert policy.decode(policy.encode(text)) == text


def test_a_policy_that_is_not_the_one_described_is_refused(policy, tmp_path):
    save_policy(policy, tmp_path, {})
    described = json.loads((tmp_path / "policy.json").read_text())
    write_json({**described, "fingerprint": "0"}, tmp_path / "policy.json")
    with pytest.raises(BadFile, match=r"weights are not those that policy\.json"):
        load_policy(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(BadFile, match="not a policy"):
        load_policy(tmp_path)


def test_a_killed_write_leaves_nothing(tmp_path):
    path = tmp_path / "folder" / "x.csv"
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(path.parent.iterdir()) == []
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"


def test_csv_is_checked(tmp_path):
    path = tmp_path / "x.csv"
    write_csv(pd.DataFrame({"a": [0.1]}), path)
    assert read_csv(path, ["a"]).a[0] == 0.1
    with pytest.raises(BadFile, match=r"x\.csv: lacks the columns b"):
        read_csv(path, ["b"])
    path.write_text("a\n")
    with pytest.raises(BadFile, match=r"x\.csv: no rows"):
        read_csv(path, ["a"])
    path.write_text("")
    with pytest.raises(BadFile, match=r"x\.csv: not a readable CSV"):
        read_csv(path, ["a"])


def test_a_missing_input_names_its_notebook(tmp_path, monkeypatch):
    (tmp_path / "Snakefile").touch()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    with pytest.raises(MissingInput, match=r"scratch/x is missing: run notebooks/01_sample\.ipynb first"):
        require("scratch/x", "01_sample")
    with pytest.raises(MissingInput, match=r"or `snakemake --cores all results/smoke/x --configfile"):
        require("results/smoke/x", "01_sample")
    assert project_root() == tmp_path


def test_the_stamp_says_what_ran():
    stamp = provenance.stamp()
    assert stamp["torch"].startswith("2.13.0")
    assert stamp["vllm"] == "absent" or stamp["vllm"][0].isdigit()
    assert set(stamp) > {"commit", "python", "machine", "transformers"}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "results/one/points.csv"
    write_csv(pd.DataFrame({"accuracy": [0.25, 0.5]}), path)
    return path


def test_a_seal_is_what_sha256sum_prints(table):
    done = subprocess.run(["sha256sum", "results/one/points.csv"], cwd=table.parents[2], capture_output=True, text=True)
    assert table.with_name(".points.csv.sha256").read_text() == done.stdout
    assert intact(table) == table


def test_a_changed_byte_is_refused_and_a_rewritten_file_is_not(table):
    original = table.read_bytes()
    table.write_bytes(original.replace(b"0.25", b"0.75"))
    with pytest.raises(BadFile, match=r"points\.csv: has changed since it was written"):
        require(table, "05_baseline")
    write_csv(pd.DataFrame({"accuracy": [0.75, 0.5]}), table)
    assert require(table, "05_baseline") == table


def test_a_file_of_another_run_is_refused_even_with_its_seal(table):
    shutil.copytree(table.parent, table.parent.with_name("two"))
    with pytest.raises(BadFile, match=r"two/points\.csv: was written as results/one/points\.csv"):
        intact(table.parent.with_name("two") / "points.csv")


def test_a_project_may_be_moved(table, monkeypatch):
    moved = table.parents[2].with_name("moved")
    table.parents[2].rename(moved)
    monkeypatch.chdir(moved / "results")
    assert intact(Path("one/points.csv")).exists()


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe\x00", b"0" * 64])
def test_a_damaged_seal_is_refused(table, damage):
    table.with_name(".points.csv.sha256").write_bytes(damage)
    with pytest.raises(BadFile, match="delete it"):
        intact(table)


def test_a_file_without_a_seal_is_taken_as_it_is(table):
    table.with_name(".points.csv.sha256").unlink()
    assert intact(table) == table


def test_a_policy_is_refused_if_anything_in_its_folder_has_changed(policy, tmp_path):
    save_policy(policy, tmp_path, {})
    for name in ("tokenizer.json", "config.json", "policy.json"):
        original = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(original.replace(b'"', b' "', 1))  # still JSON, and with the same content
        with pytest.raises(BadFile, match=name):
            load_policy(tmp_path)
        (tmp_path / name).write_bytes(original)
    load_policy(tmp_path)
