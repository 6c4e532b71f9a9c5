"""Facts about Chamfer distance and earth mover's distance."""

import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
import trimesh
from scipy.stats import wasserstein_distance

from aaelib import metrics
from aaelib.metrics.distances import (
    chamfer_distance,
    earth_movers_distance,
    nearest_earth_movers_distance,
    pairwise_chamfer,
)
from aaelib.metrics.neighbors import nearest, searchable
from aaelib.models import losses
from aaelib.models.losses import chamfer_loss, nearest_indices
from benchmarks.original import broadcast_chamfer


def clouds(n, n_points, seed=0, spread=1.0):
    points = np.random.default_rng(seed).normal(scale=spread, size=(n, n_points, 3))
    return points.astype(np.float32)


# Chamfer distance


def test_distances_far_from_the_origin_are_what_they_are_near_it():
    a, b = clouds(2, 300).astype(float), clouds(2, 300, seed=1).astype(float)
    expected = chamfer_distance(a, b)
    np.testing.assert_allclose(chamfer_distance(a + 1e6, b + 1e6), expected, rtol=1e-6)
    np.testing.assert_allclose(chamfer_distance(1e30 * a, 1e30 * b), 1e60 * expected, rtol=1e-6)
    np.testing.assert_allclose(chamfer_distance(1e-30 * a, 1e-30 * b), 1e-60 * expected, rtol=1e-6)


def test_a_cloud_far_away_costs_the_others_no_digits():
    a, b = clouds(4, 300).astype(float), clouds(4, 300, seed=1).astype(float)
    expected = pairwise_chamfer(a, b)[:3]
    a[3] += 1e6
    np.testing.assert_allclose(pairwise_chamfer(a, b)[:3], expected, rtol=1e-9)


def test_pairwise_chamfer_keeps_far_less_than_all_differences():
    a, b = clouds(12, 2048), clouds(12, 2048, seed=1)
    tracemalloc.start()
    pairwise_chamfer(a, b)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # One pair's distances alone, in float32, are 17 MB.
    assert peak < 2048 * 2048 * 4


# Earth mover's distance


def test_earth_movers_distance_is_one_to_one_where_chamfer_is_not():
    # Both points of `a` have the same nearest point; the assignment may use it once.
    a, b = [[[0, 0, 0], [1, 0, 0]]], [[[0, 0, 0], [9, 0, 0]]]
    assert earth_movers_distance(a, b) == pytest.approx([(0 + 8) / 2])
    assert chamfer_distance(a, b) == pytest.approx([(0 + 1) / 2 + (0 + 64) / 2])


