"""The exact tilt against a constrained optimum found by a general solver, and pass rates against planted ones."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import rel_entr

from oneshot.theory.tilt import pass_rates, smallest_kl, tilted


def divergence(right, rates):
    return rel_entr(right, rates) + rel_entr(1 - right, 1 - rates)


def test_one_problem_by_hand():
    kl, accuracy = tilted(np.array([0.2]), np.array([1.0]), np.array([0.0, np.log(4.0), np.log(16.0)]))
    assert accuracy == pytest.approx([0.2, 0.5, 0.8])
    assert kl == pytest.approx([0, 0.5 * np.log(0.5 / 0.2) + 0.5 * np.log(0.5 / 0.8), 0.6 * np.log(4)])


def test_no_policy_is_nearer_at_the_same_accuracy():
    rates, shares = np.array([0.02, 0.3, 0.7]), np.array([0.5, 0.3, 0.2])
    wanted = {"type": "eq", "fun": lambda right: right @ shares - 0.6}
    best = minimize(
        lambda right: divergence(right, rates) @ shares, rates, bounds=[(1e-9, 1 - 1e-9)] * 3, constraints=[wanted]
    )
    assert best.success
    assert smallest_kl(0.6, rates, shares) == pytest.approx(best.fun, rel=1e-4)


def test_the_ends():
    rates, shares = np.array([0.1, 0.4]), np.array([0.5, 0.5])
    assert smallest_kl(0.2, rates, shares) == 0
    assert smallest_kl(0.999999, rates, shares) == pytest.approx(-np.log([0.1, 0.4]).mean(), abs=1e-4)
    assert np.isnan(smallest_kl(1.0, rates, shares))


@pytest.mark.parametrize("samples", [4, 16])
def test_few_samples_of_many_problems_give_the_curve(samples):
    rng = np.random.default_rng(0)
    planted = rng.beta(0.3, 1.2, 20_000)
    correct = rng.binomial(samples, planted[:4000])
    found, truly = pass_rates(correct, samples), (planted, np.full(len(planted), 1 / len(planted)))
    for accuracy in (0.3, 0.5, 0.65):
        assert smallest_kl(accuracy, *found) == pytest.approx(smallest_kl(accuracy, *truly), rel=0.08)
    plugged = (np.clip(correct / samples, 1e-3, 1 - 1e-3), np.full(len(correct), 1 / len(correct)))
    off = [abs(smallest_kl(0.5, *rates) - smallest_kl(0.5, *truly)) for rates in (plugged, found)]
    assert off[0] > 3 * off[1]


def test_problems_all_alike_have_one_rate():
    rates, shares = pass_rates(np.random.default_rng(1).binomial(4, 0.21, 3000), 4)
    assert rates @ shares == pytest.approx(0.21, abs=0.01)
    assert shares[np.abs(rates - 0.21) < 0.08].sum() > 0.9
