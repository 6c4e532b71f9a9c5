"""Generative metrics of two sets of anybody's shapes."""

import warnings
from pathlib import Path

import pandas as pd

from ..metrics.generative import generative_metrics
from ..shapes import folders
from ..shapes.clouds import normalize

# Name -> short name, best value, range, definition.
_METRICS = {
    "minimum_matching_distance": (
        "MMD",
        "0",
        "[0, inf)",
        "mean over reference shapes of the squared Chamfer distance to the nearest generated one",
    ),
    "coverage": (
        "coverage",
        "1",
        "(0, 1]",
        "share of reference shapes that are nearest to some generated one, each to one at most",
    ),
    "one_nearest_neighbor_accuracy": (
        "1-NN accuracy",
        "0.5",
        "[0, 1]",
        "share of all shapes whose nearest other one (Chamfer distance) is of the same set",
    ),
    "jensen_shannon_divergence": (
        "JSD",
        "0",
        "[0, 1]",
        "Jensen-Shannon divergence, base 2, of both sets' points in 28^3 voxels of [-1, 1]^3",
    ),
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
        A row for each of `metrics.generative_metrics`: "value", "best", "range", "definition".

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
    n, m = map(len, sets)
    if n != m:
        chance = (n * (n - 1) + m * (m - 1)) / ((n + m) * (n + m - 1))
        warnings.warn(
            f"{n} generated and {m} reference shapes: by chance 1-NN accuracy is {chance:.2f}, not "
            "0.5, and coverage and MMD grow better with more generated ones; give as many of both",
            stacklevel=2,
        )
    scale = None
    if normalization == "dataset":
        scale = max(normalize(points)[1].scale for points in sets)
    found = generative_metrics(*(normalize(each, normalization, scale)[0] for each in sets))
    rows = [(title, found[name], *others) for name, (title, *others) in _METRICS.items()]
    columns = ["metric", "value", "best", "range", "definition"]
    return pd.DataFrame(rows, columns=columns).set_index("metric")


def _read(path, n_points):
    """Read a set of shapes (n, n_points, 3)."""
    if path.suffix.lower() != ".npy" or path.is_dir():
        return folders.load_clouds(path, n_points).points
    points = folders.read_array(path)
    if points.ndim != 3 or points.shape[2] != 3 or points.dtype.kind not in "fiu":
        raise ValueError(
            f"{path}: {points.dtype} array of shape {points.shape}, not (n, points, 3) of real "
            "numbers; stack clouds with as many points, or name a folder with a cloud in each file"
        )
    return points
