"""Tables of made-up arms whose summary is known, and figures that draw every number they are given."""

import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml

from oneshot.arms import COSTS, IDENTITY, TABLES, ArmTables, read_table, run_key
from oneshot.figures import (
    breadth,
    by_task,
    central,
    central_table,
    cosine,
    expectations,
    expectations_table,
    first_look,
    landscape,
    linearity,
    style,
    summary,
)
from oneshot.figures import theory as predicted
from oneshot.figures.tables import Tables, over_policies, with_base
from oneshot.files import BadFile, write_csv
from oneshot.statistics import fieller_interval, t_interval

ROOT = Path(__file__).parent.parent
CATALOGUE = yaml.safe_load((ROOT / "config/figures.yaml").read_text())
BASE, ONE_SHOT, GRPO = [0.3, 0.32, 0.28], [0.5, 0.56, 0.47], [0.6, 0.65, 0.58]
"""Test accuracy of three policies: base, one-shot, GRPO after step 20. Greedy is 0.1 higher everywhere."""
EXPECTED = [
    {"arm": "one_shot", "low": 0.8, "high": 1.0, "because": "It is nearly as good."},
    {"arm": "grpo", "low": 1.0, "high": 1.0, "because": "The measure."},
]
SPENT = {name: 0 for name in COSTS}


def identity(policy, arm, model="main"):
    return dict(zip(IDENTITY, ("made_up", model, "sums", policy, 0, arm), strict=True))


def point(number, split, accuracy, chosen=False, **spent):
    measured = {
        "asked": "all",
        "accuracy": accuracy,
        "greedy_accuracy": accuracy + 0.1,
        "entropy_nats": 1 - accuracy,
        "kl_nats": accuracy,
        "kl_nats_per_token": accuracy / 10,
        "retention_accuracy": 1.3 - accuracy if split == "test" else np.nan,
    }
    return {"point": number, "split": split, "chosen": chosen, **measured, **SPENT, **spent}


def by_problem(number, accuracy, seed):
    """100 problems × 2 samples, in another order in each arm; each problem all right or all wrong."""
    order = np.random.default_rng(seed).permutation(100)
    right = (order < 100 * accuracy).astype(int)
    columns = {"point": number, "problem_id": order, "asked": "sums", "correct": 2 * right, "samples": 2}
    return pd.DataFrame({**columns, "greedy_correct": 1})


def one_shot(index):
    tables = ArmTables()
    tables.points = [point(0, "test", BASE[index])]
    for multiple in (0, 0.5, 1, 2, 5):
        tables.points.append(point(multiple, "validation", 0.4 - (multiple - 2) ** 2 / 90, rollouts=900))
        tables.steps.append({"point": multiple, "predicted_kl_nats": 0.2 * multiple**2, "collapsed": False})
    best = {"rollouts": 1000, "gradient_steps": 1, "search_rounds": 5, "flops": 1e9, "sampling_phases": 1}
    tables.points.append(point(2, "test", ONE_SHOT[index], chosen=True, **best))
    tables.by_problem = [by_problem(0, BASE[index], 0), by_problem(2, ONE_SHOT[index], 0)]
    tables.timings = [
        {"point": 0, "chosen": False, "seconds": 0.0},
        {"point": 2, "chosen": True, "seconds": 12.0},
    ]
    tables.quantity("noise_scale", 8.0 + index, "rollouts")
    return tables


def grpo(index):
    tables = ArmTables()
    for step in (0, 1, 10, 20):
        accuracy = BASE[index] + (GRPO[index] - BASE[index]) * step / 20
        for split in ("validation", "test"):
            spent = {"rollouts": 50 * step, "gradient_steps": step, "sampling_phases": step, "flops": 1e7 * step}
            tables.points.append(point(step, split, accuracy, chosen=step >= 10, **spent))
        tables.timings.append({"point": step, "chosen": step >= 10, "seconds": 2.0 * step})
        tables.steps.append({"point": step, "accuracy": accuracy})
    tables.by_problem = [by_problem(0, BASE[index], 1), by_problem(20, GRPO[index], 1)]
    tables.quantity("parameters", 10, "parameters")
    return tables


