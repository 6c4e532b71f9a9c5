"""Losses of the discriminator, and of the encoder that learns to deceive it."""

import tensorflow as tf

_cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits


def discriminator_loss(kind, real, fake):
    """Loss of scores of the prior's draws (`real`) and of codes (`fake`), see `Recipe`."""
    if kind == "wasserstein":
        return tf.reduce_mean(fake) - tf.reduce_mean(real)
    return tf.reduce_mean(_cross_entropy(tf.ones_like(real), real)) + tf.reduce_mean(
        _cross_entropy(tf.zeros_like(fake), fake)
    )


def generator_loss(kind, fake):
    """Loss of the encoder, from the scores of its codes."""
    if kind == "wasserstein":
        return -tf.reduce_mean(fake)
    return tf.reduce_mean(_cross_entropy(tf.ones_like(fake), fake))


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
