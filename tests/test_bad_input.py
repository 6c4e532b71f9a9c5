"""What data/README.md says of bad input is so: one test for each row of its table."""

import io
import json
import os
import re
import zipfile
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import trimesh
from analytic import lidded, socket
from conftest import TINY, zipped
from killing import DeadlyFile

from aaelib.apps import outputs
from aaelib.models import autoencoder, files, recipes, transfer
from aaelib.shapes import folders, printing, resampling, sources

README = Path(__file__).resolve().parents[1] / "data" / "README.md"
HEADING = "## What is refused, and what it says"


def table():
    """Rows of the table: input -> what it says, without marks of code."""
    lines = README.read_text(encoding="utf-8").split(HEADING)[1].splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][1:]
    return {each[0]: (each[2:] or [""])[0].strip("`| ") for each in cells}


TABLE, TESTED = table(), []


def pattern(name):
    """Of what a row of the table says."""
    says = re.escape(TABLE.get(name, "no such row"))
    return says.replace("…", ".*").replace(r"\ ", r"\s+")


def row(name):
    """Ties a test to a row of the table, and hands it the pattern of what is said there."""
    TESTED.append(name)
    return pytest.mark.parametrize("says", [pattern(name)], ids=[""])


def test_every_row_of_the_table_has_one_test_and_every_test_a_row():
    assert len(TABLE) > 20
    assert sorted(TESTED) == sorted(TABLE)


def cloud(n=20, seed=0):
    return np.random.default_rng(seed).normal(0, 100, (n, 3))


def refuses(folder, says, *names):
    """Whether the files of these names, and no others, are refused in these words everywhere."""
    flags = re.DOTALL
    with pytest.raises(ValueError, match=re.compile(says, flags)):
        folders.load_clouds(folder, 10)
    target = folder.with_name(f"without {names[0]}")
    done = resampling.resample_tree(folder, target, 10)
    for file, reason in done.refused:
        assert re.fullmatch(says, reason, flags), reason
        assert str(file) in reason
    assert sorted(file.name for file, _ in done.refused) == sorted(names)
    expected = {path.relative_to(target).as_posix() for path in done.written}
    there = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert there == expected | {resampling.RECORD, resampling.REFUSED}
    listed = (target / resampling.REFUSED).read_text(encoding="utf-8")
    assert listed.count(str(folder)) >= len(names)


@pytest.fixture
def folder(tmp_path):
    """A folder with one good cloud, in a folder of its own."""
    folder = tmp_path / "shapes"
    folder.mkdir()
    np.save(folder / "good.npy", cloud())
    return folder


# Files


def npy(array, save=np.save):
    stream = io.BytesIO()
    save(stream, array)
    return stream.getvalue()


def with_one(value):
    """A cloud that has this value somewhere."""
    return np.where(np.arange(60).reshape(20, 3) == 7, value, cloud())


def cut_off(share, suffix, **options):
    content = trimesh.creation.icosphere(1).export(file_type=suffix, **options)
    content = content.encode() if isinstance(content, str) else content
    return content[: int(share * len(content))]


def triangle(corner, face="0 1 2"):
    return f"OFF\n3 1 0\n0 0 0\n1 0 0\n{corner}\n3 {face}\n".encode()


class Fires:
    """An object that fails when it is unpickled."""

    def __reduce__(self):
        return eval, ("1 / 0",)


