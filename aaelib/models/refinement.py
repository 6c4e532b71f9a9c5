"""Refinement of codes: from the encoder's estimate to a better fit of the decoded cloud."""

import numpy as np
import tensorflow as tf

from .losses import plane_distance

_RATE = 0.2  # of the first step, in standard deviations of the prior
_DECAY_1, _DECAY_2 = 0.9, 0.95  # of Adam's moments


def refine(decoder, prior_std, n_steps, points, point_normals, codes):
    """
    Move codes to a smaller distance between decoded and given clouds, by steps of Adam.

    Semi-amortized inference (Kim et al. 2018). The distance is `plane_distance`: where on a smooth
    wall a point was sampled is no property of the shape. The rate falls to zero as a cosine.
    """
    first = second = tf.zeros_like(codes)
    for i in tf.range(n_steps):
        with tf.GradientTape() as tape:
            tape.watch(codes)
            # A sum over shapes, so that codes do not depend on each other.
            loss = tf.reduce_sum(plane_distance(points, point_normals, decoder(codes)))
        slope = tape.gradient(loss, codes)
        done = tf.cast(i, tf.float32)
        first = _DECAY_1 * first + (1 - _DECAY_1) * slope
        second = _DECAY_2 * second + (1 - _DECAY_2) * slope**2
        spread = tf.sqrt(second / (1 - _DECAY_2 ** (done + 1))) + 1e-12
        rate = _RATE * prior_std * (1 + tf.cos(np.pi * done / n_steps)) / 2
        codes -= rate * first / (1 - _DECAY_1 ** (done + 1)) / spread
    return codes
