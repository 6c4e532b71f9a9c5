"""Training on a folder of one's own: parts, starts, shape models, and what is refused."""

import re
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from aaelib.apps import own_shapes
from aaelib.models import AdversarialAutoencoder, files, recipes
from aaelib.models.recipes import NETWORKS
from aaelib.models.runs import card_of
from aaelib.models.starts import Start
from aaelib.models.transfer import start_from
from aaelib.shapes import load_clouds
from aaelib.study.model_report import evaluate


@pytest.fixture
def begun(monkeypatch):
    """What training is asked for, which is not done."""
    asked = mock.Mock()
    monkeypatch.setattr(own_shapes.training, "train", asked)
    return asked


def test_a_card_names_the_shapes_of_each_part(eggs, egg_model):
    card = card_of(egg_model)
    counts = {part: len(names) for part, names in card["split"].items()}
    assert counts == {"training": 8, "validation": 3, "test": 5}
    names = [name for names in card["split"].values() for name in names]
    assert sorted(names) == sorted(load_clouds(eggs, 128).names)
    assert (card["source"], card["folder"]) == ("bälle", str(eggs))


@pytest.mark.parametrize(("least", "batch_size", "steps"), [(50, 1, 50), (5, 1, 8), (2, 3, 3)])
def test_an_epoch_has_by_default_as_many_steps_as_the_training_shapes_make(
    eggs, train_tiny, begun, monkeypatch, tmp_path, least, batch_size, steps
):
    monkeypatch.setattr(own_shapes, "_LEAST_STEPS", least)
    settings = {"steps_per_epoch": None, "batch_size": batch_size}
    train_tiny(eggs, tmp_path / "m.keras", changes={"standardized": False}, settings=settings)
    assert begun.call_args.args[4].steps_per_epoch == steps


@pytest.mark.parametrize(
    ("start", "decoder"),
    [({}, "as it is"), ({"networks": ("encoder",)}, "cloud"), ({"networks": ()}, "cloud")],
)
def test_a_decoder_that_is_not_taken_over_starts_at_the_first_cloud(
    eggs, egg_model, train_tiny, begun, tmp_path, start, decoder
):
    train_tiny(eggs, tmp_path / "m.keras", start=start, weights_from=egg_model)
    assert begun.call_args.args[3].decoder == decoder


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_pretrained_weights_are_those_that_suit_the_recipe(name):
    recipe = recipes.recipe(name)
    model = own_shapes._to_start_from("pretrained", recipe, NETWORKS)
    assert model.recipe.tnets == recipe.tnets
    start_from(AdversarialAutoencoder(recipe), model)


@pytest.mark.parametrize("times", [1.3, 4.0])
def test_codes_of_a_frozen_encoder_move_only_where_that_is_told(
    eggs, egg_model, train_tiny, tmp_path, times
):
    """Trained on other shapes, which have other moments and another size."""
    for file in eggs.rglob("*.npy"):
        np.save(tmp_path / file.name, times * np.load(file) * [1.0, 0.5, 0.8])
    moves = warnings.catch_warnings()
    if times > 2:
        moves = pytest.warns(UserWarning, match=r"times as large .* does not keep its code")
    with moves:
        start = {"frozen": {"encoder": "codes"}}
        run = train_tiny(tmp_path, tmp_path / "b.keras", start=start, weights_from=egg_model)
    old = files.load(egg_model)
    shapes = load_clouds(eggs, 128)
    which = evaluate(run, shapes, draws=1).about["which"]
    assert which.endswith("eggs.keras, which may have seen them")
    points = shapes.points
    same = np.array_equal(run.model.encode(points, 0), old.encode(points, 0))
    assert same == (times < 2)
    start = Start(old, frozen={"encoder": "codes"})
    assert (start.begin(times * points, old.recipe).scale == old.scale) == (times < 2)


# Shape models


def test_a_decoder_that_starts_as_shape_models_stays_near_them(cups, cup_model):
    aae = files.load(cup_model)
    assert aae.recipe.linear_models == 2
    assert 0 < np.abs(aae.decoder.get_layer("coordinates").kernel).max() < 1e-2
    lengths = np.ptp(aae.sample(20)[..., 2], axis=1)
    real = np.ptp(load_clouds(cups, 128).points[..., 2], axis=1)
    assert 0.8 * min(real) < lengths.min() < lengths.max() < 1.2 * max(real)


