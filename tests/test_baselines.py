"""Facts of the baselines: the nearest scan, linear shape models, fresh points."""

import numpy as np
import pytest
import trimesh
from analytic import socket, sockets
from scipy.spatial import cKDTree

from aaelib import baselines
from aaelib.metrics import chamfer_distance
from aaelib.shape_model import ShapeModel


@pytest.fixture(scope="module")
def surfaces():
    return sockets(6)


@pytest.fixture(scope="module")
def clouds(surfaces):
    return np.stack([surface.sample(200) for surface in surfaces])


@pytest.fixture(scope="module")
def shape_models():
    """Of transtibial sockets about 200 mm long, of transfemoral ones about 400."""
    return {"TT": ShapeModel.fit(sockets(5)), "TF": ShapeModel.fit(sockets(5, length=400))}


# The nearest scan


def test_a_scan_moved_and_scaled_is_its_own_nearest(clouds):
    rng = np.random.default_rng(0)
    sizes, steps = rng.uniform(0.5, 2, (6, 1, 1)), rng.normal(0, 100, (6, 1, 3))
    seen = sizes * clouds + steps
    found = baselines.nearest(seen, clouds[::-1])
    np.testing.assert_allclose(found, seen, atol=1e-2)
    np.testing.assert_allclose(chamfer_distance(seen / 200, found / 200), 0, atol=1e-8)


def test_the_nearest_is_near_in_shape_not_in_size():
    def cloud(*args, scale=1.0, **kwargs):
        return scale * socket(*args, **kwargs).sample(200, seed=1)

    # Among a socket of the same proportions, twice as large, and one as long but wider.
    training = np.stack([cloud(200, 50, scale=2), cloud(200, 70)])
    found = baselines.nearest(cloud(200, 50)[None], training)
    np.testing.assert_allclose(found[0], training[0] / 2, atol=1e-2)


def test_the_nearest_is_put_where_the_cloud_is(clouds):
    found = baselines.nearest(clouds[:2] + 500, clouds[3:5, :150])
    assert (found.shape, found.dtype) == ((2, 150, 3), np.float32)
    np.testing.assert_allclose(found.mean(axis=1), clouds[:2].mean(axis=1) + 500, atol=0.1)


# Linear shape models


def test_a_linear_reconstruction_lies_on_the_surface_of_its_own_kind(shape_models):
    unseen = sockets(2, seed=9)
    found = baselines.linear_reconstructions(shape_models, unseen, ["TT", "TF"], 150)
    assert found.shape == (2, 150, 3)
    for cloud, surface, kind in zip(found, unseen, ["TT", "TF"], strict=True):
        mesh = shape_models[kind].reconstruct(surface).mesh()
        assert trimesh.proximity.closest_point(mesh, cloud)[1].max() < 1e-3
    with pytest.raises(ValueError, match="shorter"):
        baselines.linear_reconstructions(shape_models, unseen, ["TT"], 150)


def test_linear_samples_are_as_many_of_a_kind_as_asked_for(shape_models):
    found = baselines.linear_samples(shape_models, ["TT", "TF", "TT", "TT", "TF"], 100, seed=1)
    assert found.shape == (5, 100, 3)
    lengths = np.ptp(found[..., 2], axis=1)
    assert (lengths > 300).sum() == 2


def test_linear_samples_depend_on_the_seed_alone(shape_models):
    kinds = ["TF", "TT"]
    drawn = [baselines.linear_samples(shape_models, kinds, 100, seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    # Other sockets, not only other points of the same: lengths differ.
    lengths = [np.ptp(clouds[..., 2], axis=1) for clouds in drawn]
    assert np.abs(lengths[0] - lengths[2]).min() > 1


# Fresh points


def test_fresh_points_lie_on_their_surfaces_and_follow_the_seed(surfaces):
    found = baselines.resampled(surfaces[:3], 100, seed=4)
    assert (found.shape, found.dtype) == ((3, 100, 3), np.float32)
    for cloud, surface in zip(found, surfaces, strict=False):
        assert trimesh.proximity.closest_point(surface.mesh(), cloud)[1].max() < 1e-3
    np.testing.assert_array_equal(found, baselines.resampled(surfaces[:3], 100, seed=4))
    assert not np.array_equal(found, baselines.resampled(surfaces[:3], 100, seed=5))


def test_points_on_two_equal_surfaces_are_drawn_independently():
    first, second = baselines.resampled([socket(), socket()], 200)
    gaps = cKDTree(first).query(second)[0]
    apart = cKDTree(first).query(first, k=2)[0][:, 1]
    # The nearest of the other cloud is on average about half a spacing away, not on the spot.
    assert gaps.mean() > 0.3 * apart.mean()
