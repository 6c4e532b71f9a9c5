"""The latent space: interpolation, directions, and comparison of codes with the prior."""

import numpy as np
from scipy.stats import chi2, kurtosis, skew
from sklearn.decomposition import PCA

from ..metrics.inference import energy_test


def interpolate(a, b, steps):
    """
    Codes on the straight line from `a` to `b`.

    Parameters
    ----------
    a, b : (code_size,) array
    steps : int
        Number of codes, both ends included; 2 or more.

    Returns
    -------
    (steps, code_size) float32 array

    Raises
    ------
    ValueError
        If the codes differ in shape or `steps` is below 2.
    """
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"codes have shapes {a.shape} and {b.shape}, not (code_size,) twice")
    if steps < 2:
        raise ValueError(f"steps is {steps}; an interpolation has 2 or more")
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    # Two products, so that the ends equal a and b exactly.
    return (1 - share) * a + share * b


def direction(codes, has):
    """
    Direction of a characteristic: mean code of shapes with it minus mean code of those without.

    Added to a code, it gives the shape the characteristic (latent arithmetic, Wu et al. 2016).

    Parameters
    ----------
    codes : (n, code_size) array
    has : (n,) bool array
        Which shapes have the characteristic.

    Returns
    -------
    (code_size,) float32 array

    Raises
    ------
    ValueError
        If all or none have it, or `has` has another length than `codes`.
    """
    codes, has = np.asarray(codes, np.float32), np.asarray(has, bool)
    if has.shape != codes.shape[:1]:
        raise ValueError(f"`has` has shape {has.shape}; there are {len(codes)} codes")
    if has.all() or not has.any():
        raise ValueError("a direction needs shapes with and shapes without the characteristic")
    return codes[has].mean(axis=0) - codes[~has].mean(axis=0)


def code_statistics(codes, prior_std):
    """
    Moments of codes (n, code_size), n > 1, in units of the prior's standard deviation.

    "mean" is the root mean square of the mean code (prior: 0), "spread" the mean standard deviation
    (prior: 1), "correlation" the root mean square correlation between numbers of the code (prior: 0
    plus 1 / sqrt(n) by chance), "norm" the mean length over sqrt(code_size) (prior: about 1).
    """
    codes = np.asarray(codes, float) / prior_std
    correlation = np.corrcoef(codes, rowvar=False)
    other = ~np.eye(len(correlation), dtype=bool)
    return {
        "mean": float(np.sqrt(np.mean(codes.mean(axis=0) ** 2))),
        "spread": float(codes.std(axis=0).mean()),
        "correlation": float(np.sqrt(np.mean(correlation[other] ** 2))),
        "norm": float(np.linalg.norm(codes, axis=1).mean() / np.sqrt(codes.shape[1])),
    }


def prior_check(codes, prior_std, n_draws=1000, seed=0):
    """
    Compare codes (n, code_size), n > 1, with the prior, in units of its standard deviation.

    Adds to `code_statistics` the mean absolute "skewness" and "excess_kurtosis" of the numbers of
    the code (prior: about 2 / sqrt(n) and 4 / sqrt(n) by chance), and "energy" and "energy_p" of
    `energy_test` between codes and `n_draws` draws of the prior.
    """
    draws = np.random.default_rng(seed).normal(size=(n_draws, np.shape(codes)[1]))
    energy, p = energy_test(np.asarray(codes, float) / prior_std, draws, seed=seed)
    return code_statistics(codes, prior_std) | {
        "skewness": float(np.abs(skew(codes)).mean()),
        "excess_kurtosis": float(np.abs(kurtosis(codes)).mean()),
        "energy": energy,
        "energy_p": p,
    }


def inside(codes, prior_std, levels):
    """
    Share of codes (n, code_size) within the prior's central regions.

    A region of level q is the ball that holds the share q of the prior's draws: squared lengths
    are chi-square distributed. Codes that are like draws have the shares `levels`.
    """
    squared = np.sum((np.asarray(codes, float) / prior_std) ** 2, axis=1)
    return np.array([(squared <= chi2.ppf(q, np.shape(codes)[1])).mean() for q in levels])


def project(codes, *others):
    """
    Project codes, and others, onto the first two principal components of `codes`.

    Returns a list of (n, 2) arrays, one for each argument, and the shares (2,) of the variance of
    `codes` along the two axes.
    """
    pca = PCA(2, svd_solver="full").fit(codes)
    return [pca.transform(each) for each in (codes, *others)], pca.explained_variance_ratio_