def write_all(folder, policies=(1, 2, 3)):
    """The files of made-up arms and what goes with them: a list of paths."""
    paths = []
    for index, policy in enumerate(policies):
        run = folder / f"policy{policy}"
        for arm, make in (("one_shot", one_shot), ("grpo", grpo)):
            out = {
                table: run / arm / f"{table}.csv"
                for table in ("points", "by_problem", "steps", "quantities", "timings")
            }
            make(index).write(identity(policy, arm), out)
            paths.extend(out.values())
        setting = {"experiment": "made_up", "model": "main", "task": "sums", "policy": policy}
        slope = {**setting, "run": 0, "predicted": 0.1, "measured": 0.11, "low": 0.08, "high": 0.15}
        bands = {"quantity": "sampled", "value": BASE[index], "lowest": 0.2, "highest": 0.6, "parameters": 10}
        tried = {"arm": "grpo", "setting": "learning_rate", "value": 1e-3, "accuracy": 0.5, "greedy_accuracy": 0.6}
        tuning = {**setting, **tried, "rollouts": 100, "chosen": True, "frozen": 1e-3}
        rows = {"slope": [slope], "acceptance": [{**setting, **bands}], "tuning": [tuning]}
        rows |= {"cosines": list(angles(setting)), "linearity": list(straightness(setting))}
        for name, of_policy in rows.items():
            write_csv(pd.DataFrame(of_policy), run / f"{name}.csv")
            paths.append(run / f"{name}.csv")
    whole = {"experiment": "made_up", "model": "main", "task": "sums"}
    of_all = {"theory": list(theory()), "expectations": [{**whole, **expected} for expected in EXPECTED]}
    for name, rows in of_all.items():
        write_csv(pd.DataFrame(rows), folder / f"{name}.csv")
        paths.append(folder / f"{name}.csv")
    return paths


def angles(setting):
    """GRPO turns from the gradient by 0.1 each step; a random direction has nothing to do with it."""
    for kind in ("all", "attention", "function"):
        for step in (1, 2, 3):
            head = {**setting, "run": 0, "arm": "grpo", "step": step, "kind": kind, "chance": 0.01}
            known = {"path_reliability": 0.5, "direction_reliability": 0.9}
            yield {**head, "direction": "one_shot", "cosine": 1 - step / 10, **known, "corrected": 1 - step / 20}
            yield {**head, "direction": "one_shot_random", "cosine": 0.001, **known, "corrected": np.nan}


def straightness(setting):
    for space, found in (("weights", 0.6), ("log-probs", 0.8)):
        walk = {"walk_r_squared": 0.44, "walk_share_high": 0.26, "points": 14}
        yield {**setting, "run": 0, "arm": "grpo", "space": space, "r_squared": found, "share_high": 0.5, **walk}


def theory():
    """Predictions for two designs and the arms that have a name of their own, or none."""
    for design, base in (("plan", 0.3), ("a_ladder", 0.1)):
        for gained, arm in enumerate(("base", "one_shot", "one_batch", "grpo")):
            reached = base + 0.2 * gained
            spread = {"accuracy": reached, "low": reached - 0.05, "high": reached + 0.05}
            limit = {"accuracy_endless": reached + 0.02, "gain_recovered": gained, "gain_recovered_endless": gained}
            depth = {"sampling_phases": gained, "gradient_steps": gained}
            yield {"experiment": "made_up", "model": "exact", "task": design, "arm": arm, **spread, **limit, **depth}


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


@pytest.fixture
def paths(tmp_path):
    return write_all(tmp_path)


@pytest.fixture
def tables(paths):
    return Tables(paths)


def test_every_row_says_whose_it_is(tables):
    assert list(tables.points)[: len(IDENTITY)] == IDENTITY
    assert run_key(identity(3, "grpo")) == run_key(identity(3, "one_shot")) == "results/made_up/main/policy3/sums/run0"


def test_two_results_of_one_run_are_refused(paths, tmp_path):
    again = tmp_path / "again/points.csv"
    again.parent.mkdir()
    again.write_bytes(paths[0].read_bytes())
    with pytest.raises(BadFile, match=r"again/points\.csv: two are of the same run"):
        Tables([*paths, again]).points  # noqa: B018


@pytest.mark.parametrize("value", ["", "nan", "high", "inf"])
def test_what_is_no_number_is_named(paths, value):
    frame = pd.read_csv(paths[0], dtype=str)
    frame.loc[2, "kl_nats"] = value
    frame.to_csv(paths[0], index=False)
    with pytest.raises(BadFile, match=r"policy1/one_shot/points\.csv, line 4: kl_nats is .* not a finite number"):
        read_table([paths[0]], "points")


def test_a_missing_table_is_named(paths):
    with pytest.raises(BadFile, match=r"slope\.csv: none among the tables given"):
        landscape.frame(Tables([path for path in paths if path.stem != "slope"]))


