"""Kubernetes' profile, on a stand-in for the cluster: pods ask for what their rules need; a lost one is replaced."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from trials import tables, wait_for

PROFILE = Path(__file__).parents[2] / "profiles/kubernetes"
BOTH = ("kubernetes", "slurm")
RUN = "results/tiny/main/arithmetic/policy1/run0"
TARGET = f"{RUN}/arms/one_shot/points.csv"
NEEDS_PLUGIN = pytest.mark.skipif(
    not find_spec("snakemake_executor_plugin_cluster_generic"), reason="needs what `make kubernetes` installs"
)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The folder of a cluster's jobs, whose kubectl is first on the path."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "jobs").mkdir()
    program = tmp_path / "bin/kubectl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("kubectl.py")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("KUBECTL_JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    return tmp_path / "jobs"


def call(*command, folder="."):
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout.strip(), done.stderr


def submit(script, gpus):
    asked = ("--gpus", gpus, "--cpus", 3, "--megabytes", 500, "--minutes", 7)
    return call(sys.executable, PROFILE / "submit.py", *asked, script, folder=script.parent)


def test_a_pod_asks_for_what_its_rule_needs_and_its_end_is_told(cluster, tmp_path):
    script = tmp_path / "job.sh"
    script.write_text("pwd >where; until [ -e go ]; do sleep 0.1; done")
    code, name, _ = submit(script, gpus=2)
    assert (code, call(PROFILE / "status.sh", name)[1]) == (0, "running")
    (tmp_path / "go").touch()
    assert wait_for(lambda: call(PROFILE / "status.sh", name)[1] == "success", 20)
    assert (tmp_path / "where").read_text().strip() == str(tmp_path)
    spec = json.loads((cluster / f"{name}.json").read_text())["spec"]
    assert (spec["activeDeadlineSeconds"], spec["backoffLimit"]) == (420, 0)
    (container,) = spec["template"]["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "3", "memory": "500M"},
        "limits": {"memory": "500M", "nvidia.com/gpu": "2"},
    }
    _, name, _ = submit(script, gpus=0)
    assert "gpu" not in (cluster / f"{name}.json").read_text()


def test_a_failed_a_deleted_and_an_unknown_job_have_failed(cluster, tmp_path):
    (tmp_path / "fails.sh").write_text("exit 3")
    (tmp_path / "waits.sh").write_text("sleep 60")
    names = [submit(tmp_path / name, gpus=0)[1] for name in ("fails.sh", "waits.sh")]
    assert call(PROFILE / "cancel.sh", names[1])[0] == 0
    for name in (*names, "oneshot-unknown"):
        assert wait_for(lambda name=name: call(PROFILE / "status.sh", name)[1] == "failed", 20)


def test_a_cluster_that_does_not_answer_loses_no_job(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECTL_JOBS", "")
    monkeypatch.setenv("PATH", f"/nowhere:{Path(sys.executable).parent}:/usr/bin:/bin")
    assert call(PROFILE / "status.sh", "oneshot-1")[1] == "running"
    (tmp_path / "job.sh").touch()
    code, _, told = submit(tmp_path / "job.sh", gpus=0)
    assert code == 1
    assert "kubectl could not create the job" in told
    assert "Traceback" not in told


def test_both_clusters_run_the_same_jobs():
    """What they differ in is how a job is submitted."""
    ours, theirs = (yaml.safe_load((PROFILE.parent / f"{name}/config.yaml").read_text()) for name in BOTH)
    assert {key: value for key, value in ours.items() if not key.startswith(("cluster-generic", "executor"))} == {
        key: value for key, value in theirs.items() if key != "executor"
    }


@NEEDS_PLUGIN
@pytest.mark.slow
def test_a_lost_pod_is_submitted_again_and_the_tables_are_those_of_a_local_run(pristine, finished, cluster):
    shutil.rmtree(finished / RUN)
    command = [sys.executable, "-m", "snakemake", TARGET, "--profile", "profiles/kubernetes"]
    command += ["--configfile", "config/tiny.yaml", "--default-resources", "mem_mb=1000", "runtime=30"]
    with (finished / "log").open("wb") as log:
        run = subprocess.Popen(command, cwd=finished, stdout=log, stderr=log)
        assert wait_for(lambda: list(cluster.glob("*.pid")), 60), (finished / "log").read_text()
        (lost, *_) = sorted(cluster.glob("*.pid"))
        assert call(PROFILE / "cancel.sh", lost.stem)[0] == 0
        assert run.wait() == 0, (finished / "log").read_text()
    assert "Trying to restart job" in (finished / "log").read_text()
    before, after = tables(pristine), tables(finished)
    assert TARGET in after
    assert {path for path in after if after[path] != before[path]} == set()
    scripts = [json.loads(path.read_text())["spec"]["template"]["spec"] for path in cluster.glob("*.json")]
    assert {pod["restartPolicy"] for pod in scripts} == {"Never"}
    assert len(scripts) >= 5  # two shards drawn, two differentiated, a direction together with its search
