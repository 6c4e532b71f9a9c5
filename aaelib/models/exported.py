"""Files of exported weights, which need no TensorFlow; the models that come with the package."""

import json
from pathlib import Path

import numpy as np
import pooch

from ..shapes import archives
from ..shapes.places import DATA
from ..shapes.writing import replacing
from .recipes import NETWORKS

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
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def read(path):
    """
    Read a file of `export_weights`.

    Returns
    -------
    dict
        The model's configuration.
    dict
        Network -> list of arrays, in the order of the network's weights.
    """
    weights = {}
    with np.load(path, allow_pickle=False) as file:
        config = json.loads(str(file["config"]))
        for network in NETWORKS:
            names = (f"{network}_{i}" for i in range(len(file.files)))
            weights[network] = [np.asarray_chkfinite(file[name]) for name in names if name in file]
    return config, weights


def found(path, shipped=SHIPPED):
    """
    Path of a file of weights, checked against its sha256 if it comes with the package.

    Raises a FileNotFoundError or a ValueError that says what to do.
    """
    file = WEIGHTS / f"{path}.npz" if path in shipped else Path(path)
    if not file.exists():
        raise FileNotFoundError(
            f"no model at {file}; `make reproduce` trains and saves them, and "
            f"{', '.join(map(repr, shipped))} come with the repository"
        )
    registry = WEIGHTS / "registry.txt"
    if path in shipped and f"{file.name} {pooch.file_hash(file)}" not in registry.read_text():
        raise ValueError(
            f"{file} is not the file that {registry} names: its sha256 differs; get it again "
            "from the repository"
        )
    return file


def reading(path, readers):
    """
    Read a model's file by the reader of its suffix.

    Raises the errors of `found`, and a ValueError that names the file if it holds something else.
    """
    path = found(path)
    if path.suffix.lower() not in readers or not path.is_file():
        raise ValueError(f"{path} is no model; accepted: a file .keras, or .npz of export_weights")
    try:
        archives.check_zip(path)
        return readers[path.suffix.lower()](path)
    except Exception as error:  # damaged files fail in many ways
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(
            f"{path} holds no AdversarialAutoencoder that can be read ({cause}); name a file that "
            "its save or export_weights has written, or get it again"
        ) from error
