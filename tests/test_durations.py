"""How long jobs took is read from the notebooks that runs have left, and a dry run is turned into a forecast."""

import json

import pandas as pd
import pytest

from oneshot.files import MissingInput
from oneshot.workflow import durations

DRY_RUN = """
localrule baseline:
    input: notebooks/05_baseline.ipynb, results/a/x
    log: results/a/05_baseline.ipynb
    wildcards: model=main, task=sums, policy=1, run=0, arm=grpo
rule sample:
    input: notebooks/01_sample.ipynb
    wildcards: model=main, task=sums, policy=1, run=0, shard=0
    threads: 2
rule theory:
    input: notebooks/00_theory.ipynb
localrule figures:
    input: figures/a/central.pdf
"""


def executed(root, place, seconds, status="completed", arm="grpo", peak=200, **out):
    path = root / "results/a" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    of = {"experiment": "a", "model": "main", "task": "sums", "policy": 1, "run": 0, "arm": arm}
    told = {
        "duration": seconds,
        "input_path": "notebooks/05_baseline.ipynb",
        "parameters": {"identity": of, "out": out},
        "peak_mib": peak,
    }
    cells = [{"metadata": {"papermill": {"status": status}}}]
    path.write_text(json.dumps({"cells": cells, "metadata": {"papermill": told}}))


def test_finished_jobs_are_collected_by_kind(tmp_path):
    (tmp_path / "big").write_bytes(bytes(3 * 2**20))
    executed(tmp_path, "p1/05_baseline.ipynb", 10.0, points="big", peak=700)
    executed(tmp_path, "p2/05_baseline.ipynb", 30.0, points="big")
    executed(tmp_path, "p3/05_baseline.ipynb", 99.0, status="running")
    executed(tmp_path, "p4/05_baseline.ipynb", 99.0, status="failed")
    (row,) = durations.collect("a", tmp_path, 50.0).to_dict("records")
    assert (row["notebook"], row["arm"], row["jobs"]) == ("05_baseline", "grpo", 2)
    assert (row["seconds"], row["mib"], row["peak_mib"], row["gflops"]) == (20.0, 3.0, 700, 50.0)
    with pytest.raises(MissingInput, match="results/b holds no finished notebook"):
        durations.collect("b", tmp_path, 50.0)


def test_what_is_recorded_again_replaces_what_was_there(tmp_path):
    executed(tmp_path, "p1/05_baseline.ipynb", 10.0)
    executed(tmp_path, "q1/05_baseline.ipynb", 5.0, arm="gspo")
    durations.record("a", tmp_path, 50.0)
    executed(tmp_path, "p1/05_baseline.ipynb", 12.0)
    (tmp_path / "results/a/q1/05_baseline.ipynb").unlink()
    durations.record("a", tmp_path, 50.0)
    found = pd.read_csv(tmp_path / "expected/durations.csv").set_index("arm").seconds
    assert found.to_dict() == {"grpo": 12.0, "gspo": 5.0}


def known(**seconds):
    rows = [dict(zip(durations.KEY, name.split("/"), strict=True), seconds=value) for name, value in seconds.items()]
    return pd.DataFrame(rows).assign(mib=1.0, peak_mib=500.0, gflops=100.0)


def test_the_nearest_job_that_was_run_stands_for_one_that_was_not(tmp_path):
    jobs = durations.planned(DRY_RUN, "a")
    assert jobs.notebook.tolist() == ["05_baseline", "01_sample", "00_theory"]
    assert jobs.arm.tolist() == ["grpo", "", ""]
    assert jobs.threads.tolist() == [1, 2, 1]
    measured = known(
        **{
            "05_baseline/a/main/sums/one_batch": 10.0,
            "05_baseline/b/main/sums/grpo": 99.0,
            "01_sample/a/other/words/": 4.0,
            "01_sample/a/other/sums/": 6.0,
            "01_sample/b/main/sums/": 99.0,
            "00_theory/b///": 99.0,
        }
    )
    found = durations.forecast(jobs, measured, gflops=50.0)
    assert found.seconds.tolist()[:2] == [20.0, 10.0]
    assert pd.isna(found.seconds[2])
    never = durations._recorded(tmp_path)
    assert durations.forecast(jobs, never, gflops=50.0).seconds.isna().all()
    exact = known(**{"05_baseline/a/main/sums/grpo": 60.0, "05_baseline/a/main/sums/one_batch": 10.0})
    assert durations.forecast(jobs, exact, gflops=100.0).seconds[0] == 60.0


def test_the_forecast_is_told_in_words():
    jobs = durations.planned(DRY_RUN, "a").assign(
        seconds=[7000.0, 300.0, float("nan")], mib=[2048.0, 0.0, float("nan")], peak_mib=[300.0, 6144.0, float("nan")]
    )
    told = durations.told(jobs, cores=2)
    assert "1 × 05_baseline       1 h 57 min" in told
    assert "2 jobs, 2 h 07 min of one core: about 1 h 03 min on 2" in told
    assert "2.0 GB of files" in told
    assert "up to 6.0 GB of memory for a job (01_sample)" in told
    assert "1 jobs of notebooks that have never been timed in this experiment" in told
    assert durations.told(jobs[:0], cores=2) == "nothing is left to run"
