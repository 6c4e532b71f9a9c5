"""Updates of weights, and the small fits before and after training."""

import keras
import tensorflow as tf
from tqdm.auto import tqdm


def n_replicas():
    """Replicas that share each batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def updater(optimizer, variables):
    """A function of a tape and a loss on it that lets an optimizer update its variables."""
    # Built now, so that a saved state finds its place in a model that has not trained yet.
    optimizer.build(variables)

    def apply(gradients):
        # Optimizers sum gradients over replicas; the losses are means over each replica's rows.
        optimizer.apply([gradient / n_replicas() for gradient in gradients], variables)

    # Compiled, it is one pass over weights, moments and gradients instead of a dozen. Under a
    # strategy replicas meet in the optimizer, which a compiled function does not allow.
    if not tf.distribute.has_strategy():
        apply = tf.function(apply, jit_compile=True)
    values = [variable.value for variable in variables]  # TensorFlow's: Keras' have no zeros
    # For what the loss does not depend on, such as an encoder's standard deviations.
    zero = tf.UnconnectedGradients.ZERO
    return lambda tape, loss: apply(tape.gradient(loss, values, unconnected_gradients=zero))


def descend(variables, loss, batches, rate, name):
    """
    Minimize a loss of batches by Adam, whose rate falls from `rate` to zero as a cosine.

    `loss` is a function of the tensors of one element of the `tf.data.Dataset`.
    """
    schedule = keras.optimizers.schedules.CosineDecay(rate, len(batches))
    model = _Descent(loss, updater(keras.optimizers.Adam(schedule), variables))
    model.compile(optimizer=None, jit_compile=False)
    with tqdm(total=len(batches), desc=name, leave=False) as bar:
        tick = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: bar.update())
        model.fit(batches, callbacks=[tick], shuffle=False, verbose=0)


class _Descent(keras.Model):
    """A model whose step moves given variables; it has no layers and no metrics of its own."""

    def __init__(self, loss, update):
        super().__init__()
        self.measure, self.update, self.built = loss, update, True

    def train_step(self, *batch):
        """Take one step of gradient descent."""
        with tf.GradientTape() as tape:
            loss = self.measure(*batch)
        self.update(tape, loss)

    def make_train_function(self, force=False):
        # TensorFlow optimizes the graph of a step that returns something, as Keras' own must:
        # weights would move by rounding. Nobody looks at this loss.
        step = tf.function(self.train_step)

        def train_function(iterator):
            step(*next(iterator))
            return {}

        self.train_function = train_function
