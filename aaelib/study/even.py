"""
Comparison in mm of evenly sampled surfaces: density of points does not count, size does.

The paper's metrics compare points as they are published or decoded, each shape in its own unit
sphere. They reward a contender whose points are as dense as the published ones, and forget size.
Here a surface is fitted to every test socket and every contender's cloud. Evenly spread points on
these surfaces are compared, in mm. The fit smooths scatter about the wall, so what a decoder's
scatter costs is seen in the paper's metrics only.
"""

from contextlib import suppress
from functools import cached_property

import numpy as np
from scipy.stats import wasserstein_distance
from tqdm.auto import tqdm

from ..metrics import distances, generative
from ..metrics.reconstruction import surface_distance
from ..shapes.clouds import normalize
from ..shapes.sockets import SocketSurface
from .baselines import resampled

# Column -> its title, and which way is better or the value that is best.
RECONSTRUCTION = {
    "chamfer_mm2": ("Chamfer distance, mm²", "lower"),
    "emd_mm": ("earth mover's distance, mm", "lower"),
    "two_way_mm": ("two-way surface distance, mm", "lower"),
    "two_way_95_mm": ("two-way surface distance, 95th percentile, mm", "lower"),
}
GENERATION = {
    "mmd_chamfer_mm2": ("MMD by Chamfer distance, mm²", "lower"),
    "coverage_chamfer": ("coverage by Chamfer distance", "higher"),
    "one_nn_chamfer": ("1-NN accuracy by Chamfer distance", 0.5),
    "mmd_emd_mm": ("MMD by earth mover's distance, mm", "lower"),
    "coverage_emd": ("coverage by earth mover's distance", "higher"),
    "one_nn_emd": ("1-NN accuracy by earth mover's distance", 0.5),
    "jsd_one_scale": ("JSD in one scale", "lower"),
    "length_w1_mm": ("Wasserstein distance of lengths, mm", "lower"),
    "volume_w1_percent": ("Wasserstein distance of volumes, %", "lower"),
    "distal_perimeter_w1_mm": ("Wasserstein distance of distal perimeters, mm", "lower"),
    "proximal_perimeter_w1_mm": ("Wasserstein distance of proximal perimeters, mm", "lower"),
}
METRICS = RECONSTRUCTION | GENERATION

_PAIRWISE = {
    "chamfer_mm2": distances.pairwise_chamfer,
    "emd_mm": distances.nearest_earth_movers_distance,
}
_LENGTHS = "length", "distal_perimeter", "proximal_perimeter"
# What `SocketSurface.measure` calls a size -> the column of its distribution.
_SIZES = {f"{name}_mm": f"{name}_w1_mm" for name in _LENGTHS} | {"volume_mm3": "volume_w1_percent"}


