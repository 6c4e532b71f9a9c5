"""Updates of weights, and the small fits before and after training."""

import json

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
    values = [variable.value for variable in variables]  # TensorFlow's: Keras' have no zeros

    def apply(gradients):
        # Optimizers sum gradients over replicas; the losses are means over each replica's rows.
        optimizer.apply([gradient / n_replicas() for gradient in gradients], variables)

    def apply_compiled(gradients):
        moments = optimizer._momentums, optimizer._velocities
        moments = [[moment.value for moment in each] for each in moments]
        rate = optimizer._learning_rate  # a variable, or a schedule
        rate = _shared(rate) if callable(rate) else rate.value
        numbers = optimizer.beta_1, optimizer.beta_2, optimizer.epsilon
        _adam(values, *moments, gradients, rate, optimizer.iterations.value, *numbers)

    # Under a strategy replicas meet in the optimizer, which a compiled function does not allow.
    if _is_plain_adam(optimizer) and not tf.distribute.has_strategy():
        apply = apply_compiled
    # For what the loss does not depend on, such as an encoder's standard deviations.
    zero = tf.UnconnectedGradients.ZERO
    return lambda tape, loss: apply(tape.gradient(loss, values, unconnected_gradients=zero))


def _is_plain_adam(optimizer):
    """Whether an optimizer is Adam without clipping, decay and the like, which `_adam` lacks."""
    own = ("name", "learning_rate", "beta_1", "beta_2", "epsilon")
    plain = keras.optimizers.Adam().get_config()
    others = {entry: value for entry, value in optimizer.get_config().items() if entry not in own}
    return type(optimizer) is keras.optimizers.Adam and all(
        plain[entry] == value for entry, value in others.items()
    )


@tf.function(jit_compile=True)
def _adam(variables, momentums, velocities, gradients, rate, iterations, beta_1, beta_2, epsilon):
    """
    Update variables as `keras.optimizers.Adam` does (Kingma and Ba 2015, end of section 2).

    Compiled, it is one pass over weights, moments and gradients instead of a dozen. It is compiled
    once for all models of the same sizes: what XLA has compiled is never let go.
    """
    step = tf.cast(iterations + 1, tf.float32)
    rate = rate(iterations) if callable(rate) else rate
    rate = rate * tf.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    for variable, m, v, gradient in zip(variables, momentums, velocities, gradients, strict=True):
        m.assign_add((gradient - m) * (1 - beta_1))
        v.assign_add((tf.square(gradient) - v) * (1 - beta_2))
        variable.assign_sub(m * rate / (tf.sqrt(v) + epsilon))
    iterations.assign_add(1)


_SCHEDULES = {}


def _shared(schedule):
    """The first schedule of the same settings: `_adam` is compiled once for each object."""
    settings = json.dumps(keras.saving.serialize_keras_object(schedule), sort_keys=True)
    return _SCHEDULES.setdefault(settings, schedule)


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
