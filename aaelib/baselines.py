"""What a sceptic would use instead of a network: the nearest scan, a linear shape model."""

import numpy as np
from tqdm.auto import tqdm

from .clouds import normalize
from .metrics import pairwise_chamfer


def nearest(points, training):
    """
    For each cloud the training cloud that is nearest in shape, brought to its place and size.

    Nearest is by Chamfer distance in unit spheres; what this baseline does not get for free is
    shape.

    Parameters
    ----------
    points : (n, n_points, 3) array
    training : (m, m_points, 3) array
        Both in mm.

    Returns
    -------
    (n, m_points, 3) float32 array
        In mm.
    """
    unit_points, normalizer = normalize(points, "unit-sphere")
    unit_training = normalize(training, "unit-sphere")[0]
    index = pairwise_chamfer(unit_points, unit_training).argmin(axis=1)
    return normalizer.undo(unit_training[index])


def linear_reconstructions(shape_models, surfaces, kinds, n_points=2048, seed=0):
    """
    Clouds on the surfaces of a linear shape model that are nearest to given surfaces.

    Parameters
    ----------
    shape_models : dict
        Kind -> ShapeModel.
    surfaces : sequence of SocketSurface
    kinds : sequence of str
        The kind of each: the linear model is told, the network is not.
    n_points : int
    seed : int

    Returns
    -------
    (n, n_points, 3) float32 array
        In mm.
    """
    pairs = zip(surfaces, kinds, strict=True)
    nearby = [shape_models[kind].reconstruct(surface) for surface, kind in pairs]
    return resampled(nearby, n_points, seed)


def linear_samples(shape_models, kinds, n_points=2048, seed=0):
    """
    Clouds drawn from linear shape models with normal weights, as many of a kind as in `kinds`.

    Parameters
    ----------
    shape_models : dict
        Kind -> ShapeModel.
    kinds : sequence of str
    n_points : int
    seed : int

    Returns
    -------
    (len(kinds), n_points, 3) float32 array
        In mm.
    """
    names, counts = np.unique(kinds, return_counts=True)
    drawn = []
    for i, (name, count) in enumerate(zip(names, counts, strict=True)):
        drawn += shape_models[str(name)].sample(count, seed=1000 * i + seed)
    return resampled(drawn, n_points, seed)


def resampled(surfaces, n_points=2048, seed=0):
    """
    Fresh points on surfaces: of a real surface, the floor that no reconstruction gets below.

    Parameters
    ----------
    surfaces : sequence of SocketSurface
    n_points : int
    seed : int

    Returns
    -------
    (n, n_points, 3) float32 array
        In mm.
    """
    bar = tqdm(surfaces, desc="sampling surfaces", leave=False)
    # A seed of its own for each: points on two surfaces are drawn independently.
    return np.stack([s.sample(n_points, seed=10_000 * seed + i) for i, s in enumerate(bar)])
