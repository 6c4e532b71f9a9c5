"""Facts about the metrics of reconstructions and generated shapes."""

import numpy as np
import pytest
import trimesh
from analytic import ellipsoids as random_ellipsoids
from scipy.spatial.distance import cdist

from aaelib import metrics
from aaelib.metrics import reconstruction
from benchmarks.original import divergence

DISTANCES = [metrics.chamfer_distance, metrics.pairwise_chamfer, metrics.earth_movers_distance]
SET_METRICS = [
    metrics.coverage,
    metrics.jensen_shannon_divergence,
    metrics.minimum_matching_distance,
    metrics.one_nearest_neighbor_accuracy,
]


def ellipsoids(n, seed, n_points=80, size=0.5):
    """Ellipsoids of random half-axes, inside [-1, 1]^3."""
    return random_ellipsoids(n, n_points, size / 2, size, seed)


def at(*xs):
    """Clouds of one point each, on the x axis: their Chamfer distance is twice the square."""
    return np.array([[[x, 0.0, 0.0]] for x in xs])


# Hand-solved sets


def test_minimum_matching_distance_of_a_hand_solved_case():
    # 0 is matched by 0.1, and 1 by 0.7.
    expected = (2 * 0.1**2 + 2 * 0.3**2) / 2
    assert metrics.minimum_matching_distance(at(0.1, 0.7, 0.2), at(0, 1)) == pytest.approx(expected)


def test_coverage_of_a_hand_solved_case():
    # The generated ones have 0, 0 and 0.5 as their nearest; nothing has 1.
    assert metrics.coverage(at(0.1, 0.2, 0.6), at(0, 0.5, 1)) == pytest.approx(2 / 3)


def test_a_generated_shape_covers_one_reference_shape():
    """Of copies as many are covered as there are generated shapes, whatever the order of points."""
    assert metrics.coverage(at(0), at(0.5, -0.5)) == 1 / 2
    one, other = ellipsoids(2, seed=0)
    order = np.random.default_rng(0).permuted(np.tile(np.arange(80), (10, 1)), axis=1)
    reference = np.concatenate([one[order], other[None]])
    assert metrics.coverage(one[None], reference) == 1 / 11
    assert metrics.coverage([one, one, one], reference) == 3 / 11
    assert metrics.coverage([one, one, other], reference) == 3 / 11


def test_one_nearest_neighbor_accuracy_of_a_hand_solved_case():
    # Nearest: 0 -> 0.1 (same), 0.1 -> 0 (same), 0.9 -> 0.6 (same), 0.6 -> 0.9 (same), and the
    # generated 0.5 -> the reference 0.6 (not).
    assert metrics.one_nearest_neighbor_accuracy(at(0, 0.1, 0.55), at(0.6, 0.9)) == pytest.approx(
        np.mean([1, 1, 0, 0, 1])
    )


def test_one_nearest_neighbor_accuracy_of_copies_and_of_one_shape_many_times():
    # Of copies each has its twin in the other set nearest (Lopez-Paz and Oquab, 2017: an accuracy
    # below 0.5 is a sample that was memorised).
    shapes = ellipsoids(10, seed=0)
    assert metrics.one_nearest_neighbor_accuracy(shapes, shapes.copy()) == 0
    # Of the 9 others, all at distance zero, 4 are of the same set.
    same = np.repeat(ellipsoids(1, seed=0), 5, axis=0)
    shuffled = same[:, np.random.default_rng(0).permutation(same.shape[1])]
    assert metrics.one_nearest_neighbor_accuracy(same, shuffled) == pytest.approx(4 / 9)


def test_jensen_shannon_divergence_of_a_hand_solved_case():
    # p = (1, 0) and q = (1/2, 1/2): H(3/4, 1/4) - H(q) / 2, in bits.
    middle = -(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))
    found = metrics.jensen_shannon_divergence(at(0.5, 0.5), at(0.5, -0.5), resolution=2)
    assert found == pytest.approx(middle - 0.5)


@pytest.mark.parametrize("metric", [metrics.jensen_shannon_divergence, metrics.generative_metrics])
@pytest.mark.parametrize("name", ["generated", "reference"])
def test_clouds_in_mm_or_off_centre_are_refused(metric, name):
    """In the border voxels sets that share no shape would be alike."""
    fine = ellipsoids(3, seed=0)
    for clouds in (100 * fine, fine + 5, fine - [0, 0, 0.8]):
        sets = {"generated": fine, "reference": fine} | {name: clouds}
        with pytest.raises(ValueError, match=rf"{name} has points outside .*normalize"):
            metric(**sets)


