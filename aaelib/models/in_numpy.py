"""Trained models in NumPy, for pages that open sooner than TensorFlow is loaded."""

from copy import copy
from types import SimpleNamespace

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import softmax

from ..shapes.clouds import normals
from . import exported
from .millimetres import InMillimetres
from .recipes import AFTER_FAILURE, AFTER_SUCCESS, ANY_DIRECTION, DAMPING, PROBE, Recipe

_TRANSFORM = [f"{name}_{i}" for i in range(6) for name in ("kernel", "bias")]


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
    encoder, decoder : dict
        Name of a layer -> its weights by name.

    Raises
    ------
    ValueError
        If the weights are not those of the recipe.
    """

    def __init__(self, recipe, scale, noise, weights):
        self.recipe, self.scale, self.noise = recipe, float(scale), float(noise)
        self.encoder = named(weights["encoder"], encoder_layers(recipe))
        self.decoder = named(weights["decoder"], _decoder_layers(recipe))
        if self.decoded(self.encode_part(np.zeros((1, 1, 3)))).shape[1:] != (recipe.n_points, 3):
            raise ValueError(f"the weights do not decode to {recipe.n_points} points")

    def decoded(self, codes):
        """Normalized clouds (n, n_points, 3) of codes (n, code_size)."""
        codes = np.asarray(codes, np.float32)
        features = codes
        for i in range(len(self.recipe.decoder)):
            features = np.maximum(_dense(features, self.decoder[f"hidden_{i + 1}"]), 0)
        coordinates = _dense(features, self.decoder["coordinates"])
        if self.recipe.linear_models:
            linear = self.decoder["linear"]
            gates = softmax(codes @ linear.gate_kernel + linear.gate_bias, axis=1)
            terms = np.concatenate([np.ones_like(codes[:, :1]), codes], axis=1)
            weights = (gates[:, :, None] * terms[:, None]).reshape(len(codes), -1)
            coordinates += weights @ linear.terms.reshape(weights.shape[1], -1)
        return coordinates.reshape(len(codes), -1, 3)

    def codes(self, normalized, refinement_steps=None):
        """Codes of normalized clouds (n, n_points, 3), see `encode`."""
        normalized = np.asarray(normalized, np.float32)
        steps = self.recipe.refinement_steps if refinement_steps is None else refinement_steps
        # Part k is every parts-th point from the k-th on, as points are often stored in an order.
        parts = max(1, normalized.shape[1] // (self.recipe.encoder_points or normalized.shape[1]))
        used = normalized.shape[1] // parts * parts
        split = (normalized[:, k:used:parts] for k in range(parts))
        codes = np.mean([self.encode_part(part) for part in split], axis=0)
        if steps:
            for code, cloud, across in zip(codes, normalized, normals(normalized), strict=True):
                code[:] = self._refine(code, cloud, across, steps)
        return codes

    @property
    def gates(self):
        linear = self.decoder["linear"]
        return linear.gate_kernel, linear.gate_bias

    def encode_part(self, points):
        """Codes of normalized clouds from one pass over all their points."""
        features, tnets = np.asarray(points, np.float32), self.recipe.tnets
        if tnets:
            features = _transformed(features, self.encoder["input_transform"])
        for i in range(1, len(self.recipe.encoder) + 1):
            features = np.maximum(_dense(features, self.encoder[f"point_{i}"]), 0)
            if tnets and i == 2:
                features = _transformed(features, self.encoder["feature_transform"])
        codes = _dense(features.max(axis=1), self.encoder["mean"])
        if self.recipe.standardized:
            moments = self.encoder["standardize"]
            codes = (codes - moments.mean) / np.sqrt(moments.variance + 1e-6)
            codes *= np.float32(self.recipe.prior_std)
        return codes

    def of_points(self, indices):
        """The model whose clouds have these points alone."""

        def thinned(array):
            kept = array.reshape(*array.shape[:-1], -1, 3)[..., indices, :]
            return kept.reshape(*array.shape[:-1], -1)

        fewer, last = copy(self), self.decoder["coordinates"]
        last = SimpleNamespace(kernel=thinned(last.kernel), bias=thinned(last.bias))
        fewer.decoder = self.decoder | {"coordinates": last}
        if linear := self.decoder.get("linear"):
            terms = {"terms": thinned(linear.terms)}
            fewer.decoder["linear"] = SimpleNamespace(**vars(linear) | terms)
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


def encoder_layers(recipe):
    """Name and weights of each layer, in the order of `networks.encoder`."""
    layers = [(f"point_{i + 1}", ("kernel", "bias")) for i in range(len(recipe.encoder))]
    if recipe.tnets:
        layers.insert(0, ("input_transform", _TRANSFORM))
        layers.insert(3, ("feature_transform", _TRANSFORM))
    layers.append(("mean", ("kernel", "bias")))
    if recipe.standardized:
        layers.append(("standardize", ("mean", "variance")))
    if recipe.stochastic:
        layers.append(("std", ("kernel", "bias")))
    return layers


def _decoder_layers(recipe):
    """Name and weights of each layer, in the order of `networks.decoder`."""
    names = [*(f"hidden_{i + 1}" for i in range(len(recipe.decoder))), "coordinates"]
    layers = [(name, ("kernel", "bias")) for name in names]
    if recipe.linear_models:
        layers.append(("linear", ("gate_kernel", "gate_bias", "terms")))
    return layers


def named(arrays, layers):
    """Arrays by layer and name."""
    if len(arrays) != sum(len(names) for _, names in layers):
        raise ValueError(f"{len(arrays)} arrays of weights are not those of the recipe's layers")
    arrays = iter(np.asarray(array, np.float32) for array in arrays)
    return {
        layer: SimpleNamespace(**{name: next(arrays) for name in names}) for layer, names in layers
    }


def _dense(features, layer):
    return features @ layer.kernel + layer.bias


def _transformed(points, layer):
    """What `networks.TNet` makes of points (n, n_points, channels)."""
    layers = [
        SimpleNamespace(kernel=getattr(layer, f"kernel_{i}"), bias=getattr(layer, f"bias_{i}"))
        for i in range(6)
    ]
    features = points
    for each in layers[:3]:
        features = _dense(features, each)
    features = features.max(axis=1)
    for each in layers[3:5]:
        features = np.maximum(_dense(features, each), 0)
    matrix = _dense(features, layers[5]).reshape(len(points), points.shape[2], -1)
    return points @ matrix
