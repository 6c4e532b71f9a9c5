"""Facts of a socket's surface, on a capsule-shaped cup whose sizes are known."""

import analytic
import numpy as np
import pytest
import trimesh
from analytic import socket as capsule
from scipy.spatial import cKDTree

from aaelib.metrics import surface_distance
from aaelib.shapes.clouds import place, resample
from aaelib.shapes.sockets import SocketSurface, check_sockets, surface_errors, vertex_values
from aaelib.shapes.sources import load_sockets

RADIUS = 50.0  # mm, of hemisphere and cylinder
FLATTENING = 0.8  # of the sections of a cup, y to x


def brim_height(angle, wave):
    return 200.0 + wave * (np.sin(angle) + 0.5 * np.cos(2 * angle))


def cup(n=2048, wave=30.0, flattening=FLATTENING):
    """Evenly spread points (n, 3) mm on a cup with an elliptic section and a wavy brim."""
    # A sphere and the cylinder around it have equal areas between equal heights (Archimedes), so
    # points uniform in angle and height are uniform on a capsule. The R2 sequence (Roberts, 2018)
    # makes them even.
    steps = np.arange(4 * n)[:, None] * [0.7548776662466927, 0.5698402909980532]
    angle, height = (steps % 1 * [2 * np.pi, 300.0]).T
    kept = np.flatnonzero(height < brim_height(angle, wave))[:n]
    angle, height = angle[kept], height[kept]
    rho = np.where(height < RADIUS, np.sqrt(np.maximum(height * (2 * RADIUS - height), 0)), RADIUS)
    return np.stack([rho * np.cos(angle), flattening * rho * np.sin(angle), height], axis=1)


def distance_to_cup(points):
    """How far points are from the cup before it was flattened, mm: no less than from the cup."""
    round_ = points / [1, FLATTENING, 1]
    below = np.minimum(round_[..., 2] - RADIUS, 0)
    return np.abs(np.sqrt(round_[..., 0] ** 2 + round_[..., 1] ** 2 + below**2) - RADIUS)


@pytest.fixture(scope="module")
def points():
    return cup()


@pytest.fixture(scope="module")
def surface(points):
    return SocketSurface.from_points(points)


# Fitting


def test_surface_is_the_one_the_points_were_drawn_from(surface):
    assert surface.vertices.shape == (72, 48, 3)
    error = distance_to_cup(surface.vertices)
    assert error.mean() < 0.1
    assert error.max() < 2


def test_brim_is_where_the_points_end(surface):
    x, y, z = surface.vertices[:, -1].T
    error = z - brim_height(np.arctan2(y / FLATTENING, x), wave=30.0)
    # Points are about 5.5 mm apart.
    assert error.mean() == pytest.approx(0, abs=1)
    assert error.std() < 1.5
    assert np.abs(error).max() < 5.5


def test_angles_are_equally_spaced_about_the_distal_pole(surface):
    assert (surface.vertices[:, 0] == surface.vertices[0, 0]).all()
    assert np.linalg.norm(surface.vertices[0, 0]) < 1.5
    axis = surface.vertices[0, 0, :2]
    x, y = np.moveaxis(surface.vertices[:, 1:, :2] - axis, -1, 0)
    expected = np.exp(1j * np.arange(72) * np.pi / 36)[:, None]
    np.testing.assert_allclose((x + 1j * y) / np.hypot(x, y), np.broadcast_to(expected, x.shape))


def test_clouds_lie_on_their_surfaces():
    for cloud in [cup(wave=0.0), cup(flattening=1.0), *load_sockets(limit=1).points]:
        mesh = SocketSurface.from_points(cloud).mesh()
        assert surface_distance(cloud, mesh).mean() < 0.6
        # The other way: no surface where there are no points. A point has about 3 mm around it.
        dense = trimesh.sample.sample_surface(mesh, 5000, seed=0)[0]
        assert cKDTree(cloud).query(dense)[0].mean() < 4


def test_noise_is_not_amplified(points):
    noise = np.random.default_rng(0).normal(0, 1.0, points.shape)
    rough = SocketSurface.from_points(points + noise)
    smooth = SocketSurface.from_points(points + noise, smoothing=0.1)
    # The mean of the absolute value of unit noise is 0.8; part of it is averaged away.
    assert distance_to_cup(rough.vertices).mean() < 0.7
    assert distance_to_cup(smooth.vertices).mean() < 0.5
    x, y, z = smooth.vertices[:, -1].T
    assert np.abs(z - brim_height(np.arctan2(y / FLATTENING, x), 30.0)).mean() < 3


