"""Nearest neighbours of points, by comparing all pairs."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np

# The search keeps the best distances of this many queries in vector registers and the L1 cache,
# and compares this many choices at a time.
_LANES = 128
_UNROLLED = 4


class Cloud(NamedTuple):
    """Points as given, and as (3, a multiple of the lanes) float32, padded with the last point."""

    points: np.ndarray
    lanes: np.ndarray


def searchable(points, middle=0.0, size=1.0):
    """
    Prepare points (n_points, 3) for `nearest`.

    It compares (points - middle) / size in single precision: with the middle and size of the clouds
    to compare, few digits are lost.
    """
    n_points = len(points)
    lanes = np.empty((3, -(-n_points // _LANES) * _LANES), np.float32)
    lanes[:, :n_points] = ((points - middle) / size).T
    lanes[:, n_points:] = lanes[:, n_points - 1 : n_points]
    return Cloud(points, lanes)


def nearest(queries, choices):
    """
    Index (n,) int32 of the point of the Cloud `choices` nearest to each point of `queries`.

    Up to some 30,000 points this is faster than a k-d tree, whose every step waits for the one
    before. Among points that single precision cannot tell apart, any one; 0 for a query that is not
    finite.
    """
    indices = np.empty(queries.lanes.shape[1], np.int32)
    _search(queries.lanes, choices.lanes, indices)
    return indices[: len(queries.points)]


@numba.njit(nogil=True, fastmath={"contract"})
def _search(queries, choices, indices):
    """Search of `nearest`; the compiler vectorises the loops over lanes."""
    best, chosen = np.empty(_LANES, np.float32), np.empty(_LANES, np.int32)
    for start in range(0, queries.shape[1], _LANES):
        end = start + _LANES
        xs, ys, zs = queries[0, start:end], queries[1, start:end], queries[2, start:end]
        best[:], chosen[:] = np.inf, 0
        for first in range(0, choices.shape[1], _UNROLLED):
            for lane in range(_LANES):
                x, y, z = xs[lane], ys[lane], zs[lane]
                smallest, index = best[lane], chosen[lane]
                for step in range(_UNROLLED):
                    j = first + step
                    dx, dy, dz = x - choices[0, j], y - choices[1, j], z - choices[2, j]
                    squared = dx * dx + dy * dy + dz * dz
                    # Strictly smaller, so that the padding is never preferred.
                    if squared < smallest:
                        smallest, index = squared, np.int32(j)
                best[lane], chosen[lane] = smallest, index
        indices[start:end] = chosen


@numba.njit(nogil=True)
def mean_squared_distance(a, b, indices):
    """Mean squared distance of points `a` (n, 3) to the points of `b` with these indices."""
    # Compiled because NumPy would hold Python's lock, and the other cores would wait.
    total = 0.0
    for i in range(len(a)):
        j = indices[i]
        dx, dy, dz = a[i, 0] - b[j, 0], a[i, 1] - b[j, 1], a[i, 2] - b[j, 2]
        total += dx * dx + dy * dy + dz * dz
    return total / len(a)


@functools.cache
def threads():
    """One thread a core, for work that releases Python's lock."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="neighbors")