class EvenSockets:
    """
    Sockets as surfaces with evenly spread points on them, in mm.

    Parameters
    ----------
    sockets : list of SocketSurface, or array_like
        Surfaces, or clouds (n, k, 3) in mm that surfaces are fitted to. A cloud without a surface
        (its points coincide, or lie on the long axis) is blurred by normal noise of 1 mm first, so
        that it counts as the speck or needle that it is.
    n_points : int
        Of each socket, for all metrics but the earth mover's distance.
    emd_points : int
        Of each socket, for the earth mover's distance.
    seed : int
        Of the points.

    Attributes
    ----------
    surfaces : list of SocketSurface
    no_surface : int
        How many clouds had to be blurred.
    points, emd_points : numpy.ndarray
        (n, n_points, 3) and (n, emd_points, 3) float32, mm, where the sockets are.
    sizes : dict of str to numpy.ndarray
        (n,) each: lengths, volumes and perimeters, by the names of `SocketSurface.measure`.

    Raises
    ------
    ValueError
        If a cloud has fewer than 100 points, or values that are not finite.
    """

    def __init__(self, sockets, n_points=2048, emd_points=512, seed=0):
        bar = tqdm(sockets, desc="even sockets", leave=False)
        self.surfaces, blurred = zip(*map(_surface, bar), strict=True)
        self.no_surface = sum(blurred)
        self.points = resampled(self.surfaces, n_points, seed)
        self.emd_points = resampled(self.surfaces, emd_points, seed)
        measures = [surface.measure() for surface in self.surfaces]
        self.sizes = {name: np.array([each[name] for each in measures]) for name in _SIZES}
        self._seed = seed

    def __len__(self):
        return len(self.surfaces)

    def evaluate(self, reconstruction, samples):
        """
        Compare what one contender reconstructs and generates with these sockets.

        Parameters
        ----------
        reconstruction : list of SocketSurface, or array_like
            Of each socket, in its place: surfaces or (n, k, 3) clouds, mm. The sampling floor is
            that of other points on these surfaces, as clouds: samples of a surface itself, whose
            strata are the same, are nearer to each other than to those of any other surface.
        samples : list of SocketSurface, or array_like
            As many generated sockets as there are here, no two the same; the place of each does not
            matter.

        Returns
        -------
        dict of str to numpy.ndarray
            By the names in `METRICS`. Of reconstruction (n,):

            - ``chamfer_mm2``: `chamfer_distance`: mean squared distances, both directions summed
            - ``emd_mm``: `earth_movers_distance`: mean distance of assigned points
            - ``two_way_mm``, ``two_way_95_mm``: mean and 95th percentile of the distances of the
              points of each of the two sockets to the surface of the other, both directions
              together, so that a missing part of the wall costs as much as one too many

            Of generation (1,), all samples centred on their points' mean, and never scaled:

            - ``mmd_...``, ``coverage_...``, ``one_nn_...``: `minimum_matching_distance`, `coverage`
              and `one_nearest_neighbor_accuracy`, by either distance
            - ``jsd_one_scale``: `jensen_shannon_divergence`, all divided by the largest radius
              here; a point beyond counts in the nearest voxel
            - ``..._w1_...``: 1-D Wasserstein distance of the sizes' distributions, in mm, or in %
              of the sockets' mean volume. That of two samples of one distribution is not 0: compare
              with that of other real sockets

            And ``no_surface`` (2,): the share of reconstructions and of samples whose clouds had no
            surface (see `EvenSockets`).

        Raises
        ------
        ValueError
            If there are not as many reconstructions or samples as sockets, or as for `EvenSockets`.
        """
        if not len(reconstruction) == len(samples) == len(self):
            raise ValueError(
                f"{len(reconstruction)} reconstructions and {len(samples)} samples of {len(self)} "
                "sockets; the comparison needs as many of either"
            )
        counts = self.points.shape[1], self.emd_points.shape[1]
        rebuilt = EvenSockets(reconstruction, *counts, seed=self._seed + 1)
        drawn = EvenSockets(samples, *counts, seed=self._seed + 2)
        shares = np.array([rebuilt.no_surface, drawn.no_surface]) / len(self)
        return self._errors(rebuilt) | self._scores(drawn) | {"no_surface": shares}

    @cached_property
    def _centred(self):
        """Points to compare shapes with, by distance: name -> (n, number of points, 3)."""
        sets = {"chamfer_mm2": self.points, "emd_mm": self.emd_points}
        return {name: points - points.mean(axis=1, keepdims=True) for name, points in sets.items()}

    @cached_property
    def _within(self):
        """Distances (n, n) between these sockets, by distance, exact for nearest neighbours."""
        return {name: _PAIRWISE[name](points) for name, points in self._centred.items()}

    def _errors(self, others):
        """Compare each socket with its reconstruction."""
        pairs = tqdm(range(len(self)), desc="two-way distances", leave=False)
        both = np.stack([_two_way(self, others, i) for i in pairs])
        return {
            "chamfer_mm2": distances.chamfer_distance(self.points, others.points),
            "emd_mm": distances.earth_movers_distance(self.emd_points, others.emd_points),
            "two_way_mm": both.mean(axis=1),
            "two_way_95_mm": np.quantile(both, 0.95, axis=1),
        }

    def _scores(self, samples):
        """Compare these sockets with generated ones."""
        found = {}
        for name, pairwise in _PAIRWISE.items():
            between = pairwise(samples._centred[name], self._centred[name])
            short = name.split("_")[0]
            found[f"mmd_{name}"] = generative.minimum_matching_distance_of(between)
            found[f"coverage_{short}"] = generative.coverage_of(between)
            found[f"one_nn_{short}"] = generative.one_nearest_neighbor_accuracy_of(
                samples._within[name], between, self._within[name]
            )
        scale = normalize(self.points)[1].scale
        scaled = [np.clip(each._centred["chamfer_mm2"] / scale, -1, 1) for each in (samples, self)]
        found["jsd_one_scale"] = generative.jensen_shannon_divergence(*scaled)
        for size, column in _SIZES.items():
            unit = self.sizes[size].mean() / 100 if column.endswith("percent") else 1
            found[column] = wasserstein_distance(samples.sizes[size], self.sizes[size]) / unit
        return {name: np.array([value]) for name, value in found.items()}


def _surface(socket):
    """Give the surface of a socket, and whether its cloud had to be blurred for it."""
    if isinstance(socket, SocketSurface):
        return socket, False
    noise = np.random.default_rng(0).normal(size=np.shape(socket))
    # Blurred by 1 mm, and more and more if it still has no wall around its axis.
    for blur in (0.0, 1.0, 10.0, 100.0):
        with suppress(ValueError):
            return SocketSurface.from_points(socket + blur * noise), blur > 0
    raise ValueError("a cloud has no surface: it has fewer than 100 points, or some not finite")


def _two_way(a, b, i):
    """Distances (2 n_points,) of points of the i-th sockets of two sets to each other's surface."""
    ways = (a, b), (b, a)
    return np.concatenate([surface_distance(x.points[i], y.surfaces[i].mesh()) for x, y in ways])
