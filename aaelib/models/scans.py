"""Encoders of scans in NumPy: the code and the place of a spoilt socket, in one pass."""

import json
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np

from ..shapes import archives, scanning
from ..shapes.writing import replacing
from . import in_numpy
from .exported import found

SHIPPED = "sockets-scans"  # of the model "sockets"
N_POINTS = 384  # of a scan that the encoder sees


def recipe_of(recipe):
    """
    The recipe of the encoder of scans of a model.

    It gives the code in standard deviations of the prior, 6 numbers of a rotation (`turn`), and the
    place of the decoded socket from the scan's median.
    """
    plain = {"standardized": False, "stochastic": False, "tnets": False, "encoder_points": None}
    return replace(recipe, code_size=recipe.code_size + 9, **plain)


def turn(numbers):
    """The rotation (3, 3) of 6 numbers, all 0 for none (Zhou et al. 2019, section 4.2)."""
    first, second = np.reshape(numbers, (2, 3)) + np.eye(3)[:2]
    first = first / np.linalg.norm(first)
    second = second - first @ second * first
    second = second / np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)], axis=1)


class ScanEncoder:
    """
    Reads scans for a model, see `scan_training.train`.

    Parameters
    ----------
    aae : NumpyAutoencoder
        The model.
    weights : list of array
        Of the encoder's layers.

    Raises
    ------
    ValueError
        If the weights are not those of the model's recipe.
    """

    def __init__(self, aae, weights):
        self.aae, self.recipe = aae, recipe_of(aae.recipe)
        self.weights = in_numpy.encoder_weights(self.recipe, weights)
        self.std, self.size = aae.recipe.prior_std, aae.recipe.code_size

    def read(self, points):
        """
        Read a scan in each of its `scanning.positions`.

        The encoder learnt from right legs, turned by at most 25 degrees.

        Parameters
        ----------
        points : (n, 3) array
            mm.

        Returns
        -------
        codes : (16, code_size) array
        motions : (16, 4, 4) array
            From the decoded sockets to the scan, reflections for left legs'.
        """
        middle, k, positions = np.median(points, axis=0), self.size, scanning.positions()
        # Spread over the whole file, in which points are often stored in an order.
        chosen = np.linspace(0, len(points) - 1, min(N_POINTS, len(points))).astype(int)
        seen = (points[chosen] - middle) @ positions / self.aae.scale
        read = in_numpy.encoded(self.recipe, self.weights, seen)
        motions = np.tile(np.eye(4), (len(read), 1, 1))
        motions[:, :3, :3] = positions @ [turn(each) for each in read[:, k : k + 6]]
        motions[:, :3, 3] = middle + self.aae.scale * np.einsum(
            "pij,pj->pi", positions, read[:, k + 6 :]
        )
        return self.std * read[:, :k], motions

    def save(self, path):
        """Write to an `.npz` file, for `load`."""
        about = {"of": _known_by(self.aae)}
        arrays = {f"encoder_{i}": array for i, array in enumerate(self.weights)}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, about=json.dumps(about), **arrays)

    @classmethod
    def load(cls, aae, path=SHIPPED):
        """
        Read what `save` wrote, for the same model.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it holds something else, or was made for another model.
        """
        path = found(path, (SHIPPED,))
        try:
            archives.check_zip(path)
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(str(file["about"]))
                names = [f"encoder_{i}" for i in range(len(file.files) - 1)]
                read = cls(aae, [np.asarray_chkfinite(file[name]) for name in names])
            read.read(np.zeros((1, 3)))
        except Exception as error:  # damaged files fail in many ways
            raise ValueError(f"{path} is no encoder of scans ({error})") from error
        if about != {"of": _known_by(aae)}:
            raise ValueError(f"{path} is of another model than the one given")
        return read


def _known_by(aae):
    """Digest that tells models apart: the same for a `.keras` file and its exported `.npz`."""
    return joblib.hash([aae.scale, aae.decoder[2 * len(aae.recipe.decoder) + 1]])


def beside(aae, model):
    """
    Load the `ScanEncoder` beside a model's file, or return None if the file is missing.

    `model` is "sockets", or a path such as `own.npz`, whose encoder of scans is `own-scans.npz`.
    """
    if model == "sockets":
        return ScanEncoder.load(aae)
    path = Path(model).with_name(f"{Path(model).stem}-scans.npz")
    return ScanEncoder.load(aae, path) if path.exists() else None
