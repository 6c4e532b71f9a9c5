"""The command line on shapes of one's own: what it says, where it writes, how it exits."""

import inspect
import json
import re

import numpy as np
import pytest
import trimesh
import typer
from typer.testing import CliRunner

from aaelib.apps import cli

TINY = [
    *("--set", "code_size=4", "--set", "encoder=8", "--set", "decoder=8"),
    *("--set", "discriminator=8", "--set", "encoder_points=null"),
    *("--set", "refinement_steps=2", "--set", "finetuning_steps=0"),
    *("--points", "128", "--epochs", "2", "--steps", "2", "--batch-size", "4"),
]
COMMANDS = typer.main.get_command(cli.app).commands


def run(*arguments):
    """Exit code, standard output and standard error of a command."""
    result = CliRunner().invoke(cli.app, [str(each) for each in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Clouds of balls that are stretched at random, in two classes."""
    folder = tmp_path_factory.mktemp("shapes of my own") / "bälle"
    rng = np.random.default_rng(0)
    for kind in ("egg", "ball"):
        (folder / kind).mkdir(parents=True)
        for i in range(6):
            np.save(folder / kind / f"{i}.npy", rng.normal(size=(128, 3)) * rng.uniform(10, 30, 3))
    return folder


@pytest.fixture(scope="module")
def model(shapes, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "eggs.keras"
    code, said, _ = run("train", shapes, path, *TINY, "--split", 0.5, 0.2, 0.3)
    assert (code, path.exists()) == (0, True)
    assert "6 training, 2 validation, 4 test shapes" in said
    return path


# Help and usage


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name):
    code, said, _ = run(name, "--help")
    assert code == 0
    assert "Usage" in said


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_parameter_says_what_it_is(name):
    assert [each.name for each in COMMANDS[name].params if not each.help] == []


@pytest.mark.parametrize("name", ["train", "evaluate", "generate", "interpolate", "export"])
def test_a_command_has_the_defaults_of_its_function(name):
    from aaelib.apps import experiment

    names = {"split": "shares", "select_from": "first_selectable", "out": "folder"}
    function = inspect.signature(getattr(experiment, name)).parameters
    for key, parameter in inspect.signature(getattr(cli, name)).parameters.items():
        theirs = function.get(names.get(key, key))
        if theirs is not None and parameter.default is not None:
            assert parameter.default == theirs.default, key


def test_the_version_is_told():
    assert run("--version") == (0, "0.1.0\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "Missing argument"),
        (["train", "a", "b.keras", "--epochs", "0"], "epochs"),
        (["train", "a", "b.keras", "--set", "code_size"], "KEY=VALUE"),
        (["train", "a", "b.keras", "--freeze", "=point_4"], "KEY=VALUE"),
        (["train", "a", "b.keras", "--unknown"], "No such option"),
        (["evaluate", "a", "b"], "Missing option"),
        (["generate", "sockets", "none", "c"], "Invalid value"),
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
        (["train", "no-folder", "m.keras", "--recipe", "none.yaml"], "none.yaml"),
        (["train", "no-folder", "m.keras", "--network", "brain"], "brain"),
        (["evaluate", "no.keras", "folder", "--out", "found"], "no.keras"),
        (["evaluate", "sockets", "no-folder", "--out", "found"], "no-folder"),
        (["generate", "no.keras", "1", "found"], "no.keras"),
        (["interpolate", "sockets", "no.npy", "no.npy", "found"], "no.npy"),
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


def test_a_loss_that_is_not_finite_is_told_in_words(monkeypatch):
    from aaelib.apps import experiment

    def diverge(*_, **__):
        raise FloatingPointError("epoch 3: the loss is not finite")

    monkeypatch.setattr(experiment, "train", diverge)
    assert run("train", "a", "b.keras")[::2] == (1, "aaelib: epoch 3: the loss is not finite\n")


def test_options_reach_what_is_named_like_them(monkeypatch):
    from aaelib.apps import experiment

    given = {}

    def record(*_, **settings):
        given.update(settings)
        raise ValueError("enough")

    monkeypatch.setattr(experiment, "train", record)
    run(
        *("train", "a", "b.keras", "--recipe", "paper", "--set", "code_size=8", "--points", 64),
        *("--normalization", "dataset", "--split", 0.6, 0.3, 0.1, "--seed", 1, "--epochs", 2),
        *("--steps", 3, "--batch-size", 4, "--select-from", 5, "--rotate", "--jitter", 0.6),
        *("--weights-from", "sockets", "--network", "encoder", "--freeze", "decoder=hidden_1"),
        *("--shape-models", 0.7),
    )
    assert given == {
        "recipe": "paper",
        "changes": {"code_size": "8", "n_points": 64, "normalization": "dataset"},
        "shares": (0.6, 0.3, 0.1),
        "seed": 1,
        "epochs": 2,
        "steps": 3,
        "batch_size": 4,
        "first_selectable": 5,
        "rotate": True,
        "jitter": 0.6,
        "weights_from": "sockets",
        "networks": ("encoder",),
        "frozen": {"decoder": "hidden_1"},
        "shape_models": 0.7,
    }


# One after the other


def test_a_model_is_evaluated_on_what_it_has_not_seen(shapes, model, tmp_path):
    code, said, _ = run("evaluate", model, shapes, "--out", tmp_path / "found", "--draws", 1)
    assert code == 0
    assert "the 4 of 12 shapes that the model was neither trained on" in said
    assert "one_nn_accuracy" in said
    found = json.loads((tmp_path / "found" / "metrics.json").read_text())
    assert (found["model"], found["n"]) == ("eggs", 4)
    assert (tmp_path / "found" / "index.html").exists()


def test_a_recipe_file_and_an_option_that_changes_it(shapes, tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text("base: paper\nencoder: [8]\ndecoder: [8]\ndiscriminator: [8]\ncode_size: 4\n")
    path = tmp_path / "m.keras"
    brief = ["--points", 64, "--epochs", 1, "--steps", 1, "--batch-size", 2]
    code, *_ = run("train", shapes, path, "--recipe", file, "--set", "beta_1=0.8", *brief)
    assert code == 0
    recipe = json.loads(path.with_suffix(".json").read_text())["settings"]["recipe"]
    assert recipe["name"] == "tiny"
    assert (recipe["beta_1"], recipe["n_points"], recipe["tnets"]) == (0.8, 64, True)


def test_training_starts_from_weights_and_keeps_what_is_frozen(shapes, model, tmp_path):
    path = tmp_path / "more.keras"
    code, *_ = run(
        *("train", shapes, path, *TINY, "--weights-from", model),
        *("--network", "encoder", "--freeze", "encoder=point_1", "--rotate", "--jitter", 0.02),
    )
    assert code == 0
    settings = json.loads(path.with_suffix(".json").read_text())["settings"]
    assert (settings["networks"], settings["frozen"]) == (["encoder"], {"encoder": "point_1"})
    assert (settings["rotate"], settings["jitter"]) == (True, 0.02)


def test_samples_and_a_walk_between_two_shapes(shapes, model, tmp_path):
    code, said, _ = run("generate", model, 2, tmp_path / "samples", "--seed", 3)
    assert (code, said) == (0, f"2 files in {tmp_path / 'samples'}\n")
    ends = sorted((tmp_path / "samples").iterdir())
    code, said, _ = run("interpolate", model, *ends, tmp_path / "walk", "--steps", 3)
    assert (code, said) == (0, f"4 files in {tmp_path / 'walk'}\n")


def test_a_socket_is_taken_home(tmp_path):
    from analytic import socket

    np.save(tmp_path / "cup.npy", socket().sample(2048))
    code, said, _ = run("export", tmp_path / "cup.npy", tmp_path / "cup.3mf", "--thickness", 3)
    assert (code, said) == (0, f"{tmp_path / 'cup.3mf'}\n")
    assert (tmp_path / "cup.3mf").exists()


def test_a_socket_in_metres_is_warned_of_in_words(tmp_path):
    from analytic import socket

    np.save(tmp_path / "cup.npy", 0.001 * socket().sample(2048))
    code, _, error = run("export", tmp_path / "cup.npy", tmp_path / "cup.csv")
    assert code == 0
    assert error.startswith("aaelib: warning: ")
    assert "cup.npy" in error
    assert "Warning" not in error


def test_a_model_that_comes_along_makes_walls_to_print(tmp_path):
    code, said, _ = run("generate", "sockets", 1, tmp_path, "--mesh", "stl")
    assert (code, said) == (0, f"2 files in {tmp_path}\n")
    assert trimesh.load_mesh(tmp_path / "sample_0000.stl").is_watertight


def test_what_can_not_be_resampled_is_listed_and_the_rest_is_written(tmp_path):
    source = tmp_path / "meshes" / "box"
    source.mkdir(parents=True)
    trimesh.creation.box().export(source / "good.off")
    (source / "bad.off").write_text("no mesh")
    target = tmp_path / "clouds"
    arguments = ["resample", tmp_path / "meshes", target, "--points", 50, "--workers", 1]
    code, said, error = run(*arguments)
    assert code == 0
    assert "1 written" in said
    assert "bad.off" in error
    assert np.load(target / "box" / "good.npy").shape == (50, 3)
    assert "0 written, 1 kept" in run(*arguments)[1]


def test_clouds_of_meshes_that_are_gone_are_removed_and_listed(tmp_path):
    source, target = tmp_path / "meshes", tmp_path / "clouds"
    source.mkdir()
    for name in ("here", "gone"):
        trimesh.creation.box().export(source / f"{name}.off")
    arguments = ["resample", source, target, "--points", 50, "--workers", 1]
    run(*arguments)
    (source / "gone.off").unlink()
    code, said, error = run(*arguments)
    assert code == 0
    assert "1 kept, 0 refused, 1 removed" in said
    assert error.count(f"{target / 'gone.npy'}: removed") == 1


def test_resampling_that_reads_nothing_fails(tmp_path):
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "bad.off").write_text("no mesh")
    code, _, error = run("resample", tmp_path / "meshes", tmp_path / "clouds", "--workers", 1)
    assert code == 1
    assert "bad.off" in error


def test_the_readme_names_commands_and_options_that_there_are():
    readme = (cli.ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Shapes of your own\n")[1].split("\n## ")[0]
    written = named_options(section)
    assert written.keys() == {
        *("resample", "train", "evaluate", "generate", "interpolate", "export")
    }
    assert sum(map(len, written.values())) > 15
    for command, options in written.items():
        assert options <= options_of(command), command
    # An option of another command is no better than one that there is not.
    misplaced = named_options(section.replace("--suffix", "--split"))
    assert not misplaced["resample"] <= options_of("resample")


def options_of(command):
    return {
        option
        for parameter in COMMANDS[command].params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


def named_options(section):
    """Command -> options, from lines to type and from tables whose last column is ours."""
    found, command = {}, None
    for line in section.splitlines():
        ours = line.strip("| ").split("|")[-1] if line.startswith("|") else line
        if typed := re.match(r"aaelib (\S+)", line):
            command = typed[1]
        elif line.startswith("| `experiment."):  # the rows below go on with it
            command = re.search(r"`aaelib (\S+)", ours)[1]
        elif not line.startswith("| |"):
            continue
        options = re.findall(r"--[a-z]\S*?(?=[\s`=,;)]|$)", ours.split("#")[0])
        found.setdefault(command, set()).update(options)
    return found