def test_models_are_never_averaged(tables):
    doubled = pd.concat([tables.points, tables.points.assign(model="large", accuracy=0.0)])
    found = over_policies(doubled[doubled.chosen], ["arm"], "accuracy")
    assert sorted(found.model.unique()) == ["large", "main"]
    assert (found[found.model == "large"].value == 0).all()


def test_the_base_is_point_0_of_any_arm_and_counts_once(tables):
    base = with_base(tables.points).query("arm == 'base' and split == 'test'")
    assert base.accuracy.tolist() == BASE


def test_arms_are_compared_where_they_are_equally_accurate(tables):
    """GRPO passes the one-shot arm's accuracy at its last step alone, where retention is 1.3 minus the accuracy."""
    rows = summary.at_equal_accuracy(tables).set_index("quantity")
    assert (set(rows.arm), set(rows.against)) == ({"grpo"}, {"one_shot"})
    assert rows.value["retention_at_equal_accuracy"] == pytest.approx(1.3 - np.mean(GRPO))
    assert rows.value["rollouts_at_equal_accuracy"] == 50 * 20


def test_an_arm_whose_search_keeps_the_base_is_an_arm_still(tmp_path):
    """It is measured again at point 0, chosen: not the base, and not twice."""
    paths = write_all(tmp_path)
    for path in [path for path in paths if path.parent.name == "one_shot"]:
        frame = pd.read_csv(path)
        if path.stem in ("points", "by_problem", "timings"):
            frame.loc[frame.point == 2, "point"] = 0
        if path.stem == "points":
            stays = frame.chosen.astype(bool)
            frame.loc[stays, "accuracy"] = frame.accuracy[(frame.point == 0) & (frame.split == "test")].iloc[0]
        write_csv(frame, path)
    tables = Tables(paths)
    rows = central_table.frame(tables).set_index(["arm", "decoding"])
    assert (rows.accuracy["one_shot", "sampled"], rows.gain["one_shot", "sampled"]) == (pytest.approx(0.3), 0)
    assert (rows.rollouts["one_shot", "sampled"], rows.seconds["one_shot", "sampled"]) == (1000, 12)
    assert (rows.rollouts["base", "sampled"], rows.seconds["base", "sampled"]) == (0, 0)
    assert len(central.frame(tables).query("arm == 'one_shot'")) == 3 * 2
    assert set(summary.within_policies(tables).against) == {"base", "grpo"}


def test_runs_of_one_policy_differ_by_sampling_alone(tmp_path):
    paths = write_all(tmp_path, (1,))
    again = tmp_path / "again"
    for path in [path for path in paths if path.parent.name == "one_shot"]:
        frame = pd.read_csv(path).assign(run=1)
        if path.stem == "points":
            frame["accuracy"] += 0.02
        write_csv(frame, again / path.name)
        paths.append(again / path.name)
    rows = summary.spread_over_runs(Tables(paths)).set_index(["arm", "decoding"])
    assert rows.value["one_shot", "sampled"] == pytest.approx(0.02 / np.sqrt(2))
    assert rows.value["one_shot", "greedy"] == 0
    assert (rows.runs["one_shot", "sampled"], list(rows.index.levels[0])) == (2, ["one_shot"])


def test_the_first_look_holds_base_arms_and_what_they_recover(tables):
    rows = first_look.frame(tables).set_index("arm")
    assert rows.accuracy["base"] == pytest.approx(np.mean(BASE))
    gains = [np.subtract(arm, BASE) for arm in (ONE_SHOT, GRPO)]
    share, low, high = rows.loc["one_shot", first_look.SHARES["sampled"]]
    assert low < share < high
    assert share == pytest.approx(gains[0].mean() / gains[1].mean())
    assert rows.recovered_greedy["one_shot"] == pytest.approx(share)  # greedy is 0.1 higher everywhere
    assert rows.noise_scale["base"] == pytest.approx(9.0)
    accuracies, shares, greedy = first_look.draw(first_look.frame(tables)).split("\n\n")
    assert "| 30.0 / 40.0 | 51.0 / 61.0 | 61.0 / 71.0 |" in accuracies
    assert "| 0.68 [" in shares
    assert "| 0.68 [" in greedy


