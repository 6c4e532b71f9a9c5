"""Files of trained models."""

import json
from pathlib import Path
from zipfile import ZipFile

import keras
import numpy as np
import pooch

from ..shapes.places import DATA
from ..shapes.writing import replacing
from .autoencoder import AdversarialAutoencoder
from .networks import NETWORKS

WEIGHTS = DATA / "weights"
SHIPPED = ("sockets", "pretrained")


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
    try:
        with np.load(path, allow_pickle=False) as file:
            aae = AdversarialAutoencoder.from_config(json.loads(str(file["config"])))
            for network in NETWORKS:
                count = len(getattr(aae, network).weights)
                weights = [file[f"{network}_{i}"] for i in range(count)]
                if not all(np.isfinite(weight).all() for weight in weights):
                    raise ValueError(f"weights of the {network} are not finite")
                getattr(aae, network).set_weights(weights)
    except Exception as error:  # damaged files fail in many ways
        raise ValueError(
            f"{path} does not hold weights written by export_weights ({_brief(error)}); write or "
            "download it again"
        ) from error
    return aae


def _saved(path):
    """Read a file of `AdversarialAutoencoder.save`."""
    try:
        with ZipFile(path) as file:
            config = json.loads(file.read("config.json"))
            made = config["class_name"]
    except Exception as error:  # as above
        raise ValueError(
            f"{path} is no whole Keras file ({_brief(error)}); save or download it again"
        ) from error
    # Checked before Keras builds anything from the file.
    if '"class_name": "Lambda"' in json.dumps(config):
        raise ValueError(
            f"{path} is refused: it has a Lambda layer, code that would run here; accepted are "
            "models that AdversarialAutoencoder.save has written, which have none"
        )
    if made != AdversarialAutoencoder.__name__:
        raise ValueError(
            f"{path} holds a {made}, not an AdversarialAutoencoder; name a file that its save has "
            "written"
        )
    try:
        aae = keras.saving.load_model(path, safe_mode=True)
        if not isinstance(aae, AdversarialAutoencoder):
            raise TypeError(f"it is a {type(aae)}")
    except Exception as error:  # as above
        raise ValueError(
            f"{path} holds no AdversarialAutoencoder that can be made again ({_brief(error)}); "
            "save or download it again"
        ) from error
    return aae


def _brief(error):
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return what if len(what) <= 300 else what[:300] + "..."


def _shipped(name):
    """Path of a model that comes with the repository, checked against its sha256."""
    file, registry = WEIGHTS / f"{name}.npz", WEIGHTS / "registry.txt"
    for needed in (file, registry):
        if not needed.exists():
            raise FileNotFoundError(
                f"{needed} is missing; it comes with the repository: get it again from there"
            )
    published = dict(line.split() for line in registry.read_text().splitlines() if line.strip())
    if pooch.file_hash(str(file)) != published.get(file.name):
        raise ValueError(
            f"{file} is not the file that {registry} names: its sha256 differs; get it again "
            "from the repository"
        )
    return file


def load(path):
    """
    Load a model; one saved by `AdversarialAutoencoder.save` can also be trained further.

    Parameters
    ----------
    path : str or Path
        A `.keras` file, or an `.npz` file written by `export_weights`. "sockets" and "pretrained"
        are the models that come with the repository (`data/weights`).

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
            f"{' and '.join(map(repr, SHIPPED))} come with the repository"
        )
    readers = {".npz": _exported, ".keras": _saved}
    if path.suffix not in readers or not path.is_file():
        raise ValueError(f"{path} is no model; accepted: a file .keras, or .npz of export_weights")
    return readers[path.suffix](path)
