import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from aaelib.shapes import clouds, corpus


def chamfer(a, b):
    there, back = cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]
    return (there**2).mean() + (back**2).mean()


def test_clouds_are_centred_in_the_unit_sphere_and_touch_it():
    points, labels = corpus.generate(2, n_points=128, seed=1)
    assert points.dtype == np.float32
    assert list(labels) == [name for name in corpus.FAMILIES for _ in range(2)]
    np.testing.assert_allclose(points.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1).max(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("family", corpus.FAMILIES)
def test_every_mesh_bounds_a_solid_in_three_dimensions(family):
    for index in range(12):
        mesh = corpus.draw_mesh(family, index)[0]
        assert mesh.is_volume
        # No shape is a sheet or a needle: its thinnest extent is over a tenth of its largest.
        assert mesh.extents.min() > 0.1 * mesh.extents.max()


@pytest.mark.parametrize("family", corpus.FAMILIES)
def test_shapes_of_a_family_differ_by_more_than_their_sampling(family):
    meshes = [corpus.draw_mesh(family, index)[0] for index in (0, 0, 1, 2, 3)]
    sampled = np.stack([clouds.resample(mesh, 2048, seed=i) for i, mesh in enumerate(meshes)])
    first, again, *others = clouds.normalize(sampled, "unit-sphere")[0]
    floor = chamfer(first, again)
    distances = [chamfer(first, other) for other in others]
    assert min(distances) > 1.2 * floor
    assert max(distances) > 3 * floor


@pytest.mark.parametrize("family", ["bowl", "bucket", "vase", "funnel"])
def test_vessels_are_open_at_the_top_and_a_funnel_is_open_at_both_ends(family):
    mesh = corpus.draw_mesh(family, 3)[0]
    down = mesh.ray.intersects_location([[1e-3, 2e-3, 100.0]], [[0, 0, -1.0]])[0]
    if family == "funnel":
        # A wall all around a hole is a torus.
        assert (len(down), mesh.euler_number) == (0, 0)
    else:
        # Looking down the axis the first thing met is the floor, far below the rim.
        assert down[:, 2].max() - mesh.bounds[0, 2] < 0.35 * mesh.extents[2]


def test_shapes_depend_on_seed_and_index_and_not_on_other_shapes(monkeypatch):
    few, labels = corpus.generate(1, n_points=64, seed=2)
    other, _ = corpus.generate(1, n_points=64, seed=3)
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(few, other, strict=True))
    monkeypatch.delitem(corpus.FAMILIES, "bowl")
    many, _ = corpus.generate(3, n_points=64, seed=2)
    np.testing.assert_array_equal(many[::3], few[labels != "bowl"])


def test_exported_meshes_are_those_that_the_corpus_puts_points_on(tmp_path):
    folder = corpus.export(tmp_path / "meshes", 2, ("vase", "bowl"), seed=3)
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.stl"))
    assert files == [f"{name}/{name}_000{i}.stl" for name in ("bowl", "vase") for i in (0, 1)]
    points, labels = corpus.generate(2, n_points=200, seed=3)
    mesh = trimesh.load_mesh(folder / "vase/vase_0001.stl")
    drawn = clouds.resample(mesh, 2000)
    drawn = clouds.normalize(drawn[None], "unit-sphere")[0][0]
    distances = cKDTree(drawn).query(points[labels == "vase"][1])[0]
    assert distances.max() < 0.1
    contents = []
    for seed in (3, 3, 4):
        corpus.export(folder, 2, ("vase", "bowl"), seed=seed)
        contents.append([file.read_bytes() for file in sorted(folder.rglob("*.stl"))])
    assert contents[0] == contents[1] != contents[2]


def test_no_shapes_and_unknown_families_are_refused(tmp_path):
    with pytest.raises(ValueError, match="n_per_family is 0"):
        corpus.generate(0)
    with pytest.raises(ValueError, match="teapot"):
        corpus.export(tmp_path, 1, ("teapot",))
