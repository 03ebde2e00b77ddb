"""The whole DAG on a copy of the project, at a scale of seconds a job; then what happens when things go wrong."""

import json
import os
import re
import shutil

import pandas as pd
import pytest
import yaml
from projects import run_tiny as run
from projects import tiny_project

from oneshot.rollouts import load_rollouts, save_rollouts
from oneshot.workflow import expected

RUN = "results/tiny/main/arithmetic/policy1/run0"
ARMS = f"{RUN}/arms"
pytestmark = pytest.mark.slow


def points(folder, arm):
    return pd.read_csv(folder / ARMS / arm / "points.csv")


def test_everything_is_there(finished):
    for name in ("central", "landscape", "entropy"):
        assert (finished / f"figures/tiny/{name}.png").stat().st_size > 10_000
    summary = pd.read_csv(finished / "results/tiny/summary.csv")
    assert {"experiment", "model", "task", "arm", "point", "quantity", "value", "low", "high"} <= set(summary)
    quantities = pd.read_csv(finished / ARMS / "one_shot/quantities.csv").set_index("quantity").value
    assert quantities.sampler_gap_max < 1e-4
    spent = points(finished, "one_shot").query("split == 'test' and chosen").iloc[0]
    assert spent.rollouts == 80 * 10 + (6 * 16 + 3 * 16 + 2 * 32) * 2
    assert (spent.batch_rollouts, spent.sampling_phases, spent.gradient_steps) == (800, 1, 1)
    assert spent.search_rounds == 6 + 3 + 2
    assert 0 <= points(finished, "grpo").rollouts.max() - spent.rollouts < 50


def test_the_base_is_the_same_for_both_arms(finished):
    """Same problems, same keys, measured once: point 0 of GRPO and α = 0 of the search, on both splits."""
    ours, theirs = (points(finished, arm).query("point == 0").set_index("split") for arm in ("one_shot", "grpo"))
    assert set(ours.index) == set(theirs.index) == {"validation", "test"}
    for column in ("accuracy", "greedy_accuracy", "entropy_nats", "kl_nats"):
        assert (ours[column] == theirs[column][ours.index]).all()


def test_nothing_is_left_to_do(finished):
    assert "Nothing to be done" in run(finished, "figures")[1]


def test_figures_are_drawn_from_the_record_alone(finished, tmp_path):
    """No policy is there, and none is made: restored tables are all that a figure needs."""
    expected.record("tiny", finished)
    elsewhere = tiny_project(tmp_path / "project")
    shutil.copy(expected.archive_of("tiny", finished), expected.archive_of("tiny", elsewhere))
    expected.restore("tiny", elsewhere)
    code, output = run(elsewhere, "figures")
    assert code == 0, output
    assert not list(elsewhere.glob("results/tiny/**/*.safetensors"))
    for name in ("central", "central_table", "tilt"):
        path = f"figures/tiny/{name}.csv"
        assert (elsewhere / path).read_bytes() == (finished / path).read_bytes()


def test_a_run_goes_on_from_a_start(finished, tmp_path):
    """Policy, problems and rollouts are restored and none is made anew; the step from them is the same step."""
    expected.record("tiny", finished, "start")
    elsewhere = tiny_project(tmp_path / "project")
    (elsewhere / "expected").mkdir(exist_ok=True)
    shutil.copy(expected.archive_of("tiny", finished, "start"), elsewhere / "expected")
    expected.restore("tiny", elsewhere, "start")
    code, output = run(elsewhere, f"{ARMS}/one_shot/points.csv")
    assert code == 0, output
    assert not any(f"rule {name}:" in output for name in ("problems", "pretrain", "acceptance", "sample"))
    path = f"{ARMS}/one_shot/points.csv"
    assert (elsewhere / path).read_bytes() == (finished / path).read_bytes()


def test_the_report_holds_every_figure_with_its_question(finished):
    code, output = run(finished, "figures", "--report", "report.html")
    assert code == 0, output
    page = (finished / "report.html").read_text()
    for name, entry in yaml.safe_load((finished / "config/figures.yaml").read_text()).items():
        assert name.replace("_", " ") in page
        assert entry["claim"].partition(",")[0] in page


def test_prose_re_runs_nothing_and_code_its_dependants(finished):
    path = finished / "notebooks/03_line_search.ipynb"
    original = path.read_text()
    notebook = json.loads(original)
    notebook["cells"][0]["source"].append("\n\nA remark.")
    path.write_text(json.dumps(notebook))
    assert "Nothing to be done" in run(finished, "figures", "--dry-run")[1]
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code[-1]["source"].append("\nprint(1)")
    path.write_text(json.dumps(notebook))
    output = run(finished, "figures", "--dry-run")[1]
    assert "line_search" in output
    assert not any(f"rule {name}:" in output for name in ("sample", "gradient", "followed", "pretrain"))
    path.write_text(original)


def test_a_changed_key_is_seen_by_snakemake(finished):
    """What tests/test_plan.py shows of the plan reaches the DAG: rewards re-run both arms, but no sampling."""
    output = run(finished, "figures", "--dry-run", "--config", "rewards=partial")[1]
    for rule in ("gradient", "direction", "line_search", "followed", "tuning", "summary"):
        assert f"rule {rule}:" in output, rule
    for rule in ("sample", "pretrain", "problems", "acceptance"):
        assert f"rule {rule}:" not in output, rule


