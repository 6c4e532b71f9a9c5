"""Laws that hold for all shapes: of metrics, normalisation, surfaces and readers of files."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from aaelib import metrics
from aaelib.shapes import folders
from aaelib.shapes.clouds import NORMALIZATIONS, normalize

# The same examples in every run: a test that fails does so for everyone.
laws = settings(
    derandomize=True,
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

coordinates = st.floats(-1, 1, width=32, allow_subnormal=False)
numbers, some = st.integers(1, 5), st.integers(1, 15)
scales = st.floats(0.01, 100)
moves = npst.arrays(float, 3, elements=st.floats(-10, 10))
rotations = npst.arrays(float, 3, elements=st.floats(-3, 3)).map(Rotation.from_rotvec)
seeds = st.integers(0, 2**32 - 1)


def cloud_sets(n=numbers, n_points=some):
    """Sets of clouds (n, n_points, 3) in [-1, 1]^3; many have points or clouds that are equal."""
    shapes = st.tuples(n, n_points, st.just(3))
    return shapes.flatmap(lambda shape: npst.arrays(np.float64, shape, elements=coordinates))


counterparts = numbers.flatmap(lambda n: st.tuples(cloud_sets(st.just(n)), cloud_sets(st.just(n))))
pairs = st.tuples(cloud_sets(), cloud_sets())


# Two of four clouds are points, and one has an extent so small that none can be its multiple.
most_of_them_points = (
    np.array([[[0, 0, 0], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]]], float),
    np.array([[[1, 1e-38, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]], float),
)


def alike(found, expected, scale=1.0):
    """Equal but for single precision, in which neighbours are compared, of clouds of size 1."""
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6 * scale)


# Chamfer distance


@laws
@given(counterparts)
@example(clouds=most_of_them_points)
def test_chamfer_distance_is_that_of_a_k_d_tree(clouds):
    a, b = clouds
    expected = [
        [np.mean(cKDTree(y).query(x)[0] ** 2) + np.mean(cKDTree(x).query(y)[0] ** 2) for y in b]
        for x in a
    ]
    alike(metrics.pairwise_chamfer(a, b), expected)
    alike(metrics.chamfer_distance(a, b), np.diag(expected))
    within = metrics.pairwise_chamfer(a)
    alike(within, metrics.pairwise_chamfer(a, a.copy()))
    np.testing.assert_array_equal(within, within.T)


@laws
@given(counterparts, moves, rotations, scales)
def test_chamfer_distance_moves_turns_and_scales_with_space(clouds, move, rotation, scale):
    a, b = clouds
    expected = metrics.chamfer_distance(a, b)
    alike(metrics.chamfer_distance(a + move, b + move), expected, scale=10)
    turned = (rotation.apply(c.reshape(-1, 3)).reshape(c.shape) for c in clouds)
    alike(metrics.chamfer_distance(*turned), expected)
    alike(metrics.chamfer_distance(scale * a, scale * b) / scale**2, expected)


@laws
@given(st.integers(1, 10).flatmap(lambda m: cloud_sets(st.just(3), st.just(m))))
def test_earth_movers_distance_is_a_metric_above_that_to_the_nearest(clouds):
    a, b, c = (cloud[None] for cloud in clouds)
    ab, bc, ac = (metrics.earth_movers_distance(x, y)[0] for x, y in ((a, b), (b, c), (a, c)))
    assert metrics.earth_movers_distance(b, a)[0] == pytest.approx(ab, abs=1e-12)
    assert metrics.earth_movers_distance(a, a)[0] == 0
    assert ac <= ab + bc + 1e-12
    assert ab >= cKDTree(b[0]).query(a[0])[0].mean() - 1e-12


# Metrics of sets


@laws
@given(pairs, seeds)
def test_metrics_of_sets_are_within_their_limits_in_any_order(clouds, seed):
    generated, reference = clouds
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(rng.permutation(generated), axis=1)
    for metric, most in (
        (metrics.coverage, 1),
        (metrics.one_nearest_neighbor_accuracy, 1),
        (metrics.jensen_shannon_divergence, 1),
        (metrics.minimum_matching_distance, 2 * 12),  # twice the squared diagonal of the cube
    ):
        found = metric(generated, reference)
        assert 0 <= found <= most
        assert metric(shuffled, reference) == pytest.approx(found, rel=1e-5, abs=1e-6)
    assert metrics.coverage(generated, reference) >= 1 / len(reference)
    accuracy = metrics.one_nearest_neighbor_accuracy(generated, reference)
    assert metrics.one_nearest_neighbor_accuracy(reference, generated) == pytest.approx(accuracy)
    # Nothing is missed by a set that holds the reference.
    others = np.resize(generated, (len(generated), *reference.shape[1:]))
    both = np.concatenate([others, reference])
    assert metrics.coverage(both, reference) == 1
    assert metrics.minimum_matching_distance(both, reference) == pytest.approx(0, abs=1e-12)


@laws
@given(cloud_sets(), cloud_sets(), cloud_sets(), st.integers(1, 28))
def test_the_root_of_the_jensen_shannon_divergence_is_a_metric(a, b, c, resolution):
    # Endres and Schindelin 2003.
    ab, bc, ac = (
        metrics.jensen_shannon_divergence(x, y, resolution) for x, y in ((a, b), (b, c), (a, c))
    )
    assert metrics.jensen_shannon_divergence(b, a, resolution) == pytest.approx(ab, abs=1e-12)
    assert metrics.jensen_shannon_divergence(a, a, resolution) == 0
    assert np.sqrt(ac) <= np.sqrt(ab) + np.sqrt(bc) + 1e-6


# Normalisation


def with_size(clouds):
    """Whether no cloud is so small that single precision could not tell its points apart."""
    return (np.ptp(clouds, axis=1).max(axis=1) > 1e-2).all()


shapes = cloud_sets(n_points=st.integers(2, 15)).filter(with_size)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@laws
@given(clouds=shapes, scale=scales, move=moves)
def test_place_and_size_are_taken_away_and_given_back(normalization, clouds, scale, move):
    moved = scale * clouds + move
    normalized, normalizer = normalize(moved, normalization)
    np.testing.assert_allclose(normalizer.undo(normalized), moved, rtol=1e-6, atol=1e-5 * scale)
    alike(normalized, normalize(clouds, normalization)[0])
    np.testing.assert_allclose(normalized.mean(axis=1), 0, atol=1e-6)
    radii = np.linalg.norm(normalized, axis=2).max(axis=1)
    largest = radii if normalization == "unit-sphere" else radii.max()
    np.testing.assert_allclose(largest, 1, atol=1e-6)
    alike(normalize(normalized, normalization)[0], normalized)


@laws
@given(shapes)
def test_normalisation_as_a_set_keeps_relative_sizes(clouds):
    normalized, normalizer = normalize(clouds, "dataset")
    alike(np.ptp(normalized, axis=1) * normalizer.scale, np.ptp(clouds, axis=1))
    one_by_one = [normalize(cloud[None], scale=normalizer.scale)[0][0] for cloud in clouds]
    np.testing.assert_array_equal(normalized, one_by_one)


# Readers

dtypes = st.sampled_from(
    ["f2", "f4", "f8", ">f4", "i1", "u2", "i8", "?", "c8", "U3", "S2", "m8[s]", "M8[s]", "f4,f4"]
)
arrays = st.one_of(
    dtypes.flatmap(
        lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=3, min_side=0))
    ),
    st.sampled_from(["f2", "f4", "f8", ">f8", "i2"]).flatmap(
        lambda dtype: npst.arrays(dtype, st.tuples(st.integers(0, 12), st.just(3)))
    ),
)


@laws
@given(array=arrays, n_points=st.integers(1, 12))
def test_every_array_is_read_as_it_is_or_refused_by_name(tmp_path, array, n_points):
    file = tmp_path / "some array.npy"
    np.save(file, array, allow_pickle=False)
    refused = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as of an overflow, or of what a cast leaves out
            found = folders.load_clouds(tmp_path, n_points).points[0]
    except ValueError as error:
        refused = str(error)
    if refused:
        assert file.name in refused
        return
    assert (found.shape, found.dtype) == ((n_points, 3), np.float32)
    assert np.isfinite(found).all()
    with np.errstate(over="ignore"):
        points = {tuple(point) for point in array.astype(np.float32)}
    assert {tuple(point) for point in found} <= points
    if len(array) == n_points:
        np.testing.assert_array_equal(found, array.astype(np.float32))
