"""Training batches: real clouds and fresh draws of shape models."""

import numpy as np
import tensorflow as tf

from ..shapes.clouds import normalize
from ..shapes.splits import proportional_counts


def batches(clouds, scale, settings, normalization="dataset"):
    """
    A drawer of training batches: real clouds, and fresh draws of shape models.

    A batch depends on the seed and its step alone, so that a run that goes on at some step sees the
    batches that it would have seen. A shape model's part of the drawn clouds is its part of all
    surfaces fitted.

    Parameters
    ----------
    clouds : (n, n_points, 3) array
        Real clouds, mm.
    scale : float
        Millimetres of a normalized unit ("dataset" normalization).
    settings : Settings
        What batches hold.
    normalization : {"dataset", "unit-sphere"}

    Returns
    -------
    function
        Of a first step and the end of the steps, to a `tf.data.Dataset` of (batch_size, n_points,
        3) float32 normalized clouds.
    """
    seed, batch_size = settings.seed, settings.batch_size
    fixed_scale = scale if normalization == "dataset" else None
    real = tf.constant(normalize(clouds, normalization, scale=fixed_scale)[0], tf.float32)
    n_points = real.shape[1]
    bases = [model.point_basis(n_points, seed=seed) for model in settings.shape_models]
    drawn = round(settings.share * batch_size) if bases else 0
    counts = proportional_counts(drawn, [model.n_surfaces_ for model in settings.shape_models])

    def batch(step):
        keys = tf.random.experimental.stateless_split(tf.stack([seed, tf.cast(step, tf.int32)]), 8)
        n_real = batch_size - drawn
        chosen = tf.random.stateless_uniform([n_real], keys[0], 0, len(real), tf.int32)
        parts = [tf.gather(real, chosen)]
        for i, (mean, modes) in enumerate(bases):
            key = tf.random.experimental.stateless_fold_in(keys[1], i)
            cloud, _ = draw_clouds(mean, modes, counts[i], settings.limit, key)
            parts.append(_normalized(cloud, fixed_scale))
        points = tf.concat(parts, axis=0)
        if settings.rotate:
            angles = tf.random.stateless_uniform([batch_size], keys[2], 0, 2 * np.pi)
            points = _turned(points, angles)
        if settings.jitter:
            points += tf.random.stateless_normal(tf.shape(points), keys[3], stddev=settings.jitter)
        return tf.ensure_shape(points, (batch_size, n_points, 3))

    def draw(first_step, end):
        steps = tf.data.Dataset.range(first_step, end)
        return steps.map(batch, num_parallel_calls=2, deterministic=True).prefetch(2)

    return draw


def draw_clouds(mean, modes, count, limit, key):
    """
    Draw clouds of a shape model, given as `ShapeModel.point_basis`, with bounded weights.

    The points have one random pattern for all. Returns clouds (count, n_points, 3) in the unit of
    `mean`, and weights (count, n_modes). `key` is one of TensorFlow's stateless generators.
    """
    for_pattern, for_weights = tf.unstack(tf.random.experimental.stateless_split(key, 2))
    pattern = tf.random.stateless_uniform([], for_pattern, 0, len(mean), tf.int32)
    weights = tf.random.stateless_parameterized_truncated_normal(
        [count, modes.shape[1]], for_weights, 0.0, 1.0, -limit, limit
    )
    chosen_mean, chosen_modes = tf.gather(mean, pattern), tf.gather(modes, pattern)
    return chosen_mean + tf.tensordot(weights, chosen_modes, 1), weights


def _normalized(points, scale):
    """`clouds.normalize` for tensors."""
    centred = points - tf.reduce_mean(points, axis=1, keepdims=True)
    if scale is None:
        scale = tf.reduce_max(tf.norm(centred, axis=-1, keepdims=True), axis=1, keepdims=True)
    return centred / scale


def _turned(points, angles):
    """`clouds.rotate` for tensors."""
    cos, sin = tf.cos(angles)[:, None], tf.sin(angles)[:, None]
    x, y, z = tf.unstack(points, axis=-1)
    return tf.stack([cos * x - sin * y, sin * x + cos * y, z], axis=-1)
