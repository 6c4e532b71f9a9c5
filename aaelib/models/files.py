"""Files of trained models."""

import json
import random
from copy import copy
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import h5py
import numpy as np
from tensorflow.python.eager import context

from ..shapes import archives
from . import exported
from .autoencoder import AdversarialAutoencoder
from .networks import least_weights
from .recipes import Recipe


def load(path):
    """
    Load a model; one that was saved with its optimizers can also be trained further.

    Parameters
    ----------
    path : str or Path
        A `.keras` file, or an `.npz` file written by `export_weights`. "sockets", "pretrained" and
        "pretrained-paper" are the models that come with the repository (`data/weights`).

    Returns
    -------
    AdversarialAutoencoder

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or holds something else.
    """
    # Making a model seeds the generators of Python and NumPy: the caller's go on as they were.
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    # TensorFlow has no function that gives its global seed; without one it has no generator.
    seeded = vars(context.context())
    kept = {name: copy(seeded.get(name)) for name in ("_seed", "_rng")}
    try:
        return exported.reading(path, {".npz": _exported, ".keras": _saved})
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        seeded.update(kept)


def _exported(path):
    """Read a file of `export_weights`."""
    config, weights = exported.read(path)
    aae = _built(config, path)
    for network, arrays in weights.items():
        getattr(aae, network).set_weights(arrays)
    return aae


def _saved(path):
    """Read a file of `AdversarialAutoencoder.save`."""
    # Not `keras.saving.load_model`, which builds whatever layers a file names.
    with ZipFile(path) as file, TemporaryDirectory() as folder:
        saved = json.loads(file.read("config.json"))
        if saved["class_name"] != AdversarialAutoencoder.__name__:
            raise TypeError(f"it is a {saved['class_name']}")
        aae = _built(saved["config"], path)
        if "compile_config" in saved:
            aae.compile_from_config(saved["compile_config"])
        weights = file.extract("model.weights.h5", folder)
        with h5py.File(weights) as arrays:
            sizes = []
            arrays.visititems(lambda _, each: sizes.append(getattr(each, "nbytes", 0)))
        archives.check(path, sum(sizes))
        aae.load_weights(weights)
    return aae


def _built(config, path):
    """Make a file's model, if its config names no more weights than the file can hold."""
    archives.check(path, 4 * least_weights(Recipe(**config["recipe"])))
    return AdversarialAutoencoder(**config)
