"""The archive of the reference run: what is recorded comes back, byte for byte, and nothing else does."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from oneshot.files import BadFile, MissingInput
from oneshot.workflow import expected, experiment
from oneshot.workflow.plan import Plan

CONFIG = Path(__file__).parent.parent / "config"
TABLES = {"main/run0/arms/grpo/points.csv": "a,b\n1,0.1\n", "theory.csv": "c\nπ\n"}


@pytest.fixture
def project(tmp_path):
    for path, text in TABLES.items():
        (tmp_path / "results/tiny" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "results/tiny" / path).write_text(text)
    (tmp_path / "results/tiny/model.safetensors").write_bytes(b"weights")
    return tmp_path


def without_results(project):
    (project / "results").rename(project / "kept")
    return project


def test_what_is_recorded_comes_back(project):
    assert set(expected.record("tiny", project)) == set(TABLES)
    expected.restore("tiny", without_results(project))
    found = {path.relative_to(project / "results/tiny").as_posix(): path for path in project.glob("results/**/*.csv")}
    assert {name: path.read_text() for name, path in found.items()} == TABLES
    assert len({path.stat().st_mtime for path in found.values()}) == 1  # none is newer than another


def test_a_start_is_a_policy_its_problems_and_rollouts(project):
    """Of policy 1 and run 0, the main job's in every config; without notebooks and seals."""
    kept = [
        "policies/main/policy1/model.safetensors",
        "problems/sums/policy1/train.jsonl",
        "main/sums/policy1/acceptance.csv",
        "main/sums/policy1/run0/rollouts/shard0.parquet",
        "main/sums/policy1/run0/timings/sample0.csv",
    ]
    others = [
        "policies/main/policy1/00_pretrain.ipynb",
        "policies/main/policy1/.model.safetensors.sha256",
        "policies/main/policy2/model.safetensors",
        "main/sums/policy1/run1/rollouts/shard0.parquet",
        "main/sums/policy1/run0/gradient/shard0.safetensors",
    ]
    for path in kept + others:
        (project / "results/tiny" / path).parent.mkdir(parents=True, exist_ok=True)
        (project / "results/tiny" / path).write_bytes(b"\x00")
    assert sorted(expected.record("tiny", project, "start")) == sorted(kept)
    assert sorted(expected.restore("tiny", without_results(project), "start")) == sorted(kept)
    with pytest.raises(MissingInput, match=r"other\.start\.tar\.xz is missing: recorded are tiny$"):
        expected.restore("other", project, "start")


@pytest.mark.parametrize("name", ["smoke", "laptop", "ladder", "scale", "code", "smollm2"])
def test_the_main_job_is_that_of_a_start(name):
    job = Plan(experiment.load(name, CONFIG)).jobs[0]
    assert (job.policy, job.run) == (1, 0)


def test_recording_again_adds_and_replaces(project):
    expected.record("tiny", project)
    before = expected.archive_of("tiny", project).read_bytes()
    assert expected.record("tiny", project) == []
    assert expected.archive_of("tiny", project).read_bytes() == before  # whatever the time
    (project / "results/tiny/theory.csv").write_text("c\n2\n")
    os.remove(project / "results/tiny/main/run0/arms/grpo/points.csv")
    (project / "results/tiny/more.csv").write_text("d\n3\n")
    assert expected.record("tiny", project) == ["more.csv", "theory.csv"]
    files, manifest = expected.read(expected.archive_of("tiny", project))
    assert {path: content.decode() for path, content in files.items()} == {
        **TABLES,
        "theory.csv": "c\n2\n",
        "more.csv": "d\n3\n",
    }
    assert set(manifest) == set(files)


def test_results_are_never_overwritten(project):
    expected.record("tiny", project)
    (project / "results/tiny/theory.csv").write_text("c\n2\n")
    with pytest.raises(FileExistsError, match="results/tiny holds tables already"):
        expected.restore("tiny", project)
    assert (project / "results/tiny/theory.csv").read_text() == "c\n2\n"


def test_what_is_missing_is_named(project):
    with pytest.raises(MissingInput, match="results/other holds no table: run"):
        expected.record("other", project)
    expected.record("tiny", project)
    with pytest.raises(MissingInput, match=r"expected/other\.tar\.xz is missing: recorded are tiny"):
        expected.restore("other", project)


def rewritten(project, change):
    """Record, change the files of the archive by `change`, and write them as a plain archive would be."""
    expected.record("tiny", project)
    archive = expected.archive_of("tiny", project)
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar}
    change(files)
    with tarfile.open(archive, "w:xz") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return without_results(project)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda files: files.update({"theory.csv": b"c\n3\n"}), "theory.csv"),
        (lambda files: files.update({"../outside.csv": b"c\n"}), "outside.csv"),
        (lambda files: files.pop("theory.csv"), "theory.csv"),
        (lambda files: files.pop("manifest.json"), "manifest.json"),
    ],
    ids=["changed", "added", "lost", "no manifest"],
)
def test_a_changed_archive_is_refused(project, change, named):
    rewritten(project, change)
    with pytest.raises(BadFile, match=named):
        expected.restore("tiny", project)
    assert not (project / "results").exists()


def test_a_truncated_archive_is_refused(project):
    expected.record("tiny", project)
    archive = expected.archive_of("tiny", project)
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(BadFile, match="not a readable archive"):
        expected.restore("tiny", without_results(project))
