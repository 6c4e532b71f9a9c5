"""Confidence intervals of differences between conditions, and a two-sample test."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import norm, t

_BLOCK = 1000  # resamples whose seeds are drawn before their sockets
_TAILS = (1 - 0.95) / 2, (1 + 0.95) / 2


@dataclass(frozen=True)
class Difference:
    """Mean of second condition minus first, and the ends of its interval (NaN if unknown)."""

    mean: float
    low: float
    high: float


def paired_bootstrap(a, b, n_resamples=10_000, seed=0):
    """
    95 % confidence interval of the mean difference b - a of errors (n_seeds, n_sockets).

    Row i of both conditions has the same seed, column j the same socket. Seeds and sockets are
    drawn with replacement, independently, and the interval lies between percentiles of the means:
    the pigeonhole bootstrap (Owen 2007). With one seed only sockets are resampled, and the interval
    holds for these two runs alone.

    For 3 seeds and 40 sockets the simulated coverage of the 95 % interval is 0.98 without an effect
    of the seed, 0.94 if the standard deviation of that effect is 0.3 times that between sockets,
    and 0.81 if both are equal: with few seeds that differ much, the interval is too narrow.
    """
    difference = _paired(a, b, ndim=2)
    n_seeds, n_sockets = difference.shape
    if n_sockets < 2:
        raise ValueError(f"errors of {n_sockets} socket: an interval needs 2 sockets or more")
    rng, means = np.random.default_rng(seed), []
    for start in range(0, n_resamples, _BLOCK):
        count = min(_BLOCK, n_resamples - start)
        by_socket = _weights(rng, count, n_seeds) @ difference
        means.append(np.einsum("rs,rs->r", by_socket, _weights(rng, count, n_sockets)))
    return Difference(float(difference.mean()), *_interval(np.concatenate(means)))


def bootstrap_difference(a, b, n_resamples=10_000, seed=0):
    """
    95 % confidence interval of the mean difference b - a of one number a seed, such as coverage.

    Seeds (n_seeds,) are drawn with replacement. The means of few seeds scatter too little: the 95 %
    percentile interval of 3 seeds would hold the truth in 75 % of studies. So it is widened by
    sqrt(n / (n - 1)) t / z, as Student's interval is (Hesterberg 2015); then the truth is held in
    94 % of simulated studies. With one seed the interval is (NaN, NaN).
    """
    difference = _paired(a, b, ndim=1)
    mean, n = difference.mean(), len(difference)
    if n == 1:
        return Difference(float(mean), np.nan, np.nan)
    means = _weights(np.random.default_rng(seed), n_resamples, n) @ difference
    ends = np.array(_interval(means))
    spread = np.sqrt(n / (n - 1)) * t.ppf(_TAILS[1], n - 1) / norm.ppf(_TAILS[1])
    return Difference(float(mean), *(mean + spread * (ends - mean)).tolist())


def answer(difference, better="lower"):
    """
    Decide by an interval whether the second condition is better.

    "supported" if the whole interval lies on the better side of 0, "not supported" if it lies on
    the other side, "not decidable here" if it reaches 0 or is unknown.
    """
    if better not in ("lower", "higher"):
        raise ValueError(f"better is {better!r}; it can be 'lower' or 'higher'")
    if difference.high < 0:
        return "supported" if better == "lower" else "not supported"
    if difference.low > 0:
        return "supported" if better == "higher" else "not supported"
    return "not decidable here"


def energy_test(a, b, n_permutations=999, seed=0):
    """
    Permutation test of whether samples (n, d) and (m, d) have one distribution.

    Returns the energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'|, with means over all pairs
    (Székely and Rizzo 2004, without the factor n m / (n + m)), and the p-value: the fraction of
    random splits of the pooled points, the given one included, with no smaller distance.
    """
    a, b = np.asarray_chkfinite(a, float), np.asarray_chkfinite(b, float)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.size or not b.size:
        raise ValueError(f"samples have shapes {a.shape} and {b.shape}, not (n, d) and (m, d)")
    pooled = np.concatenate([a, b])
    distances = cdist(pooled, pooled)
    # The distance is -w D w; its three means would take three times as long.
    weights = np.repeat([1 / len(a), -1 / len(b)], [len(a), len(b)])
    statistic = -weights @ distances @ weights
    # Splits equal to the given one must count in spite of rounding.
    least = statistic - 1e-9 * distances.max()
    rng = np.random.default_rng(seed)
    splits = rng.permuted(np.tile(weights, (n_permutations, 1)), axis=1)
    as_far = np.count_nonzero(-np.einsum("pi,pi->p", splits @ distances, splits) >= least)
    return max(float(statistic), 0.0), float((1 + as_far) / (1 + n_permutations))


def _paired(a, b, ndim):
    """Check two arrays of errors and return b - a."""
    a, b = np.asarray_chkfinite(a, float), np.asarray_chkfinite(b, float)
    if a.shape != b.shape or a.ndim != ndim or not len(a):
        expected = "(n_seeds,)" if ndim == 1 else "(n_seeds, n_sockets)"
        raise ValueError(f"errors have shapes {a.shape} and {b.shape}, not {expected} twice")
    return b - a


def _weights(rng, count, n):
    """Weights (count, n) of n items in `count` resamples with replacement; rows sum to 1."""
    return rng.multinomial(n, np.full(n, 1 / n), size=count) / n


def _interval(means):
    return np.quantile(means, _TAILS).tolist()
