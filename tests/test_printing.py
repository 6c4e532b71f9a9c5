"""Facts of the walls that are printed around sockets, and of the files they are taken home in."""

import analytic
import numpy as np
import pandas as pd
import pytest
import trimesh
from igl.copyleft.cgal import remesh_self_intersections
from scipy.spatial import cKDTree

from aaelib.shapes.printing import FORMATS, export, export_measurements
from aaelib.shapes.sockets import SocketSurface, export_stl
from aaelib.shapes.sources import load_sockets


def dented(depth, width=6.0):
    """A capsule with a Gaussian dent, mm, beside its distal pole."""
    vertices = analytic.socket(n_angles=48, n_heights=64).vertices.copy()
    rho = np.hypot(vertices[..., 0] - 3, vertices[..., 1] - 2)
    vertices[..., 2] += depth * np.exp(-0.5 * (rho / width) ** 2) * (vertices[..., 2] < 50)
    return SocketSurface(vertices)


def crossings(mesh):
    """How many pairs of faces cross each other, or are folded onto each other."""
    faces = np.array(mesh.faces, np.int64)
    return len(remesh_self_intersections(np.array(mesh.vertices), faces, detect_only=True)[2])


def walls(surface, shell):
    """The outer wall, and the rim with its faces."""
    n = len(surface.mesh().faces)
    parts = np.split(shell.faces, [n, 2 * n])[1:]
    return [trimesh.Trimesh(shell.vertices, part) for part in parts]


def wall_thickness(surface, shell, thickness, n=1000):
    """Distances of points on the outer wall from the inner one, a thickness away from the rim."""
    outer, rim = walls(surface, shell)
    points = trimesh.sample.sample_surface(outer, n, seed=0)[0]
    edge = cKDTree(rim.subdivide().vertices)
    points = points[edge.query(points)[0] > thickness]
    return trimesh.proximity.closest_point(surface.mesh(), points)[1]


@pytest.fixture(scope="module")
def drawn():
    """A socket of each kind."""
    clouds = load_sockets(source="bundled", limit=1).points
    return [SocketSurface.from_points(cloud, smoothing=0.1) for cloud in clouds]


# Walls


@pytest.mark.parametrize("thickness", [3.0, 6.0])
@pytest.mark.parametrize("kind", [0, 1])
def test_walls_of_sockets_are_closed_even_and_do_not_cross_themselves(drawn, kind, thickness):
    surface = drawn[kind]
    shell = surface.shell(thickness)
    assert shell.is_watertight
    assert shell.is_winding_consistent
    assert shell.euler_number == 2
    assert shell.volume > 0
    assert crossings(shell) == 0
    found = wall_thickness(surface, shell, thickness)
    assert len(found) > 800
    assert (np.abs(found - thickness) < 0.3).mean() > 0.95
    inner = surface.mesh()
    np.testing.assert_array_equal(shell.vertices[: len(inner.vertices)], inner.vertices)
    np.testing.assert_array_equal(shell.faces[: len(inner.faces)], inner.faces[:, ::-1])


def test_a_solid_modeller_takes_walls_as_they_are(drawn):
    import manifold3d

    shell = drawn[0].shell(4.0)
    mesh = manifold3d.Mesh(np.float32(shell.vertices), np.uint32(shell.faces))
    solid = manifold3d.Manifold(mesh)
    assert (solid.status(), solid.genus()) == (manifold3d.Error.NoError, 0)
    assert solid.volume() == pytest.approx(shell.volume, rel=1e-3)


def test_a_wall_around_a_dent_does_not_fold_over():
    # At its bottom, seen from outside, the dent's radius of curvature is 6^2 / 8 = 4.5 mm.
    surface = dented(depth=8.0)
    inner = surface.mesh()
    along_normals = inner.copy()
    along_normals.vertices = inner.vertices + 8 * inner.vertex_normals
    assert crossings(along_normals) > 0
    shell = surface.shell(8.0)
    assert crossings(shell) == 0
    found = wall_thickness(surface, shell, 8.0)
    assert found.min() > 7.5
    assert (np.abs(found - 8) < 0.3).mean() > 0.95


