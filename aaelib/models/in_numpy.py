"""Trained models in NumPy, for pages that open sooner than TensorFlow is loaded."""

from copy import copy

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import softmax

from ..shapes.clouds import normals
from . import exported
from .millimetres import InMillimetres
from .recipes import AFTER_FAILURE, AFTER_SUCCESS, ANY_DIRECTION, DAMPING, PROBE, Recipe


def load(path):
    """
    Load a trained model to encode and decode with.

    Parameters
    ----------
    path : str or Path
        As `files.load` takes it. A `.keras` file, unlike an `.npz` file, is read by TensorFlow.

    Returns
    -------
    NumpyAutoencoder

    Raises
    ------
    FileNotFoundError, ValueError
        As `files.load` does.
    """
    return exported.reading(path, {".npz": _exported, ".keras": _saved})


def _exported(path):
    config, weights = exported.read(path)
    return NumpyAutoencoder(Recipe(**config["recipe"]), config["scale"], config["noise"], weights)


def _saved(path):
    from .files import load as load_with_tensorflow

    return of(load_with_tensorflow(path))


def of(aae):
    """The same model in NumPy, which is itself if it is one."""
    if isinstance(aae, NumpyAutoencoder):
        return aae
    weights = {name: getattr(aae, name).get_weights() for name in ("encoder", "decoder")}
    return NumpyAutoencoder(aae.recipe, aae.scale, aae.noise, weights)