# Row of the table -> files that are refused in its words.
REFUSED = {
    "an empty or truncated `.npy` file": {
        **{f"{size}.npy": npy(cloud())[:size] for size in (0, 60, 607)},
        "archive.npy": npy(cloud(), np.savez),
    },
    "a pickled array": {"pickled.npy": npy(np.array([Fires()]))},
    "clouds of different numbers of points": {"few.npy": npy(cloud(9))},
    "an array of another shape, of complex numbers, text or fields": {
        "batch.npy": npy(cloud()[None]),
        "plane.npy": npy(cloud()[:, :2]),
        "complex.npy": npy(np.ones((20, 3), complex)),
        "text.npy": npy(np.full((20, 3), "1.0")),
        "fields.npy": npy(np.zeros(20, [("x", float), ("y", float), ("z", float)])),
    },
    "points that are NaN, infinite, or too large": {
        f"{value}.npy": npy(with_one(value)) for value in (np.nan, np.inf, -np.inf, 1e300)
    },
    "all points equal": {
        f"{dtype}.npy": npy(np.tile([1, 2, 3], (20, 1)).astype(dtype)) for dtype in ("f2", "f8")
    },
    "a mesh without faces": {"points.ply": trimesh.PointCloud(cloud()).export(file_type="ply")},
    "a mesh without area": {"line.off": triangle("2 0 0")},
    "a mesh with vertices that are not finite": {
        f"{value}.off": triangle(f"{value} 0 0") for value in ("nan", "1e300")
    },
    "a truncated mesh, text that is no mesh, or faces of vertices that are not there": {
        **{
            f"cut at {share}.{suffix}": cut_off(share, suffix)
            for suffix in ("off", "ply", "stl", "glb")
            for share in (0.3, 0.99)
        },
        # Trimesh reads as many faces of a text as there are.
        "cut text.ply": cut_off(0.9, "ply", encoding="ascii"),
        "cut quad.off": b"OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n4 0 1",
        **{
            f"words.{suffix}": b"Dear reader, this is no mesh.\n" * 9
            for suffix in ("off", "ply", "stl", "glb", "3mf")
        },
        "high.off": triangle("0 1 0", "0 1 3"),
        "low.off": triangle("0 1 0", "0 1 -1"),
        "high.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
    },
}
TESTED += REFUSED


@pytest.mark.parametrize(
    ("line", "name"), [(line, name) for line, files in REFUSED.items() for name in files]
)
def test_a_bad_file_is_refused_in_the_words_of_the_table(folder, line, name):
    (folder / name).write_bytes(REFUSED[line][name])
    refuses(folder, re.sub(r"\boff\b", name.rpartition(".")[2], pattern(line)), name)


@row("a link that leads nowhere")
def test_a_link_that_leads_nowhere(folder, says):
    for name in ("gone.npy", "self.off"):
        (folder / name).symlink_to(folder / name)
    refuses(folder, says, "gone.npy", "self.off")


# Row of the table -> the folders that are there.
WITHOUT_SHAPES = {"a folder that is not there": [], "an empty folder": ["source"]}
TESTED += WITHOUT_SHAPES


@pytest.mark.parametrize("line", WITHOUT_SHAPES)
def test_a_folder_that_is_not_there_or_empty(tmp_path, line):
    for name in WITHOUT_SHAPES[line]:
        (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match=pattern(line)):
        folders.load_clouds(tmp_path / "source")
    with pytest.raises(FileNotFoundError, match=pattern(line)):
        resampling.resample_tree(tmp_path / "source", tmp_path / "clouds")
    assert [file.name for file in tmp_path.iterdir()] == WITHOUT_SHAPES[line]


@row("a mesh with degenerate faces, or edges of many faces")
def test_a_mesh_with_degenerate_faces_and_edges_of_many_faces(folder, says):
    assert not says
    corners = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [50, 0, 0]]
    # Three triangles share the edge from 0 to 1; the others have no area.
    faces = [[0, 1, 2], [0, 1, 3], [0, 1, 4], [0, 1, 5], [2, 2, 3], [0, 1, 2]]
    trimesh.Trimesh(corners, faces, process=False).export(folder / "odd.off")
    points = folders.read(folder / "odd.off", 100)
    assert points[:, 0].max() <= 1
    assert resampling.resample_tree(folder, folder.with_name("clouds"), 10).refused == []


@row("a header run together with its counts")
def test_a_header_run_together_with_its_counts(folder, says):
    text = trimesh.creation.box().export(file_type="off")
    (folder / "a.off").write_text(text)
    (folder / "b.off").write_text(text.replace("OFF\n", "OFF"))
    shapes = folders.load_clouds(folder, 10)
    np.testing.assert_array_equal(shapes.points[0], shapes.points[1])


@row("a file at which the system ends the process")
def test_a_file_at_which_the_system_ends_the_process(tmp_path, monkeypatch, says):
    monkeypatch.setenv("SURVIVOR", str(os.getpid()))
    files = [tmp_path / f"{i}.off" for i in range(6)]
    for file in files:
        trimesh.creation.box().export(file)
    files[3] = DeadlyFile(files[3])
    found = {file.name: (cloud, why) for file, cloud, why in folders.read_each(files, 10, 0, 2)}
    assert len(found) == 6
    cloud, reason = found.pop("3.off")
    assert cloud is None
    assert re.fullmatch(says, reason)
    for cloud, reason in found.values():
        assert (cloud.shape, reason) == ((10, 3), None)


