"""The command line on shapes of one's own: what it says, where it writes, how it exits."""

import inspect
import json
import os
import pkgutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trimesh
import typer
from analytic import socket
from typer.testing import CliRunner

from aaelib.apps import cli, own_shapes
from aaelib.metrics import generative_metrics
from aaelib.shapes import normalize

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


@pytest.mark.parametrize(
    ("command", "function", "renamed"),
    [
        ("train", "models.Settings", {"select_from": "first_selectable", "shape_models": ""}),
        ("train", "models.recipe", {"recipe": "source"}),
        ("train", "shapes.split", {"split": "shares"}),
        ("evaluate", "study.evaluate", {}),
        ("generate", "apps.outputs.generate", {}),
        ("interpolate", "apps.outputs.interpolate", {}),
        ("export", "apps.outputs.export", {"points": "n_points"}),
    ],
)
def test_a_command_has_the_defaults_of_its_function(command, function, renamed):
    theirs = inspect.signature(pkgutil.resolve_name(f"aaelib.{function}")).parameters
    shared = 0
    for name, parameter in inspect.signature(getattr(cli, command)).parameters.items():
        same = theirs.get(renamed.get(name, name))
        if same and parameter.default is not None:
            assert parameter.default == same.default, name
            shared += same.default is not same.empty
    assert shared