def test_the_central_table_is_paired_by_policy(tables):
    table = central_table.frame(tables).set_index(["arm", "stands_at", "decoding"])
    row = table.loc[("one_shot", "α*", "sampled")]
    assert (row.gain, row.gain_low, row.gain_high) == pytest.approx(t_interval(np.subtract(ONE_SHOT, BASE)))
    assert (row.rollouts, row.seconds, row.gradient_steps) == (1000, 12, 1)
    assert table.loc[("grpo", "20", "greedy")].accuracy == pytest.approx(np.mean(GRPO) + 0.1)
    markdown = central_table.draw(central_table.frame(tables))
    assert "| one-shot | α* | sampled | 51.0 [" in markdown
    assert "3 policies" in markdown


def test_kl_efficiency_is_what_the_tilt_needs_over_what_was_spent(tables, monkeypatch):
    """With one pass rate for all problems the tilt is known in closed form; the made-up KL is the accuracy."""
    one_rate = defaultdict(lambda: (np.array([0.25]), np.array([1.0])))
    monkeypatch.setattr(central_table, "base_rates", lambda tables: one_rate)
    rows = central_table.frame(tables).set_index(["arm", "stands_at", "decoding"])
    reached = np.array(GRPO)
    needed = reached * np.log(reached / 0.25) + (1 - reached) * np.log((1 - reached) / 0.75)
    assert rows.kl_efficiency["grpo", "20", "sampled"] == pytest.approx((needed / reached).mean())
    assert "| GRPO | 20 | sampled | 61.0 [" in central_table.draw(central_table.frame(tables))
    assert f"| {reached.mean():.2g} | {(needed / reached).mean():.2g} |" in central_table.draw(rows.reset_index())


def test_the_summary_quotes_differences_and_ratios(tables):
    found = summary.differences(tables).set_index(["against", "point", "decoding", "quantity"])
    difference = found.loc[("grpo", "20", "sampled", "difference")]
    assert tuple(difference[["value", "low", "high"]]) == pytest.approx(t_interval(np.subtract(ONE_SHOT, GRPO)))
    ratio = found.loc[("grpo", "20", "sampled", "gain_recovered")]
    assert ratio.value == pytest.approx(np.subtract(ONE_SHOT, BASE).mean() / np.subtract(GRPO, BASE).mean())
    assert ratio.low < ratio.value < ratio.high
    assert found.index.is_unique
    assert not found.index.get_level_values("quantity").str.contains("policy").any()
    arms = summary.accuracies(tables).set_index(["arm", "point", "decoding", "quantity"])
    assert arms.loc[("grpo", "20", "sampled", "retention")].value == pytest.approx(1.3 - np.mean(GRPO))
    assert summary.quantities(tables).set_index("quantity").value["noise_scale"] == 9
    assert "one step minus grpo at 20: -10.0 points [" in summary.verdict(summary.differences(tables))


def test_no_ratio_to_a_gain_that_may_be_nothing(tables):
    points = tables.points
    points.loc[(points.arm == "grpo") & (points.point > 0), "accuracy"] = [0.3, 0.4, 0.35] * 6
    sampled = summary.differences(tables).query("decoding == 'sampled'")
    assert not sampled.quantity.str.contains("gain_recovered").any()


def test_an_expectation_is_kept_or_failed(paths, tables):
    """One-shot gains 0.68 of what GRPO does where both end: less than expected."""
    ratio = fieller_interval(np.subtract(ONE_SHOT, BASE), np.subtract(GRPO, BASE))
    found = expectations_table.frame(tables).set_index("arm")
    assert tuple(found.loc["one_shot", ["recovered", "recovered_low", "recovered_high"]]) == pytest.approx(ratio)
    difference = found.loc["one_shot", ["difference", "difference_low", "difference_high"]]
    assert tuple(difference) == pytest.approx(t_interval(np.subtract(ONE_SHOT, GRPO)))
    assert found.outcome.to_dict() == {"one_shot": "failed", "grpo": "kept"}
    assert "| one-shot | 0.8 to 1 | 0.68 [" in expectations_table.draw(expectations_table.frame(tables))
    (path,) = (path for path in paths if path.stem == "expectations")
    path.write_text(path.read_text().replace("0.8,", "0.6,"))
    assert set(expectations_table.frame(Tables(paths)).outcome) == {"kept"}


def test_an_expectation_of_one_policy_stays_open(tmp_path):
    found = expectations_table.frame(Tables(write_all(tmp_path, policies=(1,)))).set_index("arm")
    assert found.outcome.to_dict() == {"one_shot": "open", "grpo": "open"}
    assert found.difference["one_shot"] == pytest.approx(ONE_SHOT[0] - GRPO[0])


