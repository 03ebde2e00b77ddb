"""Intervals and estimators. All intervals are 95 % unless a level is given."""

import math

import numpy as np
from scipy import stats

LEVEL = 0.95


def t_interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float, float]:
    """(mean, low, high) over independent policies; low and high are nan for fewer than two values, and all for none."""
    values = np.asarray(values, dtype=float)
    mean = values.mean() if len(values) else math.nan
    if len(values) < 2:
        return mean, math.nan, math.nan
    half_width = stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values)
    return mean, mean - half_width, mean + half_width


def bootstrap_interval(values: np.ndarray, level: float = LEVEL, seed: int = 0) -> tuple[float, float, float]:
    """(mean, low, high) over problems of one policy: BCa bootstrap of the mean. For paired values, pass differences."""
    values = np.asarray(values, dtype=float)
    if np.ptp(values) == 0:
        return values.mean(), values.mean(), values.mean()
    interval = stats.bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=2000, rng=np.random.default_rng(seed)
    ).confidence_interval
    return values.mean(), interval.low, interval.high


def jackknife_interval(whole: float, parts: np.ndarray, level: float = LEVEL) -> tuple[float, float, float]:
    """(whole, low, high) of an estimate that is never negative, from its values with one of K blocks left out [K].

    t interval with the jackknife's standard error (Efron 1982); low and high are nan for fewer than three blocks, or
    if a value is not finite.
    """
    if len(parts) < 3 or not np.isfinite([whole, *parts]).all():
        return whole, math.nan, math.nan
    error = math.sqrt((len(parts) - 1) * np.var(parts))
    half_width = stats.t.ppf((1 + level) / 2, len(parts) - 1) * error
    return whole, max(0.0, whole - half_width), whole + half_width


def fieller_interval(
    numerator: np.ndarray, denominator: np.ndarray, level: float = LEVEL
) -> tuple[float, float, float]:
    """(ratio, low, high) of the means of paired values, by Fieller's theorem.

    The bounds are infinite if the denominator's mean is not significantly different from zero.
    """
    x, y = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    ratio = x.mean() / y.mean()
    if len(x) < 2:
        return ratio, math.nan, math.nan
    variance_x, covariance, variance_y = (np.cov(x, y) / len(x))[[0, 0, 1], [0, 1, 1]]
    t_squared = stats.t.ppf((1 + level) / 2, len(x) - 1) ** 2
    a = y.mean() ** 2 - t_squared * variance_y
    b = x.mean() * y.mean() - t_squared * covariance
    c = x.mean() ** 2 - t_squared * variance_x
    if a <= 0:
        return ratio, -math.inf, math.inf
    root = math.sqrt(max(b * b - a * c, 0.0))
    return ratio, (b - root) / a, (b + root) / a


def slope_interval(x: np.ndarray, y: np.ndarray, level: float = LEVEL) -> tuple[float, float, float]:
    """(slope, low, high) of the least-squares line through independent points; no interval for fewer than three."""
    if len(x) < 3:
        slope = np.diff(y)[0] / np.diff(x)[0] if len(x) == 2 else math.nan
        return float(slope), math.nan, math.nan
    line = stats.linregress(x, y)
    half_width = stats.t.ppf((1 + level) / 2, len(x) - 2) * line.stderr
    return float(line.slope), float(line.slope - half_width), float(line.slope + half_width)


def pass_at_k(num_correct: np.ndarray, num_samples: int, k: int) -> np.ndarray:
    """Unbiased pass@k of every problem, 1 - C(n-c, k) / C(n, k) (Chen et al. 2021): [P] -> [P]."""
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} needs at least {k} samples a problem, not {num_samples}")
    failures = num_samples - np.asarray(num_correct)
    terms = np.arange(num_samples - k + 1, num_samples + 1)
    factors = np.clip(failures[:, None] - num_samples + terms[None, :], 0, None) / terms[None, :]
    return 1 - factors.prod(axis=1)


def variance_reduction(differences: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """1 - Var(first - second) / (Var first + Var second): the share that common random numbers (and problems) save."""
    independent = np.var(first, ddof=1) + np.var(second, ddof=1)
    return float(1 - np.var(differences, ddof=1) / independent) if independent else math.nan


def reliability(of_halves: float) -> float:
    """Of a mean whose two halves have that cosine: the squared cosine expected between it and the truth."""
    return 2 * of_halves / (1 + of_halves)


def corrected(found: float, *reliabilities: float) -> float:
    """The cosine without noise; nan unless all reliabilities are above 0."""
    if not all(value > 0 for value in reliabilities):
        return math.nan
    return found / math.sqrt(math.prod(reliabilities))
