"""Runs: selection of the best epoch, interruption, and runs that are already done."""

import gc
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
import pandas as pd
import psutil
import pytest
from analytic import family, socket
from conftest import TINY

from aaelib.models import autoencoder, losses, recipes, runs, training
from aaelib.models.starts import Start
from aaelib.shapes.folders import Shapes
from aaelib.shapes.shape_model import ShapeModel
from aaelib.shapes.sockets import SocketSurface

RECIPE = recipes.recipe("compact", TINY, n_points=32)
CLOUDS = np.random.default_rng(0).normal(size=(8, 32, 3)).astype(np.float32) * [20, 20, 60]
EPOCHS, STEPS = 4, 3


def train(path, seed=0, points=CLOUDS, scale=100.0, first_selectable=0, about=None, **changes):
    """Train a tiny model; all but the last two clouds are for training."""
    index = np.arange(len(points))
    shapes = Shapes(points, index.astype(str), np.full(len(points), "TT"), "random")
    parts = {"training": index[:-2], "validation": index[-2:]}
    recipe = replace(RECIPE, **changes)
    settings = training.Settings(EPOCHS, STEPS, 4, first_selectable, seed=seed)
    return training.train(shapes, parts, recipe, Start(scale=scale), settings, path, about)


def changed_networks(one, other):
    """Names of the networks whose weights differ."""
    weights = {
        n: [getattr(each, n).get_weights() for each in (one, other)] for n in recipes.NETWORKS
    }
    return [n for n, pair in weights.items() if not all(map(np.array_equal, *pair))]


@contextmanager
def after_call(owner, name, n_calls, act):
    """Act right after a function was called so many times."""
    function, calls = getattr(owner, name), []

    def then_act(*args, **kwargs):
        result = function(*args, **kwargs)
        calls.append(1)
        if len(calls) == n_calls:
            act()
        return result

    with mock.patch.object(owner, name, then_act):
        yield


def kill():
    raise KeyboardInterrupt


def assert_same(one, other):
    """Two runs are the same, bit for bit."""
    assert one.best_epoch == other.best_epoch
    pd.testing.assert_frame_equal(one.history, other.history, check_exact=True)
    assert changed_networks(one.model, other.model) == []


@pytest.mark.parametrize("first", [0, EPOCHS - 1])
def test_the_best_epoch_is_the_selectable_one_of_lowest_validation_jsd(tmp_path, first):
    run = train(tmp_path / "run.keras", first_selectable=first, finetuning_steps=0)
    assert list(run.history.index) == list(range(EPOCHS))
    assert run.card["best_epoch"] == run.best_epoch == run.history.val_jsd[first:].idxmin()
    jsd = training.prior_jsd(run.model, CLOUDS[-2:])
    assert jsd == pytest.approx(run.history.val_jsd[first:].min(), abs=1e-12)


def test_fine_tuning_comes_after_the_best_epoch_and_changes_its_decoder_alone(whole, tmp_path):
    plain = train(tmp_path / "plain.keras", finetuning_steps=0)
    pd.testing.assert_frame_equal(plain.history, whole.history)
    assert changed_networks(plain.model, whole.model) == ["decoder"]


@pytest.mark.parametrize("moment", ["an epoch is kept", "a model is written", "it is fine-tuned"])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(whole, tmp_path, fits, moment):
    owner, name, call = {
        "an epoch is kept": (runs.State, "keep", 2),
        "a model is written": (autoencoder.AdversarialAutoencoder, "save", 3),
        "it is fine-tuned": (training, "finetune_decoder", 1),
    }[moment]
    with after_call(owner, name, call, kill), pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run.keras")
    assert not (tmp_path / "run.keras").exists()
    assert_same(train(tmp_path / "run.keras"), whole)
    assert fits == ([0] if moment == "it is fine-tuned" else [0, 2])


def test_a_finished_run_is_found_and_not_even_its_first_model_is_made(whole, monkeypatch, fits):
    monkeypatch.setattr(Start, "begin", None)
    assert_same(train(whole.path), whole)
    assert not fits


