"""Trees of meshes become the same trees of clouds, in any number of processes and of runs."""

import csv
import errno
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
import pytest
import trimesh

from aaelib.shapes import folders, resampling, writing
from aaelib.shapes.clouds import resample

FORMATS = ("off", "obj", "stl", "ply", "glb", "3mf")


def write_mesh(file, size=1.0):
    file.parent.mkdir(parents=True, exist_ok=True)
    mesh = trimesh.creation.icosphere(2)
    mesh.apply_scale([size, 1, 2])
    mesh.export(file)
    return file


@pytest.fixture
def source(tmp_path):
    """Six meshes in folders like ModelNet's, each of another size and format."""
    folder = tmp_path / "source"
    places = ("chair/train", "chair/test", "sofa/train")
    for i, suffix in enumerate(FORMATS):
        write_mesh(folder / places[i % 3] / f"{i}.{suffix}", 1 + i)
    return folder


@pytest.fixture
def target(tmp_path):
    return tmp_path / "clouds"


def content(folder):
    return {
        file.relative_to(folder).as_posix(): np.load(file)
        for file in sorted(folder.rglob("[!.]*.npy"))
    }


def names(clouds):
    return [cloud.stem for cloud in clouds]


# What is written


def test_a_tree_of_meshes_becomes_the_same_tree_of_clouds(source, target):
    done = resampling.resample_tree(source, target, n_points=64, seed=3)
    expected = {
        file.relative_to(source).with_suffix(".npy").as_posix(): resample(file, 64, seed=3)
        for file in folders.find(source)
    }
    np.testing.assert_equal(content(target), expected)
    assert {file.relative_to(target).as_posix() for file in done.written} == set(expected)
    assert (done.kept, done.refused) == ([], [])
    assert done.shapes_per_second == pytest.approx(6 / done.seconds)


def test_clouds_in_a_tree_are_thinned_as_when_they_are_loaded(source, target):
    np.save(source / "sofa" / "cloud.npy", np.random.default_rng(0).normal(size=(500, 3)))
    resampling.resample_tree(source, target, 64, seed=1)
    resampled, loaded = (folders.load_clouds(f, 64, seed=1) for f in (target, source))
    np.testing.assert_array_equal(resampled.names, loaded.names)
    np.testing.assert_array_equal(resampled.kinds, loaded.kinds)
    np.testing.assert_array_equal(resampled.points, loaded.points)


def test_many_meshes_are_loaded_in_parallel_as_one_by_one(tmp_path):
    paths = [write_mesh(tmp_path / f"{i}.off", 1 + i) for i in range(folders._FEW)]
    together = folders.load_clouds(tmp_path, 32)
    np.testing.assert_array_equal(
        together.points, [resample(tmp_path / f"{name}.off", 32) for name in together.names]
    )
    assert len(together) == len(paths)


