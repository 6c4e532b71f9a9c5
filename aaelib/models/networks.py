"""The three networks: PointNet encoder, decoder, discriminator."""

import functools
from itertools import pairwise

import keras
import tensorflow as tf
from keras import layers

from .recipes import NETWORKS as NETWORKS


class TNet(layers.Layer):
    """
    A learnt linear transform of every point, the identity at first (Qi et al. 2017).

    It keeps the shape (n, n_points, channels) and the precision of the points, and adds 1e-3 times
    the transform's deviation from orthogonality to the model's losses. Layers per point are linear,
    as in the code published with Costa et al. (2022); those of PointNet have ReLU units.
    """

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def build(self, shape):
        channels = shape[-1]
        self.point_layers = [layers.Dense(width) for width in (64, 128, 1024)]
        self.global_layers = [layers.Dense(width, activation="relu") for width in (512, 256)]
        self.transform = layers.Dense(
            channels**2,
            kernel_initializer="zeros",
            bias_initializer=lambda *_, **__: tf.reshape(tf.eye(channels), [-1]),
        )
        width = channels
        for layer in (*self.point_layers, *self.global_layers, self.transform):
            layer.build((None, width))
            width = layer.units

    def call(self, points):
        matrix = self.matrix(tf.reduce_max(self.point_features(points), axis=1))
        departure = tf.matmul(matrix, matrix, transpose_b=True) - tf.eye(points.shape[-1])
        self.add_loss(1e-3 * tf.nn.l2_loss(departure))
        return tf.matmul(points, tf.cast(matrix, points.dtype))

    def point_features(self, points):
        """Features (n, n_points, 1024) to be pooled over points, without the bias."""
        # A product of linear layers is one linear layer, and multiplying kernels is cheaper than
        # multiplying points. A first layer narrower than the points is applied by itself.
        kernels = [layer.kernel for layer in self.point_layers]
        if kernels[0].shape[1] < kernels[0].shape[0]:
            points, kernels = tf.matmul(points, tf.cast(kernels[0], points.dtype)), kernels[1:]
        return tf.matmul(points, tf.cast(functools.reduce(tf.matmul, kernels), points.dtype))

    def matrix(self, pooled):
        """Transforms (n, channels, channels) from pooled features (n, 1024)."""
        first, *others = self.point_layers
        # The bias is the same for all points, so it passes the later layers only once.
        bias = first.bias[None]
        for layer in others:
            bias = layer(bias)
        features = tf.cast(pooled, tf.float32) + bias
        for layer in self.global_layers:
            features = layer(features)
        channels = round(self.transform.units**0.5)
        return tf.reshape(self.transform(features), (-1, channels, channels))


def encoder(recipe):
    """PointNet: (n, any number of points, 3) -> codes (n, code_size), or their mean and std."""
    dense = functools.partial(layers.Dense, activation="relu", dtype=recipe.precision)
    points = keras.Input((None, 3), name="points")
    features = TNet(name="input_transform")(points) if recipe.tnets else points
    for i, width in enumerate(recipe.encoder, start=1):
        features = dense(width, name=f"point_{i}")(features)
        if recipe.tnets and i == 2:
            features = TNet(name="feature_transform")(features)
    # The maximum over points does not depend on their order.
    features = layers.GlobalMaxPooling1D(name="pool")(features)
    mean = layers.Dense(recipe.code_size, name="mean")(features)
    if recipe.standardized:
        mean = layers.BatchNormalization(
            momentum=0.95,
            center=False,
            scale=False,
            epsilon=1e-6,
            # Moments of the whole batch if replicas share it.
            synchronized=tf.distribute.has_strategy(),
            name="standardize",
        )(mean)
        mean = layers.Rescaling(recipe.prior_std, name="codes")(mean)
    if not recipe.stochastic:
        return keras.Model(points, mean, name="encoder")
    # softplus: a standard deviation is positive.
    std = layers.Dense(recipe.code_size, activation="softplus", name="std")(features)
    return keras.Model(points, [mean, std], name="encoder")


def critical_points(encoder, points):
    """
    Reduce clouds (n, n_points, 3) to the points that decide their codes, (n, k, 3).

    These are the points that attain some maximum over points (the critical set of Qi et al. 2017,
    theorem 2). Their codes and gradients are those of the whole clouds, so only they need a pass
    with gradients. k is the largest number in a cloud; others are padded with points of their own.
    """
    features, critical = points, tf.zeros(tf.shape(points)[:2], tf.bool)
    names = [layer.name for layer in encoder.layers]
    for layer in encoder.layers[1 : names.index("pool")]:
        if isinstance(layer, TNet):
            pooled, attained = _pool(layer.point_features(features))
            critical |= attained
            features = tf.matmul(features, tf.cast(layer.matrix(pooled), features.dtype))
        else:
            features = layer(features)
    critical |= _pool(features)[1]
    k = tf.reduce_max(tf.math.count_nonzero(critical, axis=1, dtype=tf.int32))
    _, chosen = tf.math.top_k(tf.cast(critical, tf.int32), tf.maximum(k, 1))
    return tf.gather(points, chosen, batch_dims=1)


