"""Nearest neighbours of points: all pairs compared, on every core."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np

# The compiled search keeps the best so far of this many points in the processor's vector registers
# and nearest cache, and takes this many of the points to choose from in one go.
_LANES = 128
_UNROLLED = 4


# On the CPU -----------------------------------------------------------------------------------


class Cloud(NamedTuple):
    """A cloud that `nearest` can search in, made by `searchable`."""

    points: np.ndarray
    lanes: np.ndarray


def searchable(points, middle=None, size=1.0):
    """
    A cloud made ready to be searched in, which is worth keeping for one that is used again.

    Parameters
    ----------
    points : numpy.ndarray
        (n_points, 3).
    middle, size : array_like, optional
        Neighbours are compared in single precision, as (points - middle) / size: give the middle
        and the size of clouds that are to be compared, and few digits are lost. Without, as they
        are.

    Returns
    -------
    Cloud
        The points as they were given, and (3, n) float32, an axis a row, n the next multiple of
        the number of lanes, filled with the last point.
    """
    n_points = len(points)
    lanes = np.empty((3, -(-n_points // _LANES) * _LANES), np.float32)
    lanes[:, :n_points] = points.T if middle is None else ((points - middle) / size).T
    lanes[:, n_points:] = lanes[:, n_points - 1 : n_points]
    return Cloud(points, lanes)


def nearest(queries, choices):
    """
    Index of the point of `choices` that is nearest to each point of `queries`.

    All pairs are compared, 16 at a time where the processor has the registers. Up to some 30,000
    points that is faster than to walk a k-d tree, whose every step waits for the one before.

    Parameters
    ----------
    queries, choices : Cloud
        (n, 3) and (m, 3).

    Returns
    -------
    numpy.ndarray
        (n,) int32, in [0, m). Of points whose distances single precision does not tell apart, any
        one; 0 for a query with a value that is not finite.
    """
    indices = np.empty(queries.lanes.shape[1], np.int32)
    _search(queries.lanes, choices.lanes, indices)
    return indices[: len(queries.points)]


@numba.njit(nogil=True, fastmath={"contract"})
def _search(queries, choices, indices):
    """`nearest` by comparing all pairs; loops over lanes are what the compiler vectorises."""
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
                    # Strictly smaller: what fills the last lanes is never preferred.
                    if squared < smallest:
                        smallest, index = squared, np.int32(j)
                best[lane], chosen[lane] = smallest, index
        indices[start:end] = chosen


@numba.njit(nogil=True)
def mean_squared_distance(a, b, indices):
    """
    Mean squared distance of the points of `a` (n_points, 3) to those of `b` with these indices.

    Compiled because NumPy would hold Python's lock over it, and the other core would wait.
    """
    total = 0.0
    for i in range(len(a)):
        j = indices[i]
        dx, dy, dz = a[i, 0] - b[j, 0], a[i, 1] - b[j, 1], a[i, 2] - b[j, 2]
        total += dx * dx + dy * dy + dz * dz
    return total / len(a)


@functools.cache
def threads():
    """Threads for work that is done without holding Python's lock, one a core."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="neighbors")