def test_earth_movers_distance_of_points_on_a_line_is_the_wasserstein_distance():
    """In one dimension the best assignment is in order: scipy integrates the quantiles."""
    a, b = clouds(3, 40) * [1, 0, 0], clouds(3, 40, seed=1) * [1, 0, 0]
    expected = [wasserstein_distance(x[:, 0], y[:, 0]) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(earth_movers_distance(a, b), expected, rtol=1e-9)


def test_nearest_by_the_earth_movers_distance_are_those_of_all_pairs():
    noise = clouds(2 * 8, 40, spread=0.1).reshape(2, 8, 40, 3)
    a, b = np.geomspace(1, 9, 8)[:, None, None] * (clouds(1, 40, seed=1) + noise)
    between, within = (
        np.stack([earth_movers_distance(a, np.stack([cloud] * 8)) for cloud in each], axis=1)
        for each in (b, a)
    )
    np.fill_diagonal(within, np.inf)
    for every, found in (
        (between, nearest_earth_movers_distance(a, b)),
        (within, nearest_earth_movers_distance(a)),
    ):
        for axis in (0, 1):
            np.testing.assert_allclose(found.min(axis), every.min(axis), rtol=1e-12)
            np.testing.assert_array_equal(found.argmin(axis), every.argmin(axis))
        assert (found <= every + 1e-12).all()
        assert np.isclose(found, every).mean() < 0.7  # the others were not assigned


# The differentiable loss


def gradients(function, a, b):
    a, b = tf.constant(a), tf.constant(b)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        loss = tf.reduce_sum(function(a, b))
    return tape.gradient(loss, [a, b])


@pytest.fixture(params=["_host_indices", "_device_indices"])
def search(request, monkeypatch):
    """Either way to search, whatever device this machine has."""
    function = getattr(losses, request.param)
    monkeypatch.setattr(losses, "_host_indices", function)
    monkeypatch.setattr(losses, "_device_indices", function)


@pytest.mark.parametrize(
    ("reduction", "reduce"), [("mean", tf.reduce_mean), ("sum", tf.reduce_sum)]
)
def test_loss_and_gradient_equal_the_broadcast_formula(search, reduction, reduce):
    a, b = clouds(3, 90), clouds(3, 110, seed=1)
    np.testing.assert_allclose(
        chamfer_loss(a, b, reduction), broadcast_chamfer(a, b, reduce), rtol=1e-5
    )
    found = gradients(lambda x, y: chamfer_loss(x, y, reduction), a, b)
    expected = gradients(lambda x, y: broadcast_chamfer(x, y, reduce), a, b)
    np.testing.assert_allclose(tf.concat(found, 1), tf.concat(expected, 1), rtol=1e-4, atol=1e-6)


def test_loss_runs_in_a_graph_of_unknown_batch_size(search):
    @tf.function(input_signature=[tf.TensorSpec([None, 40, 3]), tf.TensorSpec([None, 30, 3])])
    def graph(a, b):
        return chamfer_loss(a, b)

    for n in (2, 5):
        a, b = clouds(n, 40), clouds(n, 30, seed=1)
        np.testing.assert_allclose(graph(a, b), chamfer_distance(a, b), rtol=1e-5)


@pytest.mark.parametrize("n_points", [(7, 1), (1, 7), (128, 128), (129, 127), (1000, 301)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_indices_are_of_the_nearest(search, n_points, offset):
    # |a|^2 - 2 ab + |b|^2 in float32 could not tell these apart so far from the origin.
    a, b = (clouds(3, n, seed, spread=0.01) + np.float32(offset) for seed, n in enumerate(n_points))
    found = nearest_indices(tf.constant(a), tf.constant(b)).numpy()
    squared = ((a[:, :, None] - b[:, None]) ** 2).sum(-1)
    chosen = np.take_along_axis(squared, found[..., None], axis=2)[..., 0]
    np.testing.assert_allclose(chosen, squared.min(axis=2), rtol=1e-3, atol=1e-12)
    assert found.max() < n_points[1]  # none that only fills the lanes
    assert found.dtype == np.int32


def test_loss_of_a_diverged_cloud_is_nan_and_leaves_the_others_alone(search):
    a, b = clouds(2, 30), clouds(2, 30, seed=1)
    a[1, 3, 0] = np.nan
    loss = chamfer_loss(a, b).numpy()
    assert loss[0] == pytest.approx(chamfer_distance(a[:1], b[:1])[0], rel=1e-5)
    assert np.isnan(loss[1])
    assert nearest(searchable(a[1]), searchable(b[1]))[3] == 0  # as good as any


# Bad input


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("counts", [(4, 1), (1, 4)])
def test_a_loss_of_other_numbers_of_clouds_is_refused(search, known, counts):
    """Also where a graph knows how many there are only when it runs."""
    a, b = (tf.constant(clouds(count, 8)) for count in counts)
    signature = [tf.TensorSpec([None, 8, 3])] * 2
    in_graph = tf.function(chamfer_loss, input_signature=None if known else signature)
    with pytest.raises(ValueError if known else tf.errors.InvalidArgumentError):
        in_graph(a, b)
    with pytest.raises(ValueError, match="dimension 0 must have size"):
        chamfer_loss(a, b)


def test_losses_and_distances_name_what_does_not_fit():
    a = clouds(2, 8)
    with pytest.raises(ValueError, match="must have rank 3"):
        chamfer_loss(a, a[0])
    with pytest.raises(ValueError, match="a has 2 clouds and b has 3"):
        chamfer_distance(a, clouds(3, 8))
    for function in (earth_movers_distance, nearest_earth_movers_distance):
        with pytest.raises(ValueError, match=r"8 points .* 4"):
            function(a, clouds(2, 4))


@pytest.mark.parametrize("faces", [np.zeros((0, 3), int), [[0, 1, 2]]])
def test_a_mesh_without_faces_or_with_holes_in_its_numbers_has_no_distance(faces):
    mesh = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, np.nan, 0]], faces, process=False)
    with pytest.raises(ValueError, match="no faces, or vertices that are not finite"):
        metrics.surface_distance(np.zeros((2, 3)), mesh)
