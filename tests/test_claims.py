"""Claims are decided by intervals, and those of the reference run come out as they are written down."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from made_up import BASE, GRPO, ONE_SHOT, write_all

from oneshot.figures.tables import Tables
from oneshot.files import BadFile
from oneshot.statistics import fieller_interval, t_interval
from oneshot.workflow import catalogue, claims, measured
from oneshot.workflow.claims import FAILS, HOLDS, OPEN, UNMEASURED, Claim

ROOT = Path(__file__).parent.parent
LISTED = claims.load(ROOT / "config/claims.yaml")
ENTRY = {
    "says": "It does.",
    "experiment": "made_up",
    "task": "sums",
    "measure": {"share": "sampled", "arm": "one_shot"},
    "above": 0.5,
    "verdict": HOLDS,
    "figure": "verdict",
}


@pytest.mark.slow  # reads whole archives
def test_the_reference_run_says_what_is_claimed():
    with measured.reference(ROOT) as results:
        found = claims.checked(LISTED, results, ROOT)
    assert found.found.tolist() == [claim.verdict for claim in LISTED]


def test_claims_are_seen_in_figures_that_there_are():
    assert {claim.figure for claim in LISTED} <= set(catalogue.load(ROOT / "config/figures.yaml").names)


@pytest.mark.parametrize(
    ("bound", "interval", "expected"),
    [
        ({"above": 0.5}, (0.7, 0.6, 0.8), HOLDS),
        ({"above": 0.5}, (0.6, 0.4, 0.8), OPEN),
        ({"above": 0.5}, (0.3, 0.2, 0.4), FAILS),
        ({"below": 0.5}, (0.3, 0.2, 0.4), HOLDS),
        ({"below": 0.5}, (0.7, 0.6, 0.8), FAILS),
        ({"above": 0.5}, (0.9, np.nan, np.nan), OPEN),
        ({"above": 0.5}, (np.nan, np.nan, np.nan), UNMEASURED),
    ],
)
def test_the_whole_interval_has_to_clear_the_bound(bound, interval, expected):
    entry = {key: value for key, value in ENTRY.items() if key != "above"}
    assert Claim(**entry, **bound).judge(pd.Series(interval, claims.INTERVAL)) == expected


@pytest.fixture
def tables(tmp_path):
    kinds = ("points", "linearity")
    return Tables([path for path in write_all(tmp_path, (1, 2, 3)) if path.stem in kinds])


def interval_of(tables, measure):
    return claims._interval(Claim(**{**ENTRY, "measure": measure}), tables).tolist()


def test_shares_and_what_is_kept_are_those_of_the_arms(tables):
    base, ours, theirs = (np.array(values) for values in (BASE, ONE_SHOT, GRPO))
    assert interval_of(tables, ENTRY["measure"]) == pytest.approx(fieller_interval(ours - base, theirs - base))
    value, low, high = t_interval(1.3 - ours)
    assert interval_of(tables, {"keeps": "one_shot"}) == pytest.approx([value, low, min(high, 1)])


def test_any_number_of_a_table_can_be_claimed(tables):
    rows = tables.other("linearity", ["arm", "space", "r_squared"]).query("arm == 'grpo' and space == 'weights'")
    where = {"arm": "grpo", "space": "weights"}
    found = interval_of(tables, {"table": "linearity", "column": "r_squared", "where": where})
    assert found[0] == pytest.approx(rows.r_squared.mean())


def test_what_was_not_measured_is_nan(tables):
    assert np.isnan(interval_of(tables, {"share": "sampled", "arm": "rival"})).all()
    assert np.isnan(interval_of(tables, {"table": "cosines", "column": "cosine", "where": {}})).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measure": {"shares": 1}}, "'It does.': measure: expected one of share, keeps and table"),
        ({"below": 0.1}, "'It does.': expected one of above and below"),
        ({"verdict": "yes"}, "'It does.': verdict: expected one of holds, does not hold and undecided"),
        ({"figures": "verdict"}, "unexpected keyword argument 'figures'"),
    ],
)
def test_a_claim_that_says_nothing_is_refused(tmp_path, change, message):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump([{**ENTRY, **change}]))
    with pytest.raises(BadFile, match=message) as error:
        claims.load(path)
    assert str(error.value).startswith(f"{path}: ")
