"""Facts of the comparison in mm of evenly sampled surfaces, on sockets whose shape is known."""

import numpy as np
import pytest
from analytic import sockets
from scipy.spatial.transform import Rotation

from aaelib.metrics.distances import chamfer_distance
from aaelib.shapes.sockets import SocketSurface
from aaelib.study.even import METRICS, EvenSockets

N = 6


def clouds(surfaces, seed=50):
    return np.stack([surface.sample(2048, seed + i) for i, surface in enumerate(surfaces)])


@pytest.fixture(scope="module")
def surfaces():
    return sockets(N)


@pytest.fixture(scope="module")
def test_set(surfaces):
    return EvenSockets(surfaces, n_points=512, emd_points=128)


@pytest.fixture(scope="module")
def floor(test_set, surfaces):
    """What other points on the test sockets reach as a contender."""
    return test_set.evaluate(clouds(surfaces), clouds(surfaces, seed=70))


def test_test_sockets_as_a_contender_reach_the_floor(test_set, floor, surfaces):
    assert set(floor) == {*METRICS, "no_surface"}
    assert floor["two_way_mm"].shape == (N,)
    # A fitted surface is 0.1 to 0.2 mm away from the one that its points are on.
    assert floor["two_way_mm"].max() < 0.3
    assert floor["two_way_95_mm"].max() < 1
    assert floor["coverage_chamfer"] == floor["coverage_emd"] == 1
    # Copies have their originals as nearest neighbours.
    assert floor["one_nn_chamfer"] == floor["one_nn_emd"] == 0
    assert floor["length_w1_mm"] < 2
    assert floor["volume_w1_percent"] < 1
    assert not floor["no_surface"].any()


def test_density_of_the_points_does_not_count(test_set, floor, surfaces):
    """Three quarters of the points on the lower half of the wall: the surface is the same."""
    rng = np.random.default_rng(0)
    uneven = []
    for surface in surfaces:
        points = rng.permutation(surface.sample(6000))
        lower = points[:, 2] < np.median(points[:, 2])
        uneven.append(np.concatenate([points[lower][:1536], points[~lower][:512]]))
    found = test_set.evaluate(np.stack(uneven), surfaces)
    assert found["chamfer_mm2"].mean() == pytest.approx(floor["chamfer_mm2"].mean(), rel=0.05)
    assert found["two_way_mm"].max() < 0.6
    even = clouds(surfaces)
    as_given = chamfer_distance(np.stack(uneven), test_set.points).mean()
    assert as_given > 1.1 * chamfer_distance(even, test_set.points).mean()


def test_a_wall_without_its_upper_third_costs_in_one_of_the_two_directions(test_set, surfaces):
    grid = [surface.vertices for surface in surfaces]
    # Points on the wall that is left are on the test socket; a third of the test socket's are up
    # to a third of the meridian away from what is left, at 95 % almost that.
    short = [SocketSurface(vertices[:, :11]) for vertices in grid]
    found = test_set.evaluate(short, surfaces)
    missing = np.array([np.linalg.norm(g[0, -1] - g[0, 10]) for g in grid])
    areas = [[surface.mesh().area for surface in each] for each in (short, surfaces)]
    share = 1 - np.divide(*areas)
    np.testing.assert_allclose(found["two_way_mm"], share * missing / 4, rtol=0.15)
    np.testing.assert_allclose(found["two_way_95_mm"], (1 - 0.1 / share) * missing, rtol=0.15)


def test_sizes_of_longer_samples_differ_by_what_was_added(test_set, surfaces):
    longer = [SocketSurface(surface.vertices * [1, 1, 1.1]) for surface in surfaces]
    found = test_set.evaluate(surfaces, longer)
    lengths = [np.ptp(surface.vertices[..., 2]) for surface in surfaces]
    assert found["length_w1_mm"] == pytest.approx(0.1 * np.mean(lengths))
    assert found["volume_w1_percent"] == pytest.approx(10)
    # Sections at the brim only move up.
    assert found["proximal_perimeter_w1_mm"] == pytest.approx(0, abs=1e-9)


def test_samples_may_be_anywhere_and_reconstructions_may_not(test_set, floor, surfaces):
    away = np.array([100, -50, 30])
    found = test_set.evaluate(clouds(surfaces) + away, clouds(surfaces, seed=70) + away)
    assert found["mmd_chamfer_mm2"] == pytest.approx(floor["mmd_chamfer_mm2"], rel=0.05)
    assert found["mmd_emd_mm"] == pytest.approx(floor["mmd_emd_mm"], rel=0.1)
    assert found["jsd_one_scale"] == pytest.approx(floor["jsd_one_scale"], rel=0.1)
    assert found["emd_mm"] == pytest.approx(np.linalg.norm(away), rel=0.02)


def test_turning_all_sockets_about_their_axis_changes_no_more_than_other_points_do(surfaces):
    turn = Rotation.from_euler("z", 37, degrees=True)
    sets = [clouds(surfaces), clouds(sockets(N, 1)), clouds(sockets(N, 2))]
    found, turned = (
        EvenSockets(test, 512, 256).evaluate(*contender)
        for test, *contender in (sets, [[turn.apply(cloud) for cloud in each] for each in sets])
    )
    # The voxels of the Jensen-Shannon divergence do not turn.
    for name in METRICS.keys() - {"jsd_one_scale"}:
        expected = pytest.approx(found[name].mean(), rel=0.1, abs=0.2)
        assert turned[name].mean() == expected, name


def test_clouds_without_a_surface_count_as_far_away(surfaces):
    speck, needle = np.zeros((600, 3)), np.linspace(0, 200, 600)[:, None] * [0, 0, 1.0]
    test_set = EvenSockets(surfaces[:2], n_points=128, emd_points=64)
    found = test_set.evaluate([speck, needle], [speck, *clouds(surfaces[:1])])
    assert found["no_surface"].tolist() == [1, 0.5]
    assert all(np.isfinite(values).all() for values in found.values())
    # A speck at the distal end of a cup that is 200 mm long, a needle on its axis, 50 mm from it.
    assert found["emd_mm"][0] > 80
    assert found["emd_mm"][1] > 35
    assert (found["two_way_mm"] > 35).all()
    assert found["coverage_chamfer"] == found["coverage_emd"] == 0.5
    with pytest.raises(ValueError, match="not finite"):
        EvenSockets([np.full((600, 3), np.nan)])


def test_contenders_are_as_many_as_the_test_sockets(test_set, surfaces):
    with pytest.raises(ValueError, match=f"{N} reconstructions and {N - 1} samples of {N} sockets"):
        test_set.evaluate(surfaces, surfaces[1:])


@pytest.mark.parametrize("kind", ["quarter", "corner"])
def test_points_on_one_side_of_the_axis_only_are_blurred_until_there_is_a_surface(kind):
    u = np.random.default_rng(0).uniform(size=(300, 3))
    quarter = np.stack([50 * np.cos(u[:, 0]), 50 * np.sin(u[:, 0]), 80 * u[:, 2]], axis=1)
    corner = np.where(u[:, :1] < 0.3, u * [100, 1, 5], u * [1, 1, 80])
    cloud = {"quarter": quarter, "corner": corner}[kind]
    with pytest.raises(ValueError, match="around their long axis"):
        SocketSurface.from_points(cloud)
    assert EvenSockets([cloud], n_points=128, emd_points=64).no_surface == 1
