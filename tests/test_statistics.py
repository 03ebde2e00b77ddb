"""Estimators against closed forms, enumeration and simulation."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from oneshot.statistics import (
    bootstrap_interval,
    fieller_interval,
    pass_at_k,
    slope_interval,
    t_interval,
    variance_reduction,
)


def test_t_interval_is_scipys():
    values = np.array([0.61, 0.58, 0.66, 0.6, 0.63])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((values.mean(), expected.low, expected.high))


def test_one_policy_has_no_interval():
    mean, low, high = t_interval(np.array([0.5]))
    assert mean == 0.5
    assert math.isnan(low)
    assert math.isnan(high)
    assert all(map(math.isnan, t_interval(np.array([]))))


def test_bootstrap_covers_the_mean():
    rng = np.random.default_rng(0)
    covered = [low <= 0.3 <= high for _, low, high in (bootstrap_interval(rng.random(80) < 0.3) for _ in range(100))]
    assert 0.87 <= np.mean(covered) <= 1
    assert bootstrap_interval(np.ones(5)) == (1, 1, 1)


def test_fieller_with_an_exact_denominator_is_a_scaled_t_interval():
    x, y = np.array([0.2, 0.3, 0.25, 0.22]), np.full(4, 0.5)
    assert fieller_interval(x, y) == pytest.approx(tuple(value / 0.5 for value in t_interval(x)))


def test_fieller_covers_the_ratio():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        noise = rng.normal(0, 0.02, (2, 5))
        _, low, high = fieller_interval(0.2 + noise[0] + 0.5 * noise[1], 0.4 + noise[1])
        inside += low <= 0.5 <= high
    assert 0.92 <= inside / 400 <= 0.98


def test_fieller_is_unbounded_where_the_denominator_may_be_zero():
    assert fieller_interval(np.array([0.1, 0.2, 0.3]), np.array([-0.5, 0.1, 0.5]))[1:] == (-math.inf, math.inf)


def test_pass_at_k_by_enumeration():
    """The share of k-subsets of n samples that hold a right one."""
    for right in range(6):
        samples = [True] * right + [False] * (5 - right)
        for k in range(1, 6):
            expected = np.mean([any(subset) for subset in combinations(samples, k)])
            assert pass_at_k(np.array([right]), 5, k)[0] == pytest.approx(expected)


def test_pass_at_more_than_was_drawn_is_refused():
    with pytest.raises(ValueError, match="pass@9 needs at least 9 samples a problem, not 8"):
        pass_at_k(np.array([1]), 8, 9)


def test_variance_reduction():
    a = np.array([0.0, 1.0, 0.0, 1.0])
    assert variance_reduction(a - a, a, a) == 1
    assert variance_reduction(a - (1 - a), a, 1 - a) == pytest.approx(-1)


def test_the_slope_of_a_line_and_of_a_known_regression():
    assert slope_interval([1, 2, 3], [2, 4, 6]) == pytest.approx((2, 2, 2))
    slope, low, high = slope_interval([0, 1, 2, 3], [0, 2, 1, 3])
    assert (slope, high - slope) == pytest.approx((0.8, 4.3027 * 0.4243), rel=1e-3)
    assert low == pytest.approx(2 * slope - high)
    assert np.isnan(slope_interval([0, 1], [0, 1])[1])
