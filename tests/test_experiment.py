"""Shapes of one's own: recipes, splits, training, evaluation, and what is taken home."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trimesh
from analytic import sockets

from aaelib.apps import experiment
from aaelib.metrics.reconstruction import reconstruction_chamfer
from aaelib.models import files, recipes, training
from aaelib.shapes import splits
from aaelib.shapes.sockets import SocketSurface
from aaelib.study import baselines, evaluation, report

TINY = {
    "n_points": 128,
    "code_size": 4,
    "encoder": (8,),
    "decoder": (8,),
    "discriminator": (8,),
    "encoder_points": None,
    "refinement_steps": 2,
    "finetuning_steps": 2,
}
BRIEF = {"epochs": 2, "steps": 2, "batch_size": 4}


def write_clouds(folder, kinds, n=8, seed=0):
    """Clouds of balls that are stretched at random, n of each kind."""
    rng = np.random.default_rng(seed)
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        for i in range(n):
            cloud = rng.normal(size=(128, 3)) * rng.uniform(10, 30, 3)
            np.save(folder / kind / f"{kind}_{i}.npy", cloud.astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def clouds(tmp_path_factory):
    return write_clouds(tmp_path_factory.mktemp("shapes") / "balls", ("egg", "ball"))


@pytest.fixture(scope="module")
def cups(tmp_path_factory):
    """Analytic sockets, in folders by kind."""
    folder = tmp_path_factory.mktemp("shapes") / "cups"
    for kind, seed in (("TT", 0), ("TF", 1)):
        (folder / kind).mkdir(parents=True)
        for i, surface in enumerate(sockets(8, seed)):
            np.save(folder / kind / f"{kind}_{i}.npy", surface.sample(128, seed=i))
    return folder


@pytest.fixture(scope="module")
def of_clouds(clouds, tmp_path_factory):
    """The file of a model of clouds."""
    path = tmp_path_factory.mktemp("models") / "eggs.keras"
    experiment.train(clouds, path, changes=TINY, shares=(0.5, 0.2, 0.3), **BRIEF)
    return path


@pytest.fixture(scope="module")
def of_cups(cups, tmp_path_factory):
    """The file of a model that started as shape models."""
    path = tmp_path_factory.mktemp("models") / "cups.keras"
    changes = {**TINY, "finetuning_steps": 0}
    experiment.train(
        cups, path, changes=changes, shares=(0.5, 0.25, 0.25), shape_models=0.5, **BRIEF
    )
    return path


# Recipes


def test_entries_are_read_as_their_types_ask_for():
    recipe = recipes.load_recipe(
        "compact",
        autoencoder_rate="1e-3",
        code_size="8",
        encoder="64, 128",
        decoder="[32]",
        encoder_points="null",
        shared_pass="false",
        decay="constant",
    )
    assert recipe == recipes.recipe(
        "compact",
        autoencoder_rate=1e-3,
        code_size=8,
        encoder=(64, 128),
        decoder=(32,),
        encoder_points=None,
        shared_pass=False,
        decay="constant",
    )


def test_a_recipe_file_changes_its_base_and_options_change_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("base: paper\ncode_size: 32\nautoencoder_rate: 1e-5\n")
    recipe = recipes.load_recipe(file, code_size="16")
    expected = recipes.recipe("paper", code_size=16, autoencoder_rate=1e-5)
    assert recipe == replace(expected, name="mine")


def test_a_recipe_can_be_renamed(tmp_path):
    assert recipes.load_recipe("paper", name="mine") == replace(
        recipes.recipe("paper"), name="mine"
    )
    file = tmp_path / "other.yaml"
    file.write_text("name: third\n")
    assert recipes.load_recipe(file).name == "third"
    assert recipes.load_recipe(file, name="mine").name == "mine"


def test_entries_with_names_of_parameters_are_unknown_like_others():
    with pytest.raises(ValueError, match=r"unknown entries \['source'\]"):
        recipes.load_recipe("compact", source="x")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("- 1\n", "list"),
        ("code_sise: 3\n", "code_sise"),
        ("base: huge\n", "huge"),
        ("encoder: [\n", "not YAML"),
        ("adversarial: never\n", "never"),
    ],
)
def test_a_wrong_recipe_file_is_named_with_what_is_wrong(tmp_path, text, named):
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"wrong.yaml.*{named}"):
        recipes.load_recipe(file)


def test_a_recipe_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        recipes.load_recipe(tmp_path / "none.yaml")


# Splits


def test_each_shape_is_in_one_part_and_classes_are_in_proportion():
    kinds = np.repeat(["a", "b"], [60, 20])
    parts = splits.split(kinds, (0.5, 0.25, 0.25))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(80))
    assert {part: len(index) for part, index in parts.items()} == {
        "training": 40,
        "validation": 20,
        "test": 20,
    }
    for index in parts.values():
        assert abs((kinds[index] == "b").mean() - 0.25) <= 0.05


def test_a_part_has_a_shape_however_few_there_are():
    parts = splits.split(np.array(["a", "b", "c"]), (0.8, 0.1, 0.1))
    assert [len(index) for index in parts.values()] == [1, 1, 1]
    assert [len(index) for index in splits.split(["a", "b"], (0.9, 0.1, 0)).values()] == [
        1,
        1,
        0,
    ]


def test_a_split_is_the_seeds():
    kinds = np.repeat(["a", "b"], 20)
    first, again, other = (splits.split(kinds, seed=seed)["test"] for seed in (1, 1, 2))
    assert list(first) == list(again) != list(other)


@pytest.mark.parametrize(
    ("n", "shares", "said"),
    [
        (2, (0.8, 0.1, 0.1), "2 shapes can't be shared out to 3 parts"),
        (9, (0.8, 0.1, 0.2), "in all 1"),
        (9, (1, 0, 0), "first two above 0"),
        (9, (1.2, 0.1, -0.3), "in all 1"),
    ],
)
def test_what_can_not_be_split_is_refused(n, shares, said):
    with pytest.raises(ValueError, match=said):
        splits.split(np.full(n, "a"), shares)


# Training


def test_a_card_names_the_shapes_of_each_part(clouds, of_clouds):
    card = training.card_of(of_clouds)
    names = [name for part in splits.PARTS for name in card["split"][part]]
    assert [len(card["split"][part]) for part in splits.PARTS] == [8, 3, 5]
    files = {str(file.relative_to(clouds).with_suffix("")) for file in clouds.rglob("*.npy")}
    assert sorted(names) == sorted(files)
    assert (card["source"], card["folder"]) == ("balls", str(clouds))
    assert card["settings"]["recipe"]["code_size"] == 4
    assert list(pd.read_csv(of_clouds.with_suffix(".csv")).epoch) == [0, 1]


def test_a_finished_run_is_found_finished(clouds, of_clouds):
    before = of_clouds.stat().st_mtime_ns
    run = experiment.train(clouds, of_clouds, changes=TINY, shares=(0.5, 0.2, 0.3), **BRIEF)
    assert of_clouds.stat().st_mtime_ns == before
    assert run.best_epoch == 1  # the first half is not selectable
    assert run.curves().data


def test_networks_that_are_taken_over_start_as_they_were(clouds, of_clouds, tmp_path):
    run = experiment.train(
        clouds,
        tmp_path / "more.keras",
        changes=TINY,
        weights_from=of_clouds,
        networks=("encoder",),
        frozen={"encoder": "point_1"},
        shares=(0.5, 0.2, 0.3),
        **BRIEF,
    )
    layers = [aae.encoder.get_layer("point_1") for aae in (run.model, files.load(of_clouds))]
    for mine, theirs in zip(*(layer.get_weights() for layer in layers), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert run.model.frozen == {"encoder": "point_1"}
    which = experiment.evaluate(run, clouds, draws=1).about["which"]
    assert which.endswith("eggs.keras, which may have seen them")


def test_a_decoder_that_starts_as_shape_models_stays_one(cups, of_cups):
    aae = files.load(of_cups)
    assert aae.recipe.linear_models == 2
    assert not np.any(aae.decoder.get_layer("coordinates").kernel)
    lengths = np.ptp(aae.sample(20)[..., 2], axis=1)
    real = [np.ptp(np.load(file)[:, 2]) for file in cups.rglob("*.npy")]
    assert 0.8 * min(real) < lengths.min() < lengths.max() < 1.2 * max(real)


def test_what_a_recipe_file_says_is_kept_with_shape_models(cups, of_cups, tmp_path, monkeypatch):
    file = tmp_path / "slow.yaml"
    file.write_text("autoencoder_rate: 1e-5\nfinetuning_rate: 2e-5\n")
    folder = of_cups.with_suffix(".shape_models")
    shutil.copytree(folder, tmp_path / folder.name)

    class StartedError(Exception):
        """Ends training before it begins."""

    def start(recipe, *_):
        raise StartedError(recipe)

    monkeypatch.setattr(experiment, "_start", start)
    settings = {"shares": (0.5, 0.25, 0.25), "shape_models": 0.5}
    for recipe, rates in ((file, (1e-5, 2e-5)), ("compact", (0.0, 1e-4))):
        with pytest.raises(StartedError) as started:
            experiment.train(cups, tmp_path / of_cups.name, recipe, TINY, **settings)
        (made,) = started.value.args
        assert (made.autoencoder_rate, made.finetuning_rate) == rates
        assert made.linear_models == 2


def test_shape_models_are_kept_beside_the_model_and_found_again(cups, of_cups, monkeypatch):
    folder = of_cups.with_suffix(".shape_models")
    assert sorted(file.name[:2] for file in folder.iterdir()) == ["TF", "TT"]
    monkeypatch.setattr(experiment, "transported", None)
    changes = {**TINY, "finetuning_steps": 0}
    run = experiment.train(
        cups, of_cups, changes=changes, shares=(0.5, 0.25, 0.25), shape_models=0.5, **BRIEF
    )
    assert run.card == training.card_of(of_cups)


def test_a_class_of_one_socket_has_no_shape_model(cups, tmp_path):
    few = tmp_path / "few"
    shutil.copytree(cups / "TT", few / "TT")
    (few / "TF").mkdir()
    shutil.copy(cups / "TF" / "TF_0.npy", few / "TF")
    with pytest.raises(ValueError, match="'TF' has 1 training shape"):
        experiment.train(
            few, tmp_path / "m.keras", changes=TINY, shares=(0.8, 0.2, 0), shape_models=0.5, seed=3
        )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"steps": -1}, "steps is -1"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"jitter": -0.1}, "jitter is -0.1"),
        ({"shape_models": 1.0}, "share of shape models is 1.0"),
        ({"networks": ["brain"]}, "brain"),
        ({"weights_from": "sockets", "shape_models": 0.5}, "not from both"),
        ({"first_selectable": 10}, "first_selectable is 10"),
        ({"frozen": {"encoder": "point_9"}}, "point_9"),
        ({"weights_from": "sockets"}, "encoder of recipe"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(clouds, tmp_path, settings, said):
    path = tmp_path / "m.keras"
    with pytest.raises(ValueError, match=said):
        experiment.train(clouds, path, **{"changes": TINY, "epochs": 2, **settings})
    assert not list(tmp_path.iterdir())


def test_a_model_is_a_keras_file(clouds, tmp_path):
    with pytest.raises(ValueError, match=r"suffix '.h5'; a model is written as .keras"):
        experiment.train(clouds, tmp_path / "m.h5")


def test_too_few_shapes_are_named_with_their_folder(tmp_path):
    folder = write_clouds(tmp_path / "few", ("egg",), n=2)
    with pytest.raises(ValueError, match="few: 2 shapes can't be shared out"):
        experiment.train(folder, tmp_path / "m.keras", changes=TINY)


# Evaluation


@pytest.fixture(scope="module")
def found(clouds, of_clouds):
    return experiment.evaluate(of_clouds, clouds, draws=2)


def test_by_default_only_unseen_shapes_are_evaluated(clouds, of_clouds, found):
    test = training.card_of(of_clouds)["split"]["test"]
    assert list(found.errors.index) == sorted(test)
    assert found.about["which"].startswith("the 5 of 16 shapes that the model was neither")
    aae = files.load(of_clouds)
    points = np.stack([np.load(clouds / f"{name}.npy") for name in found.errors.index])
    expected = reconstruction_chamfer(points, aae.reconstruct(points))
    np.testing.assert_allclose(found.errors.chamfer, expected)
    assert found.metrics.chamfer["eggs"] == pytest.approx(expected.mean())


def test_clouds_are_compared_with_real_ones_and_have_no_surface(found):
    assert list(found.metrics.index) == ["eggs", experiment.NEAREST]
    assert "surface_mm" not in found.metrics
    assert {"chamfer", "fidelity", "coverage", "jsd", "one_nn_accuracy"} <= {*found.metrics}
    assert found.metrics.notna().loc["eggs", "fidelity_sd"]
    assert list(found.by_class.index) == ["egg chamfer", "ball chamfer"]


def test_a_shape_is_known_wherever_it_lies(clouds, of_clouds, tmp_path):
    for file in (clouds / "egg").iterdir():  # in other folders, under other names
        shutil.copy(file, tmp_path / f"copy of {file.name}")
    found = experiment.evaluate(of_clouds, tmp_path, draws=1)
    test = {Path(name).name for name in training.card_of(of_clouds)["split"]["test"]}
    eggs = sorted(f"copy of {name}" for name in test if name.startswith("egg"))
    assert list(found.errors.index) == eggs


def test_a_shape_that_is_saved_anew_in_its_folder_is_known_by_name(clouds, of_clouds, tmp_path):
    for file in clouds.rglob("*.npy"):
        np.save(tmp_path / file.name, 1.001 * np.load(file))
    card = training.card_of(of_clouds)
    moved = of_clouds.with_name("moved.keras")
    shutil.copy(of_clouds, moved)
    card["folder"] = str(tmp_path)
    card["split"] = {
        part: {Path(name).name: digest for name, digest in names.items()}
        for part, names in card["split"].items()
    }
    moved.with_suffix(".json").write_text(json.dumps(card))
    found = experiment.evaluate(moved, tmp_path, draws=1)
    assert sorted(found.errors.index) == sorted(card["split"]["test"])


def test_other_points_of_equal_names_in_another_folder_do_not_count_as_unseen(of_clouds, tmp_path):
    other = write_clouds(tmp_path / "balls", ("egg", "ball"), seed=9)
    found = experiment.evaluate(of_clouds, other, draws=1)
    assert sorted(found.errors.index) == sorted(training.card_of(of_clouds)["split"]["test"])
    assert found.about["which"] == (
        "the 5 of 16 shapes that the model was neither trained on nor selected by, without 11 that "
        "have names of such (as far as points and names tell)"
    )
    # They are not known to be training shapes either.
    assert experiment.NEAREST not in found.metrics.index
    assert found.memorising == {}
    every = experiment.evaluate(of_clouds, other, draws=1, everything=True).about
    assert every["n"] == 16
    assert "trained on or selected by 0, and 11 more have names of such" in every["which"]


def test_a_card_that_tells_parts_only_is_enough(clouds, of_clouds, tmp_path):
    card = training.card_of(of_clouds)
    path = tmp_path / "m.keras"
    shutil.copy(of_clouds, path)
    split = {part: names for part, names in card["split"].items() if part != "test"}
    path.with_suffix(".json").write_text(json.dumps({"split": split}))
    found = experiment.evaluate(path, clouds, draws=1)
    assert sorted(found.errors.index) == sorted(card["split"]["test"])


def test_all_shapes_are_evaluated_where_that_is_asked_for(clouds, of_clouds):
    found = experiment.evaluate(of_clouds, clouds, draws=1, everything=True)
    assert found.about["n"] == 16
    assert found.about["which"] == "all 16 shapes; the model was trained on or selected by 11"
    assert found.memorising["test"] > 0  # shapes that were trained on do not count


def test_of_many_shapes_some_are_drawn_and_that_is_said(clouds, of_clouds):
    found = experiment.evaluate(of_clouds, clouds, draws=1, everything=True, limit=4)
    assert sorted(found.errors["class"]) == ["ball", "ball", "egg", "egg"]
    assert found.about["which"].endswith("4 of them drawn")


def test_of_many_training_shapes_baselines_take_some_and_that_is_said(
    clouds, of_clouds, monkeypatch
):
    monkeypatch.setattr(evaluation, "TRAINED_PER_SHAPE", 2)
    compared = []
    nearest = baselines.nearest

    def recorded(points, training):
        compared.append(training)
        return nearest(points, training)

    monkeypatch.setattr(baselines, "nearest", recorded)
    found = experiment.evaluate(of_clouds, clouds, draws=1, limit=3)
    assert [len(each) for each in compared] == [6]
    assert (found.about["n_trained"], found.about["n_compared"]) == (8, 6)
    assert any("drawn from 8 training shapes" in note for note in found.about["notes"])


def test_shapes_that_were_all_trained_on_are_refused(clouds, of_clouds, tmp_path):
    for name in training.card_of(of_clouds)["split"]["training"]:
        shutil.copy(clouds / f"{name}.npy", tmp_path)
    with pytest.raises(ValueError, match=r"the 0 of 8 shapes .*--all"):
        experiment.evaluate(of_clouds, tmp_path)


def test_a_model_without_a_card_is_evaluated_on_all_and_says_so(clouds, of_clouds, tmp_path):
    path = tmp_path / "weights.npz"
    experiment.export(of_clouds, path)
    found = experiment.evaluate(path, clouds, draws=1)
    assert (
        found.about["which"] == "all 16 shapes; which of them the model was trained on is not known"
    )


def test_sockets_have_errors_in_mm_and_more_baselines(cups, of_cups):
    found = experiment.evaluate(of_cups, cups, draws=1)
    rows = ["cups", experiment.NEAREST, baselines.LINEAR, baselines.FLOOR]
    assert list(found.metrics.index) == rows
    assert found.metrics.surface_mm[baselines.FLOOR] < 1e-3
    assert found.metrics.surface_mm["cups"] > 0
    assert list(found.by_class.index[:2]) == ["TT chamfer", "TT surface_mm"]
    as_clouds = experiment.evaluate(of_cups, cups, draws=1, sockets=False)
    assert "surface_mm" not in as_clouds.metrics


def test_meshes_have_a_sampling_floor(of_clouds, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        mesh = trimesh.creation.icosphere(subdivisions=3)
        mesh.apply_scale(rng.uniform(10, 30, 3))
        mesh.export(tmp_path / f"{i}.off")
    found = experiment.evaluate(of_clouds, tmp_path, draws=2)
    assert list(found.metrics.index) == ["eggs", baselines.FLOOR]
    assert 0 < found.metrics.chamfer[baselines.FLOOR] < found.metrics.chamfer["eggs"]
    assert found.metrics.coverage[baselines.FLOOR] == 1


def test_an_evaluation_is_a_page_and_numbers(found, tmp_path):
    page = found.write(tmp_path).read_text()
    assert {file.name for file in tmp_path.iterdir()} == {
        "index.html",
        "metrics.json",
        "errors.csv",
    }
    assert not re.search(r"""(src|href)=["']""", page.split("<body>")[1])
    assert page.count('class="plotly-figure"') == len(found.figures) == 7
    values = json.loads((tmp_path / "metrics.json").read_text())
    for metric in ("chamfer", "fidelity", "fidelity_sd", "coverage"):
        mine = found.metrics.loc["eggs", metric]
        assert values["metrics"]["eggs"][metric] == pytest.approx(mine, rel=1e-6)
    assert (values["n"], values["seeds"], values["source"]) == (5, [1000, 1001], "balls")
    errors = pd.read_csv(tmp_path / "errors.csv", index_col="shape")
    np.testing.assert_allclose(errors.chamfer, found.errors.chamfer)