def test_stray_points_do_not_move_the_surface(points, surface):
    stray = np.array([[5.0, 3.0, 160.0], [0.0, 300.0, 150.0]])
    fitted = SocketSurface.from_points(np.concatenate([points, stray]))
    assert np.abs(fitted.vertices - surface.vertices).max() < 0.5


def test_a_hole_in_the_cloud_is_closed_smoothly(points):
    holed = points[np.hypot(points[:, 0], points[:, 1] / FLATTENING) > 25]
    vertices = SocketSurface.from_points(holed).vertices
    assert distance_to_cup(vertices).max() < 8
    assert vertices[..., 2].min() > -2


def test_a_lip_that_turns_down_is_followed():
    # A half circle of radius 15 on top of the wall, outwards and down: a ray from any point of the
    # axis below meets wall or lip twice.
    lipped = analytic.lipped(15.0, 170.0, down=0, n_angles=144).mesh()
    cloud = resample(lipped, 2048)
    surface = SocketSurface.from_points(cloud)
    assert surface_distance(cloud, surface.mesh()).mean() < 0.5
    assert surface_distance(surface.vertices[::4].reshape(-1, 3), lipped).max() < 4
    # The brim is the end of the lip, at 170 mm, not its crest at 185 mm.
    assert surface.measure()["brim_height_mean_mm"] == pytest.approx(170, abs=4)
    assert surface.measure()["length_mm"] == pytest.approx(185, abs=2)


def test_order_and_repetition_of_the_points_do_not_matter(points, surface):
    shuffled = np.random.default_rng(0).permutation(np.concatenate([points, points[:50]]))
    fitted = SocketSurface.from_points(shuffled)
    np.testing.assert_allclose(fitted.vertices, surface.vertices, atol=1e-9)


def test_moving_and_scaling_the_cloud_moves_and_scales_surface_and_measures(points, surface):
    way = np.array([10, -20, 300])
    changed = SocketSurface.from_points(1.5 * points + way)
    np.testing.assert_allclose(changed.vertices, 1.5 * surface.vertices + way, atol=1e-6)
    measures, expected = changed.measure(), surface.measure()
    powers = {"length_mm": 1, "brim_height_mean_mm": 1, "area_mm2": 2, "volume_mm3": 3}
    for name, power in powers.items():
        assert measures[name] == pytest.approx(1.5**power * expected[name], rel=1e-6)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((200, 2)), r"\(200, 2\)"),
        (cup(99), "99 different points"),
        (np.ones((200, 3)), "1 different points among 200"),
        (np.arange(200)[:, None] * [0, 0, 1.0], "not spread along and around"),
        (np.where(np.arange(600).reshape(200, 3) == 7, np.nan, cup(200)), r"not finite: \[2\]"),
    ],
)
def test_what_is_no_socket_is_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        SocketSurface.from_points(bad)


@pytest.mark.parametrize("vertices", [np.zeros((72, 48)), np.full((72, 48, 3), np.nan)])
def test_grids_that_are_no_surface_are_refused(vertices):
    with pytest.raises(ValueError, match=r"shape \(72, 48.* are not finite \(angles, heights, 3\)"):
        SocketSurface(vertices)


def test_clouds_that_are_no_sockets_in_mm_are_warned_of(points):
    with pytest.warns(UserWarning, match="a and 1 more: .*fits no unit"):
        check_sockets(1e-6 * np.stack([points, points]), ["a", "b"])


@pytest.mark.parametrize("up", ["x", "y", "-x", "-y", "-z"])
def test_sockets_that_are_not_upright_are_refused_with_the_turn_that_helps(points, up):
    axis, sign = "xyz".index(up[-1]), [1, -1, -1] if up.startswith("-") else 1
    turned = np.roll(points * sign, axis - 2, axis=1) / 25.4
    placed = place(turned, up, "inch")
    np.testing.assert_allclose(placed, points, atol=1e-4)
    # A proper rotation: right stays right.
    rotation = np.linalg.lstsq(turned, placed)[0] / 25.4
    assert np.linalg.det(rotation) == pytest.approx(1)
    check_sockets(placed[None], ["a"], refuse=True)
    with pytest.raises(ValueError, match=f"a and 1 more: .*--up={up},"):
        check_sockets(25.4 * np.stack([turned, turned]), ["a", "b"], refuse=True)
    with pytest.raises(ValueError, match="--unit inch"):
        check_sockets(turned[None], ["a"], refuse=True)


def test_noise_makes_no_wall_of_a_socket(points):
    noise = np.random.default_rng(0).normal(0, 2, points.shape)
    check_sockets([points, points + noise], ["a", "noisy"], refuse=True)


# Mesh


