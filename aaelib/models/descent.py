"""Gradient descent of the small fits before and after training."""

import keras
import tensorflow as tf
from tqdm.auto import tqdm


def descend(variables, loss, batches, rate, name):
    """
    Minimize a loss of batches by Adam, whose rate falls from `rate` to zero as a cosine.

    `loss` is a function of the tensors of one element of the `tf.data.Dataset`.
    """
    n_steps = len(batches)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, n_steps))

    @tf.function  # a graph that gives nothing: nobody looks at the loss
    def step(*batch):
        with tf.GradientTape() as tape:
            value = loss(*batch)
        optimizer.apply(tape.gradient(value, variables), variables)

    for batch in tqdm(batches, name, n_steps, leave=False):
        step(*batch)
