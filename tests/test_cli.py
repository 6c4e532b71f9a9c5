"""The command line on shapes of one's own: what it says, where it writes, how it exits."""

import json
import re
import shutil
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import trimesh
import typer
from analytic import socket
from conftest import write_clouds
from typer.testing import CliRunner

from aaelib.apps import cli, own_shapes
from aaelib.metrics import generative_metrics
from aaelib.shapes import corpus, normalize

TINY = [  # the recipe and settings of `egg_model`
    *("--set", "code_size=4", "--set", "encoder=8", "--set", "decoder=8"),
    *("--set", "discriminator=8", "--set", "encoder_points=null"),
    *("--set", "refinement_steps=2", "--set", "finetuning_steps=2"),
    *("--points", "128", "--epochs", "2", "--steps", "2", "--batch-size", "4"),
]
COMMANDS = typer.main.get_command(cli.app).commands


def run(*arguments):
    """Exit code, standard output and standard error of a command."""
    result = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    return result.exit_code, result.stdout, result.stderr


# Help and usage


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_every_parameter_says_what_it_is(name):
    assert [each.name for each in COMMANDS[name].params if not each.help] == []
    code, said, _ = run(name, "--help")
    assert code == 0
    assert COMMANDS[name].help.split("\n")[0].split(",")[0] in " ".join(said.split())
    assert "Parameters" not in said


def test_the_version_is_told():
    assert run("--version") == (0, "0.1.0\n", "")


