"""Tables of made-up runs whose summary is known, and figures that draw every number they are given."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from oneshot import plots, report
from oneshot.provenance import BadFile, write_csv
from oneshot.statistics import t_interval
from oneshot.tables import gather, search_quantity

STEPS = [1, 10, 20]
COST = {
    "batch_rollouts": 800,
    "search_rollouts": 200,
    "parameters": 10,
    "prompt_tokens_per_rollout": 5,
    "batch_tokens_per_rollout": 3,
}
BASE, ONE_SHOT, GRPO = [0.3, 0.32, 0.28], [0.5, 0.56, 0.47], [0.6, 0.65, 0.58]
"""Test accuracy of three policies: base, one-shot, GRPO after step 20. Greedy is 0.1 higher everywhere."""


def measured(accuracy):
    return {
        "accuracy": accuracy,
        "greedy_accuracy": accuracy + 0.1,
        "entropy_nats": 1 - accuracy,
        "kl_nats": accuracy,
        "kl_nats_per_token": accuracy / 10,
        "tokens_per_rollout": 6.0,
        "retention_accuracy": 1.3 - accuracy,
        "collapsed": False,
    }


def grpo_path(index):
    rows = []
    for step in (0, *STEPS):
        accuracy = BASE[index] + (GRPO[index] - BASE[index]) * step / 20
        for split in ("validation", "test"):
            rows.append({"step": step, "split": split, "rollouts": 50 * step, **measured(accuracy)})
    return rows


def landscape(index):
    return [
        {"multiple": multiple, "predicted_kl_nats": 0.2 * multiple**2, **measured(0.4 - (multiple - 2) ** 2 / 90)}
        for multiple in (0, 0.5, 1, 2, 5)
    ]


def by_problem(column, accuracies):
    """100 problems × 2 samples, in another order in each arm; each problem all right or all wrong."""
    rows = []
    for arm, accuracy in accuracies.items():
        for problem in np.random.default_rng(0 if column == "arm" else 1).permutation(100):
            right = int(problem < 100 * accuracy)
            rows.append({column: arm, "problem_id": problem, "correct": 2 * right, "samples": 2, "greedy_correct": 1})
    return rows


@pytest.fixture
def tables(tmp_path):
    contents = {
        "landscape": landscape,
        "search": lambda i: [
            {"quantity": name, "value": value}
            for name, value in (dict.fromkeys(report.SEARCH_UNITS, 1.0) | COST).items()
        ],
        "slope": lambda i: [{"predicted": 0.1, "measured": 0.11, "low": 0.08, "high": 0.15}],
        "test": lambda i: [{"arm": "base", **measured(BASE[i])}, {"arm": "one_shot", **measured(ONE_SHOT[i])}],
        "grpo/path": grpo_path,
        "grpo/steps": lambda i: [
            {"step": step, "rollouts": 50 * step, "tokens_per_rollout": 4.0} for step in range(1, 21)
        ],
        "test_by_problem": lambda i: by_problem("arm", {"base": BASE[i], "one_shot": ONE_SHOT[i]}),
        "grpo/test_by_problem": lambda i: by_problem("step", {20: GRPO[i]}),
        "timings/grpo": lambda i: [{"step": step, "seconds": 2.0} for step in range(1, 21)],
        "timings/line_search": lambda i: [{"seconds": 5.0}],
        "timings/sample": lambda i: [{"seconds": 3.0, "rollouts": 300, "tokens": 3000}],
        "timings/gradient": lambda i: [{"seconds": 4.0, "tokens": 400, "gflops": 50, "sgemm_gflops": 100}],
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = [tmp_path / f"main/policy{p}/arithmetic/run0/{name}.csv" for p in (1, 2, 3)]
        for index, path in enumerate(paths[name]):
            write_csv(pd.DataFrame(content(index)), path)
    return paths


def test_identity_comes_from_the_path(tables, tmp_path):
    frame = gather(tables["test"], ["arm"])
    assert frame.policy.tolist() == [1, 1, 2, 2, 3, 3]
    with pytest.raises(BadFile, match="not the table of a run"):
        gather([tmp_path / "x.csv"], [])


def test_costs_are_those_of_the_whole_run(tables):
    frame = report.central(tables)
    one_shot = frame[(frame.arm == "one_shot") & (frame.kind == "greedy")]
    assert one_shot.rollouts.tolist() == [1000] * 3
    assert one_shot.seconds.tolist() == [3 + 4 + 5] * 3
    assert one_shot.accuracy.tolist() == pytest.approx([accuracy + 0.1 for accuracy in ONE_SHOT])
    assert set(one_shot.tokens) == {800 * 3 + 200 * 6}
    assert set(one_shot.flops) == {10 * (8 * 800 * (5 + 3) + 2 * 200 * (5 + 6))}
    last = frame[(frame.arm == "grpo") & (frame.step == 20)]
    assert set(last.tokens) == {1000 * 4}
    assert set(last.flops) == {8 * 10 * 1000 * (5 + 4)}
    assert set(last.seconds) == {40.0}
    assert set(last.rollouts) == {1000}
    assert "validation" not in frame.to_string()


def test_differences_within_a_policy_are_paired_by_problem(tables):
    """Right answers are nested, so a difference is a share of problems gained, and its spread that of a coin."""
    found = report.within_policies(tables, 20).set_index("quantity")
    assert found.loc["one_shot_minus_base_sampled_policy_1", "value"] == pytest.approx(0.2)
    lost = found.loc["one_shot_minus_grpo_20_steps_sampled_policy_3"]
    assert lost.value == pytest.approx(-0.11)
    half_width = 1.96 * np.sqrt(0.11 * 0.89 / 100)
    assert (lost.high - lost.low) / 2 == pytest.approx(half_width, rel=0.15)
    assert set(found[found.index.str.contains("greedy")].value) == {0}
    assert len(found) == 2 * 3 * 3


def test_a_missing_quantity_is_named(tables):
    with pytest.raises(BadFile, match=r"search\.csv: not one 'colour' in each"):
        search_quantity(tables, "colour")


def test_the_central_table_is_paired_by_policy(tables):
    table = report.central_table(report.central(tables), grpo_steps=10)
    assert table.arm.tolist()[::2] == ["base", "one-shot", "GRPO, 10 steps", "GRPO, 20 steps (matched cost)"]
    row = table[(table.arm == "one-shot") & (table.kind == "sampled")].iloc[0]
    gains = np.subtract(ONE_SHOT, BASE)
    assert (row.gain, row.gain_low, row.gain_high) == pytest.approx(t_interval(gains))
    assert "| one-shot | sampled | 51.0 [" in report.as_markdown(table)


def test_the_summary_quotes_differences_and_ratios(tables):
    frame = report.central(tables)
    base = pd.DataFrame({"quantity": "sampled", "value": [0.3, 0.4], "policy": [1, 2], "parameters": 5})
    summary = report.summarise(frame, report.central_table(frame, 20), base, tables, 20).set_index("quantity")
    difference = summary.loc["one_shot_minus_grpo_20_steps_sampled"]
    assert tuple(difference[["value", "low", "high"]]) == pytest.approx(t_interval(np.subtract(ONE_SHOT, GRPO)))
    ratio = summary.loc["gain_recovered_of_grpo_20_steps_sampled"]
    assert ratio.value == pytest.approx(np.subtract(ONE_SHOT, BASE).mean() / np.subtract(GRPO, BASE).mean())
    assert ratio.low < ratio.value < ratio.high
    assert summary.loc["gradient_share_of_sgemm_peak"].value == 0.5
    assert summary.loc["base_policy_sampled"].value == pytest.approx(0.35)
    kept = summary.loc["grpo_20_steps_retention"]
    assert kept.value == pytest.approx(1.3 - np.mean(GRPO))
    assert kept.low < kept.value < kept.high <= 1
    assert summary.loc["one_shot_retention"].value == pytest.approx(1.3 - np.mean(ONE_SHOT))
    assert (summary.seeds == "1 2 3").all()
    assert summary.index.is_unique


def test_no_ratio_to_a_gain_that_may_be_nothing(tables):
    frame = report.central(tables)
    frame.loc[frame.arm == "grpo", "accuracy"] = frame[frame.arm == "grpo"].policy.map({1: 0.3, 2: 0.4, 3: 0.35})
    assert not report.comparison(frame, 20).quantity.str.contains("gain_recovered").any()


def test_runs_of_one_policy_count_once():
    frame = pd.DataFrame({"policy": [1, 1, 2, 3], "arm": "a", "x": [0.0, 1.0, 0.4, 0.6]})
    row = report.over_policies(frame, ["arm"], "x").iloc[0]
    assert (row.value, row.low, row.high) == pytest.approx(t_interval(np.array([0.5, 0.4, 0.6])))
    assert row.policies == 3


@pytest.mark.parametrize("name", ["central", "landscape", "entropy"])
@pytest.mark.parametrize("num_policies", [1, 3])
def test_figures_are_drawn_and_repeat_byte_for_byte(tables, tmp_path, monkeypatch, name, num_policies):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    plots.set_style()
    tables = {table: paths[:num_policies] for table, paths in tables.items()}
    data = getattr(report, name)(tables)
    extras = report.landscape_extras(tables) if name == "landscape" else {}
    for folder in ("a", "b"):
        plots.save_figure(plots.DRAWERS[name](data, **extras), data, tmp_path / folder, name)
    for kind in ("pdf", "csv", "png"):
        assert (tmp_path / "a" / f"{name}.{kind}").read_bytes() == (tmp_path / "b" / f"{name}.{kind}").read_bytes()


def test_the_landscape_shows_the_means_over_policies(tables):
    """The thick line's points are the means over policies, whatever is drawn around them."""
    figure = plots.draw_landscape(report.landscape(tables), **report.landscape_extras(tables))
    lines = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    expected = [0.4 - (multiple - 2) ** 2 / 90 for multiple in (0.5, 1, 2, 5)]
    assert lines[0].get_xdata().tolist() == [0.5, 1, 2, 5]
    assert lines[0].get_ydata().tolist() == pytest.approx(expected)


def test_drawing_loads_no_model():
    code = "import sys, oneshot.plots, oneshot.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
