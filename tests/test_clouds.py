"""Facts of point clouds: even samplings, normalisation that can be undone, normals."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from aaelib.shapes.clouds import normalize, normals, resample
from aaelib.shapes.meshes import nearest_on


@pytest.fixture
def shapes():
    rng = np.random.default_rng(3)
    sizes = np.array([1.0, 2.0, 0.5])[:, None, None]
    return 100 * sizes * rng.normal(size=(3, 200, 3)) + rng.normal(size=(3, 1, 3)) * 1000


# The nearest point of a surface


def test_nearest_points_of_a_mesh_are_trimesh_s():
    mesh = trimesh.creation.annulus(r_min=20, r_max=50, height=30)
    points = np.random.default_rng(0).normal(0, 40, (500, 3))
    nearest, distances, faces = nearest_on(mesh, points)
    expected, apart, _ = trimesh.proximity.closest_point(mesh, points)
    np.testing.assert_allclose(nearest, expected, atol=1e-9)
    np.testing.assert_allclose(distances, apart, atol=1e-9)
    # Of several faces that share the nearest point, either may be named.
    on_face = trimesh.triangles.closest_point(mesh.triangles[faces], points)
    np.testing.assert_allclose(on_face, expected, atol=1e-9)


# Resampling


def test_points_lie_on_the_surface_and_no_two_coincide():
    mesh = trimesh.creation.annulus(r_min=20, r_max=50, height=30)
    points = resample(mesh, 500)
    assert points.shape == (500, 3)
    assert points.dtype == np.float32
    assert trimesh.proximity.closest_point(mesh, points)[1].max() < 1e-4
    assert len(np.unique(points, axis=0)) == 500


def test_points_are_spread_evenly():
    # Nearest neighbours on a unit sphere: uniform points are sqrt(4 pi / n) / 2 apart on average
    # (Clark and Evans, 1954), and no arrangement exceeds the hexagonal one, 2.149 times as much.
    n = 1000
    sphere = trimesh.creation.icosphere(4)
    points = resample(sphere, n)
    distances = cKDTree(points).query(points, k=2)[0][:, 1]
    ratio = distances.mean() / (np.sqrt(4 * np.pi / n) / 2)
    assert 1.45 < ratio < 2.149
    # Even all over: no hole larger than a hexagonal lattice's by more than three quarters.
    hexagon = np.sqrt(4 * np.pi / n * 2 / np.sqrt(3)) / np.sqrt(3)
    assert cKDTree(points).query(sphere.vertices)[0].max() < 1.75 * hexagon


def test_density_follows_area_not_faces():
    fine = trimesh.creation.box(extents=(1, 1, 1)).subdivide().subdivide().subdivide()
    coarse = trimesh.creation.box(extents=(1, 1, 1)).apply_translation([5, 0, 0])
    points = resample(trimesh.util.concatenate([fine, coarse]), 1000)
    assert (points[:, 0] > 2).sum() == pytest.approx(500, abs=15)


@pytest.mark.parametrize("n_points", [1, 2, 7])
def test_few_points_depend_on_the_seed_alone(n_points):
    first, again, other = (resample(trimesh.creation.box(), n_points, s) for s in (5, 5, 6))
    assert first.shape == (n_points, 3)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["missing.off", "points.xyz", "unknown.docx"])
def test_unreadable_files_are_named(tmp_path, name):
    if name != "missing.off":
        (tmp_path / name).write_text("1 2 3\n4 5 6\n")
    with pytest.raises(ValueError, match=name):
        resample(tmp_path / name, 10)


# Normalisation

WITHOUT_SIZE = np.array([1, 0, 1])[:, None, None]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (1, {"normalization": "cube"}, "'cube'.*dataset"),
        (1, {"scale": 0}, "scale is 0 for 'dataset'"),
        (1, {"normalization": "unit-sphere", "scale": 1.0}, "only for 'dataset'"),
        (WITHOUT_SIZE, {}, r"equal: \[1\]"),
        (WITHOUT_SIZE, {"scale": 100.0}, r"equal: \[1\]"),
        (np.where(np.arange(600).reshape(200, 3) == 7, np.nan, 1), {}, r"not finite: \[0, 1, 2\]"),
    ],
)
def test_bad_normalizations_and_shapes_without_size_are_refused(shapes, change, options, message):
    with pytest.raises(ValueError, match=message):
        normalize(change * shapes, **options)
    with pytest.raises(ValueError, match=r"\(200, 3\); expected \(n, n_points, 3\)"):
        normalize(shapes[0])


# Normals


def test_normals_of_a_plane_are_its_own_wherever_it_is():
    rng = np.random.default_rng(0)
    axes = Rotation.random(5, random_state=0).as_matrix()
    flat = rng.uniform(-50, 50, (5, 100, 2)) @ axes[:, :2] + rng.normal(0, 500, (5, 1, 3))
    cosines = np.sum(normals(flat) * axes[:, None, 2], axis=-1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-6)


def test_normals_turn_with_the_cloud_and_do_not_depend_on_size_or_order(shapes):
    found = normals(shapes)
    turn = Rotation.from_euler("xyz", [0.3, -1, 2])
    moved = 7 * np.stack([turn.apply(points) for points in shapes]) + [1, 2, 3]
    turned = np.stack([turn.apply(directions) for directions in found])
    np.testing.assert_allclose(np.abs(np.sum(normals(moved) * turned, axis=-1)), 1, atol=1e-4)
    order = np.random.default_rng(1).permutation(200)
    cosines = np.sum(normals(shapes[:, order]) * found[:, order], axis=-1)
    np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-4)


def test_few_points_or_ones_that_coincide_have_unit_normals_too():
    triangle = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    np.testing.assert_allclose(np.abs(normals(triangle)), np.tile([0, 0, 1], (1, 3, 1)), atol=1e-6)
    same = normals(np.ones((1, 20, 3)))
    np.testing.assert_allclose(np.linalg.norm(same, axis=-1), 1, rtol=1e-6)