def test_an_expectation_re_runs_no_arm(finished):
    """And a changed arm is run again even if its gate is, too: Snakemake overlooks that behind an ancient input."""
    path = finished / "config/tiny.yaml"
    original = path.read_text()
    config = yaml.safe_load(original)
    config["expectations"]["arithmetic"]["one_shot"]["because"] = "For another reason."
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    alone = run(finished, "figures", "--dry-run")[1]
    config["acceptance"] = {"sampled": [0.0, 1.0]}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    with_gate = run(
        finished, "results/tiny/main/arithmetic/tuning/grpo/tuning.csv", "--dry-run", "--config", "rewards=partial"
    )[1]
    path.write_text(original)
    assert "rule expectations:" in alone
    assert not any(f"rule {name}:" in alone for name in ("acceptance", "sample", "line_search", "followed", "tuning"))
    assert "rule acceptance:" in with_gate
    assert "rule tuning:" in with_gate


def test_a_result_of_another_run_is_refused(finished):
    """The one-shot arm's table in the place of GRPO's: refused by name, with its seal and without."""
    path, other = (finished / ARMS / arm / "points.csv" for arm in ("grpo", "one_shot"))
    seal, original = path.with_name(".points.csv.sha256"), path.read_bytes()
    path.write_bytes(other.read_bytes())
    sealed = run(finished, "figures/tiny/central.pdf")
    seal.rename(seal.with_name("away"))
    bare = run(finished, "figures/tiny/central.pdf")
    seal.with_name("away").rename(seal)
    path.write_bytes(original)
    for (code, output), complaint in ((sealed, "grpo/points.csv: has changed"), (bare, "two are of the same run")):
        assert code != 0
        assert complaint in output
    assert run(finished, "figures")[0] == 0


def test_a_deleted_figure_comes_back_byte_for_byte(finished):
    path = finished / "figures/tiny/landscape.pdf"
    before = path.read_bytes()
    path.unlink()
    code, output = run(finished, "figures/tiny/landscape.pdf")
    assert code == 0
    assert "rule line_search:" not in output
    assert path.read_bytes() == before


def test_a_changed_table_redraws_what_reads_it_and_nothing_else(finished):
    path = finished / RUN / "slope.csv"
    times, original = path.stat(), path.read_bytes()
    path.write_bytes(original + b"\n")  # a new time alone changes nothing: the same bytes are the same table
    output = run(finished, "figures", "--dry-run")[1]
    path.write_bytes(original)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert re.findall(r"figure=(\w+)", output) == ["landscape"]
    assert set(re.findall(r"rule (\w+):", output)) == {"draw", "summary", "figures"}


def test_results_repeat_byte_for_byte(finished):
    """One run again, from its rollouts on: every table is the same, timings aside."""
    tables = ("points", "by_problem", "steps", "quantities")
    names = [f"arms/{arm}/{table}.csv" for arm in ("one_shot", "grpo") for table in tables]
    names += ["slope.csv", "rollouts/shard0.parquet", "gradient/shard0.safetensors"]
    before = {name: (finished / RUN / name).read_bytes() for name in names}
    shutil.rmtree(finished / RUN)
    for targets in ([f"{RUN}/{name}" for name in names], ["figures"]):
        code, output = run(finished, *targets)
        assert code == 0, output
    assert {name for name in names if (finished / RUN / name).read_bytes() != before[name]} == set()


def test_a_broken_input_stops_the_run_by_name_and_the_rerun_completes(finished):
    shard = finished / RUN / "rollouts/shard1.parquet"
    shard.write_bytes(shard.read_bytes()[:1000])
    code, output = run(finished, "figures")
    assert code != 0
    assert "shard1.parquet: has changed since it was written" in output
    assert not list((finished / RUN).rglob("*.partial*"))
    shard.unlink()
    assert run(finished, f"{RUN}/gradient/shard1.safetensors", "figures")[0] == 0
    assert shard.exists()


def test_a_policy_that_solves_nothing_is_said_to(finished):
    """All rewards set to zero: no α*, and the way out is named."""
    for shard in (0, 1):
        path = finished / RUN / f"rollouts/shard{shard}.parquet"
        rollouts, metadata = load_rollouts(path)
        save_rollouts(rollouts.assign(reward=0.0), path, metadata)
    code, output = run(finished, "figures")
    assert code != 0
    assert "0 of 800 rollouts are right" in output
    assert "there is no α*" in output
    assert not (finished / ARMS / "one_shot/direction.safetensors").exists()


def test_shards_that_finished_are_kept_when_an_engine_dies(finished, monkeypatch):
    path = finished / "notebooks/01_sample.ipynb"
    notebook = json.loads(path.read_text())
    cell = next(cell for cell in notebook["cells"] if any("draw_rollouts(" in line for line in cell["source"]))
    cell["source"][:0] = ["import os\n", "assert os.environ.get('DYING') != str(shard), 'the engine died'\n"]
    path.write_text(json.dumps(notebook))
    shards = [finished / RUN / f"rollouts/shard{shard}.parquet" for shard in (0, 1)]
    targets = [str(shard.relative_to(finished)) for shard in shards]
    monkeypatch.setenv("DYING", "1")
    code, output = run(finished, *targets)
    assert code != 0
    assert "the engine died" in output
    assert [shard.exists() for shard in shards] == [True, False]
    written = shards[0].stat().st_mtime_ns
    monkeypatch.delenv("DYING")
    assert run(finished, *targets)[0] == 0
    assert shards[0].stat().st_mtime_ns == written
    assert shards[1].exists()
