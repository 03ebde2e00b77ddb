"""Killed at any moment, by any means: the same command takes the run up, and every table comes out the same."""

import contextlib
import os
import signal

import pytest
from projects import run_tiny, tiny_project
from trials import alive, descendants, kill, seeded, start, tables, times, wait_for

pytestmark = pytest.mark.slow
TARGET = "results/tiny/summary.csv"
VICTIMS = ("snakemake", "kernel", "papermill", "session")
SHORTEST, LONGEST = 3.0, 25.0
"""Seconds after which a run is killed; starting takes some five of them."""
LAST_WORDS = 60
"""Seconds in which whatever a killed process had started has to be gone."""


def strike(victim, run, rng):
    """Kill it; returns what it was, or nothing if there was none at that moment."""
    below = descendants(run.pid)
    if victim == "session":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        return victim
    if victim == "snakemake":
        return victim if kill(run.pid) else ""
    named = {"kernel": "ipykernel_launcher", "papermill": "-m papermill"}[victim]
    chosen = [identity for identity, command in below.items() if named in command]
    return victim if chosen and kill(chosen[rng.integers(len(chosen))]) else ""


def test_a_killed_run_is_taken_up_and_ends_the_same(pristine, tmp_path, monkeypatch):
    monkeypatch.setenv("ONESHOT_KEEP_EVERY_S", "0")  # arms are killed half way, too
    folder, rng, struck = tiny_project(tmp_path / "project"), seeded(0), []
    for trial in range(times(4, 20)):
        victim = VICTIMS[trial % len(VICTIMS)]
        run = start(folder, TARGET)
        if wait_for(lambda run=run: run.poll() is not None, rng.uniform(SHORTEST, LONGEST)):
            break  # it came to its end
        below = descendants(run.pid)
        struck += [strike(victim, run, rng)]
        if struck[-1] in ("kernel", "papermill"):  # a job has died, and Snakemake says so and goes on
            failed = folder / "log"
            assert wait_for(lambda failed=failed: "Error in rule" in failed.read_text(), LAST_WORDS)
            failed.unlink()
        if victim != "snakemake":  # whose jobs have to notice for themselves
            strike("session", run, rng)
        run.wait()
        assert wait_for(lambda below=below: not alive(below), LAST_WORDS), f"left behind by a killed {victim}"
    code, output = run_tiny(folder, TARGET)
    assert code == 0, output
    assert struck.count("snakemake") + struck.count("session") >= 1
    before, after = tables(pristine), tables(folder)
    assert {path for path in after if after[path] != before[path]} == set()
    assert TARGET in after
    assert not list(folder.glob("results/**/*.partial*"))


def test_a_killed_run_leaves_no_lock_and_the_next_one_says_what_it_does(tmp_path):
    folder = tiny_project(tmp_path / "project")
    run = start(folder, TARGET)
    assert wait_for(lambda: (folder / "results/tiny/.run").exists(), 60)
    kill(run.pid)
    run.wait()
    code, output = run_tiny(folder, "results/tiny/theory.csv")
    assert code == 0, output
    assert f"The last run here (process {run.pid}, since " in output
    assert "was killed. What had finished is kept" in output
    assert "was killed" not in run_tiny(folder, "results/tiny/main/arithmetic/expectations.csv")[1]
