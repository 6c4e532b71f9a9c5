"""Training of the encoders of scans."""

from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf

from ..shapes.scanning import Spoiling, scan
from . import in_numpy, networks
from .descent import descend
from .scans import N_POINTS, ScanEncoder, recipe_of

_RATE, _BATCH = 2e-3, 32
_COMPARED = 256  # points by which placed sockets are compared
_CODE_WEIGHT = 0.003  # beside the squared distance of points
_TURN = 25.0  # degrees about the long axis; two positions are 45 apart


def train(aae, points, steps, seed=0):
    """
    Train an encoder that reads scans of sockets, for a decoder that stays as it is.

    Half of a batch are real sockets with their refined codes, half are decoded draws of the prior,
    all of right legs, hardly turned about z, and spoilt (`scanning.scan`) by up to the worst that
    is expected. The loss is the squared distance between the socket as read and as encoded, point
    by point, each in its place, plus a little of the error of the code.

    Parameters
    ----------
    aae : AdversarialAutoencoder
        With "dataset" normalization.
    points : (n, n_points, 3) array
        Upright right legs' sockets, mm.
    steps, seed : int
        Python's and NumPy's generators are seeded, too, as by a new `AdversarialAutoencoder`.

    Returns
    -------
    ScanEncoder
    """
    k, std = aae.recipe.code_size, aae.recipe.prior_std
    keras.utils.set_random_seed(seed)  # of the first weights
    model, fast = networks.encoder(recipe_of(aae.recipe)), in_numpy.of(aae)
    decoder = _thinned(fast, np.linspace(0, aae.recipe.n_points - 1, _COMPARED).astype(int))
    real, codes = fast.normalize(points)[0] * fast.scale, fast.encode(points)

    def batch(step):
        rng = np.random.default_rng((seed, int(step)))
        chosen = rng.integers(len(real), size=_BATCH // 2)
        drawn = std * rng.normal(size=(_BATCH - len(chosen), k))
        clouds = [cloud[step % 2 :: 2] for cloud in (*real[chosen], *fast.decode(drawn))]
        how = ((0.4, 2, 0.05) * rng.random((_BATCH, 3))).tolist()
        others = {"n_points": N_POINTS, "turn": _TURN, "mirrored": False}
        scans = [scan(c, Spoiling(*h, **others), rng) for c, h in zip(clouds, how, strict=True)]
        seen = np.stack([each.points for each in scans])
        middles = np.median(seen, axis=1, keepdims=True)
        turns = np.stack([each.motion[:3, :3] for each in scans])
        places = np.stack([each.motion[:3, 3] for each in scans])[:, None] - middles
        found = (seen - middles) / fast.scale, np.vstack([codes[chosen], drawn])
        return [each.astype(np.float32) for each in (*found, turns, places / fast.scale)]

    def drawn(step):
        shapes = (N_POINTS, 3), (k,), (3, 3), (1, 3)
        found = tf.numpy_function(batch, [step], [tf.float32] * 4)
        return [tf.ensure_shape(each, (_BATCH, *s)) for each, s in zip(found, shapes, strict=True)]

    def loss(seen, codes, motions, places):
        read = model(networks.critical_points(model, seen), training=True)
        made = tf.matmul(decoder(std * read[:, :k]), _turns(read[:, k : k + 6]), transpose_b=True)
        made += read[:, None, k + 6 :]
        true = tf.matmul(decoder(codes), motions, transpose_b=True) + places
        of_code = tf.reduce_mean((read[:, :k] - codes / std) ** 2)
        of_points = 3 * tf.reduce_mean((made - true) ** 2)
        return of_points + _CODE_WEIGHT * of_code

    batches = tf.data.Dataset.range(steps).map(drawn, num_parallel_calls=2).prefetch(4)
    descend(model.trainable_variables, loss, batches, _RATE, "encoder of scans")
    return ScanEncoder(fast, model.get_weights())


def _turns(numbers):
    """`scans.turn` of many (n, 6)."""
    first = tf.math.l2_normalize(numbers[:, :3] + [1.0, 0, 0], axis=1)
    second = numbers[:, 3:] + [0, 1.0, 0]
    second -= tf.reduce_sum(first * second, axis=1, keepdims=True) * first
    second = tf.math.l2_normalize(second, axis=1)
    return tf.stack([first, second, tf.linalg.cross(first, second)], axis=2)


def _thinned(aae, kept):
    """The decoder of a `NumpyAutoencoder`, in Keras, of some points alone."""
    decoder = networks.decoder(replace(aae.recipe, n_points=len(kept)))
    decoder.set_weights(aae.of_points(kept).decoder)
    return decoder