def test_an_evaluation_is_written_whole_or_not_at_all(found, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(report, "write_page", fail)
    with pytest.raises(OSError, match="disk full"):
        found.write(tmp_path / "found")
    assert list((tmp_path / "found").iterdir()) == []


# What comes out


def test_samples_are_the_seeds_and_fewer_are_the_first_of_more(of_clouds, tmp_path):
    three, refused = experiment.generate(of_clouds, 3, tmp_path / "three", seed=5)
    two, _ = experiment.generate(of_clouds, 2, tmp_path / "two", seed=5)
    assert [file.name for file in three] == [f"sample_000{i}.npy" for i in range(3)]
    assert refused == []
    for one, other in zip(three, two, strict=False):
        assert np.load(one).shape == (128, 3)
        np.testing.assert_array_equal(np.load(one), np.load(other))


def test_samples_of_sockets_come_as_walls(of_cups, tmp_path):
    files, refused = experiment.generate(of_cups, 3, tmp_path, mesh="stl", thickness=2.0)
    walls = [file for file in files if file.suffix == ".stl"]
    assert len(walls) + len(refused) == 3
    assert walls
    assert all(trimesh.load_mesh(wall).is_watertight for wall in walls)


def test_a_wall_that_there_is_not_is_told_with_its_reason(of_cups, tmp_path, monkeypatch):
    def refuse(surface, path, thickness):
        raise ValueError("a wall would cross itself")

    monkeypatch.setattr(experiment.printing, "export", refuse)
    files, refused = experiment.generate(of_cups, 1, tmp_path, mesh="ply")
    assert [file.name for file in files] == ["sample_0000.npy"]
    assert refused == [(tmp_path / "sample_0000.ply", "a wall would cross itself")]


def test_what_is_left_of_earlier_samples_goes_and_nothing_else(of_clouds, tmp_path):
    left = ["sample_0000.stl", "sample_0002.npy", "sample_0002.3mf", "sample_0010.ply"]
    kept = ["sample_2.npy", "sample_0002.csv", "sample_mine.npy", "resample_0002.npy"]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    experiment.generate(of_clouds, 2, tmp_path)
    made = ["sample_0000.npy", "sample_0001.npy"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*made, *kept])