class NumpyAutoencoder(InMillimetres):
    """
    Encoder and decoder of a trained `AdversarialAutoencoder`, equal to it but for rounding.

    Parameters
    ----------
    recipe : Recipe
    scale, noise : float
        As of the model.
    weights : dict
        "encoder" and "decoder" -> list of arrays, in the order of the network's weights.

    Attributes
    ----------
    encoder, decoder : list of array
        Their weights.

    Raises
    ------
    ValueError
        If the weights are not those of the recipe.
    """

    def __init__(self, recipe, scale, noise, weights):
        self.recipe, self.scale, self.noise = recipe, float(scale), float(noise)
        self.encoder = encoder_weights(recipe, weights["encoder"])
        n_arrays = 2 * len(recipe.decoder) + 2 + 3 * bool(recipe.linear_models)
        self.decoder = _in_single_precision(weights["decoder"], n_arrays)
        codes = encoded(recipe, self.encoder, np.zeros((1, 1, 3)))
        if self.decoded(codes).shape[1:] != (recipe.n_points, 3):
            raise ValueError(f"the weights do not decode to {recipe.n_points} points")

    def decoded(self, codes):
        """Normalized clouds (n, n_points, 3) of codes (n, code_size)."""
        codes = np.asarray(codes, np.float32)
        features, left = codes, iter(self.decoder)
        for _ in self.recipe.decoder:
            features = np.maximum(_dense(features, left), 0)
        coordinates = _dense(features, left)
        if self.recipe.linear_models:
            gates = softmax(_dense(codes, left), axis=1)
            terms = np.concatenate([np.ones_like(codes[:, :1]), codes], axis=1)
            weights = (gates[:, :, None] * terms[:, None]).reshape(len(codes), -1)
            coordinates += weights @ next(left).reshape(weights.shape[1], -1)
        return coordinates.reshape(len(codes), -1, 3)

    def codes(self, normalized, refinement_steps=None):
        """Codes of normalized clouds (n, n_points, 3), see `encode`."""
        normalized = np.asarray(normalized, np.float32)
        steps = self.recipe.refinement_steps if refinement_steps is None else refinement_steps
        # Part k is every parts-th point from the k-th on, as points are often stored in an order.
        parts = max(1, normalized.shape[1] // (self.recipe.encoder_points or normalized.shape[1]))
        used = normalized.shape[1] // parts * parts
        split = (normalized[:, k:used:parts] for k in range(parts))
        codes = np.mean([encoded(self.recipe, self.encoder, part) for part in split], axis=0)
        if steps:
            for code, cloud, across in zip(codes, normalized, normals(normalized), strict=True):
                code[:] = self._refine(code, cloud, across, steps)
        return codes

    @property
    def gates(self):
        return self.decoder[-3:-1]

    def of_points(self, indices):
        """The model whose clouds have these points alone."""
        fewer, last = copy(self), 2 * len(self.recipe.decoder)
        fewer.decoder = self.decoder.copy()
        # Kernel and bias of the coordinates, and the terms of linear models.
        for i in (last, last + 1, last + 4)[: 3 if self.recipe.linear_models else 2]:
            *axes, _ = self.decoder[i].shape
            kept = self.decoder[i].reshape(*axes, -1, 3)[..., indices, :]
            fewer.decoder[i] = kept.reshape(*axes, -1)
        return fewer

    # Refinement -------------------------------------------------------------------------------

    def _refine(self, code, points, across, n_steps):
        """One code's maximum a posteriori: the steps of `refinement.refine`, see there."""
        weight = self.noise / self.recipe.prior_std**2
        best, least, damping, tree = code, np.inf, DAMPING, cKDTree(points)
        for _ in range(n_steps + 1):
            distance, *derivatives = self._linearized(code, points, across, tree)
            energy = distance + weight * code @ code
            if energy < least:
                least, best, (slope, curvature) = energy, code, derivatives
                damping *= AFTER_SUCCESS
            else:
                damping *= AFTER_FAILURE
            system = curvature + weight * np.eye(len(code))
            told = np.diag(curvature) > weight
            step = (damping * np.trace(system) / len(code) + 1e-12) * np.eye(len(code))
            step += system * np.outer(told, told)
            code = best - np.linalg.solve(step, told * (slope + weight * best))
        return best

    def _linearized(self, code, points, across, tree):
        """`plane_distance` of a decoded code, half its gradient and half its Hessian."""
        step = PROBE * self.recipe.prior_std
        probes = self.decoded(np.vstack([code, code + step * np.eye(len(code))]))
        decoded, slopes = probes[0], np.moveaxis(probes[1:] - probes[0], 0, -1) / step
        there, back = tree.query(decoded)[1], cKDTree(decoded).query(points)[1]
        rows = []
        for ways, normal, moves in (
            (decoded - points[there], across[there], slopes),
            (decoded[back] - points, across, slopes[back]),
        ):
            both = np.concatenate([ways[..., None], moves], axis=-1)
            along = np.einsum("px,pxk->pk", normal, both)
            rows.append(along / np.sqrt(len(ways)))
            rows.append(np.sqrt(ANY_DIRECTION / len(ways)) * both.reshape(-1, 1 + len(code)))
        rows = np.concatenate(rows).astype(float)
        squares = rows.T @ rows
        return squares[0, 0], squares[1:, 0], squares[1:, 1:]


# Layers ---------------------------------------------------------------------------------------


def encoder_weights(recipe, arrays):
    """Check the weights of an encoder: arrays in the order of `networks.encoder`."""
    n_layers = len(recipe.encoder) + 1 + recipe.standardized + recipe.stochastic
    return _in_single_precision(arrays, 2 * n_layers + 24 * recipe.tnets)


def _in_single_precision(arrays, count):
    if len(arrays) != count:
        raise ValueError(f"{len(arrays)} arrays of weights are not those of the recipe's layers")
    return [np.asarray(array, np.float32) for array in arrays]


def encoded(recipe, weights, points):
    """Codes of normalized clouds (n, n_points, 3) from one pass of an encoder over all points."""
    features, left = np.asarray(points, np.float32), iter(weights)
    if recipe.tnets:
        features = _transformed(features, left)
    for i in range(len(recipe.encoder)):
        features = np.maximum(_dense(features, left), 0)
        if recipe.tnets and i == 1:
            features = _transformed(features, left)
    codes = _dense(features.max(axis=1), left)
    if recipe.standardized:
        mean, variance = next(left), next(left)
        codes = (codes - mean) / np.sqrt(variance + 1e-6)
        codes *= np.float32(recipe.prior_std)
    return codes


def _dense(features, weights):
    """A layer's output; its kernel and bias are the next of the weights."""
    return features @ next(weights) + next(weights)


def _transformed(points, weights):
    """What `networks.TNet` makes of points (n, n_points, channels)."""
    features = points
    for _ in range(3):
        features = _dense(features, weights)
    features = features.max(axis=1)
    for _ in range(2):
        features = np.maximum(_dense(features, weights), 0)
    return points @ _dense(features, weights).reshape(len(points), points.shape[2], -1)