def test_generative_metrics_are_those_of_plain_formulas():
    """Over all pairs with SciPy's distances, one formula a line; sets of any sizes."""
    generated, reference = ellipsoids(12, seed=0), ellipsoids(9, seed=1, n_points=60) * 0.9
    union = [*generated, *reference]
    apart = [[cdist(a, b) ** 2 for b in union] for a in union]
    apart = np.array([[d.min(0).mean() + d.min(1).mean() for d in row] for row in apart])
    between = apart[:12, 12:]
    np.fill_diagonal(apart, np.inf)
    expected = {
        "minimum_matching_distance": between.min(axis=0).mean(),
        "coverage": len(set(between.argmin(axis=1))) / 9,
        "one_nearest_neighbor_accuracy": np.mean((apart.argmin(1) < 12) == (np.arange(21) < 12)),
        "jensen_shannon_divergence": divergence(generated, reference),
    }
    assert metrics.generative_metrics(generated, reference) == pytest.approx(expected, rel=1e-5)
    one_by_one = {metric.__name__: metric(generated, reference) for metric in SET_METRICS}
    assert one_by_one == pytest.approx(expected, rel=1e-5)


# Limits


def test_sets_far_apart_are_told_apart():
    generated = ellipsoids(8, seed=0, size=0.2) + 0.7
    reference = ellipsoids(8, seed=1, size=0.2) - 0.7
    assert metrics.one_nearest_neighbor_accuracy(generated, reference) == 1
    assert metrics.jensen_shannon_divergence(generated, reference) == pytest.approx(1)


def test_two_samples_of_one_distribution_are_not_told_apart():
    sets = (ellipsoids(100, seed) for seed in (0, 1))
    accuracy = metrics.one_nearest_neighbor_accuracy(*sets)
    # Five standard deviations of 200 coin tosses that come in pairs.
    assert abs(accuracy - 0.5) < 5 * np.sqrt(0.25 / 100)


# Surface distance


def test_surface_distance_to_a_box_is_known_inside_and_outside():
    box = trimesh.creation.box((2, 2, 2))
    points = [[0, 0, 0], [0, 0, 0.75], [0.3, 0.3, 3], [2, 2, 0], [1, 1, 1], [4, 5, 1]]
    expected = [1, 0.25, 2, np.sqrt(2), 0, 5]
    np.testing.assert_allclose(metrics.surface_distance(points, box), expected, atol=1e-12)


# Bad input


@pytest.mark.parametrize("metric", [*SET_METRICS, metrics.generative_metrics, *DISTANCES])
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.zeros((5, 3)), at(0), r"(generated|a) has shape \(5, 3\); expected \(n, n_points, 3\)"),
        (at(0), np.zeros((0, 4, 3)), r"(reference|b) has shape \(0, 4, 3\)"),
        (at(0, 1), at(0, np.nan), r"(reference|b) has 1 entries that are not finite: \[1\]"),
    ],
)
def test_metrics_name_the_argument_that_is_wrong(metric, first, second, message):
    with pytest.raises(ValueError, match=message):
        metric(first, second)


def test_resolution_and_points_are_checked():
    with pytest.raises(ValueError, match="resolution is 0"):
        metrics.jensen_shannon_divergence(at(0), at(0), resolution=0)
    with pytest.raises(ValueError, match=r"points has shape \(1, 1, 3\)"):
        metrics.surface_distance(at(0), trimesh.creation.box())


def test_reconstruction_errors_of_a_sphere_blown_up():
    """Points 10 % further out: 10 mm from a sphere of 100 mm; squared Chamfer 2 x 0.01 at most."""
    sphere = trimesh.creation.icosphere(subdivisions=5, radius=100.0)
    points = sphere.vertices[None, ::5].astype(float)
    errors = reconstruction.reconstruction_errors(points, 1.1 * points, [sphere])
    assert errors["surface_mm"][0] == pytest.approx(10, rel=1e-2)
    assert errors["chamfer"][0] == pytest.approx(2 * 0.1**2, rel=0.05)
    moved = reconstruction.reconstruction_errors(
        points + 50, 1.1 * points + 50, [sphere.copy().apply_translation([50, 50, 50])]
    )
    assert moved["chamfer"][0] == pytest.approx(errors["chamfer"][0], rel=1e-5)