@row("many files that can't be used")
def test_many_files_that_cannot_be_used(folder, says):
    for i in range(7):
        np.save(folder / f"{i}.npy", cloud(5))
    np.save(folder / "another.npy", cloud())
    with pytest.raises(ValueError, match=re.compile(says, re.DOTALL)):
        folders.load_clouds(folder, 10)
    done = resampling.resample_tree(folder, folder.with_name("clouds"), 10)
    assert [len(done.written), len(done.refused)] == [2, 7]


@row("names that differ in their suffix only")
def test_names_that_differ_in_their_suffix_only(folder, says):
    np.save(folder / "chair.npy", cloud())
    trimesh.creation.box().export(folder / "chair.off")
    of_either = says.replace("npy", r"(npy|off)").replace(r"chair\.off", r"chair\.(npy|off)")
    refuses(folder, f"(2 of 3 files can't be used:\\s+)?{of_either}", "chair.npy", "chair.off")


@row("names with spaces and of any script")
def test_names_with_spaces_and_of_any_script(tmp_path, says):
    folder, target = tmp_path / "meine Stühle" / "ein Typ", tmp_path / "κύβοι und Stühle"
    folder.mkdir(parents=True)
    names = {"stuhl weiß", "椅子", "стул, №1", "a.b", 'quo"te', "it's", "new\nline"}
    for name in names:
        np.save(folder / f"{name}.npy", cloud())
        trimesh.creation.box().export(folder / f"{name} mesh.off")
    found = {Path(name).name for name in folders.load_clouds(folder.parent, 10).names}
    assert names == {name for name in found if not name.endswith(" mesh")}
    runs = [resampling.resample_tree(folder, target, 10) for _ in range(2)]
    assert [[len(done.written), len(done.kept)] for done in runs] == [[14, 0], [0, 14]]


@row("links that lead in a circle")
def test_links_that_lead_in_a_circle(folder, tmp_path, says):
    assert not says
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    np.save(elsewhere / "far.npy", cloud())
    (folder / "sub").mkdir()
    np.save(folder / "sub" / "in.npy", cloud())
    links = {
        folder / "before sub": folder / "sub",
        folder / "sub" / "up": folder,
        folder / "above": tmp_path,
        folder / "out": elsewhere,
        folder / "out again": elsewhere,
        elsewhere / "round": elsewhere,
        elsewhere / "back": folder,
    }
    for link, end in links.items():
        link.symlink_to(end, target_is_directory=True)
    assert list(folders.load_clouds(folder, 10).names) == ["good", "out/far", "sub/in"]


@row("a name that is not UTF-8")
def test_a_name_that_is_not_utf8(folder, says, capsys):
    for place in (b"caf\xe9", b"meuble/caf\xe9/chaise"):  # Latin-1
        file = folder / os.fsdecode(place + b".npy")
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, cloud())
    with pytest.raises(ValueError, match=r"2 of 3 files can't be used"):
        folders.load_clouds(folder, 10)
    done = resampling.resample_tree(folder, folder.with_name("clouds"), 10)
    assert [len(done.written), len(done.refused)] == [1, 2]
    for _, reason in done.refused:
        assert re.fullmatch(says, reason)
        print(reason)  # which no character hinders
    assert (folder.with_name("clouds") / resampling.REFUSED).read_bytes().count(b"caf\xe9") == 2


