"""Files of trained models."""

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import h5py
import numpy as np
import pooch

from ..shapes import archives
from ..shapes.places import DATA
from ..shapes.writing import replacing
from .autoencoder import AdversarialAutoencoder
from .networks import NETWORKS, least_weights
from .recipes import Recipe

WEIGHTS = DATA / "weights"
SHIPPED = ("sockets", "pretrained", "pretrained-paper")


def export_weights(aae, path):
    """
    Write a model's weights, without its optimizers, in about half the bytes.

    Weights are stored in half precision, except biases and the terms of linear models: these are
    added to coordinates, where half precision would be off by tenths of a millimetre.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    path : Path
        An `.npz` file, for `load`.
    """
    arrays = {"config": np.array(json.dumps(aae.get_config()))}
    for network in NETWORKS:
        for i, weight in enumerate(getattr(aae, network).weights):
            exact = weight.path.endswith(("linear/terms", "coordinates/bias")) or weight.ndim == 1
            arrays[f"{network}_{i}"] = np.asarray(weight, np.float32 if exact else np.float16)
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)


def _exported(path):
    """Read a file of `export_weights`."""
    with np.load(path, allow_pickle=False) as file:
        aae = _built(json.loads(str(file["config"])), path)
        for network in NETWORKS:
            count = len(getattr(aae, network).weights)
            weights = [file[f"{network}_{i}"] for i in range(count)]
            if not all(np.isfinite(weight).all() for weight in weights):
                raise ValueError(f"weights of the {network} are not finite")
            getattr(aae, network).set_weights(weights)
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


def _shipped(name):
    """Path of a model that comes with the repository, checked against its sha256."""
    file, registry = WEIGHTS / f"{name}.npz", WEIGHTS / "registry.txt"
    if file.exists() and f"{file.name} {pooch.file_hash(file)}" not in registry.read_text():
        raise ValueError(
            f"{file} is not the file that {registry} names: its sha256 differs; get it again "
            "from the repository"
        )
    return file


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
    path = _shipped(path) if path in SHIPPED else Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"no model at {path}; `make reproduce` trains and saves them, and "
            f"{', '.join(map(repr, SHIPPED))} come with the repository"
        )
    readers = {".npz": _exported, ".keras": _saved}
    if path.suffix not in readers or not path.is_file():
        raise ValueError(f"{path} is no model; accepted: a file .keras, or .npz of export_weights")
    # Making a model seeds the generators of Python and NumPy: the caller's go on as they were.
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        archives.check_zip(path)
        return readers[path.suffix](path)
    except Exception as error:  # damaged files fail in many ways
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(
            f"{path} holds no AdversarialAutoencoder that can be read ({cause}); name a file that "
            "its save or export_weights has written, or get it again"
        ) from error
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
