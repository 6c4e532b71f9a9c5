"""What a sceptic would use, or suspect: the nearest scan, copies of it, a linear shape model."""

import numpy as np
from tqdm.auto import tqdm

from ..metrics.distances import pairwise_chamfer
from ..shapes.clouds import normalize
from ..shapes.shape_model import ShapeModel

NEAREST_SCAN, NEAREST = "nearest scan", "nearest training socket"
LINEAR, LINEAR_ALL_MODES = "linear shape model, k numbers", "linear shape model, all modes"
LINEAR_ALL_SOCKETS = "linear, all training sockets, k numbers"
FLOOR = "sampling floor"
NAMES = (NEAREST_SCAN, NEAREST, LINEAR, LINEAR_ALL_MODES, LINEAR_ALL_SOCKETS, FLOOR)


"""What tables call them, in their order; k is the size of the networks' code."""

DRAWN_PER_SOCKET = 3  # samples in a draw for each test socket, as in the original code


def contestants(shapes, surfaces, test, scans, training, n_modes, seeds):
    """
    What each baseline reconstructs and generates, to be compared with the networks.

    Parameters
    ----------
    shapes : aaelib.data.Shapes
    surfaces : sequence of SocketSurface
        Theirs.
    test, scans, training : int arrays
        Indices of the sockets to reconstruct, and of the two sets to learn from.
    n_modes : int
        k: as many numbers as a code has.
    seeds : sequence of int
        Of the draws.

    Returns
    -------
    dict
        Each of `NAMES` -> (reconstruction (n, n_points, 3), draws): clouds in mm, one for each test
        socket and `DRAWN_PER_SOCKET` times as many in a draw.
    """
    points, kinds = shapes.points[test], shapes.kinds[test]
    real = [surfaces[i] for i in test]

    def nearest_of(index):
        known = shapes.points[index]
        return nearest(points, known), [redrawn(known, len(test), seed) for seed in seeds]

    def linear(index, n):
        fitted = fit_shape_models(shapes, surfaces, index)
        wanted = np.tile(kinds, DRAWN_PER_SOCKET)
        return (
            linear_reconstructions(fitted, real, kinds, n_modes=n),
            [linear_samples(fitted, wanted, seed=seed, n_modes=n) for seed in seeds],
        )

    return {
        NEAREST_SCAN: nearest_of(scans),
        NEAREST: nearest_of(training),
        LINEAR: linear(scans, n_modes),
        LINEAR_ALL_MODES: linear(scans, None),
        LINEAR_ALL_SOCKETS: linear(training, n_modes),
        FLOOR: (resampled(real), [resampled(DRAWN_PER_SOCKET * real, seed=s) for s in seeds]),
    }


def learnt_from(shapes, surfaces, index, test, n_modes):
    """
    What can be reconstructed from a set of sockets without a network.

    Parameters
    ----------
    shapes : aaelib.data.Shapes
    surfaces : sequence of SocketSurface
        Theirs.
    index, test : int arrays
        The sockets to learn from, and those to reconstruct.
    n_modes : int
        Of the linear shape models.

    Returns
    -------
    dict
        `LINEAR`, "nearest socket" -> (n, n_points, 3) clouds in mm.
    """
    fitted = fit_shape_models(shapes, surfaces, index)
    real = [surfaces[i] for i in test]
    return {
        LINEAR: linear_reconstructions(fitted, real, shapes.kinds[test], n_modes=n_modes),
        "nearest socket": nearest(shapes.points[test], shapes.points[index]),
    }


def fit_shape_models(shapes, surfaces, index):
    """
    Linear shape models of some sockets, their surfaces corresponding by angle and arc length.

    Parameters
    ----------
    shapes : aaelib.data.Shapes
    surfaces : sequence of SocketSurface
        Theirs.
    index : int array
        The sockets to fit to.

    Returns
    -------
    dict
        Kind -> ShapeModel.
    """
    kinds = shapes.kinds[index]
    return {
        str(kind): ShapeModel.fit([surfaces[i] for i in index[kinds == kind]])
        for kind in np.unique(kinds)
    }


