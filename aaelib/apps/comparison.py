"""Generative metrics of two sets of anybody's shapes."""

import warnings
from pathlib import Path

import pandas as pd

from ..metrics import generative
from ..shapes import folders
from ..shapes.clouds import as_points, normalize

_RANGES = {
    "minimum_matching_distance": "0 or more; lower is better",
    "coverage": "above 0, to 1; higher is better",
    "one_nearest_neighbor_accuracy": "0 to 1; 0.5 is best",
    "jensen_shannon_divergence": "0 to 1; lower is better",
}


def compare(generated, reference, n_points=2048, normalization="unit-sphere"):
    """
    Compare generated shapes with reference shapes.

    Parameters
    ----------
    generated, reference : str or Path
        A folder of clouds and meshes (`folders.load_clouds`), or a `.npy` array (n, points, 3).
    n_points : int
        Points of each cloud of a folder; arrays are taken as they are.
    normalization : {"unit-sphere", "dataset"}
        Centre each shape and divide it by its own radius, or by the largest one in both sets.

    Returns
    -------
    pandas.DataFrame
        A row for each of `metrics.generative_metrics`: "value", "range", "definition".

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError
        If a set cannot be read.

    Warns
    -----
    UserWarning
        If the sets differ in size.
    """
    sets = [_read(Path(path), n_points) for path in (generated, reference)]
    if len(sets[0]) != len(sets[1]):
        warnings.warn(
            f"{len(sets[0])} generated and {len(sets[1])} reference shapes: 0.5 is the best 1-NN "
            "accuracy of as many only",
            stacklevel=2,
        )
    largest = max(normalize(points)[1].scale for points in sets)
    scale = largest if normalization == "dataset" else None
    found = generative.generative_metrics(*(normalize(s, normalization, scale)[0] for s in sets))
    said = [getattr(generative, name).__doc__.strip() for name in _RANGES]
    table = pd.DataFrame({"value": found, "range": _RANGES}, _RANGES).rename_axis("metric")
    return table.assign(definition=[text.splitlines()[0] for text in said])


def _read(path, n_points):
    if path.suffix.lower() == ".npy" and path.is_file():
        return as_points(folders.read_array(path), str(path))
    if path.is_file() or path.suffix.lower() == ".npy":
        raise ValueError(f"{path} is no .npy array; accepted: a folder, or an array in a .npy file")
    return folders.load_clouds(path, n_points).points
