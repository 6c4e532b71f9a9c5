"""The one evaluation: what contenders reconstruct and generate on unseen shapes."""

import numpy as np
from tqdm.auto import tqdm

from ..metrics.distances import pairwise_chamfer
from ..metrics.generative import (
    coverage_of,
    jensen_shannon_divergence,
    minimum_matching_distance_of,
    one_nearest_neighbor_accuracy_of,
)
from ..metrics.reconstruction import reconstruction_chamfer, reconstruction_errors, surface_distance
from ..shapes.clouds import normalize
from .baselines import DRAWN_PER_SOCKET

# Column -> its title, and which way is better or the value that is best.
METRICS = {
    "chamfer": ("Chamfer distance", "lower"),
    "surface_mm": ("surface error, mm", "lower"),
    "fidelity": ("fidelity", "lower"),
    "coverage": ("coverage", "higher"),
    "jsd": ("JSD", "lower"),
    "one_nn_accuracy": ("1-NN accuracy", 0.5),
}
GENERATIVE = {
    "minimum_matching_distance": "fidelity",
    "coverage": "coverage",
    "jensen_shannon_divergence": "jsd",
    "one_nearest_neighbor_accuracy": "one_nn_accuracy",
}


class Unseen:
    """
    Shapes to evaluate on, with what every evaluation on them needs.

    Parameters
    ----------
    shapes : aaelib.shapes.Shapes
        Test sockets, or other shapes.
    surfaces : list of SocketSurface, optional
        Theirs; None for shapes that are no sockets, which have no errors on surfaces.
    """

    def __init__(self, shapes, surfaces=None):
        self.points, self.kinds, self.surfaces = shapes.points, shapes.kinds, surfaces
        self.meshes = [surface.mesh() for surface in surfaces or ()]
        self.reference = normalize(self.points, "unit-sphere")[0]
        self.within = pairwise_chamfer(self.reference)

    def __len__(self):
        return len(self.points)

    def evaluate(self, reconstruction, draws):
        """
        Evaluate what one contender reconstructs and generates.

        Parameters
        ----------
        reconstruction : (n, n_points, 3) array
            Of each shape, mm.
        draws : iterable of (k n, m_points, 3) arrays
            Generated shapes, mm: a whole multiple of the unseen ones in each. May be empty.

        Returns
        -------
        dict of str to numpy.ndarray
            By the names in `METRICS`: errors (n,) of reconstruction, NaN where there are no
            surfaces to measure them on, and values (number of draws,) of generation. 1-NN accuracy,
            whose best is 0.5 for sets of one size only, is the mean over the k parts of a draw.

        Raises
        ------
        ValueError
            If a draw is no multiple of the unseen shapes.
        """
        scores = [self._scores(draw) for draw in draws]
        return self._errors(reconstruction) | {
            name: np.array([each[name] for each in scores]) for name in GENERATIVE.values()
        }

    def _errors(self, reconstruction):
        if self.surfaces is not None:
            return reconstruction_errors(self.points, reconstruction, self.meshes)
        chamfer = reconstruction_chamfer(self.points, reconstruction)
        return {"chamfer": chamfer, "surface_mm": np.full(len(self), np.nan)}

    def _scores(self, draw):
        n = len(self)
        if not len(draw) or len(draw) % n:
            raise ValueError(f"a draw of {len(draw)} shapes for {n} test sockets; draw a multiple")
        generated = normalize(draw, "unit-sphere")[0]
        between = pairwise_chamfer(generated, self.reference)
        parts = [slice(i, i + n) for i in range(0, len(draw), n)]
        accuracies = [
            one_nearest_neighbor_accuracy_of(
                pairwise_chamfer(generated[part]), between[part], self.within
            )
            for part in parts
        ]
        return {
            "fidelity": minimum_matching_distance_of(between),
            "coverage": coverage_of(between),
            "jsd": jensen_shannon_divergence(generated, self.reference),
            "one_nn_accuracy": np.mean(accuracies),
        }

    def point_errors(self, clouds, which):
        """Distances in mm of the points of clouds to the surfaces of certain unseen sockets."""
        pairs = zip(clouds, which, strict=True)
        return [surface_distance(cloud, self.meshes[i]) for cloud, i in pairs]


def of_model(aae, unseen, seeds):
    """A model as a contender: its reconstructions, and a draw of the prior for each seed."""
    n = DRAWN_PER_SOCKET * len(unseen)
    return aae.reconstruct(unseen.points), (aae.sample(n, seed) for seed in seeds)


def compare(unseen, contenders, total=None):
    """
    Evaluate contenders one after the other.

    Parameters
    ----------
    unseen : Unseen
    contenders : iterable of (name, (reconstruction, draws))
        As `Unseen.evaluate` takes them; several of one name are its seeds.
    total : int, optional
        How many there are, for the progress bar.

    Returns
    -------
    dict
        Name -> list of results of `Unseen.evaluate`.
    """
    found = {}
    for name, (reconstruction, draws) in tqdm(contenders, desc="evaluation", total=total):
        found.setdefault(name, []).append(unseen.evaluate(reconstruction, draws))
    return found


def compare_models(unseen, runs, load, seeds):
    """`compare` trained models, loaded one by one: `load(condition, seed)` for each run."""
    contenders = ((c.name, of_model(load(c, seed), unseen, seeds)) for c, seed in runs)
    return compare(unseen, contenders, len(runs))