def test_a_wall_that_is_refused_leaves_none_of_another_cloud(of_cups, tmp_path, monkeypatch):
    def refuse(surface, path, thickness):
        raise ValueError("a wall would cross itself")

    (tmp_path / "sample_0000.stl").touch()
    monkeypatch.setattr(experiment.printing, "export", refuse)
    experiment.generate(of_cups, 1, tmp_path, mesh="stl")
    assert [file.name for file in tmp_path.iterdir()] == ["sample_0000.npy"]


@pytest.fixture(scope="module")
def of_unit_spheres(clouds, tmp_path_factory):
    """The file of a model of shapes without sizes."""
    path = tmp_path_factory.mktemp("models") / "unit.keras"
    changes = {**TINY, "normalization": "unit-sphere"}
    experiment.train(clouds, path, changes=changes, **BRIEF)
    return path


def test_shapes_without_a_size_have_no_walls(of_unit_spheres, tmp_path):
    with pytest.raises(ValueError, match="no size"):
        experiment.generate(of_unit_spheres, 1, tmp_path / "out", mesh="stl")
    assert not (tmp_path / "out").exists()


def test_samples_are_said_to_have_a_size_only_where_they_have_one(found, of_unit_spheres, clouds):
    assert found.captions["samples"].endswith("in the unit of the folder's files.")
    unsized = experiment.evaluate(of_unit_spheres, clouds, draws=1, everything=True, limit=4)
    assert unsized.captions["samples"].endswith("without a size: in the unit sphere.")


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"n": 0}, "n is 0"), ({"mesh": "obj"}, "obj"), ({"mesh": "stl", "thickness": 21}, "21 mm")],
)
def test_what_can_not_be_generated_is_refused(of_cups, tmp_path, settings, said):
    with pytest.raises(ValueError, match=said):
        experiment.generate(of_cups, **{"n": 1, "folder": tmp_path / "out", **settings})
    assert not (tmp_path / "out").exists()