@pytest.mark.parametrize(
    ("exit_code", "arguments", "said"),
    [
        (2, ["train", "a", "b.keras", "--set", "code_size"], "KEY=VALUE"),
        (2, ["train", "a", "b.keras", "--freeze", "=point_4"], "KEY=VALUE"),
        (2, ["interpolate", "sockets", "a", "b", "c", "--mesh", "obj"], "obj"),
        (1, ["train", "no-folder", "m.keras"], "no-folder"),
        (1, ["train", "no-folder", "m.keras", "--set", "code_sise=3"], "code_sise"),
        (1, ["evaluate", "no.keras", "folder", "--out", "found"], "no.keras"),
        (1, ["export", "no.npy", "found.stl"], "no.npy"),
        (1, ["resample", "no-folder", "found"], "no-folder"),
        (1, ["notebook", "99_unknown"], "there is no notebook '99_unknown': choose one of "),
        (1, ["notebook", "01_augmentation", "--profile", "unknown"], "'unknown': choose one of "),
        (1, ["site", "--profile", "unknown"], "there is no profile 'unknown': choose one of "),
        (1, ["store", "--profile", "unknown"], "there is no profile 'unknown': choose one of "),
    ],
)
def test_exit_codes_of_wrong_usage_and_failures(exit_code, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(*arguments)
    assert code == exit_code
    assert said in error
    assert "Traceback" not in error
    assert error.startswith("aaelib: ") == (error.count("\n") == 1) == (code == 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error", [MemoryError, tf.errors.ResourceExhaustedError(None, None, "10 GB")]
)
def test_want_of_memory_is_one_line_with_what_helps(error, monkeypatch):
    monkeypatch.setattr(own_shapes, "train", mock.Mock(side_effect=error))
    code, _, said = run("train", "a", "b.keras")
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("aaelib: out of memory: ")
    assert "smaller batches" in said


def given_by(monkeypatch, *options):
    """What `own_shapes.train` is given by the options of a command."""
    train = mock.Mock(side_effect=FloatingPointError("epoch 3: the loss is not finite"))
    monkeypatch.setattr(own_shapes, "train", train)
    said = run("train", "a", "b.keras", *options)
    assert said[::2] == (1, "aaelib: epoch 3: the loss is not finite\n")
    return [*train.call_args.args, train.call_args.kwargs]


def test_sets_of_anybody_s_shapes_are_compared(tmp_path):
    """A folder in mm and an array of other size and place, with the same shapes but one."""
    rng = np.random.default_rng(0)
    sets = [100 * rng.normal(size=(4, 50, 3)) for _ in range(2)]
    sets[0][:3] = sets[1][:3] / 7 + 1000
    np.save(tmp_path / "array.npy", sets[0])
    write_clouds(tmp_path / "folder", {f"{i}": cloud for i, cloud in enumerate(sets[1])})
    code, said, _ = run("compare", tmp_path / "array.npy", tmp_path / "folder", "--points", 50)
    assert code == 0
    values = {row.split("|")[1].strip(): row.split("|")[2] for row in said.splitlines()[2:]}
    expected = generative_metrics(*(normalize(each, "unit-sphere")[0] for each in sets))
    assert {name: float(value) for name, value in values.items()} == pytest.approx(expected, 1e-3)
    np.save(tmp_path / "array.npy", sets[0][0])
    code, _, error = run("compare", tmp_path / "array.npy", tmp_path / "folder", "--points", 50)
    assert code == 1
    assert "array.npy has shape (50, 3)" in error


def test_options_reach_what_is_named_like_them(monkeypatch):
    given = given_by(
        monkeypatch,
        *("--recipe", "paper", "--set", "code_size=8", "--points", 64),
        *("--normalization", "dataset", "--split", 0.6, 0.3, 0.1, "--seed", 1, "--epochs", 2),
        *("--steps", 3, "--batch-size", 4, "--select-from", 5, "--rotate", "--jitter", 0.6),
        *("--weights-from", "sockets", "--network", "encoder", "--freeze", "decoder=hidden_1"),
        *("--shape-models", 0.7, "--up=-y", "--unit", "inch"),
    )
    settings = {"epochs": 2, "steps_per_epoch": 3, "batch_size": 4, "first_selectable": 5}
    settings |= {"rotate": True, "jitter": 0.6, "seed": 1}
    assert given == [
        Path("a"),
        Path("b.keras"),
        ("paper", {"code_size": "8", "n_points": 64, "normalization": "dataset"}),
        {"networks": ("encoder",), "frozen": {"decoder": "hidden_1"}},
        settings,
        {"shares": (0.6, 0.3, 0.1), "share": 0.7, "weights_from": "sockets"}
        | {"up": "-y", "unit": "inch"},
    ]


def test_without_options_recipe_and_start_are_as_they_are(monkeypatch):
    assert given_by(monkeypatch)[2:4] == [("compact", {}), {"frozen": {}}]


# One after the other


def test_options_name_the_same_run_as_arguments(eggs, egg_model):
    before = egg_model.stat().st_mtime_ns
    code, said, _ = run("train", eggs, egg_model, *TINY, "--split", 0.5, 0.2, 0.3)
    assert code == 0
    assert "8 training, 3 validation, 5 test shapes; epoch 1 of 2 is the best" in said
    assert said.endswith("; passed over: nothing\n")
    assert egg_model.stat().st_mtime_ns == before


def test_a_model_is_evaluated_on_unseen_shapes(eggs, egg_model, tmp_path):
    evaluate = ["evaluate", egg_model, eggs, "--out", tmp_path, "--draws", 1]
    code, said, _ = run(*evaluate)
    assert code == 0
    assert "the 5 of 16 shapes that the model was neither trained on" in said
    assert "one_nn_accuracy" in said
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert (found["model"], found["n"]) == ("eggs", 5)
    assert (tmp_path / "index.html").exists()
    assert run(*evaluate)[0] == 0
    # The same names of something else stay as they are.
    (tmp_path / "metrics.json").write_text("{}")
    code, _, error = run(*evaluate)
    assert (code, (tmp_path / "metrics.json").read_text()) == (1, "{}")
    assert "name another folder" in error
    mine = tmp_path / "mine" / "pictures" / "samples.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert run("evaluate", egg_model, eggs, "--out", tmp_path / "mine")[0] == 1
    assert mine.read_text() == "mine"


def test_shapes_are_placed_as_those_that_the_model_was_trained_on(eggs, egg_model, tmp_path):
    """Lying along x, in cm, by the model's card."""
    lying, model = tmp_path / eggs.name, Path(shutil.copy(egg_model, tmp_path / "own.keras"))
    card = json.loads(egg_model.with_suffix(".json").read_text()) | {"up": "x", "unit": "cm"}
    model.with_suffix(".json").write_text(json.dumps(card))
    for file in eggs.rglob("*.npy"):
        (lying / file.relative_to(eggs)).parent.mkdir(parents=True, exist_ok=True)
        np.save(lying / file.relative_to(eggs), np.roll(np.load(file), -2, axis=1) / 10)
    found = []
    for folder, trained in ((eggs, egg_model), (lying, model)):
        out = tmp_path / f"of {trained.stem}"
        assert run("evaluate", trained, folder, "--out", out, "--all", "--draws", 1)[0] == 0
        found.append(json.loads((out / "metrics.json").read_text())["metrics"][trained.stem])
    assert found[0]["chamfer"] == pytest.approx(found[1]["chamfer"], rel=1e-3)
    assert found[0]["fidelity"] == pytest.approx(found[1]["fidelity"], rel=1e-3)


def test_samples_and_an_interpolation_between_two_shapes(egg_model, tmp_path):
    samples, walk = tmp_path / "samples", tmp_path / "walk"
    generate = ["generate", egg_model, 2, samples, "--seed", 3]
    assert run(*generate)[:2] == (0, f"2 files in {samples}\n")
    assert "--overwrite" in run(*generate)[2]
    assert run(*generate, "--overwrite")[0] == 0
    said = run("interpolate", egg_model, *sorted(samples.iterdir()), walk, "--steps", 3)[:2]
    assert said == (0, f"4 files in {walk}\n")


def test_a_socket_in_metres_that_lies_down_is_taken_home_when_both_are_said(tmp_path):
    cup = socket().sample(2048)
    (tmp_path / "lying").mkdir()
    files = tmp_path / "cup.npy", tmp_path / "lying" / "small.npy"
    for file, cloud in zip(files, (cup, 0.001 * np.roll(cup, -1, axis=1)), strict=True):
        np.save(file, cloud)
    said = run("export", files[0], tmp_path / "cup.3mf", "--thickness", 3)
    assert said == (0, f"{tmp_path / 'cup.3mf'}\n", "")
    small = files[1], tmp_path / "small.csv"
    code, _, error = run("export", *small)
    assert (code, small[1].exists()) == (1, False)
    assert "--unit m)" in error
    code, _, error = run("export", *small, "--unit", "m")
    assert code == 0
    assert error.startswith("aaelib: warning: ")
    assert "--up=y" in error
    assert run("export", *small, "--unit", "m", "--up", "y") == (0, f"{small[1]}\n", "")
    run("export", files[0], tmp_path / "cup.csv")
    lengths = [pd.read_csv(tmp_path / f"{name}.csv").length_mm[0] for name in ("cup", "small")]
    assert lengths[0] == pytest.approx(lengths[1], abs=0.01)
    clouds = tmp_path / "clouds"
    code, said, _ = run("resample", tmp_path / "lying", clouds, "--up", "y", "--unit", "m")
    assert (code, said.endswith("; passed over: nothing\n")) == (0, True)
    np.testing.assert_allclose(np.load(clouds / "small.npy"), cup, atol=1e-4)


def test_resampling_lists_what_is_refused_kept_removed_or_left_over(tmp_path):
    meshes, clouds = tmp_path / "meshes", tmp_path / "clouds"
    resample = ["resample", meshes, clouds, "--points", 50, "--workers", 1]
    meshes.mkdir()
    (meshes / "bad.off").write_text("no mesh")
    code, _, error = run(*resample)
    assert code == 1
    assert "bad.off" in error
    (meshes / "scan.pcd").touch()
    for name in ("good", "spoilt", "gone"):
        trimesh.creation.box().export(meshes / f"{name}.off")
    assert "3 written, 0 kept, 1 refused" in run(*resample)[1]
    (meshes / "spoilt.off").write_text("no mesh")
    (meshes / "gone.off").unlink()
    code, said, error = run(*resample)
    assert code == 0
    assert "0 written, 1 kept, 2 refused, 1 removed, 1 left over" in said
    assert said.endswith("; passed over: 1 .pcd\n")
    assert f"{clouds / 'spoilt.npy'}: removed" in error
    assert f"{clouds / 'gone.npy'}: left over" in error
    assert {cloud.name for cloud in clouds.glob("*.npy")} == {"good.npy", "gone.npy"}


# The worked example of docs/howto/original.md


@pytest.mark.slow
def test_the_worked_example_runs_as_it_is_written_but_for_its_length(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for family in ("vase", "stool"):
        (tmp_path / "meshes" / family).mkdir(parents=True)
        for i in range(10):
            corpus.draw_mesh(family, i)[0].export(f"meshes/{family}/{family}_{i:04d}.off")
    page = (Path(__file__).parents[1] / "docs/howto/original.md").read_text()
    commands = re.findall(r"(?m)^aaelib (.*)$", page)
    assert [command.split()[0] for command in commands] == [
        *("resample", "train", "evaluate", "generate"),
    ]
    shorter = {"--epochs 20": "--epochs 1 --steps 2 --batch-size 2", "--out": "--draws 1 --out"}
    for command in commands:
        for written, short in shorter.items():
            command = command.replace(written, short)
        code, _, error = run(*command.split())
        assert code == 0, error
    card = json.loads(Path("model.json").read_text())
    assert (card["recipe"], card["weights_from"]) == ("paper", "pretrained")
    assert len(list(Path("new").glob("*.npy"))) == 25
    pictures = {file.stem for file in Path("found/pictures").glob("*.png")}
    assert {"reconstructions", "interpolation", "samples", "comparison"} <= pictures
