import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from aaelib.metrics import pairwise_chamfer
from aaelib.shapes import clouds, corpus


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
    unit = clouds.normalize(sampled, "unit-sphere")[0]
    floor, *distances = pairwise_chamfer(unit[:1], unit[1:])[0]
    assert min(distances) > 1.2 * floor
    assert max(distances) > 3 * floor


def test_shapes_depend_on_seed_and_index_and_not_on_other_shapes(monkeypatch):
    few, labels = corpus.generate(1, n_points=64, seed=2)
    assert (few.dtype, list(labels)) == (np.float32, list(corpus.FAMILIES))
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
