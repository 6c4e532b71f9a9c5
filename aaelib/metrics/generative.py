"""How good generated shapes are."""

import numba
import numpy as np
from scipy.special import rel_entr

from .distances import as_clouds, pairwise_chamfer


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
    Fraction of the reference shapes that are the nearest one to some generated shape.

    COV-CD of Achlioptas et al. (2018), section 3.1. Reference shapes at the same distance all
    count. Higher is better; it says nothing about how near they are, and can be no more than n / m.

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
    2017; for point clouds, Yang et al., 2019, section 5.1). About 0.5, the best, for two samples of
    one distribution; 1 for sets that are told apart; towards 0 for copies of the reference. Where
    neighbours of both sets are equally near, the expected accuracy of a random choice among them.

    Compare sets of the same size: with others, one distribution does not give 0.5.

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
    generated, reference = as_clouds(generated, "generated"), as_clouds(reference, "reference")
    return one_nearest_neighbor_accuracy_of(
        pairwise_chamfer(generated),
        pairwise_chamfer(generated, reference),
        pairwise_chamfer(reference),
    )


def minimum_matching_distance_of(between):
    """
    `minimum_matching_distance` of distances that are known.

    Parameters
    ----------
    between : (n, m) array
        Chamfer distances, generated shapes along the rows, reference shapes along the columns.

    Returns
    -------
    float
    """
    return float(between.min(axis=0).mean())


def coverage_of(between):
    """
    `coverage` of distances that are known.

    Parameters
    ----------
    between : (n, m) array
        Chamfer distances, generated shapes along the rows, reference shapes along the columns.

    Returns
    -------
    float
        In (0, 1].
    """
    return float(_nearest(between).any(axis=0).mean())


def one_nearest_neighbor_accuracy_of(within_generated, between, within_reference):
    """
    `one_nearest_neighbor_accuracy` of distances that are known.

    Parameters
    ----------
    within_generated : (n, n) array
        Chamfer distances of the generated shapes from each other.
    between : (n, m) array
        Generated shapes along the rows, reference shapes along the columns.
    within_reference : (m, m) array

    Returns
    -------
    float
        In [0, 1].
    """
    union = np.block([[within_generated, between], [between.T, within_reference]])
    np.fill_diagonal(union, np.inf)
    nearest = _nearest(union)
    is_generated = np.arange(len(union)) < len(within_generated)
    same = is_generated[:, None] == is_generated
    return float(((nearest & same).sum(axis=1) / nearest.sum(axis=1)).mean())


def jensen_shannon_divergence(generated, reference, resolution=28):
    """
    Jensen-Shannon divergence of where the points of two sets of clouds lie.

    Between the distributions of all points of either set over the voxels of a grid (Achlioptas et
    al., 2018, section 3.1), with logarithms to base 2. Lower is better.

    Parameters
    ----------
    generated : array_like
        (n, n_points, 3), in [-1, 1]. A point outside counts in the nearest voxel of the border.
    reference : array_like
        (m, m_points, 3), the same.
    resolution : int
        Voxels along each edge of [-1, 1]^3.

    Returns
    -------
    float
        In [0, 1]: 0 for equal distributions, 1 for disjoint ones.

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite, or `resolution` is not positive.
    """
    if resolution < 1:
        raise ValueError(f"resolution is {resolution}; expected a positive number of voxels")
    p, q = (
        _occupancy(as_clouds(points, name, dtype=None), resolution)
        for points, name in ((generated, "generated"), (reference, "reference"))
    )
    middle = (p + q) / 2
    divergence = (rel_entr(p, middle).sum() + rel_entr(q, middle).sum()) / (2 * np.log(2))
    return float(np.clip(divergence, 0, 1))


def generative_metrics(generated, reference, resolution=28):
    """
    Every metric of generated shapes, with each pair of shapes measured once.

    Parameters
    ----------
    generated : array_like
        (n, n_points, 3), in [-1, 1].
    reference : array_like
        (m, m_points, 3), in [-1, 1].
    resolution : int
        As in `jensen_shannon_divergence`.

    Returns
    -------
    dict of str to float
        By the names of the functions: "minimum_matching_distance", "coverage",
        "jensen_shannon_divergence", "one_nearest_neighbor_accuracy".

    Raises
    ------
    ValueError
        If an array is not (n, n_points, 3) and finite, or `resolution` is not positive.
    """
    divergence = jensen_shannon_divergence(generated, reference, resolution)
    between = _between(generated, reference)
    return {
        "minimum_matching_distance": minimum_matching_distance_of(between),
        "coverage": coverage_of(between),
        "jensen_shannon_divergence": divergence,
        "one_nearest_neighbor_accuracy": one_nearest_neighbor_accuracy_of(
            pairwise_chamfer(generated), between, pairwise_chamfer(reference)
        ),
    }


def _between(generated, reference):
    """(n, m) Chamfer distances, generated shapes along the rows."""
    generated, reference = as_clouds(generated, "generated"), as_clouds(reference, "reference")
    return pairwise_chamfer(generated, reference)


def _nearest(distances):
    """Which entries are the smallest of their row, as a mask."""
    # Equal clouds with their points in another order differ in the last digits of their distance.
    return distances <= distances.min(axis=1, keepdims=True) * (1 + 1e-7)


def _occupancy(clouds, resolution):
    """Fraction of all points in each voxel of [-1, 1]^3, (resolution^3,)."""
    counts = np.zeros((resolution,) * 3, np.int64)
    _count(clouds.reshape(-1, 3), counts)
    return counts.ravel() / counts.sum()


# NumPy would go over all points a dozen times: to shift, scale, round, clip and number them.
@numba.njit(nogil=True)
def _count(points, counts):
    """Count points (n, 3) in the voxels of [-1, 1]^3."""
    resolution = len(counts)
    for x, y, z in points:
        counts[
            _voxel(x, resolution),
            _voxel(y, resolution),
            _voxel(z, resolution),
        ] += 1


@numba.njit(nogil=True)
def _voxel(coordinate, resolution):
    """Number of the voxel along one axis in which a coordinate lies, or the nearest to it."""
    place = np.floor((np.float64(coordinate) + 1) * (resolution / 2))
    return int(min(max(place, 0), resolution - 1))