def test_a_recipe_file_overrides_the_default_rates(cups, cup_model, train_cups, begun, tmp_path):
    file = tmp_path / "mine.yaml"
    for text, rates in (("autoencoder_rate: 1e-5\n", (1e-5, 1e-4)), ("", (3e-5, 1e-4))):
        file.write_text("base: compact\n" + text)
        train_cups(cups, cup_model, source=file)
        recipe = begun.call_args.args[2]
        assert (recipe.autoencoder_rate, recipe.finetuning_rate) == rates
        assert recipe.linear_models == 2


def test_shape_models_are_kept_and_found_again(cups, cup_model, train_cups, monkeypatch):
    assert len(list(cup_model.with_suffix(".shape_models").iterdir())) == 2
    monkeypatch.setattr(own_shapes, "transported", None)
    assert train_cups(cups, cup_model).card == card_of(cup_model)


def test_shape_models_of_other_code_are_fitted_again(cups, tmp_path, monkeypatch):
    fit = mock.Mock(wraps=own_shapes.transported)
    monkeypatch.setattr(own_shapes, "transported", fit)
    for version, n_fitted in (("0", 2), ("0", 2), ("1", 4)):
        monkeypatch.setattr(own_shapes.code, "digest_of", mock.Mock(return_value=64 * version))
        own_shapes.shape_models(load_clouds(cups, 128), tmp_path, seed=0)
        assert fit.call_count == n_fitted


def test_a_class_of_one_socket_has_no_shape_model(cups, tmp_path):
    shapes = load_clouds(cups, 128)
    one_tf = shapes[(shapes.kinds == "TT") | (np.cumsum(shapes.kinds == "TF") == 1)]
    with pytest.raises(ValueError, match="'TF' has 1 training shape"):
        own_shapes.shape_models(one_tf, tmp_path, seed=0)


# Bad input


@pytest.mark.parametrize(
    ("change", "said", "options"),
    [
        (lambda points: points / 25.4, "--unit inch", {"unit": "inch"}),
        (lambda points: points / 1000, "--unit m", {"unit": "m"}),
        (lambda points: points * [1, -1, -1], "--up=-z", {"up": "-z"}),
        (lambda points: points[:, [1, 2, 0]], "--up=y", {"up": "y"}),
    ],
)
def test_sockets_of_another_unit_or_axis_are_trained_on_only_when_that_is_said(
    cups, train_tiny, begun, tmp_path, change, said, options
):
    for file in cups.rglob("*.npy"):
        (tmp_path / "cups" / file.parent.name).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "cups" / file.parent.name / file.name, change(np.load(file)))
    with pytest.raises(ValueError, match=re.escape(said)):
        train_tiny(tmp_path / "cups", tmp_path / "m.keras")
    train_tiny(tmp_path / "cups", tmp_path / "m.keras", **options)
    points = begun.call_args.args[0].points
    np.testing.assert_allclose(points, load_clouds(cups, 128).points, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["m.csv", "m.json", "m.csv/letter.txt", "m.resume", "m.resume/letter.txt"]
)
def test_files_of_no_run_are_not_replaced(eggs, train_tiny, tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"epoch": 1}')
    with pytest.raises(OSError, match=rf"{name[:6]}.*move it away|move it away.*{name[:5]}"):
        train_tiny(eggs, tmp_path / "m.keras")
    assert file.read_text() == '{"epoch": 1}'
    assert not (tmp_path / "m.keras").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": Path("m.h5")}, r"suffix '.h5'; a model is written as .keras"),
        ({"weights_from": "sockets", "share": 0.5}, "not from both"),
        ({"weights_from": "sockets"}, "encoder of recipe"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(eggs, train_tiny, tmp_path, given, said):
    with pytest.raises(ValueError, match=said):
        train_tiny(eggs, **{"path": tmp_path / "m.keras"} | given)
    assert not list(tmp_path.iterdir())


def test_weights_are_not_replaced_by_what_starts_from_them(eggs, egg_model):
    before = egg_model.read_bytes()
    settings = {
        "epochs": 1,
        "steps_per_epoch": 1,
        "batch_size": 4,
        "seed": 0,
        "first_selectable": 0,
    }
    for path, options, message in (
        (egg_model, {}, "would replace the weights"),
        (egg_model.with_suffix(".npz"), {}, "written as .keras"),
        (egg_model.with_name("b.keras"), {"networks": ("foo",)}, "no network 'foo'"),
    ):
        with pytest.raises(ValueError, match=message):
            own_shapes.train(
                eggs,
                path,
                ("compact", {}),
                {"frozen": {}} | options,
                settings,
                shares=(0.5, 0.2, 0.3),
                share=0.0,
                weights_from=egg_model,
            )
    assert egg_model.read_bytes() == before
