"""Nearest neighbours of points: compared with all others on every core, or on an accelerator."""

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

# Distances that the accelerator's kernel holds at a time. Three arrays of so many float32 (a
# difference, its square, the sum) live together: 64 MB.
_BLOCK = 64 * 2**20 // (3 * 4)


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


# In TensorFlow --------------------------------------------------------------------------------


def nearest_indices(a, b):
    """
    Index of the point of `b` that is nearest to each point of `a`, cloud by cloud.

    Without a GPU the search runs on the host, see `nearest`; with one it compares all pairs there,
    a block of them at a time, and nothing leaves the device.

    Parameters
    ----------
    a : tf.Tensor
        (n, n_points, 3) float32, the points that look for a neighbour.
    b : tf.Tensor
        (n, m_points, 3) float32, the points to choose from.

    Returns
    -------
    tf.Tensor
        (n, n_points) int32, in [0, m_points). Of several nearest points, any one.

    Raises
    ------
    ValueError
        If a tensor is not (n, n_points, 3).
    """
    import tensorflow as tf

    for name, tensor in (("a", a), ("b", b)):
        if tensor.shape.rank != 3 or tensor.shape[-1] != 3:
            raise ValueError(f"{name} has shape {tensor.shape}; expected (n, n_points, 3)")
    search = _blocked_indices if tf.config.list_physical_devices("GPU") else _host_indices
    indices = search(tf.stop_gradient(a), tf.stop_gradient(b))
    indices.set_shape(a.shape[:2])
    return indices


def _host_indices(a, b):
    """`nearest_indices` by `nearest`, on every core."""
    import tensorflow as tf

    return tf.numpy_function(_nearest_of_clouds, [a, b], tf.int32, stateful=False)


def _nearest_of_clouds(a, b):
    """`nearest_indices` of NumPy arrays."""
    return np.stack(list(threads().map(lambda x, y: nearest(searchable(x), searchable(y)), a, b)))


def _blocked_indices(a, b):
    """`nearest_indices` from all differences, a block of rows at a time."""
    import tensorflow as tf

    n, n_points, m_points = tf.shape(a)[0], tf.shape(a)[1], tf.shape(b)[1]
    rows = tf.clip_by_value(_BLOCK // (n * m_points), 1, n_points)
    blocks = -(-n_points // rows)
    padded = tf.pad(a, [[0, 0], [0, blocks * rows - n_points], [0, 0]])
    per_block = tf.transpose(tf.reshape(padded, [n, blocks, rows, 3]), [1, 3, 0, 2])[..., None]
    choices = tf.transpose(b, [2, 0, 1])[:, :, None, :]

    def nearest_in_block(block):
        # Differences, not |a|^2 - 2 ab + |b|^2, whose rounding error in float32 is as large as the
        # distance between neighbours. One coordinate after the other: no (n, rows, m_points, 3).
        squared = tf.math.squared_difference(block[0], choices[0])
        squared += tf.math.squared_difference(block[1], choices[1])
        squared += tf.math.squared_difference(block[2], choices[2])
        return tf.argmin(squared, axis=-1, output_type=tf.int32)

    # One block at a time, or the blocks in flight would share out the memory all over again.
    indices = tf.map_fn(
        nearest_in_block, per_block, fn_output_signature=tf.int32, parallel_iterations=1
    )
    return tf.reshape(tf.transpose(indices, [1, 0, 2]), [n, blocks * rows])[:, :n_points]
