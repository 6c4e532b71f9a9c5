"""Baselines: the nearest known shape, linear shape models, and the sampling floor."""

from functools import partial
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from ..metrics.distances import pairwise_chamfer
from ..shapes.clouds import normalize
from ..shapes.folders import Shapes
from ..shapes.shape_model import ShapeModel

# Their names in tables, in order; k is the size of the networks' code.
NEAREST_SCAN, NEAREST = "nearest scan", "nearest training socket"
LINEAR, LINEAR_ALL_MODES = "linear shape model, k numbers", "linear shape model, all modes"
LINEAR_ALL_SOCKETS = "linear, all training sockets, k numbers"
LINEAR_ALL_SOCKETS_AND_MODES = "linear, all training sockets, all modes"
FLOOR = "sampling floor"
NAMES = (NEAREST_SCAN, NEAREST, LINEAR, LINEAR_ALL_MODES)
NAMES += (LINEAR_ALL_SOCKETS, LINEAR_ALL_SOCKETS_AND_MODES, FLOOR)


def of_study(unseen, scans, training, n_modes, seeds):
    """
    The baselines of the study.

    Parameters
    ----------
    unseen : Unseen
    scans, training : Known
        The two sets of sockets to learn from.
    n_modes : int
        k: as many numbers as a code has.
    seeds : sequence of int
        Of the draws.

    Returns
    -------
    dict
        Each of `NAMES` -> a function without arguments that gives (reconstruction (n, n_points, 3),
        draws): clouds in mm, one for each test socket and `unseen.drawn` times as many in a draw.
    """
    return {
        NEAREST_SCAN: partial(nearest_known, unseen, scans, seeds),
        NEAREST: partial(nearest_known, unseen, training, seeds),
        LINEAR: partial(linear, unseen, scans, seeds, n_modes),
        LINEAR_ALL_MODES: partial(linear, unseen, scans, seeds),
        LINEAR_ALL_SOCKETS: partial(linear, unseen, training, seeds, n_modes),
        LINEAR_ALL_SOCKETS_AND_MODES: partial(linear, unseen, training, seeds),
        FLOOR: partial(floor, unseen, seeds),
    }


class Known(NamedTuple):
    """Shapes that a baseline may learn from, with their surfaces where they are sockets."""

    shapes: Shapes
    surfaces: list | None = None


def nearest_known(unseen, known, seeds):
    """Contender: the nearest known shape as reconstruction, known shapes at random as samples."""
    points = known.shapes.points
    draws = [redrawn(points, len(unseen), seed, unseen.drawn) for seed in seeds]
    return nearest(unseen.points, points), draws


def linear(unseen, known, seeds, n_modes=None):
    """
    Contender: the nearest surfaces of linear shape models, and draws of these models.

    There is a model for each kind, of surfaces that correspond by angle and arc length; it is told
    the kind of each socket, the network is not. `n_modes` limits its modes; by default all are
    used.
    """
    kinds = known.shapes.kinds
    models = {
        str(kind): ShapeModel.fit([known.surfaces[i] for i in np.flatnonzero(kinds == kind)])
        for kind in np.unique(kinds)
    }
    n_points, wanted = unseen.points.shape[1], np.tile(unseen.kinds, unseen.drawn)
    nearby = [
        models[kind].reconstruct(surface, n_modes and min(n_modes, models[kind].n_modes))
        for surface, kind in zip(unseen.surfaces, unseen.kinds, strict=True)
    ]
    draws = [linear_samples(models, wanted, n_points, seed, n_modes) for seed in seeds]
    return resampled(nearby, n_points), draws


def floor(unseen, seeds):
    """Contender: other points on the same surfaces, which no reconstruction can be nearer than."""
    n_points, again = unseen.points.shape[1], unseen.drawn * unseen.surfaces
    draws = [resampled(again, n_points, seed) for seed in seeds]
    return resampled(unseen.surfaces, n_points), draws


def redrawn(clouds, n, seed=0, times=1):
    """
    Draw several times n real clouds at random, as a generator's samples.

    Within each n no cloud is drawn twice while there are enough: a copy would be the nearest
    neighbour of its twin, and the 1-NN accuracy of real clouds no longer 0.5.
    """
    rng = np.random.default_rng(seed)
    rounds = -(-n // len(clouds))
    parts = [
        np.concatenate([rng.permutation(len(clouds)) for _ in range(rounds)])[:n]
        for _ in range(times)
    ]
    return clouds[np.concatenate(parts)]


def nearest(points, training):
    """
    For each cloud (mm), the known cloud of the most similar shape, moved and scaled onto it.

    Similar by Chamfer distance in unit spheres, so that this baseline is judged by shape alone.
    """
    unit_points, normalizer = normalize(points, "unit-sphere")
    unit_training = normalize(training, "unit-sphere")[0]
    index = pairwise_chamfer(unit_points, unit_training).argmin(axis=1)
    return normalizer.undo(unit_training[index])


def nearest_distances(clouds, training):
    """Chamfer distance in unit spheres of each cloud (mm) to the nearest training cloud."""
    units = [normalize(each, "unit-sphere")[0] for each in (clouds, training)]
    return pairwise_chamfer(*units).min(axis=1)


def memorising(of_generated, of_test):
    """
    Compare how near generated and unseen real sockets are to training sockets.

    Parameters
    ----------
    of_generated, of_test : (n,), (k,) arrays
        `nearest_distances` of generated sockets, and of real sockets that were not trained on. The
        points of all clouds must be spread alike.

    Returns
    -------
    dict of str to float
        "generated", "test": medians; "ratio": the first over the second, far below 1 for copies;
        "share_nearer": share of the generated sockets that are nearer than all but the nearest 5 %
        of the test sockets. For sockets like the test sockets 0.05 is expected, or 1 / (k + 1)
        with fewer than 19 of them.
    """
    # Of all definitions of a quantile, the one below which 5 % of further draws are expected.
    near = np.quantile(of_test, 0.05, method="weibull")
    generated, test = float(np.median(of_generated)), float(np.median(of_test))
    share = float((of_generated < near).mean())
    return {"generated": generated, "test": test, "ratio": generated / test, "share_nearer": share}


def linear_samples(shape_models, kinds, n_points=2048, seed=0, n_modes=None):
    """Clouds (mm) drawn from linear shape models with normal weights, one for each of `kinds`."""
    drawn = np.empty(len(kinds), object)
    for i, kind in enumerate(np.unique(kinds)):
        model, places = shape_models[str(kind)], np.flatnonzero(np.asarray(kinds) == kind)
        weights = model.draw_weights(len(places), 1000 * i + seed)
        drawn[places] = [model.surface(each[:n_modes]) for each in weights]
    return resampled(drawn, n_points, seed)


def resampled(surfaces, n_points=2048, seed=0):
    """Evenly spread points (n, n_points, 3), mm, on surfaces, drawn independently of each other."""
    bar = tqdm(surfaces, desc="sampling surfaces", leave=False)
    # A seed of its own for each: points on two surfaces are drawn independently.
    return np.stack([s.sample(n_points, seed=10_000 * seed + i) for i, s in enumerate(bar)])
