"""Tables of made-up arms whose summary is known."""

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from made_up import BASE, GRPO, ONE_SHOT, identity, write_all

from oneshot.arms import IDENTITY, read_table, run_key
from oneshot.figures import (
    central,
    central_table,
    expectations_table,
    first_look,
    landscape,
    summary,
)
from oneshot.figures.tables import Tables, over_policies, with_base
from oneshot.files import BadFile, write_csv
from oneshot.statistics import fieller_interval, t_interval


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
    accuracies, shares, greedy, kept = first_look.draw(first_look.frame(tables)).split("\n\n")
    assert "| 30.0 / 40.0 | 51.0 / 61.0 | 61.0 / 71.0 |" in accuracies
    assert "| 0.68 [" in shares
    assert "| 0.68 [" in greedy
    assert "| 100.0 [95.0, 100.0] | 79.0 [" in kept


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


def test_an_expectation_of_one_policy_stays_open_without_its_problems(tmp_path):
    paths = [path for path in write_all(tmp_path, policies=(1,)) if path.stem != "by_problem"]
    found = expectations_table.frame(Tables(paths)).set_index("arm")
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