# Compiled, this reads the features twice; separate operations write and read them several times.
@tf.function(jit_compile=True)
def _pool(features):
    """Maxima (n, channels) over points, and a mask (n, n_points) of points that attain one."""
    maxima = tf.reduce_max(features, axis=1, keepdims=True)
    minima = tf.reduce_min(features, axis=1, keepdims=True)
    # A ReLU unit that is off at every point passes no gradient.
    attained = (features >= maxima) & ((maxima != 0) | (minima != 0))
    return maxima[:, 0], tf.reduce_any(attained, axis=-1)


class LinearModels(layers.Layer):
    """
    Gated sum of linear shape models: codes (n, code_size) -> (n, 3 n_points).

    .. math:: \\sum_k g_k(z) (\\mu_k + M_k z), \\quad g(z) = \\mathrm{softmax}(G z + h)

    A mixture of experts (Jacobs et al. 1991), here of `count` models with means mu and modes M, all
    zero at first: one linear model would blend kinds of shape that have nothing between them. See
    `transfer.start_decoder_at_models`.
    """

    def __init__(self, count, n_points, **kwargs):
        super().__init__(**kwargs)
        self.count, self.n_points = count, n_points

    def build(self, shape):
        code_size = shape[-1]
        # Random, so that the models do not all learn the same.
        self.gate_kernel = self.add_weight(shape=(code_size, self.count), name="gate_kernel")
        self.gate_bias = self.add_weight(shape=(self.count,), initializer="zeros", name="gate_bias")
        # The mean of each model, then its modes.
        self.terms = self.add_weight(
            shape=(self.count, 1 + code_size, 3 * self.n_points), initializer="zeros", name="terms"
        )

    def call(self, codes):
        gates = tf.nn.softmax(tf.matmul(codes, self.gate_kernel) + self.gate_bias)
        weights = tf.concat([tf.ones_like(codes[:, :1]), codes], axis=1)
        count, n_terms, width = self.terms.shape
        weights = tf.reshape(gates[:, :, None] * weights[:, None], (-1, count * n_terms))
        return tf.matmul(weights, tf.reshape(self.terms, (count * n_terms, width)))


def decoder(recipe):
    """Codes (n, code_size) -> clouds (n, n_points, 3)."""
    dense = functools.partial(layers.Dense, activation="relu", dtype=recipe.precision)
    codes = features = keras.Input((recipe.code_size,), name="codes")
    for i, width in enumerate(recipe.decoder, start=1):
        features = dense(width, name=f"hidden_{i}")(features)
    coordinates = layers.Dense(3 * recipe.n_points, name="coordinates")(features)
    if recipe.linear_models:
        linear = LinearModels(recipe.linear_models, recipe.n_points, name="linear")(codes)
        coordinates = layers.Add(name="sum")([coordinates, linear])
    return keras.Model(
        codes, layers.Reshape((recipe.n_points, 3), name="cloud")(coordinates), name="decoder"
    )


def discriminator(recipe):
    """Codes (n, code_size) -> one number each: high for codes that look drawn from the prior."""
    codes = features = keras.Input((recipe.code_size,), name="codes")
    # The gradient penalty needs a slope everywhere, so a critic has leaky units.
    activation = "leaky_relu" if recipe.adversarial == "wasserstein" else "relu"
    for i, width in enumerate(recipe.discriminator, start=1):
        features = layers.Dense(width, activation=activation, name=f"hidden_{i}")(features)
    return keras.Model(codes, layers.Dense(1, name="score")(features), name="discriminator")


def least_weights(recipe):
    """Number of weights of a recipe's networks without biases, found without building them."""
    r = recipe
    chain = (3, *r.encoder, r.code_size, *r.decoder, 3 * r.n_points)
    count = sum(a * b for a, b in pairwise((*chain, 0, r.code_size, *r.discriminator, 1)))
    count += r.linear_models * (1 + r.code_size) * 3 * r.n_points
    # The last layer of the feature transform, see `TNet`.
    return count + 256 * r.tnets * sum(r.encoder[1:2]) ** 2
