"""How good generated shapes are."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial.distance import jensenshannon

from ..shapes.clouds import as_points
from .distances import pairwise_chamfer


def minimum_matching_distance(generated, reference):
    """
    Mean over the reference shapes of the Chamfer distance to the nearest generated shape.

    MMD-CD of Achlioptas et al. (2018), section 3.1; "fidelity" in Costa et al. (2022). Lower is
    better.

    Parameters
    ----------
    generated : array_like
        (n, n_points, 3).
    reference : array_like
        (m, m_points, 3).

    Returns
    -------
    float
        In squared units of the clouds.

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite.
    """
    return minimum_matching_distance_of(_between(generated, reference))


def coverage(generated, reference):
    """
    Fraction of the reference shapes that are nearest to some generated shape.

    COV-CD of Achlioptas et al. (2018), section 3.1. A generated shape covers one reference shape.
    Among several at the same distance, such as copies, each takes one so that as many as possible
    are covered (a maximum matching): the order of the shapes does not matter. Higher is better.
    Coverage does not depend on how near shapes are, and n generated shapes cover at most n of the m
    reference shapes.

    Parameters
    ----------
    generated : array_like
        (n, n_points, 3).
    reference : array_like
        (m, m_points, 3).

    Returns
    -------
    float
        In (0, 1].

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite.
    """
    return coverage_of(_between(generated, reference))


def one_nearest_neighbor_accuracy(generated, reference):
    """
    Accuracy of telling generated from reference shapes by their nearest neighbour.

    The leave-one-out accuracy of a 1-NN classifier on the union of both sets (Lopez-Paz and Oquab,
    2017; for point clouds, Yang et al., 2019, section 5.1). The best value is 0.5: both sets are
    samples of one distribution. It is 1 for sets that are told apart, and near 0 for copies of the
    reference shapes. Among neighbours at the same distance the classifier chooses at random.

    The sets must be of the same size; otherwise one distribution does not give 0.5.

    Parameters
    ----------
    generated : array_like
        (n, n_points, 3).
    reference : array_like
        (m, m_points, 3).

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite.
    """
    return one_nearest_neighbor_accuracy_of(*_all_pairs(generated, reference))


def minimum_matching_distance_of(between):
    """`minimum_matching_distance` from distances (n generated, m reference shapes)."""
    return float(between.min(axis=0).mean())


def coverage_of(between):
    """`coverage` from distances (n generated, m reference shapes)."""
    return float((maximum_bipartite_matching(csr_array(_nearest(between)), "row") >= 0).mean())


def one_nearest_neighbor_accuracy_of(within_generated, between, within_reference):
    """`one_nearest_neighbor_accuracy` from distances (n, n), (n, m) and (m, m)."""
    union = np.block([[within_generated, between], [between.T, within_reference]])
    np.fill_diagonal(union, np.inf)
    nearest = _nearest(union)
    is_generated = np.arange(len(union)) < len(within_generated)
    same = is_generated[:, None] == is_generated
    return float(((nearest & same).sum(axis=1) / nearest.sum(axis=1)).mean())


def jensen_shannon_divergence(generated, reference, resolution=28):
    """
    Jensen-Shannon divergence of the voxel histograms of two sets of clouds.

    A histogram counts all points of a set in the voxels of a grid (Achlioptas et al., 2018, section
    3.1). Logarithms are to base 2. Lower is better.

    Parameters
    ----------
    generated : array_like
        (n, n_points, 3), in [-1, 1], see `aaelib.shapes.normalize`.
    reference : array_like
        (m, m_points, 3), in [-1, 1].
    resolution : int
        Voxels along each edge of [-1, 1]^3.

    Returns
    -------
    float
        In [0, 1]: 0 for equal distributions, 1 for disjoint ones.

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite, if points lie outside of [-1, 1]^3, or if
        `resolution` is not positive.
    """
    if resolution < 1:
        raise ValueError(f"resolution is {resolution}; expected a positive number of voxels")
    p = _voxel_counts(generated, "generated", resolution)
    q = _voxel_counts(reference, "reference", resolution)
    return float(min(jensenshannon(p, q, base=2) ** 2, 1))  # rounding may exceed it


def generative_metrics(generated, reference):
    """
    Compute all metrics of generated shapes; each pair of shapes is measured once.

    Parameters
    ----------
    generated : array_like
        (n, n_points, 3), in [-1, 1].
    reference : array_like
        (m, m_points, 3), in [-1, 1].

    Returns
    -------
    dict of str to float
        By the names of the functions: "minimum_matching_distance", "coverage",
        "jensen_shannon_divergence", "one_nearest_neighbor_accuracy".

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite, or points lie outside of [-1, 1]^3.
    """
    # First, as it checks the range before distances take their time.
    divergence = jensen_shannon_divergence(generated, reference)
    distances = _all_pairs(generated, reference)
    return {
        "minimum_matching_distance": minimum_matching_distance_of(distances[1]),
        "coverage": coverage_of(distances[1]),
        "jensen_shannon_divergence": divergence,
        "one_nearest_neighbor_accuracy": one_nearest_neighbor_accuracy_of(*distances),
    }


def _between(generated, reference):
    """Chamfer distances of every generated to every reference shape."""
    return pairwise_chamfer(as_points(generated, "generated"), as_points(reference, "reference"))


def _all_pairs(generated, reference):
    """Chamfer distances within the generated shapes, between both sets, and within the others."""
    between = _between(generated, reference)
    return pairwise_chamfer(generated), between, pairwise_chamfer(reference)


def _nearest(distances):
    """Which entries are the smallest of their row, as a mask."""
    # The order of points changes the last digits of a distance, which must not break a tie.
    return distances <= distances.min(axis=1, keepdims=True) * (1 + 1e-7)


def _voxel_counts(clouds, name, resolution):
    """Count the points in each voxel of [-1, 1]^3: (resolution^3,)."""
    points = as_points(clouds, name).reshape(-1, 3)
    if np.abs(points).max() > 1 + 1e-6:  # but for rounding
        raise ValueError(
            f"{name} has points outside of [-1, 1]^3 (up to {np.abs(points).max():.4g}); "
            'normalize both sets, such as aaelib.shapes.normalize(points, "unit-sphere")[0]'
        )
    places = np.floor((points + 1) * (resolution / 2))
    voxels = np.clip(places, 0, resolution - 1).astype(int)
    return np.bincount(voxels @ [resolution**2, resolution, 1], minlength=resolution**3)