def redrawn(clouds, n, seed=0):
    """
    Real clouds drawn at random, as if they had been generated: `DRAWN_PER_SOCKET` times n of them.

    No cloud is twice among the first n, nor among the next, if there are as many: a copy would be
    the nearest neighbour of its twin, and the 1-NN accuracy of real clouds no longer 0.5.

    Parameters
    ----------
    clouds : (m, n_points, 3) array
    n, seed : int

    Returns
    -------
    (DRAWN_PER_SOCKET * n, n_points, 3) array
    """
    rng = np.random.default_rng(seed)
    rounds = -(-n // len(clouds))
    parts = [
        np.concatenate([rng.permutation(len(clouds)) for _ in range(rounds)])[:n]
        for _ in range(DRAWN_PER_SOCKET)
    ]
    return clouds[np.concatenate(parts)]


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


def nearest_distances(clouds, training):
    """
    How far each cloud is from the training cloud that is nearest in shape.

    Parameters
    ----------
    clouds : (n, n_points, 3) array
    training : (m, m_points, 3) array
        Both in mm.

    Returns
    -------
    (n,) float64 array
        Chamfer distances in unit spheres.
    """
    units = [normalize(each, "unit-sphere")[0] for each in (clouds, training)]
    return pairwise_chamfer(*units).min(axis=1)


def memorising(of_generated, of_test):
    """
    Whether generated sockets are copies: nearer to a training socket than unseen real ones are.

    Parameters
    ----------
    of_generated, of_test : (n,), (k,) arrays
        `nearest_distances` of generated sockets, and of real ones that were not trained on, to the
        training sockets. The points of all are to be spread alike.

    Returns
    -------
    dict of str to float
        "generated", "test": medians; "ratio": the first over the second, far below 1 for copies;
        "share_nearer": share of the generated sockets that are nearer than all but the nearest 5 %
        of the test sockets. 0.05 is expected of sockets like the test sockets, and 1 / (k + 1)
        where these are fewer than 19.
    """
    # Of all definitions of a quantile, the one below which 5 % of further draws are expected.
    near = np.quantile(of_test, 0.05, method="weibull")
    medians = float(np.median(of_generated)), float(np.median(of_test))
    return {
        "generated": medians[0],
        "test": medians[1],
        "ratio": medians[0] / medians[1],
        "share_nearer": float((of_generated < near).mean()),
    }


def linear_reconstructions(shape_models, surfaces, kinds, n_points=2048, seed=0, n_modes=None):
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
    n_modes : int, optional
        Of each model; all by default, and where there are fewer.

    Returns
    -------
    (n, n_points, 3) float32 array
        In mm.
    """
    nearby = []
    for surface, kind in zip(surfaces, kinds, strict=True):
        model = shape_models[kind]
        nearby.append(model.reconstruct(surface, min(n_modes or model.n_modes, model.n_modes)))
    return resampled(nearby, n_points, seed)


def linear_samples(shape_models, kinds, n_points=2048, seed=0, n_modes=None):
    """
    Clouds drawn from linear shape models with normal weights.

    Parameters
    ----------
    shape_models : dict
        Kind -> ShapeModel.
    kinds : sequence of str
        The kind of each.
    n_points : int
    seed : int
    n_modes : int, optional
        Of each model; all by default, and where there are fewer.

    Returns
    -------
    (len(kinds), n_points, 3) float32 array
        In mm.
    """
    drawn = np.empty(len(kinds), object)
    for i, kind in enumerate(np.unique(kinds)):
        model, places = shape_models[str(kind)], np.flatnonzero(np.asarray(kinds) == kind)
        weights = model.draw_weights(len(places), 1000 * i + seed)
        drawn[places] = [model.surface(each[:n_modes]) for each in weights]
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
