"""Chamfer distance and earth mover's distance of point clouds."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from tqdm.auto import tqdm

from ..shapes.clouds import as_points
from .neighbors import mean_squared_distance, nearest, searchable, threads


def chamfer_distance(a, b):
    """
    Squared Chamfer distance between each cloud and its counterpart.

    The mean over the points of `a` of the squared distance to the nearest point of `b`, plus the
    same from `b` to `a` (Achlioptas et al., 2018, with means in place of sums).

    Parameters
    ----------
    a : array_like
        (n, n_points, 3).
    b : array_like
        (n, m_points, 3).

    Returns
    -------
    numpy.ndarray
        (n,) float64, in squared units of the clouds.

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite, or `a` and `b` differ in n.
    """
    a, b = as_points(a, "a"), as_points(b, "b")
    check_counterparts(a, b)
    return np.array(list(threads().map(_chamfer, *_searchable(a, b))))


def pairwise_chamfer(a, b=None):
    """
    Squared Chamfer distance between every cloud of one set and every cloud of another.

    All cores work, each on one pair of clouds at a time. Memory beside the result grows with n + m.
    Time grows with n m and, for each pair, with the product of the numbers of points.

    Parameters
    ----------
    a : array_like
        (n, n_points, 3).
    b : array_like, optional
        (m, m_points, 3). If missing, or `a` itself, all pairs of `a`, each measured once.

    Returns
    -------
    numpy.ndarray
        (n, m) float64, entries as in `chamfer_distance`. For one set (n, n) and symmetric, with
        zeros on the diagonal.

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite.
    """
    one_set = b is None or b is a
    a = as_points(a, "a")
    rows, columns = _searchable(a, a if one_set else as_points(b, "b"))

    def row(i):
        return [_chamfer(rows[i], column) for column in columns[i + 1 if one_set else 0 :]]

    results = threads().map(row, range(len(rows)))
    matrix = np.zeros((len(rows), len(columns)))
    results = tqdm(results, "Chamfer distances", len(rows), False, unit="row", delay=1)
    for i, distances in enumerate(results):
        matrix[i, len(columns) - len(distances) :] = distances
    return matrix + matrix.T if one_set else matrix


def earth_movers_distance(a, b):
    """
    Earth mover's distance between each cloud and its counterpart.

    The smallest mean distance between points over all one-to-one assignments (Fan et al., 2017,
    section 3.2, with a mean in place of the sum). The assignment is exact, so time grows with the
    cube of n_points: a pair of 2048 points takes 0.1 s (similar clouds) to 0.6 s.

    Parameters
    ----------
    a, b : array_like
        (n, n_points, 3).

    Returns
    -------
    numpy.ndarray
        (n,) float64, in units of the clouds.

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite, or `a` and `b` differ in shape.
    """
    a, b = as_points(a, "a"), as_points(b, "b")
    check_counterparts(a, b)
    _check_one_to_one(a, b)
    return np.array(list(threads().map(_earth_movers, a, b)))


def nearest_earth_movers_distance(a, b=None):
    """
    Earth mover's distances of all pairs, as far as they tell who is nearest to whom.

    A pair in which neither cloud can be the other's nearest is not assigned: its entry is a lower
    bound, the largest 1-D Wasserstein distance of both clouds' projections on some directions
    (sliced Wasserstein; Rabin et al., 2012). So minima of rows and columns, and where they are, are
    exact, for a quarter of the time of all assignments.

    Parameters
    ----------
    a : array_like
        (n, n_points, 3).
    b : array_like, optional
        (m, n_points, 3). If missing, or `a` itself, all pairs of `a`, each measured once.

    Returns
    -------
    numpy.ndarray
        (n, m) float64, in units of the clouds, entries as in `earth_movers_distance`. For one set
        (n, n) and symmetric, with infinity on the diagonal: no cloud is its own neighbour.

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite, or the clouds differ in n_points.
    """
    one_set = b is None or b is a
    a = as_points(a, "a")
    b = a if one_set else as_points(b, "b")
    _check_one_to_one(a, b)
    bounds = _sliced_bounds(a, b)
    if one_set:
        np.fill_diagonal(bounds, np.inf)
    known = np.full(bounds.shape, np.inf)
    # The most promising pairs of each row and column first: what they find rules out others.
    while True:
        least = np.maximum(known.min(axis=1, keepdims=True), known.min(axis=0))
        left = np.where(np.isinf(known) & (bounds <= least), bounds, np.inf)
        firsts = (left == left.min(axis=1, keepdims=True)) | (left == left.min(axis=0))
        chosen = firsts & np.isfinite(left)
        i, j = np.nonzero(np.triu(chosen) if one_set else chosen)
        if not len(i):
            return np.where(np.isinf(known), bounds, known)
        known[i, j] = list(threads().map(_earth_movers, a[i], b[j]))
        if one_set:
            known[j, i] = known[i, j]


def check_counterparts(a, b):
    """Raise unless each cloud of `a` has its counterpart in `b`."""
    if len(a) != len(b):
        raise ValueError(
            f"a has {len(a)} clouds and b has {len(b)}; each cloud of a needs its counterpart in b "
            "(for all pairs, use pairwise_chamfer)"
        )


def _check_one_to_one(a, b):
    """Raise unless clouds of `a` and `b` have as many points."""
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"a has {a.shape[1]} points a cloud and b has {b.shape[1]}; the earth mover's distance "
            "needs as many in both: resample one of them"
        )


def _searchable(*sets):
    """Sets of clouds as lists of `neighbors.Cloud`, all with the same middle and size."""
    lows, highs = (
        np.concatenate([extreme(clouds, axis=1) for clouds in sets]) for extreme in (np.min, np.max)
    )
    # Medians, so that one cloud far away does not cost the others their precision.
    middle, size = np.median((lows + highs) / 2, axis=0), np.median(highs - lows)
    # But if most clouds are nearly points, the squares of others must not overflow (1e38).
    reach = max(np.abs(highs - middle).max(), np.abs(lows - middle).max())
    if size < 1e-15 * reach:
        size = reach
    size = size or 1.0
    return [[searchable(cloud, middle, size) for cloud in clouds] for clouds in sets]


def _chamfer(a, b):
    """Squared Chamfer distance of two `neighbors.Cloud`."""
    to_b = mean_squared_distance(a.points, b.points, nearest(a, b))
    return to_b + mean_squared_distance(b.points, a.points, nearest(b, a))


def _sliced_bounds(a, b, n_directions=24):
    """Lower bounds (n, m) of earth mover's distances: of projections on unit vectors."""
    directions = np.random.default_rng(0).normal(size=(3, n_directions))
    directions /= np.linalg.norm(directions, axis=0)
    rows, columns = (np.sort(clouds @ directions, axis=1) for clouds in (a, b))
    return np.stack([np.abs(columns - row).mean(axis=1).max(axis=1) for row in rows])


def _earth_movers(a, b):
    """Earth mover's distance of two clouds (n_points, 3)."""
    costs = cdist(a, b)
    return costs[linear_sum_assignment(costs)].mean()