def test_differences_within_a_policy_are_paired_by_problem(tmp_path):
    """Right answers are nested, so a difference is a share of problems gained, and its spread that of a coin."""
    found = summary.differences(Tables(write_all(tmp_path, policies=(1,))))
    found = found.set_index(["against", "decoding", "quantity", "point"])
    assert found.loc[("base", "sampled", "difference_policy_1", "last")].value == pytest.approx(0.2)
    lost = found.loc[("grpo", "sampled", "difference_policy_1", "last")]
    assert lost.value == pytest.approx(-0.1)
    half_width = 1.96 * np.sqrt(0.1 * 0.9 / 100)
    assert (lost.high - lost.low) / 2 == pytest.approx(half_width, rel=0.15)


def test_runs_of_one_policy_count_once():
    setting = {"experiment": "e", "model": "m", "task": "t"}
    frame = pd.DataFrame({**setting, "policy": [1, 1, 2, 3], "arm": "a", "x": [0.0, 1.0, 0.4, 0.6]})
    row = over_policies(frame, ["arm"], "x").iloc[0]
    assert (row.value, row.low, row.high) == pytest.approx(t_interval(np.array([0.5, 0.4, 0.6])))
    assert row.policies == 3


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("policies", [(1,), (1, 2, 3)])
def test_figures_are_drawn_and_repeat_byte_for_byte(tmp_path, monkeypatch, name, policies):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    style.set_style()
    module = import_module(f"oneshot.figures.{name}")
    kinds = CATALOGUE[name]["reads"]
    data = module.frame(Tables([path for path in write_all(tmp_path, policies) if path.stem in kinds]))
    one, two = (module.draw(data) for _ in range(2))
    if CATALOGUE[name]["kind"] == "table":
        assert one == two
        assert one.count("|") > 10
        return
    for kind in ("pdf", "png"):
        style.save(one, [tmp_path / f"a.{kind}"])
        style.save(two, [tmp_path / f"b.{kind}"])
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_the_landscape_shows_the_means_over_policies(tables):
    """The thick line's points are the means over policies, whatever is drawn around them."""
    figure = landscape.draw(landscape.frame(tables))
    lines = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    expected = [0.4 - (multiple - 2) ** 2 / 90 for multiple in (0.5, 1, 2, 5)]
    assert lines[0].get_xdata().tolist() == [0.5, 1, 2, 5]
    assert lines[0].get_ydata().tolist() == pytest.approx(expected)


def reuse(index, size, share):
    """An arm of many steps on a batch of `size`, whose ratios leave it `share` from step 3 on; it ends at step 20."""
    tables = ArmTables()
    tables.points = [point(0, "test", BASE[index])]
    tables.points.append(point(20, "test", ONE_SHOT[index], chosen=True, rollouts=2 * size, batch_rollouts=size))
    shares = [1.0, 1.0, *[share] * 18, 0.0]  # what comes after the end does not count
    tables.steps = [{"point": step, "effective_sample_size": each} for step, each in enumerate(shares, start=1)]
    tables.by_problem = [by_problem(0, BASE[index], 1), by_problem(20, ONE_SHOT[index], 1)]
    tables.timings = [{"point": step, "chosen": step > 0, "seconds": 1.0} for step in (0, 20)]
    tables.quantity("parameters", 10, "parameters")
    return tables


def test_a_batch_is_worth_its_share_of_effective_rollouts(tmp_path):
    paths = write_all(tmp_path)
    for index, policy in enumerate((1, 2, 3)):
        for arm, size, share in (("one_batch", 1000, 0.25), ("one_batch_of_100", 100, 0.2)):
            out = {table: tmp_path / f"policy{policy}" / arm / f"{table}.csv" for table in TABLES}
            reuse(index, size, share).write(identity(policy, arm), out)
            paths.extend(out.values())
    data = breadth.frame(Tables(paths))
    worth = data.groupby("arm").effective_rollouts.mean()
    assert (worth["one_batch"], worth["one_batch_of_100"]) == pytest.approx((250, 20))
    assert np.isnan(worth["one_shot"])
    assert data.groupby("arm").batch_rollouts.mean()["one_batch_of_100"] == 100
    assert data.noise_scale.unique().tolist() == [8, 9, 10]
    left, right = breadth.draw(data).axes
    lengths = [list(line.get_xdata()) for line in left.get_lines()]
    assert [100.0, 1000.0] in lengths
    dashed = next(line for line in right.get_lines() if line.get_linestyle() == "--")
    assert dashed.get_ydata() == pytest.approx([25, 250])