def test_a_lip_has_a_wall_where_there_is_room_and_is_refused_elsewhere(tmp_path):
    path = export(analytic.lipped(radius=15.0), tmp_path / "socket.stl", thickness=6.0)
    before = path.read_bytes()
    shell = trimesh.load_mesh(path)
    assert shell.is_volume
    assert crossings(shell) == 0
    with pytest.raises(ValueError, match=r"wall of 6.0 mm would cross itself between 1\d\d and"):
        export(analytic.lipped(radius=5.0), path, thickness=6.0)
    assert path.read_bytes() == before


def test_the_rim_is_half_a_ring():
    surface, thickness = analytic.socket(length=200.0, radius=50.0, n_angles=180), 6.0
    shell = surface.shell(thickness)
    assert shell.bounds[1, 2] == pytest.approx(200 + thickness / 2, abs=0.05)
    rim = walls(surface, shell)[1]
    rho, z = np.hypot(*rim.vertices[:, :2].T), rim.vertices[:, 2]
    from_middle = np.hypot(rho - (50 + thickness / 2), z - 200)
    np.testing.assert_allclose(from_middle, thickness / 2, atol=0.02)
    # Pappus: half a circle's length, times the way of its centroid.
    assert rim.area == pytest.approx(np.pi * 3 * 2 * np.pi * 53, rel=0.01)


def test_faces_without_area_are_refused():
    vertices = analytic.socket().vertices.copy()
    vertices[:, 1:3] = vertices[:, 1:2]
    with pytest.raises(ValueError, match="48 faces of the surface have no area"):
        SocketSurface(vertices).shell()


@pytest.mark.parametrize("thickness", [0.0, 21.0, np.nan])
def test_walls_that_cannot_be_are_refused(tmp_path, thickness):
    with pytest.raises(ValueError, match="thickness is"):
        export_stl(analytic.socket(), tmp_path / "socket.stl", thickness)
    assert not list(tmp_path.iterdir())


# Files


@pytest.mark.parametrize("suffix", [*FORMATS, ".STL"])
def test_files_hold_the_shell(drawn, tmp_path, suffix):
    path = export(drawn[0], tmp_path / "new" / f"socket{suffix}", thickness=4.0)
    assert [p.name for p in path.parent.iterdir()] == [f"socket{suffix}"]
    printed, shell = trimesh.load_mesh(path), drawn[0].shell(4.0)
    assert printed.is_watertight
    assert printed.is_winding_consistent
    assert len(printed.faces) == len(shell.faces)
    assert printed.volume == pytest.approx(shell.volume, rel=1e-4)
    np.testing.assert_allclose(printed.bounds, shell.bounds, atol=1e-3)
    assert (printed.units == "millimeter") == (suffix == ".3mf")


@pytest.mark.parametrize(
    ("write", "suffix", "accepted"),
    [
        (export, ".obj", ".stl, .3mf, .ply"),
        (export, "", ".stl, .3mf, .ply"),
        (export_stl, ".3mf", ".stl"),
        (export_measurements, ".xlsx", ".csv"),
    ],
)
def test_other_suffixes_are_refused_and_nothing_is_written(tmp_path, write, suffix, accepted):
    with pytest.raises(ValueError, match=f"suffix '{suffix}'; files are written as {accepted}$"):
        write(analytic.socket(), tmp_path / f"socket{suffix}")
    assert not list(tmp_path.iterdir())


# Measurements


@pytest.mark.parametrize("length", [200.0, 25.0])  # the lower one has no sections
def test_the_table_of_measurements_holds_the_measures(tmp_path, length):
    surface = analytic.socket(length, radius=20.0)
    table = pd.read_csv(export_measurements(surface, tmp_path / "socket.csv"))
    measures = surface.measure()
    assert list(table["part"]) == ["socket"] + ["section"] * len(measures["heights_mm"])
    for name, plural in [
        ("section_height_mm", "heights_mm"),
        ("section_perimeter_mm", "perimeters_mm"),
        ("section_area_mm2", "areas_mm2"),
    ]:
        np.testing.assert_allclose(table[name][1:], measures.pop(plural), atol=0.005)
        assert np.isnan(table[name][0])
    for name, value in measures.items():
        assert table[name][0] == pytest.approx(value, abs=0.005)
        assert table[name][1:].isna().all()
    assert all(name.rsplit("_", 1)[1] in ("mm", "mm2", "mm3") for name in table.columns[1:])
