"""What pushes codes towards the prior: a discriminator, or distances of two sets of codes."""

import tensorflow as tf


def discriminator_loss(kind, real, fake):
    """Loss of scores of the prior's draws (`real`) and of codes (`fake`), see `Recipe`."""
    if kind == "wasserstein":
        return tf.reduce_mean(fake) - tf.reduce_mean(real)
    # TensorFlow's own cross-entropy has a gradient of four terms, which are added in the order in
    # which their memory is free: two runs would differ by rounding.
    return tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(fake))


def generator_loss(kind, fake):
    """Loss of the encoder, from the scores of its codes."""
    if kind == "wasserstein":
        return -tf.reduce_mean(fake)
    return tf.reduce_mean(tf.nn.softplus(-fake))


def mismatch(matching, codes, prior, prior_std, directions):
    """
    Distance between codes and as many draws of the prior, which needs no discriminator.

    Parameters
    ----------
    matching : {"mmd", "sliced Wasserstein"}
        The squared maximum mean discrepancy, unbiased, with the kernels and scales of Tolstikhin et
        al. (2018); or the mean squared difference of sorted projections (Kolouri et al. 2019).
    codes, prior : (n, code_size) tensor
    prior_std : float
    directions : (code_size, any number) tensor
        On which to project: draws of a normal distribution.
    """
    codes.shape.assert_is_compatible_with(prior.shape)  # one row would be broadcast
    codes, prior = codes / prior_std, prior / prior_std
    if matching == "sliced Wasserstein":
        directions = tf.math.l2_normalize(directions, axis=0)
        sets = (tf.sort(tf.matmul(each, directions), axis=0) for each in (codes, prior))
        return tf.reduce_mean(tf.math.squared_difference(*sets))
    n = tf.cast(tf.shape(codes)[0], tf.float32)

    def similarity(a, b):
        apart = tf.reduce_sum(tf.math.squared_difference(a[:, None], b[None]), axis=-1)
        scales = [2.0 * codes.shape[1] * scale for scale in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
        return tf.reduce_sum(sum(scale / (scale + apart) for scale in scales)) / n

    # Each kernel is 1 at the n pairs of a code with itself, which do not count.
    within = similarity(codes, codes) + similarity(prior, prior) - 2 * 7
    return within / (n - 1) - 2 * similarity(codes, prior) / n


def gradient_penalty(discriminator, points, prior_std):
    """Mean of (|slope| - 1)^2 at points between prior and codes (Gulrajani et al. 2017, eq. 3)."""
    with tf.GradientTape() as tape:
        tape.watch(points)
        score = discriminator(points)
    # In units of the prior's standard deviation, so that the penalty does not depend on it.
    slope = prior_std * tape.gradient(score, points)
    return tf.reduce_mean((tf.norm(slope, axis=1) - 1) ** 2)


def accuracy(kind, real, fake):
    """Fraction of scores on the right side of 0, or (Wasserstein) of the mean of both means."""
    threshold = 0.0
    if kind == "wasserstein":
        threshold = (tf.reduce_mean(real) + tf.reduce_mean(fake)) / 2
    right = tf.concat([real > threshold, fake <= threshold], axis=0)
    return tf.reduce_mean(tf.cast(right, tf.float32))