TASKS = {"easy": 0.0, "hard": 0.1}


def test_the_angle_of_a_path_is_drawn_raw_and_without_noise(tables):
    left, right = cosine.draw(cosine.frame(tables)).axes
    for panel in (left, right):
        raw, clean = (
            next(line for line in panel.get_lines() if line.get_linestyle() == style_of) for style_of in ("-", "--")
        )
        assert raw.get_ydata() == pytest.approx([0.9, 0.8, 0.7])
        assert clean.get_ydata() == pytest.approx([0.95, 0.9, 0.85])


def test_straightness_is_drawn_beside_random_walks(tables):
    left, right = linearity.draw(linearity.frame(tables)).axes
    assert [bar.get_width() for bar in left.patches] == [0.44]
    assert [bar.get_width() for bar in right.patches] == [0.26]
    assert sorted(line.get_xdata()[0] for line in left.get_lines()) == pytest.approx([0.6, 0.8])


def test_a_mixed_test_is_told_by_task(tmp_path):
    """Two tasks: on one every arm is as accurate as on the whole, on the other 0.1 less, base included."""
    paths = [path for path in write_all(tmp_path) if path.stem == "points"]
    for path in paths:
        whole = pd.read_csv(path)
        parts = [
            whole.assign(asked=task, accuracy=whole.accuracy - less) for task, less in (("easy", 0), ("hard", 0.1))
        ]
        write_csv(pd.concat([whole, *parts]), path)
    table = by_task.frame(Tables(paths)).set_index(["asked", "arm"])
    assert set(table.index.get_level_values("asked")) == {"easy", "hard"}
    assert table.accuracy["easy", "grpo"] == pytest.approx(np.mean(GRPO))
    assert table.accuracy["hard", "grpo"] == pytest.approx(np.mean(GRPO) - 0.1)
    assert table.recovered_sampled["hard", "one_shot"] == pytest.approx(table.recovered_sampled["easy", "one_shot"])
    assert by_task.draw(by_task.frame(Tables(paths))).count("**main, sums: hard**") == 1


def test_what_was_not_expected_is_drawn_hollow():
    """A panel a setting, a row an arm but the rival; a point is hollow where it lies outside its bar."""
    row = {"experiment": "e", "arm": "one_shot", "expected_low": 0.4, "expected_high": 0.6}
    bounds = {"recovered_low": 0.3, "recovered_high": 0.9}
    found = [("a", 0.5, "kept"), ("b", 0.8, "failed"), ("c", np.nan, "open")]
    rows = [
        {**row, "model": name, "task": name, **bounds, "recovered": value, "outcome": told}
        for name, value, told in found
    ]
    figure = expectations.draw(pd.DataFrame([*rows, {**rows[0], "arm": "grpo"}]))
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["a", "b", "c"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["one-shot"]
    points = [line for panel in figure.axes for line in panel.get_lines() if line.get_marker() == "o"]
    full, hollow, absent = points
    assert (full.get_xdata().tolist(), full.get_ydata().tolist()) == ([0.5], [0])
    assert hollow.get_xdata()[0] == 0.8
    assert hollow.get_markerfacecolor() == "white"
    assert np.isnan(absent.get_xdata()[0])


def test_the_predictions_are_drawn_where_they_are(tables):
    """A panel a design; every arm but the base a full point at its accuracy, an open one where its batch has no end."""
    figure = predicted.draw(predicted.frame(tables))
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["plan", "a ladder"]
    points = [line.get_ydata()[0] for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert points == pytest.approx([0.52, 0.5, 0.72, 0.7, 0.92, 0.9])
    names = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert names == ["one-shot", "one batch", "GRPO"]


def test_an_unknown_arm_is_drawn_like_any_other(tables):
    data = central.frame(tables)
    data.loc[data.arm == "grpo", "arm"] = "brand_new"
    labels = [text.get_text() for text in central.draw(data).axes[0].texts]
    assert "brand new" in labels


def test_of_too_many_arms_the_named_ones_are_drawn(tables):
    data = central.frame(tables)
    crowd = [data[data.arm == "grpo"].assign(arm=f"variant_{number}") for number in range(style.MOST_LABELS)]
    labels = [text.get_text() for text in central.draw(pd.concat([data, *crowd])).axes[0].texts]
    assert set(labels) == {"base", "one-shot", "GRPO"}
    assert "one-shot" in labels


def test_drawing_loads_no_model():
    modules = ", ".join(f"oneshot.figures.{name}" for name in (*CATALOGUE, "summary"))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