@pytest.mark.parametrize("suffix", ["npy", "off", "obj"])
def test_shapes_far_from_the_origin_keep_their_size(tmp_path, target, suffix):
    """In metres on a surveyor's grid, where float32 has steps of 0.5; others stay in place."""
    mesh = trimesh.creation.icosphere(2).apply_scale([0.0435, 0.0745, 0.1165])
    places = {"near": [0.1, 0.2, 0.3], "far": [5e5, 4.5e6, 100]}
    for name, place in places.items():
        file = tmp_path / "source" / f"{name}.{suffix}"
        file.parent.mkdir(exist_ok=True)
        moved = mesh.copy().apply_translation(place)
        if suffix == "npy":
            np.save(file, moved.vertices)
        else:
            moved.export(file, digits=9)
    resampling.resample_tree(file.parent, target, 128)
    for folder in (file.parent, target):
        far, near = folders.load_clouds(folder, 128).points
        np.testing.assert_allclose(np.ptp(far, axis=0), np.ptp(near, axis=0), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(near.mean(axis=0), [0.1, 0.2, 0.3], atol=0.01)


@pytest.mark.parametrize("setting", [{"n_points": 0}, {"seed": -1}, {"workers": 0}])
def test_settings_out_of_range_are_named(source, target, setting):
    with pytest.raises(ValueError, match=f"{next(iter(setting))} is .* or more"):
        resampling.resample_tree(source, target, **setting)
    assert not target.exists()


# Runs one after the other


def test_a_second_run_does_only_what_changed(source, target, tmp_path):
    resampling.resample_tree(source, target, 64)
    times = {file: file.stat().st_mtime_ns for file in target.rglob("*.npy")}
    # Nor does it count that they are elsewhere, or of another time.
    source = source.rename(tmp_path / "moved")
    os.utime(source / "chair" / "train" / "0.off")
    again = resampling.resample_tree(source, target, 64)
    assert [len(again.written), len(again.kept)] == [0, 6]
    assert times == {file: file.stat().st_mtime_ns for file in target.rglob("*.npy")}
    changed, old = source / "sofa" / "train" / "2.stl", source / "chair" / "train" / "3.ply"
    new = old.with_suffix(".stl")
    # Of the same size and time as before; a mesh of another format takes the place of one as old.
    for file, before in ((changed, changed.stat()), (new, old.stat())):
        write_mesh(file, 9)
        os.utime(file, ns=(before.st_mtime_ns, before.st_mtime_ns))
    old.unlink()
    (target / "chair" / "test" / "1.npy").unlink()
    again = resampling.resample_tree(source, target, 64)
    assert sorted(names(again.written)) == ["1", "2", "3"]
    for file in (changed, new):
        cloud = file.relative_to(source).with_suffix(".npy").as_posix()
        np.testing.assert_array_equal(content(target)[cloud], resample(file, 64))


def test_a_cloud_of_this_name_from_another_source_is_replaced(source, target, tmp_path):
    other = write_mesh(tmp_path / "more" / "chair" / "train" / "0.off", 9)
    resampling.resample_tree(source, target, 64)
    done = resampling.resample_tree(tmp_path / "more", target, 64)
    assert [names(done.written), done.removed, len(done.left_over)] == [["0"], [], 5]
    np.testing.assert_array_equal(content(target)["chair/train/0.npy"], resample(other, 64))
    # Those of this run can be loaded without the others.
    assert len(folders.load_clouds(target, 64, files=done.clouds)) == 1


def test_a_cloud_that_no_run_has_written_stays_as_it_is(source, target):
    own = target / "chair" / "train" / "0.npy"
    own.parent.mkdir(parents=True)
    np.save(own, np.eye(3))
    done = resampling.resample_tree(source, target, 64)
    assert [len(done.clouds), len(done.refused), done.removed] == [5, 1, []]
    assert "was not written by an earlier run; move it away" in done.refused[0][1]
    write_mesh(source / "chair" / "train" / "0.obj")  # beside 0.off
    assert resampling.resample_tree(source, target, 64).removed == []
    np.testing.assert_array_equal(np.load(own), np.eye(3))


@pytest.mark.parametrize("damage", [lambda cloud: b"", lambda cloud: cloud[:-1] + b"?"])
def test_a_cloud_that_is_no_longer_what_was_written_is_made_again(source, target, damage):
    done = resampling.resample_tree(source, target, 64)
    cloud, whole = done.clouds[2], done.clouds[2].read_bytes()
    cloud.write_bytes(damage(whole))
    os.utime(cloud, (4e9, 4e9))
    assert resampling.resample_tree(source, target, 64).written == [cloud]
    assert cloud.read_bytes() == whole


def test_a_record_that_was_cut_off_costs_one_cloud(source, target):
    resampling.resample_tree(source, target, 64)
    record = target / resampling.RECORD
    record.write_bytes(record.read_bytes()[:-9])
    for written in (1, 0):
        assert len(resampling.resample_tree(source, target, 64).written) == written


def test_a_name_as_long_as_names_can_be_is_written(source, target):
    longest = write_mesh(source / ("n" * (os.pathconf(source, "PC_NAME_MAX") - 4) + ".off"))
    done = resampling.resample_tree(source, target, 64)
    assert (len(done.written), done.refused) == (7, [])
    assert (target / longest.name).with_suffix(".npy") in done.written


def test_only_the_suffixes_asked_for_are_taken_and_other_clouds_stay(source, target):
    for wanted in (".off", "OFF", ["off"]):
        assert [file.suffix for file in folders.find(source, wanted)] == [".off"]
    with pytest.raises(ValueError, match=r"unknown suffixes \.docx; accepted: .*\.off"):
        folders.find(source, (".docx", ".off"))
    assert len(resampling.resample_tree(source, target, 64, suffixes=(".off", ".stl")).written) == 2
    resampling.resample_tree(source, target, 64)
    done = resampling.resample_tree(source, target, 64, suffixes="off")
    assert [done.removed, done.left_over] == [[], []]
    assert len(content(target)) == 6


def test_a_cloud_goes_when_its_file_is_refused_and_is_left_over_when_it_is_gone(source, target):
    resampling.resample_tree(source, target, 64)
    own = target / "chair" / "own.npy"
    np.save(own, np.zeros((64, 3)))
    (source / "chair" / "train" / "0.off").unlink()
    write_mesh(source / "chair" / "test" / "1.ply")  # beside 1.obj
    (source / "sofa" / "train" / "2.stl").write_text("no mesh any more")
    done = resampling.resample_tree(source, target, 64)
    assert [names(done.removed), names(done.left_over)] == [["1", "2"], ["own", "0"]]
    assert [len(done.kept), len(done.refused)] == [3, 3]
    assert set(content(target)) == {
        cloud.relative_to(target).as_posix() for cloud in (*done.left_over, *done.kept)
    }


@pytest.mark.parametrize("suffix", ["off", "npy"])
def test_a_disk_that_fails_ends_the_run_and_the_cloud_stays(source, target, monkeypatch, suffix):
    np.save(source / "chair" / "train" / "other.npy", np.random.default_rng(0).normal(size=(64, 3)))
    before = resampling.resample_tree(source, target, 64)
    opened = Path.open

    def broken(path, *args, **kwargs):
        if path.suffix == f".{suffix}" and path.is_relative_to(source):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(folders.Path, "open", broken)
    monkeypatch.setattr(resampling, "digest_of_file", lambda file: "")
    with pytest.raises(OSError, match=rf"see that its disk is there.*\.{suffix}"):
        resampling.resample_tree(source, target, 32, workers=1)
    assert all(cloud.exists() for cloud in before.written)


def test_clouds_of_a_cut_off_run_are_kept_for_its_settings(source, target, tmp_path, monkeypatch):
    resampling.resample_tree(source, target, 64, seed=0)
    save, calls = writing.write_array, []

    def cut_off_at_the_third(path, array):
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        save(path, array)

    with monkeypatch.context() as patch:
        patch.setattr(resampling, "write_array", cut_off_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            resampling.resample_tree(source, target, 64, seed=1)
    # Of four clouds the settings are the first ones, of two the other ones.
    for seed, n_kept in ((1, 2), (0, 0)):
        done = resampling.resample_tree(source, target, 64, seed)
        assert [len(done.kept), len(done.written)] == [n_kept, 6 - n_kept]
        resampling.resample_tree(source, tmp_path / str(seed), 64, seed)
        np.testing.assert_equal(content(target), content(tmp_path / str(seed)))


def test_a_mesh_that_changes_while_it_is_read_is_read_again(source, target, monkeypatch):
    changing, save = source / "chair" / "train" / "0.off", writing.write_array

    def save_and_change(path, array):
        write_mesh(changing, 9)
        save(path, array)

    with monkeypatch.context() as patch:
        patch.setattr(resampling, "write_array", save_and_change)
        resampling.resample_tree(source, target, 64)
    assert names(resampling.resample_tree(source, target, 64).written) == ["0"]
    np.testing.assert_array_equal(content(target)["chair/train/0.npy"], resample(changing, 64))


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, target):
    source = tmp_path / "source"
    for i in range(40):
        write_mesh(source / f"{i:02}.off", 1 + i)
    code = "import sys; from aaelib import shapes; shapes.resample_tree(*sys.argv[1:])"
    run = subprocess.Popen([sys.executable, "-c", code, source, target])
    deadline = time.monotonic() + 60
    while len(list(target.rglob("[0-9]*.npy"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    workers = psutil.Process(run.pid).children()
    run.send_signal(signal.SIGKILL)
    run.wait()
    there = len(list(target.rglob("[0-9]*.npy")))
    assert 5 <= there < 40
    done = resampling.resample_tree(source, target)
    assert len(done.written) + len(done.kept) == 40
    assert len(done.kept) == there
    resampling.resample_tree(source, tmp_path / "at once")
    np.testing.assert_equal(content(target), content(tmp_path / "at once"))
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=60)[1] == []


def test_refused_files_are_listed_until_they_are_repaired(source, target, monkeypatch):
    monkeypatch.chdir(source.parent)
    source.rename("=1+2")
    bad = Path("=1+2/sofa/train/cut.off")
    bad.write_text("OFF\n8 12 0\n0 0")
    done = resampling.resample_tree("=1+2", target, 64)
    assert [len(done.written), [file for file, _ in done.refused]] == [6, [bad]]
    with (target / resampling.REFUSED).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["file", "reason"], [f"'{bad}", f"'{done.refused[0][1]}"]]
    write_mesh(bad)
    done = resampling.resample_tree("=1+2", target, 64)
    assert [len(done.written), done.refused] == [1, []]
    assert not (target / resampling.REFUSED).exists()


def test_files_of_other_formats_are_counted_by_suffix(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.vtk", "in/b.VTK", "c.pcd", "d.stl", "in/e.npy", "readme", ".hidden.wrl"):
        (tmp_path / name).touch()
    assert folders.passed_over(tmp_path) == "2 .vtk, 1 .pcd, 1 without suffix"


def test_a_pipe_is_not_waited_for(source, target):
    os.mkfifo(source / "pipe.npy")
    found = resampling.resample_tree(source, target, 50)
    assert "no file" in {file.name: reason for file, reason in found.refused}["pipe.npy"]


def test_a_cloud_is_made_again_when_numbers_beside_its_gltf_change(tmp_path, target):
    source = tmp_path / "scenes"
    for radius in (10, 20):
        files = trimesh.exchange.gltf.export_gltf(
            trimesh.Scene(trimesh.creation.icosphere(2, radius))
        )
        for name, content in files.items():
            (source / name).parent.mkdir(exist_ok=True)
            (source / name).write_bytes(content)
        first = (source / "model.gltf").read_bytes()
        found = resampling.resample_tree(source, target, 100)
        # The box of the numbers is in the glTF, but need not be.
        (source / "model.gltf").write_bytes(first)
        assert len(found.written) == 1
        assert np.ptp(np.load(found.written[0])) == pytest.approx(2 * radius, rel=0.1)


def test_a_unit_is_that_of_files_that_state_none(tmp_path, target):
    source = tmp_path / "inches"
    source.mkdir()
    inches = trimesh.creation.box((4, 4, 8))
    inches.export(source / "stl.stl")
    with zipfile.ZipFile(source / "stated.3mf", "w") as archive:
        vertices = "".join("<vertex x='{}' y='{}' z='{}'/>".format(*v) for v in inches.vertices)
        faces = "".join("<triangle v1='{}' v2='{}' v3='{}'/>".format(*f) for f in inches.faces)
        archive.writestr(
            "3D/3dmodel.model",
            "<model unit='inch'><resources><object id='1'><mesh><vertices>"
            f"{vertices}</vertices><triangles>{faces}</triangles></mesh></object></resources>"
            "<build><item objectid='1'/></build></model>",
        )
    found = resampling.resample_tree(source, target, 400, unit="inch")
    for file in found.written:
        assert np.ptp(np.load(file)[:, 2]) == pytest.approx(203.2, rel=0.05)


def test_a_cloud_that_lies_across_is_refused_with_what_to_keep(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 300)))
    with pytest.raises(ValueError, match=r"save points\.T"):
        folders.load_clouds(tmp_path, 100)


def test_clouds_with_normals_are_refused_with_what_to_keep(tmp_path):
    np.save(tmp_path / "six.npy", np.zeros((20, 6)))
    with pytest.raises(ValueError, match=r"shape \(20, 6\).*keep points\[:, :3\]"):
        folders.read(tmp_path / "six.npy", 10)
