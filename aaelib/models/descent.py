"""The small fits before and after training: a loss of a few variables, minimized by Adam."""

import keras
import tensorflow as tf
from tqdm.auto import tqdm


def descend(variables, loss, batches, rate, name):
    """
    Minimize a loss of batches by Adam, whose rate falls from `rate` to zero as a cosine.

    `loss` is a function of the tensors of one element of the `tf.data.Dataset`.
    """
    model = _Descent(variables, loss)
    schedule = keras.optimizers.schedules.CosineDecay(rate, len(batches))
    model.compile(keras.optimizers.Adam(schedule), jit_compile=False)
    with tqdm(total=len(batches), desc=name, leave=False) as bar:
        tick = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: bar.update())
        model.fit(batches, callbacks=[tick], shuffle=False, verbose=0)


class _Descent(keras.Model):
    """A model whose step moves given variables; it has no layers and no metrics of its own."""

    def __init__(self, variables, loss):
        super().__init__()
        self.moved, self.measure, self.built = variables, loss, True

    def train_step(self, *batch):
        """Take one step of gradient descent."""
        with tf.GradientTape() as tape:
            value = self.measure(*batch)
        self.optimizer.apply(tape.gradient(value, self.moved), self.moved)

    def make_train_function(self, force=False):
        # TensorFlow optimizes the graph of a step that returns something: weights would move by
        # rounding. Nobody looks at this loss.
        step = tf.function(self.train_step)

        def train_function(iterator):
            step(*next(iterator))
            return {}

        self.train_function = train_function
