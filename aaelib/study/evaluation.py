"""The one evaluation: what contenders reconstruct and generate on unseen shapes."""

import json
from contextlib import contextmanager
from functools import cached_property

import joblib
import numpy as np

from ..metrics import generative
from ..metrics.distances import pairwise_chamfer
from ..metrics.reconstruction import reconstruction_chamfer, reconstruction_errors, surface_distance
from ..models.runs import card_of
from ..shapes.clouds import normalize
from ..shapes.writing import replacing, write_whole
from .even import EvenSockets

# Column -> its title, and which way is better or the value that is best.
METRICS = {
    "chamfer": ("Chamfer distance", "lower"),
    "surface_mm": ("surface error, mm", "lower"),
    "one_pass_chamfer": ("one-pass Chamfer distance", "lower"),
    "one_pass_mm": ("one-pass surface error, mm", "lower"),
    "fidelity": ("fidelity", "lower"),
    "coverage": ("coverage", "higher"),
    "jsd": ("JSD", "lower"),
    "one_nn_accuracy": ("1-NN accuracy", 0.5),
}
GENERATIVE = "fidelity", "coverage", "jsd", "one_nn_accuracy"


class Unseen:
    """
    Shapes to evaluate on, with what every evaluation on them needs.

    Parameters
    ----------
    shapes : aaelib.shapes.Shapes
        Test sockets, or other shapes.
    surfaces : list of SocketSurface, optional
        Theirs; None for shapes that are no sockets, which have no errors on surfaces.
    drawn : int
        Samples for each shape in a draw; 3 in the original code.
    emd_points : int
        Points by which evenly sampled surfaces are compared as well (`EvenSockets`), for as many
        samples as shapes; 0: they are not.
    """

    def __init__(self, shapes, surfaces=None, drawn=3, emd_points=0):
        self.points, self.kinds, self.surfaces = shapes.points, shapes.kinds, surfaces
        self.drawn, self.emd_points = drawn, emd_points
        self.reference = normalize(self.points, "unit-sphere")[0]

    def __len__(self):
        return len(self.points)

    # Made when they are first asked for: results that are kept need neither.

    @cached_property
    def meshes(self):
        """Of the surfaces."""
        return [surface.mesh() for surface in self.surfaces]

    @cached_property
    def even(self):
        """Evenly sampled surfaces."""
        return EvenSockets(self.surfaces, emd_points=self.emd_points)

    @cached_property
    def within(self):
        """(n, n) Chamfer distances between the shapes."""
        return pairwise_chamfer(self.reference)

    @property
    def key(self):
        """All that results depend on."""
        surfaces = [surface.vertices for surface in self.surfaces]
        return [self.points, surfaces, self.drawn, self.emd_points]

    def evaluate(self, reconstruction, draws, one_pass=None):
        """
        Evaluate what one contender reconstructs and generates.

        Parameters
        ----------
        reconstruction : (n, n_points, 3) array
            Of each shape, mm.
        one_pass : (n, n_points, 3) array, optional
            Of an encoder's own codes, before refinement.
        draws : sequence of (k n, m_points, 3) arrays
            Generated shapes, mm: a whole multiple of the unseen ones in each. May be empty.

        Returns
        -------
        dict of str to numpy.ndarray
            By the names in `METRICS`: errors (n,) of reconstruction, NaN where there are no
            surfaces to measure them on, and values (number of draws,) of generation. 1-NN accuracy,
            whose best is 0.5 for sets of one size only, is the mean over the k parts of a draw.
            With `emd_points` also by those in `even.METRICS`, of the first draw.

        Raises
        ------
        ValueError
            If a draw is no multiple of the unseen shapes.
        """
        found, scores = self._errors(reconstruction), [self._scores(draw) for draw in draws]
        unknown = dict.fromkeys(found, np.full(len(self), np.nan))
        first = unknown if one_pass is None else self._errors(one_pass)
        found |= {"one_pass_chamfer": first["chamfer"], "one_pass_mm": first["surface_mm"]}
        found |= {name: np.array([each[name] for each in scores]) for name in GENERATIVE}
        if self.emd_points and len(draws):
            found |= self.even.evaluate(reconstruction, draws[0])
        return found

    def _errors(self, reconstruction):
        if self.surfaces is not None:
            return reconstruction_errors(self.points, reconstruction, self.meshes)
        chamfer = reconstruction_chamfer(self.points, reconstruction)
        return {"chamfer": chamfer, "surface_mm": np.full(len(self), np.nan)}

    def _scores(self, draw):
        n = len(self)
        if not len(draw) or len(draw) % n:
            raise ValueError(f"a draw of {len(draw)} shapes for {n} test sockets; draw a multiple")
        drawn = normalize(draw, "unit-sphere")[0]
        between = pairwise_chamfer(drawn, self.reference)
        accuracies = [
            generative.one_nearest_neighbor_accuracy_of(
                pairwise_chamfer(drawn[part : part + n]), between[part : part + n], self.within
            )
            for part in range(0, len(drawn), n)
        ]
        return {
            "fidelity": generative.minimum_matching_distance_of(between),
            "coverage": generative.coverage_of(between),
            "jsd": generative.jensen_shannon_divergence(drawn, self.reference),
            "one_nn_accuracy": np.mean(accuracies),
        }

    def point_errors(self, clouds, which):
        """Distances in mm of the points of clouds to the surfaces of certain unseen sockets."""
        pairs = zip(clouds, which, strict=True)
        return [surface_distance(cloud, self.meshes[i]) for cloud, i in pairs]


def measure(aae, unseen, seeds):
    """
    Evaluate a model: reconstruct unseen shapes, and draw samples of the prior.

    Parameters
    ----------
    aae : AdversarialAutoencoder
    unseen : Unseen
    seeds : sequence of int
        Of the draws, `unseen.drawn` samples for each shape in each.

    Returns
    -------
    dict of str to numpy.ndarray
        What `Unseen.evaluate` gives; and the "codes" of the shapes, refined, those of one pass
        ("one_pass_codes"), their "reconstruction", and the "samples" of the first draw.
    """
    first = aae.encode(unseen.points, refinement_steps=0)
    codes = aae.encode(unseen.points)
    reconstruction = aae.reconstruct(unseen.points, codes=codes)
    draws = [aae.sample(unseen.drawn * len(unseen), seed) for seed in seeds]
    found = unseen.evaluate(reconstruction, draws, aae.reconstruct(unseen.points, codes=first))
    found |= {"codes": codes, "reconstruction": reconstruction, "one_pass_codes": first}
    return found | ({"samples": draws[0]} if draws else {})


@contextmanager
def made_once(path, made_from):
    """Whether a file is to be made, as it is not there or was made from something else."""
    note, known_by = path.with_suffix(".json"), joblib.hash(made_from)
    is_new = card_of(path).get("fingerprint") != known_by
    if is_new:
        note.unlink(missing_ok=True)  # of another file, which goes now
    yield is_new
    if is_new:
        write_whole(note, json.dumps({"fingerprint": known_by}))


def once(file, key, measured):
    """Results (`.npz`) of a function without arguments, which is called once for each key."""
    with made_once(file, key) as is_new:
        if is_new:
            found = measured()
            with replacing(file) as temporary:
                np.savez(temporary, **found)
    with np.load(file, allow_pickle=False) as kept:
        return dict(kept)
