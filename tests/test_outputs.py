"""What a model or a socket is taken home as: clouds, walls, measures, weights."""

from unittest import mock

import numpy as np
import pandas as pd
import pytest
import trimesh
from analytic import sockets

from aaelib.apps import outputs
from aaelib.models import files


@pytest.fixture
def cup(tmp_path_factory):
    """A socket's surface, and the file of its cloud."""
    surface = sockets(1)[0]
    file = tmp_path_factory.mktemp("cup") / "cup.npy"
    np.save(file, surface.sample(2048))
    return surface, file


def names(folder):
    return sorted(file.name for file in folder.iterdir())


# Samples and interpolations


def test_samples_depend_on_the_seed_and_fewer_are_the_first_of_more(egg_model, tmp_path):
    three, refused = outputs.generate(egg_model, 3, tmp_path / "three", seed=5)
    two, _ = outputs.generate(egg_model, 2, tmp_path / "two", seed=5)
    assert [file.name for file in three] == [f"sample_000{i}.npy" for i in range(3)]
    assert refused == []
    for one, other in zip(three, two, strict=False):
        assert np.load(one).shape == (128, 3)
        np.testing.assert_array_equal(np.load(one), np.load(other))


def test_samples_of_sockets_come_as_walls(cup_model, tmp_path):
    written, refused = outputs.generate(cup_model, 3, tmp_path, mesh="stl", thickness=2.0)
    walls = [file for file in written if file.suffix == ".stl"]
    assert len(walls) + len(refused) == 3
    assert walls
    assert all(trimesh.load_mesh(wall).is_watertight for wall in walls)


def test_a_wall_that_can_not_be_made_is_listed(cup_model, tmp_path, monkeypatch):
    refuse = mock.Mock(side_effect=ValueError("a wall would cross itself"))
    monkeypatch.setattr(outputs.printing, "export", refuse)
    (tmp_path / "sample_0000.ply").touch()
    _, refused = outputs.generate(cup_model, 1, tmp_path, mesh="ply", overwrite=True)
    assert names(tmp_path) == ["sample_0000.npy"]
    assert refused == [(tmp_path / "sample_0000.ply", "a wall would cross itself")]


def test_an_interpolation_leads_from_one_reconstruction_to_the_other(eggs, egg_model, tmp_path):
    ends = [eggs / "egg" / "egg_0.npy", eggs / "ball" / "ball_0.npy"]
    written, _ = outputs.interpolate(egg_model, *ends, tmp_path, steps=3)
    assert [file.name for file in written] == [
        *(f"step_{i}.npy" for i in range(3)),
        "interpolation.html",
    ]
    aae = files.load(egg_model)
    decoded = aae.decode(aae.encode(np.stack([np.load(end) for end in ends])))
    for i in (0, -1):
        np.testing.assert_allclose(np.load(written[:3][i]), decoded[i], rtol=1e-5, atol=1e-4)


def test_a_folder_with_files_loses_earlier_shapes_at_most_and_only_if_asked(egg_model, tmp_path):
    left = [f"sample_{rest}" for rest in ("0000.stl", "0002.npy", "0002.3mf", "0010.ply")]
    kept = ["sample_0002.csv", "sample_mine.npy", "resample_0002.npy"]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    with pytest.raises(FileExistsError, match="has files in it"):
        outputs.generate(egg_model, 1, tmp_path)
    assert names(tmp_path) == sorted([*left, *kept])
    outputs.generate(egg_model, 1, tmp_path, overwrite=True)
    assert names(tmp_path) == sorted(["sample_0000.npy", *kept])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n": 0}, "n is 0"),
        ({"mesh": "stl", "thickness": 21}, "21 mm"),
        ({"mesh": "obj"}, r"mesh is 'obj'; walls are written as \.stl"),
        ({"model": "unit_model", "mesh": "stl"}, "no size"),
    ],
)
def test_arguments_out_of_range_are_refused(request, tmp_path, settings, said):
    given = {"model": "cup_model", "n": 1, "folder": tmp_path / "out", **settings}
    given["model"] = request.getfixturevalue(given["model"])
    with pytest.raises(ValueError, match=said):
        outputs.generate(**given)
    assert names(tmp_path) == []


# Exports


@pytest.mark.parametrize("suffix", ["npy", "ply"])
def test_a_cloud_and_a_mesh_are_exported_as_measures(cup, tmp_path, suffix):
    surface, file = cup
    if suffix == "ply":
        file = file.with_suffix(".ply")
        surface.mesh().export(file)
    length = pd.read_csv(outputs.export(file, tmp_path / "cup.csv")).length_mm[0]
    assert length == pytest.approx(surface.measure()["length_mm"], rel=0.02)


def test_a_model_is_exported_as_weights(egg_model, tmp_path):
    path = outputs.export(egg_model, tmp_path / "eggs.npz")
    samples = [files.load(each).sample(2) for each in (egg_model, path)]
    np.testing.assert_allclose(*samples, atol=0.05)


@pytest.mark.parametrize(
    ("source", "out", "said"),
    [
        ("cup.npy", "cup.obj", "can't be written as cup.obj"),
        ("cup.npy", "cup.npz", "can't be written as cup.npz"),
        ("sockets", "cup.stl", "can't be written as cup.stl"),
        ("none.npy", "cup.stl", "none.npy: no file"),
    ],
)
def test_impossible_exports_are_refused_by_name(tmp_path, source, out, said):
    with pytest.raises(ValueError, match=said):
        outputs.export(source, tmp_path / out)
    assert names(tmp_path) == []


def test_what_is_overwritten_goes_when_the_new_is_there_and_only_its_own(egg_model, tmp_path):
    outputs.generate(egg_model, 3, tmp_path)
    old = np.load(tmp_path / "sample_0000.npy")
    (tmp_path / "sample_0001_mine.npy").write_text("mine")
    with (
        mock.patch.object(outputs, "write_array", side_effect=OSError(28, "no space left")),
        pytest.raises(OSError, match="no space left"),
    ):
        outputs.generate(egg_model, 1, tmp_path, seed=9, overwrite=True)
    assert len(names(tmp_path)) >= 4
    np.testing.assert_array_equal(np.load(tmp_path / "sample_0000.npy"), old)
    outputs.generate(egg_model, 1, tmp_path, seed=9, overwrite=True)
    left = [name for name in names(tmp_path) if not name.startswith(".")]
    assert left == ["sample_0000.npy", "sample_0001_mine.npy"]


def test_a_table_is_written_where_its_name_begins_with_a_tilde(cup, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~").mkdir()
    outputs.export(cup[1], "~/cup.csv")
    assert pd.read_csv(tmp_path / "~" / "cup.csv").length_mm[0] > 100
