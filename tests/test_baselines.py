"""Facts of the baselines: the nearest scan, linear shape models, fresh points."""

import numpy as np
import pytest
import trimesh
from analytic import family, socket, sockets
from scipy.spatial import cKDTree

from aaelib.metrics.distances import chamfer_distance
from aaelib.metrics.reconstruction import reconstruction_chamfer
from aaelib.shapes.clouds import normalize
from aaelib.shapes.folders import Shapes
from aaelib.shapes.shape_model import ShapeModel
from aaelib.study import baselines
from aaelib.study.baselines import Known
from aaelib.study.evaluation import Unseen


@pytest.fixture(scope="module")
def surfaces():
    return sockets(6)


@pytest.fixture(scope="module")
def clouds(surfaces):
    return np.stack([surface.sample(200) for surface in surfaces])


# The nearest scan


def test_a_scan_moved_and_scaled_is_its_own_nearest(clouds):
    rng = np.random.default_rng(0)
    sizes, steps = rng.uniform(0.5, 2, (6, 1, 1)), rng.normal(0, 100, (6, 1, 3))
    seen = sizes * clouds + steps
    found = baselines.nearest(seen, clouds[::-1])
    np.testing.assert_allclose(found, seen, atol=1e-2)
    np.testing.assert_allclose(chamfer_distance(seen / 200, found / 200), 0, atol=1e-8)


# Copies


def test_the_nearest_distance_is_that_to_the_nearest_scan(clouds):
    training = clouds[3:]
    found = baselines.nearest_distances(clouds[:3], training)
    unit, unit_training = (normalize(each, "unit-sphere")[0] for each in (clouds[:3], training))
    expected = [
        min(chamfer_distance(cloud[None], scan[None])[0] for scan in unit_training)
        for cloud in unit
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_copies_of_training_sockets_are_told_from_new_ones():
    training, test, new = (
        baselines.resampled(sockets(n, seed), 300, seed) for n, seed in ((8, 1), (20, 2), (20, 3))
    )
    rng = np.random.default_rng(0)
    copies = np.repeat(training, 3, axis=0) + rng.normal(0, 0.5, (24, 300, 3))
    of_test = baselines.nearest_distances(test, training)
    found = baselines.memorising(baselines.nearest_distances(copies, training), of_test)
    assert found["ratio"] == found["generated"] / found["test"] < 0.1
    assert found["share_nearer"] == 1
    found = baselines.memorising(baselines.nearest_distances(new, training), of_test)
    assert found["ratio"] == pytest.approx(1, abs=0.5)
    assert found["share_nearer"] < 0.3


@pytest.mark.parametrize("n_test", [19, 30, 200])
def test_of_sockets_like_the_test_sockets_5_percent_are_nearer(n_test):
    rng = np.random.default_rng(n_test)
    shares = [
        baselines.memorising(rng.gamma(9, size=100), rng.gamma(9, size=n_test))["share_nearer"]
        for _ in range(2000)
    ]
    assert np.mean(shares) == pytest.approx(0.05, abs=0.005)


# Linear shape models


def test_linear_samples_are_as_many_of_a_kind_as_asked_for():
    # Transtibial sockets about 200 mm long, transfemoral ones about 400.
    models = {"TT": ShapeModel.fit(sockets(5)), "TF": ShapeModel.fit(sockets(5, length=400))}
    kinds = ["TT", "TF", "TT", "TT", "TF"]
    found, again, other = (baselines.linear_samples(models, kinds, 100, seed) for seed in (1, 1, 2))
    assert found.shape == (5, 100, 3)
    # Each where its kind is.
    lengths, others = (np.ptp(each[..., 2], axis=1) for each in (found, other))
    np.testing.assert_array_equal(lengths > 300, [False, True, False, False, True])
    np.testing.assert_array_equal(found, again)
    # Other sockets, not only other points of the same: lengths differ.
    assert np.abs(lengths - others).min() > 1


def of(surfaces):
    """Shapes of one kind, and their surfaces."""
    points, n = np.stack([surface.sample(100) for surface in surfaces]), len(surfaces)
    return Shapes(points, np.arange(n).astype(str), np.full(n, "TT"), "analytic"), surfaces


def test_linear_models_use_as_many_modes_as_asked_for_and_no_more_than_there_are():
    known, unseen = Known(*of(family())), Unseen(*of(family(3, seed=5)), drawn=1)

    def linear(n_modes):
        found, [drawn] = baselines.linear(unseen, known, [0], n_modes)
        pairs = zip(unseen.meshes, found, strict=True)
        return max(trimesh.proximity.closest_point(mesh, c)[1].max() for mesh, c in pairs), drawn

    (some, of_one), (every, of_all) = linear(1), linear(None)
    # Two modes are all that there is, and what is not a mode of its own is on the surface.
    assert max(every, linear(2)[0], linear(1000)[0]) < 0.1 < 1 < some
    assert not np.allclose(of_one, of_all, atol=1)


# Fresh points


def test_points_on_two_equal_surfaces_are_drawn_independently():
    first, second = baselines.resampled([socket(), socket()], 200)
    gaps = cKDTree(first).query(second)[0]
    apart = cKDTree(first).query(first, k=2)[0][:, 1]
    # The nearest of the other cloud is on average about half a spacing away, not on the spot.
    assert gaps.mean() > 0.3 * apart.mean()


# All of them


@pytest.fixture(scope="module")
def study():
    """Parts of twenty sockets, ten of either kind: unseen ones, scans, and all but the unseen."""
    real = sockets(10, seed=3) + sockets(10, seed=4, length=400)
    points = np.stack([surface.sample(150, seed=i) for i, surface in enumerate(real)])
    kinds = np.array(["TT"] * 10 + ["TF"] * 10)
    shapes = Shapes(points, np.arange(20).astype(str), kinds, "analytic")
    test, scans = np.array([0, 1, 10, 11]), np.array([2, 3, 4, 12, 13, 14])
    training = np.setdiff1d(np.arange(20), test)
    of = [(shapes[index], [real[i] for i in index]) for index in (test, scans, training)]
    return Unseen(*of[0]), Known(*of[1]), Known(*of[2])


def test_every_baseline_reconstructs_each_socket_and_draws_a_multiple(study):
    unseen, *_ = study
    found = {name: made() for name, made in baselines.of_study(*study, 2, [7, 8]).items()}
    assert tuple(found) == baselines.NAMES
    for reconstruction, draws in found.values():
        assert len(reconstruction) == 4
        assert [len(draw) for draw in draws] == [12, 12]
        assert not np.array_equal(*draws)
    error = {
        name: reconstruction_chamfer(unseen.points, reconstruction).mean()
        for name, (reconstruction, _) in found.items()
    }
    assert min(error, key=error.get) == baselines.FLOOR
    assert error[baselines.NEAREST] <= error[baselines.NEAREST_SCAN]
    # As many of a kind as among the test sockets, in each part of a draw.
    for name in (baselines.LINEAR, baselines.FLOOR):
        lengths = np.ptp(found[name][1][0][..., 2], axis=1)
        np.testing.assert_array_equal(lengths > 300, [False, False, True, True] * 3)


def test_real_clouds_are_drawn_without_repeats_in_a_part(clouds):
    for part in np.split(drawn := baselines.redrawn(clouds, 4, seed=1, times=3), 3):
        assert len(np.unique(part, axis=0)) == 4
    assert {cloud.tobytes() for cloud in drawn} <= {cloud.tobytes() for cloud in clouds}
    # Of fewer than are asked for, some must be.
    assert len(baselines.redrawn(clouds[:2], 5)) == 5
