"""The small fits before and after training: a loss of a few variables, minimized by Adam."""

import keras
import tensorflow as tf
from tqdm.auto import tqdm


def descend(variables, loss, batches, rate, name):
    """
    Minimize a loss of batches by Adam, whose rate falls from `rate` to zero as a cosine.

    `loss` is a function of the tensors of one element of the `tf.data.Dataset`.
    """
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, len(batches)))
    optimizer.build(variables)

    @tf.function
    def step(*batch):
        with tf.GradientTape() as tape:
            value = loss(*batch)
        optimizer.apply(tape.gradient(value, variables), variables)

    for batch in tqdm(batches, desc=name, leave=False):
        step(*batch)
