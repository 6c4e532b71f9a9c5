"""What the small `fit`s around training share: a progress bar, and steps without metrics."""

import keras
import tensorflow as tf
from tqdm.auto import tqdm


class ProgressBar(keras.callbacks.Callback):
    """One bar for all epochs of a `fit`, which goes on where an earlier one stopped."""

    def __init__(self, name, keep=False):
        super().__init__()
        self.name, self.keep = name, keep

    def on_train_begin(self, logs=None):
        steps = self.params["steps"]
        total = steps and self.params["epochs"] * steps
        done = int(self.model.optimizer.iterations.numpy())
        self.bar = tqdm(total=total, initial=done, desc=self.name, leave=self.keep)

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        if "chamfer" in logs:
            self.bar.set_postfix(chamfer=f"{float(logs['chamfer']):.5f}")

    def on_train_end(self, logs=None):
        self.bar.close()


class WithoutMetrics(keras.Model):
    """A model whose `train_step` returns nothing, as nobody looks at its loss."""

    def __init__(self):
        super().__init__()
        self.built = True

    def make_train_function(self, force=False):
        step = tf.function(self.train_step)

        def train_function(iterator):
            step(*next(iterator))
            return {}

        self.train_function = train_function
