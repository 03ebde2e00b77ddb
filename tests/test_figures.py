"""Figures draw every number that they are given."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import made_up
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from made_up import BASE, GRPO, ONE_SHOT, around, by_problem, identity, point, write_all

from oneshot.arms import IDENTITY, TABLES, ArmTables
from oneshot.figures import (
    breadth,
    by_task,
    central,
    consistency,
    cosine,
    curvature,
    expectations,
    expectations_table,
    failure,
    landscape,
    linearity,
    methods,
    nothing_to_learn,
    pareto,
    pass_at_k,
    retention,
    scale,
    signs,
    spending,
    style,
    turning,
    verdict,
)
from oneshot.figures import theory as predicted
from oneshot.figures.tables import Tables
from oneshot.files import BadFile, write_csv
from oneshot.statistics import fieller_interval

ROOT = Path(__file__).parent.parent
CATALOGUE = yaml.safe_load((ROOT / "config/figures.yaml").read_text())


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def drawn_from(folder, name, policies, times=1):
    """A figure or table of made-up arms, drawn so many times."""
    style.set_style()
    plt.rcParams["savefig.dpi"] = 50  # enough to tell two pictures apart
    module = import_module(f"oneshot.figures.{name}")
    kinds = CATALOGUE[name]["reads"]
    data = module.frame(Tables([path for path in write_all(folder, policies) if path.stem in kinds]))
    return [module.draw(data) for _ in range(times)]


@pytest.mark.parametrize("name", CATALOGUE)
def test_one_policy_is_enough_to_draw(tmp_path, name):
    """Without intervals."""
    (drawn,) = drawn_from(tmp_path, name, policies=(1,))
    if CATALOGUE[name]["kind"] == "figure":
        style.save(drawn, [tmp_path / "a.png"])


@pytest.mark.parametrize("name", CATALOGUE)
def test_figures_are_drawn_and_repeat_byte_for_byte(tmp_path, monkeypatch, name):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    one, two = drawn_from(tmp_path, name, policies=(1, 2, 3), times=2)
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


def test_what_turns_and_what_carries_is_drawn(tables):
    left, right = turning.draw(turning.frame(tables)).axes
    curves = {line.get_label(): line.get_ydata() for line in (*left.get_lines(), *right.get_lines())}
    assert curves["first, fresh"] == pytest.approx([0.4, 0.4])
    assert curves["re-weighted, fresh"] == pytest.approx([0.9, 0.9])
    for move in ("move to the end", "move to half way"):
        assert curves[move] == pytest.approx([0.4, 0.6, 0.2])


def test_what_breaks_along_the_line_is_drawn(tables):
    left, middle, right = curvature.draw(curvature.frame(tables)).axes
    curves = {line.get_linestyle(): line.get_ydata() for line in left.get_lines()}
    assert curves["-"] == pytest.approx([0.5, 0.4])
    assert curves["--"] == pytest.approx([0.45, 0.5])
    shares, accuracies = ([line.get_ydata() for line in panel.get_lines()] for panel in (middle, right))
    assert (shares[0], shares[1]) == (pytest.approx([0.5, 0.99]), pytest.approx([0.5, 0.01]))
    assert (accuracies[0], accuracies[1]) == (pytest.approx([0.9, 0.9]), pytest.approx([0.1]))


def test_agreement_is_drawn_beside_its_predictions(tables):
    left, right = consistency.draw(consistency.frame(tables)).axes
    lines = {line.get_linestyle(): line.get_ydata().tolist() for line in left.get_lines() if len(line.get_xdata()) == 3}
    assert lines["-"] == pytest.approx([1 / (1 + 10 / size) for size in (10, 100, 1000)])
    assert lines["--"] == pytest.approx([1 / (1 + 12 / size) for size in (10, 100, 1000)])
    assert sorted(text.get_text() for text in right.texts) == ["-0.50", "1.00", "1.00"]


def test_both_sides_of_the_gradient_are_told(tables):
    told = signs.draw(signs.frame(tables))
    assert "| sums | raw | -0.990 [-0.990, -0.990] |  | -0.990" in told
    assert "| 1 / 0.5 | 0.900 / 0.600 |" in told


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
    assert by_task.draw(by_task.frame(Tables(paths))).count("**sums: hard**") == 1


def test_one_policy_has_intervals_over_its_problems(tmp_path):
    """The base is right on problems 0 to 29, one-shot on 20 more, GRPO on 30 more; greedily all are always right."""
    paths = [path for path in write_all(tmp_path, (1,)) if path.stem in ("points", "by_problem", "expectations")]
    problems = np.arange(100)
    expected = fieller_interval((problems >= 30) & (problems < 50), (problems >= 30) & (problems < 60))
    columns = ["recovered_sampled", "recovered_sampled_low", "recovered_sampled_high"]
    shares = verdict.frame(Tables(paths)).set_index("arm")
    assert shares.loc["one_shot", columns].tolist() == pytest.approx(list(expected))
    assert np.isnan(shares.recovered_greedy["one_shot"])
    assert verdict.frame(Tables([path for path in paths if path.stem == "points"])).recovered_sampled.isna().all()
    told = expectations_table.frame(Tables(paths)).set_index("arm").loc["one_shot"]
    assert [told.recovered, told.difference, told.outcome] == pytest.approx([2 / 3, -0.1, "failed"])


def test_several_policies_have_intervals_over_them(tmp_path):
    paths = [path for path in write_all(tmp_path) if path.stem in ("points", "by_problem")]
    shares = verdict.frame(Tables(paths)).set_index("arm")
    gains = (np.subtract(arm, BASE) for arm in (ONE_SHOT, GRPO))
    columns = ["recovered_sampled", "recovered_sampled_low", "recovered_sampled_high"]
    assert shares.loc["one_shot", columns].tolist() == pytest.approx(list(fieller_interval(*gains)))


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


def test_pass_at_k_draws_every_k_of_every_kind(tmp_path):
    paths = [path for path in write_all(tmp_path) if path.stem in ("quantities", "tries")]
    data = pass_at_k.frame(Tables(paths))
    assert len(data) == 2 * 3 * 2 * 3
    left, right = pass_at_k.draw(data).axes
    (line, base), (voted, _) = left.lines, right.lines
    assert base.get_ydata() == pytest.approx([np.mean(BASE)] * 3)
    assert line.get_xdata().tolist() == [1, 2, 4]
    assert line.get_ydata() == pytest.approx([np.mean(ONE_SHOT) + 0.05 * k for k in (1, 2, 4)])
    assert voted.get_ydata() == pytest.approx([np.mean(ONE_SHOT)] * 3)


def test_pass_at_k_without_tries_says_what_to_set(tmp_path):
    tables = ArmTables()
    tables.quantity("parameters", 10, "parameters")
    tables.write(identity(1, "grpo"), {name: tmp_path / f"{name}.csv" for name in TABLES})
    tables.frame("quantities").assign(**identity(1, "base")).to_csv(tmp_path / "tries.csv", index=False)
    with pytest.raises(BadFile, match=r"evaluation\.tries"):
        pass_at_k.frame(Tables([tmp_path / "quantities.csv", tmp_path / "tries.csv"]))


def test_methods_ranks_every_arm_and_says_what_it_cost(tmp_path):
    paths = [path for path in write_all(tmp_path) if path.stem == "points"]
    figure = methods.draw(methods.frame(Tables(paths)))
    panel, costs = figure.axes
    assert [label.get_text() for label in panel.get_yticklabels()] == ["GRPO", "one-shot", "base"]
    middles = [line.get_xdata()[0] for line in panel.lines if line.get_marker() == "o"]
    assert sorted(middles) == pytest.approx(
        sorted(np.mean(arm) + greedy for arm in (BASE, ONE_SHOT, GRPO) for greedy in (0, 0.1))
    )
    written = {text.get_text() for text in costs.texts}
    assert {"rollouts", "phases", "steps", "1,000", "20"} <= written


@pytest.mark.parametrize(("others", "shown"), [(6, {"few", "many"}), (7, {"many"})])
def test_methods_leaves_out_settings_with_few_arms(tmp_path, others, shown):
    """Two arms and the base on one setting; these and others on another."""
    for path in [path for path in write_all(tmp_path) if path.stem == "points"]:
        rows = pd.read_csv(path)
        for task, names in {"few": ["one_shot"], "many": ["one_shot", *(f"other_{i}" for i in range(others))]}.items():
            for name in names if rows.arm.iloc[-1] == "one_shot" else ["grpo"]:
                copy = tmp_path / task / name / path.relative_to(tmp_path)
                copy.parent.mkdir(parents=True, exist_ok=True)
                rows.assign(task=task).replace({"arm": {"one_shot": name}}).to_csv(copy, index=False)
    copies = [path for task in ("few", "many") for path in sorted((tmp_path / task).rglob("points.csv"))]
    assert set(methods.frame(Tables(copies)).task) == shown


def test_retention_draws_where_arms_end(tmp_path):
    paths = [path for path in write_all(tmp_path) if path.stem == "points"]
    data = retention.frame(Tables(paths))
    assert set(data.arm) == {"base", "one_shot", "grpo"}
    assert data[data["last"]].groupby("arm").size().tolist() == [3, 3, 3]
    (panel,) = retention.draw(data).axes
    ends = {line.get_xdata()[0].round(6) for line in panel.lines if line.get_marker() == "D"}
    assert ends == {round(100 * (1 - np.mean(arm)), 6) for arm in (ONE_SHOT, GRPO)}
    assert panel.get_xlim()[0] > panel.get_xlim()[1]  # better to the right


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([], []),
        ([0.1, 0.5], [0.1, 0.5]),
        ([0.1, 0.1, 0.5], [0.1, 0.3, 0.5]),
        ([0.2, 0.99, 1.0], [0.2, 0.8, 1.0]),  # at the top they are moved down
        ([0.9, 0.95, 0.95, 1.0], [0.4, 0.6, 0.8, 1.0]),
        ([0.5] * 8, [0.2 * place for place in range(8)]),  # more than fit go on above
    ],
)
def test_labels_keep_their_distance_below_the_top(heights, expected):
    assert style._apart(heights, 0.2) == pytest.approx(expected)


def test_steps_are_sorted_by_the_rollouts_that_they_share(tmp_path):
    """GRPO counts at its nominal length; budgets, searched steps and phases are families of their own."""
    paths = [path for path in write_all(tmp_path, (1,)) if path.stem in CATALOGUE["pareto"]["reads"]]
    for arm in ("steps_10", "steps_10_of_9000", "large_steps_2", "steps_200", "grpo_mean"):
        tables = ArmTables()
        drawn = 9000 if arm.endswith("_of_9000") else 500
        tables.points = [point(4, "test", 0.5, chosen=True, rollouts=drawn, gradient_steps=4, sampling_phases=4)]
        tables.timings = [{"point": 4, "chosen": True, "seconds": 1.0}]
        out = {name: tmp_path / arm / f"{name}.csv" for name in TABLES}
        tables.write(identity(1, arm), out)
        paths += [out["points"], out["timings"]]
    data = pareto.frame(Tables(paths))
    found = {(row.arm, row.family) for row in data.itertuples()}
    assert found == {
        ("base", "base"),
        ("grpo", "500"),
        ("one_shot", "searched"),
        ("steps_10", "500"),
        ("steps_10_of_9000", "9000"),
        ("large_steps_2", "searched"),
        ("steps_200", "500"),
        ("steps_200", "phases"),
    }
    assert data[data.arm == "grpo"].gradient_steps.tolist() == [10]
    pareto.draw(data)
    single = data[data.arm.isin(["base", "grpo", "one_shot"])].assign(task="without")
    assert pareto._with_lines(pd.concat([single, data])).equals(data)
    assert pareto._with_lines(single).equals(single)


SIZES = {"small": 10_000, "main": 100_000, "large": 1_000_000}


def swept(folder):
    """Tables of three sizes, of which one step gains 0.2, 0.25 and 0.3, half a point more or less, and GRPO 0.3."""
    for index, (model, size) in enumerate(SIZES.items()):
        for policy in (1, 2):
            head = dict(zip(IDENTITY[:4], ("made_up", model, "sums", policy), strict=True))
            for arm, gain in (("one_shot", 0.185 + 0.05 * index + 0.01 * policy), ("grpo", 0.3)):
                made = ArmTables()
                made.points = [point(0, "test", 0.3), point(2, "test", 0.3 + gain, chosen=True, rollouts=9)]
                made.quantity("noise_scale", 10.0**index, "rollouts")
                out = {table: folder / f"{model}{policy}" / arm / f"{table}.csv" for table in TABLES}
                made.write({**head, "run": 0, "arm": arm}, out)
                yield from (out["points"], out["quantities"])
            bands = {"quantity": "sampled", "value": 0.3, "lowest": 0.2, "highest": 0.6, "parameters": size}
            for name, rows in (("acceptance", [{**head, **bands}]), ("neighbours", list(around(head)))):
                write_csv(pd.DataFrame(rows), folder / f"{model}{policy}" / f"{name}.csv")
                yield folder / f"{model}{policy}" / f"{name}.csv"


def test_a_sweep_over_sizes_is_drawn_with_its_slope(tmp_path):
    data = scale.frame(Tables(list(swept(tmp_path))))
    figure = scale.draw(data)
    _, share, alpha, noise, dense, apart = figure.axes
    line = share.get_lines()[0]
    assert line.get_xdata().tolist() == list(SIZES.values())
    assert line.get_ydata() == pytest.approx([2 / 3, 2.5 / 3, 1])
    assert share.texts[0].get_text().startswith("+0.17 [+0.14, +0.20]")
    assert alpha.get_lines()[0].get_ydata() == pytest.approx([2, 2, 2])
    assert noise.get_lines()[0].get_ydata() == pytest.approx([1, 10, 100])
    assert dense.get_lines()[0].get_ydata() == pytest.approx([0.25] * 3)
    assert apart.get_lines()[0].get_ydata() == pytest.approx([2] * 3)


def test_bins_are_of_the_base_and_accuracies_of_every_arm(tables):
    data = failure.frame(tables)
    right = by_problem(20, GRPO[0], 1).query("problem_id >= 50").correct.mean() / 2
    found = data[(data.policy == 1) & (data.of == "grpo")].set_index("place").accuracy
    assert found[4] == pytest.approx(right)
    assert found.index.tolist() == [0, 4]
    assert data[data.of == "base"].groupby("place").share.first().tolist() == pytest.approx([0.5, 0.5])
    left, along = failure.draw(data).axes
    assert [label.get_text() for label in left.get_xticklabels()] == ["never\n(50%)", "to 60 %\n(50%)"]
    lines = [line.get_ydata() for line in along.get_lines()]
    assert (lines[0], lines[1]) == (pytest.approx([0.0, 0.2, 0.4]), pytest.approx([0.0, 0.0, 0.0]))


def test_groups_that_say_something_are_told_by_reward_function(tables):
    told = nothing_to_learn.draw(nothing_to_learn.frame(tables))
    assert "| sums | all groups | 1,000 | 45.0 [45.0, 45.0] | 49.0 [49.0, 49.0] | 50.0 [50.0, 50.0] |" in told
    assert "| sums | all wrong | 500 | 0.0 [0.0, 0.0] |" in told


def test_the_frontier_is_what_nothing_beats_at_its_cost():
    """Cost 1 buys 3, cost 2 buys 5; what costs as much and gives less, or more and gives no more, is beaten."""
    costs, values = np.array([2.0, 1, 1, 3, 2, 4]), np.array([5.0, 3, 2, 5, 5, 6])
    assert spending.undominated(costs, values).tolist() == [True, True, False, False, False, True]


def test_nearly_all_of_the_gain_is_had_for_least(tables):
    """One-shot has two thirds of GRPO's gain in one step of one phase; GRPO all of it after step 20, half after 10."""
    rows = spending.spent(tables)
    half, whole = (spending.cheapest(rows, share).set_index("currency") for share in (0.5, 0.9))
    assert half.arm.to_dict() == {
        "rollouts": "grpo",
        "sampling_phases": "one_shot",
        "gradient_steps": "one_shot",
        "seconds": "one_shot",
    }
    assert (half.cost.rollouts, half.point.rollouts, half.cost.seconds, half.rival_cost.seconds) == (500, "10", 12, 20)
    assert set(whole.arm) == {"grpo"}
    assert set(whole.point) == {"20"}
    assert not rows[rows.arm == "base"].empty


def test_an_arm_on_fewer_policies_is_not_compared(tmp_path):
    paths = [path for path in write_all(tmp_path) if path.stem in ("points", "timings")]
    fewer = [path for path in paths if not (path.parent.name == "one_shot" and "policy3" in str(path))]
    rows = spending.spent(Tables(fewer)).set_index("arm")
    assert not rows.compared["one_shot"]
    assert not rows.loc["one_shot", [spending.least(currency) for currency in spending.CURRENCIES]].any()
    assert rows.compared["grpo"].all()


def test_a_policy_with_few_arms_does_not_decide_who_is_compared(tmp_path):
    """On a fourth policy the rival alone was run: the others are still compared, on the three that have them all."""
    paths = [path for path in write_all(tmp_path) if path.stem in ("points", "timings")]
    for policy, arms in ((1, "abc"), (2, "abc"), (3, "abc"), (4, ["grpo"])):
        for arm in arms:
            out = {table: tmp_path / f"policy{policy}" / arm / f"{table}.csv" for table in TABLES}
            made_up.grpo(0).write(identity(policy, arm), out)
            paths += [out["points"], out["timings"]]
    rows = spending.spent(Tables(paths)).set_index("arm")
    assert rows.compared.all()
    assert set(rows.policies) == {3}
