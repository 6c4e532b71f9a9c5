"""The latent space: interpolation, directions, and how alike codes and the prior are."""

import numpy as np
from scipy.stats import kurtosis, skew
from sklearn.decomposition import PCA

from ..metrics.inference import energy_test


def interpolate(a, b, steps):
    """
    Codes on the straight line from `a` to `b`.

    Parameters
    ----------
    a, b : (code_size,) array
    steps : int
        How many, both ends included; 2 or more.

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
    # Both products, so that the ends are a and b to the last bit.
    return (1 - share) * a + share * b


def direction(codes, has):
    """
    What a characteristic is in the latent space: mean code with it minus mean code without.

    Adding it to a socket's code gives the socket the characteristic (Wu et al. 2016; as in the
    paper's latent arithmetic).

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
        If all or none have it.
    """
    codes, has = np.asarray(codes, np.float32), np.asarray(has, bool)
    if has.shape != codes.shape[:1]:
        raise ValueError(f"`has` has shape {has.shape}; there are {len(codes)} codes")
    if has.all() or not has.any():
        raise ValueError("a direction needs shapes with and shapes without the characteristic")
    return codes[has].mean(axis=0) - codes[~has].mean(axis=0)


def code_statistics(codes, prior_std):
    """
    Moments of codes beside those of the prior N(0, prior_std^2 I), in units of prior_std.

    Parameters
    ----------
    codes : (n, code_size) array
        n > 1.
    prior_std : float

    Returns
    -------
    dict
        "mean": root mean square of the codes' mean (prior: 0); "spread": their mean standard
        deviation (prior: 1); "correlation": root mean square of the correlations between different
        numbers of the code (prior: 0, apart from 1 / sqrt(n) by chance); "norm": mean length over
        that of the prior, sqrt(code_size) (prior: about 1).
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
    How alike codes and the prior N(0, prior_std^2 I) are, in units of prior_std.

    Parameters
    ----------
    codes : (n, code_size) array
        n > 1.
    prior_std : float
    n_draws : int
        Draws of the prior that the codes are compared with.
    seed : int
        Of the draws and of the test's permutations.

    Returns
    -------
    dict
        What `code_statistics` has, and "skewness", "excess_kurtosis": mean absolute values over the
        numbers of the code (prior: 0, apart from about 2 / sqrt(n) and 4 / sqrt(n) by chance);
        "energy", "energy_p": distance and p-value of `significance.energy_test` between codes and
        draws (prior: small, and uniform in [0, 1]).
    """
    draws = np.random.default_rng(seed).normal(size=(n_draws, np.shape(codes)[1]))
    energy, p = energy_test(np.asarray(codes, float) / prior_std, draws, seed=seed)
    return code_statistics(codes, prior_std) | {
        "skewness": float(np.abs(skew(codes)).mean()),
        "excess_kurtosis": float(np.abs(kurtosis(codes)).mean()),
        "energy": energy,
        "energy_p": p,
    }


def project(codes, *others):
    """
    Codes in the plane of their two largest principal components, and other codes in that plane.

    Parameters
    ----------
    codes, *others : (n, code_size) arrays

    Returns
    -------
    list of (n, 2) arrays
        One for each argument.
    explained : (2,) array
        Shares of the variance of `codes` that the two axes hold, [0, 1].
    """
    pca = PCA(2, svd_solver="full").fit(codes)
    return [pca.transform(each) for each in (codes, *others)], pca.explained_variance_ratio_
