"""A process of test_distribution: trains a tiny model and prints, as JSON, what came of it."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from conftest import TINY
from joblib import hash as digest

from aaelib.models import autoencoder, devices, recipes, training
from aaelib.models.starts import Start
from aaelib.shapes.folders import Shapes

EPOCHS, STEPS, BATCH, SEED = 4, 5, 8, 0
RECIPE = recipes.recipe("compact", TINY, n_points=32, encoder_points=16, critic_steps=2)
# 33 for validation: the second batch of them has one row, fewer than there are replicas.
CLOUDS = np.random.default_rng(0).normal(size=(57, 32, 3)).astype(np.float32) * [20, 20, 60]
PARTS = {"training": np.arange(24), "validation": np.arange(24, 57)}


class Watch(keras.callbacks.Callback):
    """Kill the process in the middle of an epoch; note the weights that training ends with."""

    def __init__(self, killed_at):
        super().__init__()
        self.killed_at = killed_at

    def on_train_batch_end(self, batch, logs=None):
        if self.model.autoencoder_optimizer.iterations.numpy() == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_end(self, logs=None):
        self.weights = digest(self.model.get_weights())


def train(path, seed=SEED, killed_at=None, factor=1.0):
    """
    Train a model whose first weights do not depend on the seed.

    After step `killed_at` the process kills itself. `factor` multiplies the clouds, for workers
    that have other data.
    """
    shapes = Shapes(CLOUDS * factor, np.arange(57).astype(str), np.full(57, "TT"), "random")
    start = Start(autoencoder.AdversarialAutoencoder(RECIPE, scale=100), scale=100.0)
    settings = training.Settings(EPOCHS, STEPS, BATCH, 0, seed=seed)
    watch, fit = Watch(killed_at), autoencoder.AdversarialAutoencoder.fit

    def watched(*args, callbacks, **kwargs):
        return fit(*args, callbacks=[*callbacks, watch], **kwargs)

    with mock.patch.object(autoencoder.AdversarialAutoencoder, "fit", watched):
        run = training.train(shapes, PARTS, RECIPE, start, settings, path)
    return {
        "history": run.history.to_dict("list"),
        "best": run.best_epoch,
        "trained": watch.weights,
        "returned": digest(run.model.get_weights()),
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
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--killed-at", type=int)
    arguments = parser.parse_args()
    if arguments.devices > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        logical = [tf.config.LogicalDeviceConfiguration()] * arguments.devices
        tf.config.set_logical_device_configuration(cpu, logical)
    strategy = devices.strategy()
    changed = note_writing(arguments.folder)
    outcome = {"replicas": strategy.num_replicas_in_sync}
    if strategy.num_replicas_in_sync > arguments.devices:
        try:
            factor = 1.0 if devices.is_chief() else 1.1
            train(arguments.folder / "other.keras", factor=factor)
        except ValueError as error:
            outcome["refused"] = str(error)
    outcome["run"] = train(arguments.folder / "run.keras", killed_at=arguments.killed_at)
    print(json.dumps(outcome | {"changed": changed}))


if __name__ == "__main__":
    main()