def test_mesh_is_a_clean_disc_open_at_the_brim_that_faces_outwards(surface):
    mesh = surface.mesh()
    assert mesh.is_winding_consistent
    assert mesh.area_faces.min() > 1e-3
    center = surface.vertices.mean(axis=(0, 1))
    assert (np.einsum("ij,ij->i", mesh.face_normals, mesh.triangles_center - center) > 0).all()
    assert len(mesh.vertices) == 1 + 72 * 47
    assert mesh.euler_number == 1
    edges, counts = np.unique(mesh.edges_sorted, axis=0, return_counts=True)
    assert set(counts) == {1, 2}
    brim = mesh.vertices[np.unique(edges[counts == 1])]
    np.testing.assert_array_equal(
        np.unique(brim, axis=0), np.unique(surface.vertices[:, -1], axis=0)
    )


# Measures


def test_measures_of_a_capsule_are_known():
    measures = capsule(n_angles=72, n_heights=200).measure()
    circle, disc = 2 * np.pi * RADIUS, np.pi * RADIUS**2
    at_30 = np.sqrt(30 * (2 * RADIUS - 30))
    rho = np.array([at_30] + 5 * [RADIUS])
    expected = {
        "length_mm": 200,
        "brim_height_min_mm": 200,
        "brim_height_mean_mm": 200,
        "area_mm2": circle * 200,
        "volume_mm3": disc * (150 + 2 / 3 * RADIUS),
        "heights_mm": [30, 60, 90, 120, 150, 180],
        "perimeters_mm": 2 * np.pi * rho,
        "areas_mm2": np.pi * rho**2,
        "distal_height_mm": 30,
        "distal_perimeter_mm": 2 * np.pi * at_30,
        "proximal_height_mm": 200,
        "proximal_perimeter_mm": circle,
    }
    assert measures.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(measures[name], value, rtol=0.003, err_msg=name)


# Errors of reconstructions


@pytest.fixture(scope="module")
def capsules():
    """A round cup, and clouds 2 mm outside and 2 mm inside of it."""
    real, clouds = capsule(**analytic.GRID), []
    for offset in (2.0, -2.0):
        moved = capsule(200 + offset, RADIUS + offset, **analytic.GRID).vertices
        clouds.append(SocketSurface(moved - np.array([0, 0, offset])).sample())
    return real, np.stack(clouds)


def test_a_reconstruction_2_mm_outside_or_inside_has_an_error_of_2_mm(capsules):
    real, clouds = capsules
    for found, error in zip(surface_errors(clouds, [real, real]), (2, -2), strict=True):
        assert found.shape == (72, 48)
        # Flat faces lie up to 0.07 mm inside of the round wall between their corners.
        np.testing.assert_allclose(found[:, :-3], error, atol=0.3)
        assert found.mean() == pytest.approx(error, abs=0.1)
        # Where all angles meet, there is one error.
        assert np.ptp(found[:, 0]) == 0


def test_a_bump_on_one_side_is_an_error_of_that_side(capsules):
    real, _ = capsules
    mesh = real.mesh()
    away = np.linalg.norm(mesh.vertices - [RADIUS, 0, 120], axis=1)
    bump = 6 * np.exp(-((away / 25) ** 2))[:, None] * mesh.vertex_normals
    cloud = resample(trimesh.Trimesh(mesh.vertices + bump, mesh.faces), 4096)
    errors = surface_errors(cloud[None], [real])[0]
    at, level = np.unravel_index(errors.argmax(), errors.shape)
    x, y, z = real.vertices[at, level]
    np.testing.assert_allclose([x, y, z], [RADIUS, 0, 120], atol=8)
    assert errors.max() == pytest.approx(6, abs=1)
    opposite = np.abs(errors[27:45, :-3])
    assert opposite.max() < 0.3


def test_neither_a_lower_brim_nor_a_grid_that_slides_along_the_wall_is_an_error(capsules):
    # Nodes of one level are up to 15 mm apart: all of it along the wall.
    low = capsule(185.0, n_angles=72, n_heights=48)
    errors = surface_errors(low.sample()[None], [capsules[0]])[0]
    assert np.abs(errors).mean() < 0.1
    assert np.abs(errors).max() < 0.6


def test_a_number_stays_with_its_node(surface):
    for axis in range(3):
        np.testing.assert_array_equal(
            vertex_values(surface.vertices[..., axis]), surface.mesh().vertices[:, axis]
        )


def test_points_in_a_plane_are_no_socket():
    points = np.random.default_rng(0).uniform(-100, 100, (500, 3)) * [1, 1, 0]
    with pytest.raises(ValueError, match="not spread along and around"):
        SocketSurface.from_points(points)