def test_a_run_with_other_data_or_settings_is_trained(whole):
    changes = [
        {"points": np.float32(CLOUDS * 1.1)},
        {"seed": 1},
        {"critic_steps": 2},
        {"scale": 110.0},
        {"about": {"condition": "another"}},
    ]
    with mock.patch.object(training, "_train") as trained:
        for change in changes:
            train(whole.path, **change)
        assert trained.call_count == len(changes)
        told = pytest.warns(UserWarning, match=f"{EPOCHS + 2} epochs start .*--weights-from")
        with mock.patch("test_training.EPOCHS", EPOCHS + 2), told:
            train(whole.path)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match="learning rates"):
        train(tmp_path / "run.keras", scale=1e-25)


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        (training.Settings, {"first_selectable": 10}, "first_selectable is 10; it can be 0 to 9"),
        (training.Settings, {"jitter": float("nan")}, "jitter is nan: input should be"),
        (training.Settings, {"share": 1.5}, r"share is 1\.5: .* less than or equal to 1"),
        (training.Settings, {"limit": 0}, "limit is 0: .* greater than 0"),
        (Start, {"scale": -1.0}, r"scale is -1\.0: .* greater than 0"),
        (Start, {"scale": float("inf")}, "scale is inf: .* finite"),
        (Start, {"networks": ("coder",)}, "'coder': input should be 'encoder', 'decoder' or"),
    ],
)
def test_a_setting_out_of_range_is_named(call, options, message):
    with pytest.raises(ValueError, match=message):
        call(**options)


# Before training: a start at shape models

CODES = recipes.recipe(
    "compact", TINY, n_points=64, code_size=3, encoder=(32, 64), refinement_steps=0
)
SCALE = 150.0  # mm


@pytest.fixture(scope="module")
def shape_models():
    """Of two modes, length and tilt: twelve narrow sockets and four wide ones."""
    wide = [SocketSurface(s.vertices * [1.6, 1.6, 1]) for s in family(4, seed=1)]
    return [ShapeModel.fit(family(12), 2), ShapeModel.fit(wide, 2)]


def at_shape_models(shape_models, steps=100, seed=0, **changes):
    start = Start(decoder="shape models", shape_models=shape_models, steps=steps, scale=SCALE)
    points = np.stack([s.sample(64, seed=i) for i, s in enumerate(family(12))])
    return start.begin(points, replace(CODES, **changes), seed)


@pytest.fixture(scope="module")
def started(shape_models):
    return at_shape_models(shape_models, 300)


def test_a_started_encoder_reads_the_weights_and_kinds_of_clouds(shape_models, started):
    fresh = autoencoder.AdversarialAutoencoder(CODES, SCALE, seed=0)
    firsts = []
    for shape_model in shape_models:
        weights = shape_model.draw_weights(60, seed=9)
        mean, modes = shape_model.point_basis(64, seed=5)
        clouds = np.float32(mean[0] + np.tensordot(weights, modes[0], 1))
        before, after = (aae.encode(clouds) / CODES.prior_std for aae in (fresh, started))
        correlations = [np.corrcoef(after[:, 1 + j], weights[:, j])[0, 1] for j in range(2)]
        assert min(correlations) > 0.8
        errors = [np.mean((codes[:, 1:] - weights) ** 2) for codes in (before, after)]
        assert errors[1] < 0.75 * errors[0]
        firsts.append(after[:, 0])
    # 12 of the 16 sockets are narrow: below that share of the prior is their interval.
    assert firsts[0].mean() < 0 < firsts[1].mean()


def test_a_start_at_one_shape_model_has_no_number_for_the_kind(shape_models):
    """Also of an encoder whose standard deviations learn nothing from it."""
    changes = {"linear_models": 1, "code_size": 2, "encoder_points": 32}
    aae = at_shape_models(shape_models[:1], 2, stochastic=True, standardized=False, **changes)
    mean, modes = shape_models[0].point_basis(64, seed=0)
    expected = mean[0] + modes[0, 1]
    found = aae.decode([[0, CODES.prior_std]])[0]
    np.testing.assert_allclose(found, expected - expected.mean(axis=0), atol=1e-3)