def test_an_interpolation_leads_from_one_reconstruction_to_the_other(clouds, of_clouds, tmp_path):
    ends = [clouds / "egg" / "egg_0.npy", clouds / "ball" / "ball_0.npy"]
    files, _ = experiment.interpolate(of_clouds, *ends, tmp_path, steps=3)
    assert [file.name for file in files] == [
        "step_0.npy",
        "step_1.npy",
        "step_2.npy",
        "interpolation.html",
    ]
    aae = files.load(of_clouds)
    decoded = aae.decode(aae.encode(np.stack([np.load(end) for end in ends])))
    np.testing.assert_allclose(np.load(files[0]), decoded[0], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(np.load(files[2]), decoded[1], rtol=1e-5, atol=1e-4)


def test_a_socket_is_exported_as_wall_and_measures(tmp_path):
    surface = sockets(1)[0]
    np.save(tmp_path / "cup.npy", surface.sample(2048))
    wall = experiment.export(tmp_path / "cup.npy", tmp_path / "cup.stl", thickness=3.0)
    assert trimesh.load_mesh(wall).is_watertight
    table = experiment.export(tmp_path / "cup.npy", tmp_path / "cup.csv")
    length = pd.read_csv(table).length_mm[0]
    assert length == pytest.approx(surface.measure()["length_mm"], rel=0.02)


def test_a_mesh_is_exported_like_a_cloud(tmp_path):
    surface = sockets(1)[0]
    surface.mesh().export(tmp_path / "cup.ply")
    table = experiment.export(tmp_path / "cup.ply", tmp_path / "cup.csv")
    length = pd.read_csv(table).length_mm[0]
    assert length == pytest.approx(surface.measure()["length_mm"], rel=0.02)


def test_a_model_is_exported_as_weights(of_clouds, tmp_path):
    path = experiment.export(of_clouds, tmp_path / "eggs.npz")
    samples = [files.load(each).sample(2) for each in (of_clouds, path)]
    np.testing.assert_allclose(*samples, atol=0.05)


@pytest.mark.parametrize(
    ("source", "out", "said"),
    [
        ("cup.npy", "cup.obj", "suffix '.obj'"),
        ("cup.npy", "cup.npz", "can't be written as .npz"),
        ("sockets", "cup.stl", "can't be written as .stl"),
        ("none.npy", "cup.stl", "no file none.npy"),
    ],
)
def test_what_can_not_be_exported_is_refused_by_name(tmp_path, source, out, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        experiment.export(source, tmp_path / out)
    assert not list(tmp_path.iterdir())


def test_a_surface_that_is_exported_follows_the_cloud(tmp_path):
    surface = sockets(1)[0]
    np.save(tmp_path / "cup.npy", surface.sample(2048))
    measured = [
        pd.read_csv(experiment.export(tmp_path / "cup.npy", tmp_path / "cup.csv", smoothing=s))
        for s in (0.0, 5.0)
    ]
    plain = SocketSurface.from_points(np.load(tmp_path / "cup.npy"), smoothing=0.0).measure()
    assert measured[0].volume_mm3[0] == pytest.approx(plain["volume_mm3"], rel=1e-6)
    assert measured[0].volume_mm3[0] != measured[1].volume_mm3[0]
