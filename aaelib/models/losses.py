"""Differentiable losses of point clouds: Chamfer distance and point-to-plane distance."""

import numpy as np
import tensorflow as tf

from ..metrics.neighbors import nearest, searchable, threads
from .recipes import ANY_DIRECTION


def nearest_indices(a, b):
    """
    Index (n, n_points) int32 of the point of `b` nearest to each point of `a`, cloud by cloud.

    Without a GPU the search runs on the host (`neighbors.nearest`). With one it compares all pairs
    there, a cloud at a time.
    """
    tf.debugging.assert_shapes([(a, ("n", "n_points", 3)), (b, ("n", "m_points", 3))])
    search = _device_indices if tf.config.list_physical_devices("GPU") else _host_indices
    indices = search(tf.stop_gradient(a), tf.stop_gradient(b))
    indices.set_shape(a.shape[:2])
    return indices


def _host_indices(a, b):
    def search(a, b):
        pairs = threads().map(lambda x, y: nearest(searchable(x), searchable(y)), a, b)
        return np.stack(list(pairs))

    return tf.numpy_function(search, [a, b], tf.int32, stateful=False)


# Compiled, the distances of all pairs go from registers into the search and take no memory.
@tf.function(jit_compile=True)
def _device_indices(a, b):
    # Not |a|^2 - 2 ab + |b|^2, whose rounding error in float32 is as large as the distance between
    # neighbours.
    pairs = zip(tf.unstack(a, axis=-1), tf.unstack(b, axis=-1), strict=True)
    squared = sum(tf.math.squared_difference(x[:, :, None], y[:, None]) for x, y in pairs)
    return tf.argmin(squared, axis=-1, output_type=tf.int32)


def plane_distance(points, point_normals, decoded, any_direction=ANY_DIRECTION):
    """
    Chamfer distance (n,) that counts mainly the part along the normals of the given points.

    As in point-to-plane registration (Chen and Medioni 1992); of the squared distance the part
    `any_direction` counts whatever its direction. Clouds are (n, n_points, 3), `decoded` (n,
    m_points, 3).
    """
    to_points, to_decoded = nearest_indices(decoded, points), nearest_indices(points, decoded)
    return _plane_distance(points, point_normals, decoded, to_points, to_decoded, any_direction)


@tf.function(jit_compile=True)
def _plane_distance(points, point_normals, decoded, to_points, to_decoded, any_direction):
    there = decoded - tf.gather(points, to_points, batch_dims=1)
    back = tf.gather(decoded, to_decoded, batch_dims=1) - points
    total = 0.0
    for way, normal in (
        (there, tf.gather(point_normals, to_points, batch_dims=1)),
        (back, point_normals),
    ):
        along = tf.reduce_sum(way * normal, axis=-1) ** 2
        total += tf.reduce_mean(along + any_direction * tf.reduce_sum(way**2, axis=-1), axis=1)
    return total


def chamfer_loss(a, b, reduction="mean"):
    """
    Squared Chamfer distance of TensorFlow point clouds, with its exact gradient.

    .. math:: \\sum_i \\min_j \\|a_i - b_j\\|^2 + \\sum_j \\min_i \\|a_i - b_j\\|^2

    (Fan et al., 2017, section 3.2), each sum divided by its number of points when `reduction` is
    "mean". Neighbours are held fixed in the gradient, which is exact where no tie occurs.

    The search runs eagerly and in a ``tf.function``, but without a GPU XLA cannot compile it. The
    loss of a cloud that is not finite is NaN.

    Parameters
    ----------
    a : (n, n_points, 3) float32 tensor
    b : (n, m_points, 3) float32 tensor
        Cloud by cloud the counterpart of `a`.
    reduction : {"mean", "sum"}
        Over points; "sum" as in Costa et al. (2022).

    Returns
    -------
    (n,) float32 tensor
        In squared units of the clouds.

    Raises
    ------
    ValueError
        If a tensor is not (n, n_points, 3), or they differ in n.
    tf.errors.InvalidArgumentError
        If they differ in n, which a graph may only know when it runs.
    """
    a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
    return matched_loss(a, b, nearest_indices(a, b), nearest_indices(b, a), reduction)


# Compiled, gather, difference and sum are one pass, as is the gradient: a tenth of the time.
@tf.function(jit_compile=True)
def matched_loss(a, b, to_b, to_a, reduction):
    """`chamfer_loss` of clouds whose nearest points are known, as indices into `b` and `a`."""
    reduce = tf.reduce_mean if reduction == "mean" else tf.reduce_sum
    to_b, to_a = tf.gather(b, to_b, batch_dims=1), tf.gather(a, to_a, batch_dims=1)
    return sum(
        reduce(tf.reduce_sum(tf.math.squared_difference(*pair), axis=-1), axis=-1)
        for pair in ((a, to_b), (b, to_a))
    )