@row("a path that is too long with the target's in front")
def test_a_path_that_is_too_long_with_the_targets_in_front(folder, says):
    room = os.pathconf(folder, "PC_PATH_MAX") - len(str(folder)) - 300
    long = folder.joinpath(*["d" * 200] * (room // 201), "long.npy")
    long.parent.mkdir(parents=True)
    np.save(long, cloud())
    done = resampling.resample_tree(folder, folder.parent.joinpath(*["t" * 240] * 2), 10)
    assert ([len(done.written)], [file for file, _ in done.refused]) == ([1], [long])
    assert re.fullmatch(says, done.refused[0][1])
    assert len(folders.load_clouds(folder, 10)) == 2


@row("clouds written into their own source")
def test_clouds_written_into_their_own_source(folder, says):
    before = sorted(folder.rglob("*"))
    for source, target in ((folder, folder), (folder, folder / "in"), (folder, folder.parent)):
        with pytest.raises(ValueError, match=says):
            resampling.resample_tree(source, target, 10)
    assert sorted(folder.rglob("*")) == before


# Sockets


@pytest.fixture
def sockets(tmp_path, monkeypatch):
    """Write clouds of a socket 200 mm long into a user's folder, changed by a factor."""

    def written(factor, kind="TT"):
        folder = tmp_path / "SocketSSM" / kind
        folder.mkdir(parents=True)
        points = socket().sample()
        points *= 200 / np.ptp(points[:, 2])
        np.save(folder / "a.npy", points * factor)
        monkeypatch.setenv("AAELIB_DATA", str(tmp_path))

    return written


# Row of the table -> what the points of a socket are multiplied by.
ODD = {"sockets in metres or inches": 0.001, "a socket upside down or on its side": [1, -1, -1]}
TESTED += ODD


@pytest.mark.parametrize("line", ODD)
def test_sockets_in_another_unit_or_position_are_warned_of(sockets, line):
    sockets(ODD[line])
    with pytest.warns(UserWarning, match=pattern(line).replace(r"0\.2", ".*")):
        sources.load_sockets()


@row("a closed wall, inner and outer surface, for a socket")
@pytest.mark.parametrize("thickness", [2, 4, 10])
def test_a_closed_wall_for_a_socket(tmp_path, thickness, says):
    file = printing.export(socket(wave=3, tilt=10), tmp_path / "a.stl", thickness)
    with pytest.raises(ValueError, match=says.replace("a:", r"a\.stl:")):
        outputs.export(file, tmp_path / "a.csv")
    with pytest.raises(ValueError, match="a closed wall"):
        outputs.export(file, tmp_path / "a.csv", unit="mm")


@row("a socket closed at its brim by a lid")
def test_a_lid_on_a_socket_is_no_brim(tmp_path, says):
    closed = lidded(socket().mesh())
    assert closed.is_watertight
    closed.export(tmp_path / "a.stl")
    with pytest.raises(ValueError, match=says):
        outputs.export(tmp_path / "a.stl", tmp_path / "a.csv")


@row("a tilted socket")
def test_a_tilted_socket(tmp_path, says):
    for turn in ([1, 0, 0], [1, 1, 0]):
        motion = trimesh.transformations.rotation_matrix(np.radians(45), turn)
        socket(wave=3).mesh().apply_transform(motion).export(tmp_path / "a.stl")
        with pytest.raises(ValueError, match=says):
            outputs.export(tmp_path / "a.stl", tmp_path / "a.csv")
    outputs.complete("sockets", tmp_path / "a.stl", tmp_path / "a.csv")


@row("a tube, open at both ends, for a socket")
def test_a_tube_for_a_socket(tmp_path, says):
    mesh = socket().mesh()
    mesh.slice_plane([0, 0, mesh.bounds[0, 2] + 60], [0, 0, 1]).export(tmp_path / "a.stl")
    with pytest.raises(ValueError, match=says):
        outputs.export(tmp_path / "a.stl", tmp_path / "a.csv")


@row("a socket in a file with other things")
def test_a_socket_in_a_file_with_other_things(tmp_path, says):
    plate = trimesh.creation.box((90, 90, 5)).apply_translation([0, 0, -5])
    trimesh.util.concatenate([socket().mesh(), plate]).export(tmp_path / "a.stl")
    for write in (outputs.export, partial(outputs.complete, "sockets")):
        with pytest.raises(ValueError, match=says):
            write(tmp_path / "a.stl", tmp_path / "a.csv")


@row("a folder of sockets of an unknown kind")
def test_a_folder_of_sockets_of_an_unknown_kind(sockets, says):
    sockets(1)
    sockets(1, kind="AK")
    with pytest.warns(UserWarning, match=says) as warned:
        shapes = sources.load_sockets()
    assert len(warned) == 1
    assert list(shapes.names) == ["TT/a"]


@row("an unknown kind of socket")
def test_an_unknown_kind_of_socket(says):
    with pytest.raises(ValueError, match=says):
        sources.load_sockets("AK")


# Recipes and models


def tiny(**changes):
    return autoencoder.AdversarialAutoencoder(recipes.recipe("compact", TINY, **changes))


# Row of the table -> the entry in its words, and others that are refused by their names.
ENTRIES = {
    "a recipe with an unknown entry": {"code_length": 3},
    "a recipe with a value out of range": {
        "beta_1": 1.5,
        "n_points": 0,
        "encoder": (64, 0),
        "discriminator": (10**9,),
        "reconstruction_weight": float("inf"),
        "refinement_steps": -5,
        "reduction": "median",
    },
    "a recipe with a value of another type": {
        "generator_rate": "fast",
        "n_points": 2048.5,
        "encoder": 64,
        "linear_models": None,
        "tnets": "maybe",
    },
}
TESTED += ENTRIES


@pytest.mark.parametrize(
    ("line", "key"), [(line, key) for line, entries in ENTRIES.items() for key in entries]
)
def test_a_recipes_entry_is_refused_by_its_name(line, key):
    in_words = key == next(iter(ENTRIES[line]))
    says = pattern(line) if in_words else rf"recipe compact: {key}(\.\d)? is .*: \w+ should "
    with pytest.raises(ValueError, match=says):
        recipes.recipe("compact", **{key: ENTRIES[line][key]})


@row("weights of another architecture")
def test_weights_of_another_architecture(says):
    # Of all but the last network the shapes are the same: it must not be taken first.
    model, other = tiny(), tiny(code_size=8)
    before = [weight.numpy() for weight in model.weights]
    with pytest.raises(ValueError, match=says):
        transfer.start_from(model, other)
    with pytest.raises(ValueError, match=r"the discriminator .* discriminator \(9,\) and \(8,\)"):
        transfer.start_from(model, tiny(discriminator=(9,)))
    np.testing.assert_equal([weight.numpy() for weight in model.weights], before)


@row("a truncated or corrupted file of a model")
@pytest.mark.parametrize("name", ["model.npz", "model.keras"])
def test_a_damaged_file_of_a_model(saved, tmp_path, name, says):
    whole, target = (saved / name).read_bytes(), tmp_path / name
    damaged = [whole[:size] for size in (0, 1000, len(whole) - 10)]
    for seed in range(5):
        changed = bytearray(whole)
        for place in np.random.default_rng(seed).integers(len(whole), size=200):
            changed[place] ^= 0xFF
        damaged.append(changed)
    for content in damaged:
        target.write_bytes(content)
        with pytest.raises(ValueError, match=says):
            files.load(target)


@row("a `.keras` file of another model, or one with a Lambda layer")
def test_a_keras_file_with_a_lambda_layer(saved, tmp_path, says):
    fired, other, code = (tmp_path / name for name in ("fired", "other.keras", "code.keras"))
    name = str(fired)
    layer = keras.layers.Lambda(
        lambda x: __import__("pathlib").Path(name).touch() or x, output_shape=(2,)
    )
    keras.Sequential([keras.Input((2,)), layer]).save(code)
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(other)
    fired.unlink(missing_ok=True)
    # Hidden in what claims to be ours: as the whole model, or as a rate of an optimizer.
    with zipfile.ZipFile(code) as file:
        foreign = json.loads(file.read("config.json"))
    with zipfile.ZipFile(saved / "model.keras") as file:
        members = {name: file.read(name) for name in file.namelist()}
    own = json.loads(members["config.json"])
    rate = own["compile_config"]["generator_optimizer"]["config"]
    rate["learning_rate"] = foreign["config"]["layers"][1]
    hidden = [foreign | {"class_name": "AdversarialAutoencoder"}, own]
    for i, config in enumerate(hidden):
        hiding = zipped(members | {"config.json": json.dumps(config)})
        (tmp_path / f"{i}.keras").write_bytes(hiding)
    for file in sorted(tmp_path.glob("*.keras")):
        with pytest.raises(ValueError, match=says):
            files.load(file)
    assert not fired.exists()


@row("a model in another format")
def test_a_model_in_another_format(tmp_path, says):
    (tmp_path / "model.h5").touch()
    (tmp_path / "model.keras").mkdir()
    for name in ("model.h5", "model.keras"):
        with pytest.raises(ValueError, match=says.replace("h5", "(h5|keras)")):
            files.load(tmp_path / name)