def test_the_version_is_told():
    assert run("--version") == (0, "0.1.0\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "a", "b.keras", "--set", "code_size"], "KEY=VALUE"),
        (["train", "a", "b.keras", "--freeze", "=point_4"], "KEY=VALUE"),
        (["interpolate", "sockets", "a", "b", "c", "--mesh", "obj"], "obj"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, said):
    code, _, error = run(*arguments)
    assert code == 2
    assert said in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "no-folder", "m.keras"], "no-folder"),
        (["train", "no-folder", "m.keras", "--set", "code_sise=3"], "code_sise"),
        (["evaluate", "no.keras", "folder", "--out", "found"], "no.keras"),
        (["export", "no.npy", "found.stl"], "no.npy"),
        (["resample", "no-folder", "found"], "no-folder"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_exits_with_1(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(*arguments)
    assert code == 1
    assert error.startswith("aaelib: ")
    assert said in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("exhaust", ["python", "tensorflow"])
def test_want_of_memory_is_one_line_with_what_helps(exhaust, monkeypatch):
    def train(*_, **__):
        if exhaust == "python":
            np.empty(10**15)
        import tensorflow as tf

        raise tf.errors.ResourceExhaustedError(None, None, "failed to allocate 10 GB")

    monkeypatch.setattr(own_shapes, "train", train)
    code, _, error = run("train", "a", "b.keras")
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith("aaelib: out of memory: ")
    assert "smaller batches" in error


def given_by(monkeypatch, *options):
    """What `own_shapes.train` is given by the options of a command."""
    given = []

    def diverge(*arguments, **settings):
        given.extend((*arguments, settings))
        raise FloatingPointError("epoch 3: the loss is not finite")

    monkeypatch.setattr(own_shapes, "train", diverge)
    said = run("train", "a", "b.keras", *options)
    assert said[::2] == (1, "aaelib: epoch 3: the loss is not finite\n")
    return given


def test_sets_of_anybody_s_shapes_are_compared(tmp_path):
    """A folder in mm and an array of other size and place, with the same shapes but one."""
    rng = np.random.default_rng(0)
    sets = [100 * rng.normal(size=(4, 50, 3)) for _ in range(2)]
    sets[0][:3] = sets[1][:3] / 7 + 1000
    np.save(tmp_path / "array.npy", sets[0])
    (tmp_path / "folder").mkdir()
    for i, cloud in enumerate(sets[1]):
        np.save(tmp_path / "folder" / f"{i}.npy", cloud)
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


def test_the_explorer_s_page_is_written_outside_of_a_checkout(monkeypatch):
    served = []
    monkeypatch.setattr(os, "execve", lambda file, arguments, environment: served.extend(arguments))
    assert run("explore", "--port", 8123)[0] == 0
    page = next(Path(each) for each in served if each.endswith(".ipynb"))
    assert "explorer.explore()" in page.read_text()
    assert not page.is_relative_to(cli.ROOT)
    assert "--port=8123" in served


# One after the other


def test_options_name_the_same_run_as_arguments(eggs, egg_model):
    before = egg_model.stat().st_mtime_ns
    code, said, _ = run("train", eggs, egg_model, *TINY, "--split", 0.5, 0.2, 0.3)
    assert code == 0
    assert "8 training, 3 validation, 5 test shapes; epoch 1 of 2 is the best" in said
    assert egg_model.stat().st_mtime_ns == before


def test_a_model_is_evaluated_on_unseen_shapes(eggs, egg_model, tmp_path):
    code, said, _ = run("evaluate", egg_model, eggs, "--out", tmp_path / "found", "--draws", 1)
    assert code == 0
    assert "the 5 of 16 shapes that the model was neither trained on" in said
    assert "one_nn_accuracy" in said
    found = json.loads((tmp_path / "found" / "metrics.json").read_text())
    assert (found["model"], found["n"]) == ("eggs", 5)
    assert (tmp_path / "found" / "index.html").exists()


def test_samples_and_an_interpolation_between_two_shapes(egg_model, tmp_path):
    samples, walk = tmp_path / "samples", tmp_path / "walk"
    assert run("generate", egg_model, 2, samples, "--seed", 3)[:2] == (0, f"2 files in {samples}\n")
    ends = sorted(samples.iterdir())
    said = run("interpolate", egg_model, *ends, walk, "--steps", 3)[:2]
    assert said == (0, f"4 files in {walk}\n")
    again = ["generate", egg_model, 1, samples]
    code, _, error = run(*again)
    assert (code, sorted(samples.iterdir())) == (1, ends)
    assert "--overwrite" in error
    assert run(*again, "--overwrite")[:2] == (0, f"1 files in {samples}\n")


def test_a_socket_is_taken_home_and_one_in_metres_lying_down_when_both_are_said(tmp_path):
    np.save(tmp_path / "cup.npy", socket().sample(2048))
    said = run("export", tmp_path / "cup.npy", tmp_path / "cup.3mf", "--thickness", 3)
    assert said == (0, f"{tmp_path / 'cup.3mf'}\n", "")
    assert (tmp_path / "cup.3mf").exists()
    np.save(tmp_path / "small.npy", 0.001 * np.roll(socket().sample(2048), -1, axis=1))
    small = tmp_path / "small.npy", tmp_path / "small.csv"
    code, _, error = run("export", *small)
    assert (code, small[1].exists()) == (1, False)
    assert error.startswith("aaelib: ")
    assert "--unit m)" in error
    code, _, error = run("export", *small, "--unit", "m")
    assert code == 0
    assert error.startswith("aaelib: warning: ")
    assert "--up=y" in error
    assert "Warning" not in error
    assert run("export", *small, "--unit", "m", "--up", "y") == (0, f"{small[1]}\n", "")
    run("export", tmp_path / "cup.npy", tmp_path / "cup.csv")
    lengths = [pd.read_csv(tmp_path / f"{name}.csv").length_mm[0] for name in ("cup", "small")]
    assert lengths[0] == pytest.approx(lengths[1], abs=0.01)
    (tmp_path / "lying").mkdir()
    small[0].rename(tmp_path / "lying" / "a.npy")
    target = tmp_path / "clouds"
    code, said, _ = run("resample", tmp_path / "lying", target, "--up", "y", "--unit", "m")
    assert (code, said.endswith("; passed over: nothing\n")) == (0, True)
    cup, small = np.load(tmp_path / "cup.npy"), np.load(target / "a.npy")
    np.testing.assert_allclose(small, cup, atol=1e-4)


def test_resampling_lists_what_is_refused_kept_removed_or_left_over(tmp_path):
    meshes, clouds = tmp_path / "meshes", tmp_path / "clouds"
    meshes.mkdir()

    def resample():
        return run("resample", meshes, clouds, "--points", 50, "--workers", 1)

    (meshes / "bad.off").write_text("no mesh")
    code, _, error = resample()
    assert code == 1
    assert "bad.off" in error
    for name in ("good", "spoilt", "gone"):
        trimesh.creation.box().export(meshes / f"{name}.off")
    assert "3 written, 0 kept, 1 refused" in resample()[1]
    (meshes / "spoilt.off").write_text("no mesh")
    (meshes / "gone.off").unlink()
    code, said, error = resample()
    assert code == 0
    assert "0 written, 1 kept, 2 refused, 1 removed, 1 left over" in said
    assert f"{clouds / 'spoilt.npy'}: removed" in error
    assert f"{clouds / 'gone.npy'}: left over" in error
    assert {cloud.name for cloud in clouds.glob("*.npy")} == {"good.npy", "gone.npy"}