def test_a_start_takes_the_networks_that_it_is_told_of_another_model():
    other = autoencoder.AdversarialAutoencoder(CODES, SCALE, seed=9)
    start = Start(model=other, networks=("encoder",), frozen={"encoder": "point_1"})
    aae = start.begin(CLOUDS, CODES)
    assert changed_networks(aae, other) == ["decoder", "discriminator"]
    assert aae.frozen == {"encoder": "point_1"}
    # Shapes of about as many mm: what was learnt about size stays; of other units they are scaled.
    assert aae.scale == SCALE
    largest = np.linalg.norm(CLOUDS - CLOUDS.mean(axis=1, keepdims=True), axis=-1).max()
    assert start.begin(CLOUDS / 100, CODES).scale == pytest.approx(largest / 100)


def test_a_decoder_does_not_start_from_two_things(started):
    with pytest.raises(ValueError, match="not from both"):
        Start(model=started, decoder="shape models")


# After it: the decoder at refined codes


def test_fine_tuning_brings_the_decoder_nearer():
    """To sockets with a wave, from a start at one cloud without."""
    surfaces = [socket(length, wave=8) for length in (170, 200, 230)]
    points = np.stack([surface.sample(64, seed=i) for i, surface in enumerate(surfaces)])
    waves = np.float32((points - points.mean(axis=1, keepdims=True)) / SCALE)
    coarse = family(1)[0].sample(64, seed=9)[None]
    changes = {"refinement_steps": 5, "finetuning_steps": 60, "finetuning_rate": 3e-3}
    start, recipe = Start(decoder="cloud", scale=SCALE), replace(CODES, **changes)
    before, after = (start.begin(coarse, recipe) for _ in range(2))
    training.finetune_decoder(after, waves)
    codes = before.codes(waves[:, ::4])  # as it has learnt at
    errors = [
        np.asarray(losses.chamfer_loss(waves, aae.decode(codes) / np.float32(SCALE)))
        for aae in (before, after)
    ]
    assert errors[1].mean() < 0.75 * errors[0].mean()


@pytest.mark.slow
def test_models_trained_one_after_the_other_do_not_pile_up_in_memory(tmp_path):
    taken = []
    for seed in range(6):
        train(tmp_path / f"{seed}.keras", seed)
        gc.collect()
        taken.append(psutil.Process().memory_info().rss / 2**20)
    # What XLA has compiled for the first ones stays, and serves the others.
    assert (taken[-1] - taken[1]) / 4 < 20, taken


def test_a_step_is_timed_here():
    assert 0 < training.step_seconds(RECIPE, 2) < 10


class Codes:
    """A model whose codes of 4 clouds have a variance that depends on its noise as given."""

    recipe = mock.Mock(refinement_steps=5, prior_std=2.0)

    def __init__(self, variance):
        self.variance, self.noise = variance, 0.0

    def codes(self, clouds):
        return np.full((4, 3), 2.0 * self.variance(np.log10(self.noise)) ** 0.5)


@pytest.mark.parametrize(
    ("variance", "least", "most"),
    [
        (lambda exponent: 1.5 - (exponent + 10) / 8, -6.1, -5.9),  # falls through 1 at -6
        # Falls through 1 at -7, and rises again, where refinement no longer converges.
        (lambda exponent: 1 + 0.5 * (abs(exponent + 6) - 1), -7.1, -6.9),
        (lambda exponent: 1 + 0.1 * (abs(exponent + 6.4) - 1), -7.5, -7.3),
        (lambda exponent: 0.9 - (exponent + 10) / 10, -10, -10),  # is too small without noise
        (lambda exponent: 2 - (exponent + 10) / 10, -5, -5),  # is never small enough
    ],
)
def test_the_noise_is_the_least_that_gives_the_prior_s_variance(variance, least, most):
    model = Codes(variance)
    training.estimate_noise(model, None)
    assert least <= np.log10(model.noise) <= most
