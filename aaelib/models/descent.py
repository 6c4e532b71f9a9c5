"""Updates of weights, and the small fits before and after training."""

import keras
import tensorflow as tf
from tqdm.auto import tqdm


def n_replicas():
    """Replicas that share each batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def updater(optimizer, variables):
    """A function of gradients that lets an optimizer update its variables."""
    # Built now, so that a saved state finds its place in a model that has not trained yet.
    optimizer.build(variables)

    def update(gradients):
        # Optimizers sum gradients over replicas; the losses are means over each replica's rows.
        optimizer.apply([gradient / n_replicas() for gradient in gradients], variables)

    # Compiled, it is one pass over weights, moments and gradients instead of a dozen. Under a
    # strategy replicas meet in the optimizer, which a compiled function does not allow.
    return update if tf.distribute.has_strategy() else tf.function(update, jit_compile=True)


def descend(variables, loss, batches, rate, name):
    """
    Minimize a loss of batches by Adam, whose rate falls from `rate` to zero as a cosine.

    `loss` is a function of the tensors of one element of the `tf.data.Dataset`.
    """
    model = _Descent(variables, loss)
    schedule = keras.optimizers.schedules.CosineDecay(rate, len(batches))
    model.compile(keras.optimizers.Adam(schedule), jit_compile=False)
    model.update = updater(model.optimizer, variables)
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
        self.update(tape.gradient(value, self.moved))

    def make_train_function(self, force=False):
        # TensorFlow optimizes the graph of a step that returns something: weights would move by
        # rounding. Nobody looks at this loss.
        step = tf.function(self.train_step)

        def train_function(iterator):
            step(*next(iterator))
            return {}

        self.train_function = train_function
