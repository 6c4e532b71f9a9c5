"""A process of test_distribution: trains a tiny model and prints, as JSON, what came of it."""

import argparse
import hashlib
import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from aaelib.models import autoencoder, batches, devices, recipes, training

EPOCHS, STEPS, BATCH = 4, 3, 4
_SMALL = {"n_points": 32, "code_size": 4, "encoder_points": 16, "critic_steps": 2}
_SMALL |= {"decoder": (8,), "discriminator": (8,)}
RECIPES = {
    "compact": recipes.recipe(
        "compact", encoder=(8,), refinement_steps=3, finetuning_steps=3, **_SMALL
    ),
    "paper": recipes.recipe("paper", encoder=(8, 8), **_SMALL),
}
# Three for validation, which two replicas can share only if they all see all of them.
CLOUDS = np.random.default_rng(0).normal(size=(9, 32, 3)).astype(np.float32) * [20, 20, 60]


class Watch(keras.callbacks.Callback):
    """Kill the process in the middle of an epoch; note the weights that training ends with."""

    def __init__(self, killed_at):
        super().__init__()
        self.killed_at = killed_at

    def on_train_batch_end(self, batch, logs=None):
        if self.model.autoencoder_optimizer.iterations.numpy() == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_end(self, logs=None):
        self.weights = digest(self.model)


def descent(recipe, n_steps):
    """Optimizers that, unlike Adam, notice the size of a gradient."""
    return {
        f"{player}_optimizer": keras.optimizers.SGD(0.02)
        for player in ("autoencoder", "discriminator", "generator")
    }


def digest(model):
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


def train(path, name, killed_at=None, first_factor=1.0, validation_factor=1.0):
    """
    Train one recipe.

    Parameters
    ----------
    path : Path
    name : {"compact", "paper"}
    killed_at : int, optional
        After this step the process kills itself.
    first_factor, validation_factor : float
        Of the first weights and the validation clouds, for workers that do not agree.

    Returns
    -------
    dict
    """
    aae = autoencoder.AdversarialAutoencoder(RECIPES[name], scale=100, seed=3)
    rng = np.random.default_rng(0)  # transforms that are not the identity, which would cost nothing
    aae.set_weights(
        [first_factor * (w + 0.05 * rng.normal(size=w.shape)) for w in aae.get_weights()]
    )
    watch, fit = Watch(killed_at), autoencoder.AdversarialAutoencoder.fit

    def watched(*args, callbacks, **kwargs):
        return fit(*args, callbacks=[*callbacks, watch], **kwargs)

    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(autoencoder.AdversarialAutoencoder, "fit", watched))
        if name == "paper":
            patches.enter_context(mock.patch.object(training, "optimizers", descent))
        aae, history, best = training.train(
            aae,
            lambda first, n: batches.batches(CLOUDS[:6], 100, n, BATCH, first_step=first, seed=3),
            CLOUDS[6:] * validation_factor,
            path,
            EPOCHS,
            STEPS,
        )
    return {
        "history": history.to_dict("list"),
        "best": best,
        "trained": watch.weights,
        "returned": digest(aae),
    }


def note_writing(folder):
    """The files below a folder that this process changes from now on, a list that grows."""
    changed = []

    def hook(event, arguments):
        if event == "open":
            writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            writes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
        if writes and str(arguments[0]).startswith(str(folder)):
            changed.append(f"{event} {arguments[0]}")

    sys.addaudithook(hook)
    return changed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--killed-at", type=int)
    arguments = parser.parse_args()
    if arguments.devices > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        logical = [tf.config.LogicalDeviceConfiguration()] * arguments.devices
        tf.config.set_logical_device_configuration(cpu, logical)
    strategy = devices.strategy()
    changed = note_writing(arguments.folder)
    outcome = {"replicas": strategy.num_replicas_in_sync, "chief": devices.is_chief()}
    # Hosts of different processors round differently: the chief's first weights are everybody's.
    factor = 1.0 if devices.is_chief() else 1.0 + 1e-6
    if devices.n_workers() > 1:
        try:
            train(arguments.folder / "other.keras", "compact", validation_factor=factor)
        except ValueError as error:
            outcome["refused"] = str(error)
    for name in arguments.recipes:
        path = arguments.folder / f"{name}.keras"
        outcome[name] = train(path, name, arguments.killed_at, first_factor=factor)
    print(json.dumps(outcome | {"changed": changed}))


if __name__ == "__main__":
    main()
