"""A cluster: the same tables from jobs that SLURM runs on a node of its own, one of them cancelled on the way."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from projects import tiny_project
from trials import tables

APART = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"]
"""Namespaces of one's own, which a container may refuse."""
HERE = (
    find_spec("snakemake_executor_plugin_slurm")
    and shutil.which("slurmctld")
    and shutil.which("munged")
    and not subprocess.run(APART, capture_output=True).returncode
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HERE, reason="needs root, slurm-wlm and munge, and what `make slurm` installs"),
]
TARGET = "results/tiny/main/arithmetic/policy1/run0/arms/one_shot/points.csv"
SUBMIT = [
    *(sys.executable, "-m", "snakemake", TARGET, "--profile", "profiles/slurm", "--configfile", "config/tiny.yaml"),
    *("--default-resources", "mem_mb=1000", "runtime=30"),  # of a machine that may be small
    *("--slurm-no-account", "--slurm-status-command", "squeue"),  # no accounts are kept here
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
]
CANCEL = """
"$@" & run=$!
until job=$(squeue --noheader --states=R --format='%i %k' | grep rule_sample | head -n1 | cut -d' ' -f1); [ -n "$job" ]
do kill -0 $run || exit; sleep 0.2; done
scancel "$job" && echo "cancelled: $job"
wait $run
"""


def test_a_cancelled_job_is_submitted_again_and_the_tables_are_those_of_a_local_run(pristine, tmp_path):
    folder = tiny_project(tmp_path / "project")
    cluster = [Path(__file__).with_name("slurm.sh"), tmp_path / "slurm", "bash", "-c", CANCEL, "cancel"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([*cluster, *SUBMIT], cwd=folder, capture_output=True, text=True, env=environment)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "cancelled: " in told
    assert "Trying to restart job" in told
    before, after = tables(pristine), tables(folder)
    assert TARGET in after
    assert {path for path in after if after[path] != before[path]} == set()
    submitted = set(re.findall(r"slurm_logs/(\w+)/", told))
    assert {"rule_sample", "rule_gradient"} <= submitted
    assert any(name.startswith("group_one_step") for name in submitted)  # a direction together with its search
