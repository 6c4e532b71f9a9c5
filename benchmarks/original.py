"""
The original scheme, written from the description in Costa et al. (2022) and of its code.

Three encoder passes in a step, transform nets layer by layer, the Chamfer distance from a tensor of
all differences, and metrics that loop over pairs of clouds and over points.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from aaelib.models import networks, recipes


def broadcast_chamfer(a, b, reduce=tf.reduce_sum):
    """Squared Chamfer distance, a sum over points by default, from a tensor of all differences."""
    squared = tf.reduce_sum(tf.square(a[:, :, None] - b[:, None]), axis=-1)
    return sum(reduce(tf.reduce_min(squared, axis=axis), axis=1) for axis in (2, 1))


def loop_over_pairs(a, b):
    """Chamfer distances of all clouds of `a` from all of `b`, a pair at a time."""
    return np.array([[float(broadcast_chamfer(x[None], y[None])[0]) for y in b] for x in a])


def loop_over_points(clouds, resolution):
    """How many points have each voxel of [-1, 1]^3 nearest, by a search and a count a point."""
    from sklearn.neighbors import NearestNeighbors

    ticks = (np.arange(resolution) + 0.5) * 2 / resolution - 1
    centers = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    search = NearestNeighbors(n_neighbors=1).fit(centers)
    counts = np.zeros(len(centers))
    for cloud in clouds:
        for voxel in search.kneighbors(cloud, return_distance=False)[:, 0]:
            counts[voxel] += 1
    return counts


def divergence(a, b, resolution=28):
    """Jensen-Shannon divergence, base 2, of the points of two sets of clouds."""
    p, q = (loop_over_points(clouds, resolution) for clouds in (a, b))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    logs = [np.log2(x[x > 0] / middle[x > 0]) @ x[x > 0] for x in (p, q)]
    return sum(logs) / 2


class TrainingStep:
    """One step of the original scheme: three updates, each with an encoder pass of its own."""

    def __init__(self, n_points=2048):
        self.recipe = recipes.recipe("paper", n_points=n_points)
        self.encoder = _encoder(self.recipe)
        self.decoder = networks.decoder(self.recipe)
        self.discriminator = networks.discriminator(self.recipe)
        rates = [
            getattr(self.recipe, f"{of}_rate")
            for of in ("autoencoder", "discriminator", "generator")
        ]
        self.optimizers = [keras.optimizers.Adam(rate, self.recipe.beta_1) for rate in rates]

    @tf.function
    def __call__(self, points):
        r = self.recipe
        autoencoder, discriminator, generator = self.optimizers
        with tf.GradientTape() as tape:
            chamfer = broadcast_chamfer(points, self.decoder(self._codes(points)))
            loss = r.reconstruction_weight * tf.reduce_mean(chamfer) + sum(self.encoder.losses)
        variables = self.encoder.trainable_variables + self.decoder.trainable_variables
        autoencoder.apply(tape.gradient(loss, variables), variables)

        with tf.GradientTape() as tape:
            codes = self._codes(points)
            real = self.discriminator(tf.random.normal(tf.shape(codes), stddev=r.prior_std))
            fake = self.discriminator(codes)
            loss = _cross_entropy(real, tf.ones_like) + _cross_entropy(fake, tf.zeros_like)
        variables = self.discriminator.trainable_variables
        discriminator.apply(tape.gradient(loss, variables), variables)

        with tf.GradientTape() as tape:
            loss = _cross_entropy(self.discriminator(self._codes(points)), tf.ones_like)
        variables = self.encoder.trainable_variables
        generator.apply(tape.gradient(loss, variables), variables)
        return loss

    def _codes(self, points):
        mean, std = self.encoder(points)
        return mean + std * tf.random.normal(tf.shape(mean))


def _cross_entropy(logits, labels):
    return tf.reduce_mean(
        tf.nn.sigmoid_cross_entropy_with_logits(labels=labels(logits), logits=logits)
    )


def _encoder(recipe):
    """The architecture of `models.encoder` for the paper's recipe, layer by layer."""
    points = keras.Input((None, 3))
    features = _Transform()(points)
    for i, width in enumerate(recipe.encoder, start=1):
        features = layers.Dense(width, activation="relu")(features)
        features = _Transform()(features) if i == 2 else features
    features = layers.GlobalMaxPooling1D()(features)
    mean = layers.Dense(recipe.code_size)(features)
    std = layers.Dense(recipe.code_size, activation="softplus")(features)
    return keras.Model(points, [mean, std])


def plain_transform(net, points):
    """A transform net layer by layer at every point, and its departure from an orthogonal one."""
    features = points
    for layer in net.point_layers:
        features = layer(features)
    features = tf.reduce_max(features, axis=1)
    for layer in net.global_layers:
        features = layer(features)
    channels = points.shape[-1]
    matrix = tf.reshape(net.transform(features), (-1, channels, channels))
    departure = tf.matmul(matrix, matrix, transpose_b=True) - tf.eye(channels)
    return tf.matmul(points, matrix), 1e-3 * tf.nn.l2_loss(departure)


class _Transform(networks.TNet):
    """A transform net as it is written down."""

    def call(self, points):
        transformed, departure = plain_transform(self, points)
        self.add_loss(departure)
        return transformed
