"""Runs: selection of the best epoch, interruption, and runs that are already done."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import trimesh
from analytic import family, socket

from aaelib.models import autoencoder, batches, losses, networks, recipes, training, transfer
from aaelib.shapes.shape_model import ShapeModel
from aaelib.shapes.sockets import SocketSurface

RECIPE = recipes.recipe(
    "compact",
    n_points=32,
    code_size=4,
    encoder=(8,),
    decoder=(8,),
    discriminator=(8,),
    encoder_points=None,
    refinement_steps=3,
    finetuning_steps=3,
)
EPOCHS, STEPS = 4, 3


@pytest.fixture
def clouds():
    return np.random.default_rng(0).normal(size=(8, 32, 3)).astype(np.float32) * [20, 20, 60]


class Run:
    """A small run."""

    def __init__(self, clouds, path, seed=0, **changes):
        self.clouds, self.path, self.seed = clouds, path, seed
        self.recipe = replace(RECIPE, **changes)

    def draw(self, first_step, n_steps):
        return batches.batches(
            self.clouds[:6], 100, n_steps, batch_size=4, first_step=first_step, seed=self.seed
        )

    def train(self):
        aae = autoencoder.AdversarialAutoencoder(self.recipe, scale=100, seed=self.seed)
        return training.train(aae, self.draw, self.clouds[6:], self.path, EPOCHS, STEPS)


def changed_networks(one, other):
    """Names of the networks whose weights differ."""
    pairs = {
        n: zip(getattr(one, n).get_weights(), getattr(other, n).get_weights(), strict=True)
        for n in networks.NETWORKS
    }
    return [n for n, arrays in pairs.items() if not all(np.array_equal(a, b) for a, b in arrays)]


def test_best_epoch_is_the_one_of_lowest_validation_jsd(clouds, tmp_path):
    aae, history, best = Run(clouds, tmp_path / "run.keras", finetuning_steps=0).train()
    assert list(history.index) == list(range(EPOCHS))
    assert training.card_of(tmp_path / "run.keras")["best_epoch"] == best
    assert best == history.val_jsd.idxmin()
    assert training.prior_jsd(aae, clouds[6:]) == pytest.approx(history.val_jsd.min(), abs=1e-12)


def test_fine_tuning_comes_after_the_best_epoch_and_changes_its_decoder_alone(clouds, tmp_path):
    plain, history, best = Run(clouds, tmp_path / "plain.keras", finetuning_steps=0).train()
    tuned, tuned_history, tuned_best = Run(clouds, tmp_path / "tuned.keras").train()
    assert tuned_best == best
    pd.testing.assert_frame_equal(tuned_history, history)
    assert changed_networks(plain, tuned) == ["decoder"]


def test_a_run_killed_while_it_is_fine_tuned_ends_as_if_it_had_not_been(
    clouds, tmp_path, monkeypatch
):
    whole, *_ = Run(clouds, tmp_path / "whole.keras").train()
    finetune = training.finetune_decoder
    with monkeypatch.context() as patch:

        def killed(*args, **kwargs):
            finetune(*args, **kwargs)
            raise KeyboardInterrupt

        patch.setattr(training, "finetune_decoder", killed)
        with pytest.raises(KeyboardInterrupt):
            Run(clouds, tmp_path / "cut.keras").train()
    assert not (tmp_path / "cut.keras").exists()
    again, *_ = Run(clouds, tmp_path / "cut.keras").train()
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(clouds, tmp_path, monkeypatch):
    whole, history, best = Run(clouds, tmp_path / "whole.keras").train()

    keep = training._State.keep
    with monkeypatch.context() as patch:

        def killed(self, aae, row, best):
            keep(self, aae, row, best)
            if row["epoch"] == 1:
                raise KeyboardInterrupt

        patch.setattr(training._State, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            Run(clouds, tmp_path / "cut.keras").train()
    assert not (tmp_path / "cut.keras").exists()

    steps_seen = []
    resumed = Run(clouds, tmp_path / "cut.keras")
    draw = resumed.draw
    resumed.draw = lambda first, n: steps_seen.append(first) or draw(first, n)
    again, resumed_history, resumed_best = resumed.train()
    assert resumed_best == best
    assert max(steps_seen) == 2 * STEPS
    pd.testing.assert_frame_equal(history, resumed_history)
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_killed_while_a_model_is_written_falls_back_to_the_epoch_before(
    clouds, tmp_path, monkeypatch
):
    whole, *_ = Run(clouds, tmp_path / "whole.keras").train()
    save = autoencoder.AdversarialAutoencoder.save
    with monkeypatch.context() as patch:

        def torn(self, filepath, **kwargs):
            if "epoch-2" in str(filepath):
                filepath.write_bytes(b"half a file")
                raise KeyboardInterrupt
            save(self, filepath, **kwargs)

        patch.setattr(autoencoder.AdversarialAutoencoder, "save", torn)
        with pytest.raises(KeyboardInterrupt):
            Run(clouds, tmp_path / "cut.keras").train()
    again, *_ = Run(clouds, tmp_path / "cut.keras").train()
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_finished_run_is_not_trained_again_but_another_one_is(clouds, tmp_path, monkeypatch):
    path = tmp_path / "run.keras"
    first, *_ = Run(clouds, path).train()
    fits = []
    fit = autoencoder.AdversarialAutoencoder.fit
    monkeypatch.setattr(
        autoencoder.AdversarialAutoencoder, "fit", lambda *a, **k: fits.append(1) or fit(*a, **k)
    )
    again, *_ = Run(clouds, path).train()
    assert not fits
    np.testing.assert_array_equal(first.reconstruct(clouds), again.reconstruct(clouds))
    Run(clouds * 1.1, path).train()
    Run(clouds, path, seed=1).train()
    assert len(fits) == 2
    assert not path.with_suffix(".resume").exists()


def test_a_loss_that_is_not_finite_stops_the_run(clouds, tmp_path):
    run = Run(clouds, tmp_path / "run.keras")
    run.draw = lambda first, n: batches.batches(run.clouds[:6], 1e-25, n, 4, first_step=first)
    with pytest.raises(FloatingPointError, match="learning rates"):
        run.train()


def test_epochs_before_the_first_selectable_are_not_selected(clouds, tmp_path):
    run = Run(clouds, tmp_path / "run.keras")
    aae = autoencoder.AdversarialAutoencoder(RECIPE, scale=100)
    *_, best = training.train(aae, run.draw, clouds[6:], run.path, EPOCHS, STEPS, EPOCHS - 1)
    assert best == EPOCHS - 1


def test_a_run_that_could_select_nothing_does_not_start(clouds, tmp_path):
    run = Run(clouds, tmp_path / "run.keras")
    aae = autoencoder.AdversarialAutoencoder(RECIPE, scale=100)
    with pytest.raises(ValueError, match="first_selectable is 4"):
        training.train(aae, run.draw, clouds[6:], run.path, EPOCHS, STEPS, EPOCHS)


# Before training: a start at shape models

CODES = recipes.recipe(
    "compact",
    n_points=64,
    code_size=3,
    encoder=(32, 64),
    decoder=(8,),
    discriminator=(8,),
    encoder_points=None,
    refinement_steps=0,
)
SCALE = 150.0  # mm


@pytest.fixture(scope="module")
def shape_models():
    """Of two modes, length and tilt: twelve narrow sockets and four wide ones."""
    wide = [SocketSurface(s.vertices * [1.6, 1.6, 1]) for s in family(4, seed=1)]
    return [ShapeModel.fit(family(12), 2), ShapeModel.fit(wide, 2)]


def at_shape_models(shape_models, n_steps=100, seed=0, **changes):
    aae = autoencoder.AdversarialAutoencoder(replace(CODES, **changes), SCALE, seed=0)
    training.start_at_shape_models(aae, shape_models, n_steps=n_steps, seed=seed)
    return aae


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


def test_a_started_decoder_decodes_the_surfaces_of_the_shape_models(shape_models, started):
    # 0.67 standard deviations, below which three quarters of the prior are, is far from both.
    for shape_model, first in zip(shape_models, (-1.0, 2.0), strict=True):
        weights = [0.5, -1.0]
        cloud = started.decode(CODES.prior_std * np.array([[first, *weights]]))[0]
        np.testing.assert_allclose(cloud.mean(axis=0), 0, atol=1e-3)
        mean, modes = shape_model.point_basis(64, seed=0)
        centre = (mean[0] + np.tensordot(weights, modes[0], 1)).mean(axis=0)
        mesh = shape_model.surface(weights).mesh()
        assert trimesh.proximity.closest_point(mesh, cloud + centre)[1].max() < 1e-2


def test_a_start_depends_on_its_seed_alone(shape_models):
    first, again, other = (at_shape_models(shape_models, 3, seed=seed) for seed in (1, 1, 2))
    assert changed_networks(first, again) == []
    assert changed_networks(first, other) == ["encoder", "decoder"]
    fresh = autoencoder.AdversarialAutoencoder(CODES, SCALE, seed=0)
    assert "discriminator" not in changed_networks(fresh, first)


def test_a_start_at_one_shape_model_has_no_number_for_the_kind(shape_models):
    aae = at_shape_models(shape_models[:1], 2, linear_models=1, code_size=2, encoder_points=32)
    mean, modes = shape_models[0].point_basis(64, seed=0)
    expected = mean[0] + modes[0, 1]
    found = aae.decode([[0, CODES.prior_std]])[0]
    np.testing.assert_allclose(found, expected - expected.mean(axis=0), atol=1e-3)


def test_as_many_shape_models_as_the_recipe_has(shape_models):
    with pytest.raises(ValueError, match="1 shape models"):
        at_shape_models(shape_models[:1])


# After it: the decoder at refined codes


@pytest.fixture
def waves():
    """Normalized clouds of sockets with a wave that no shape model of the start has."""
    surfaces = [socket(length, wave=8) for length in (170, 200, 230)]
    points = np.stack([surface.sample(64, seed=i) for i, surface in enumerate(surfaces)])
    return np.float32((points - points.mean(axis=1, keepdims=True)) / SCALE)


def tuned(shape_models, clouds, steps=30, seed=0):
    """A model before and after its decoder was fine-tuned."""
    changes = {"refinement_steps": 20, "finetuning_steps": steps, "finetuning_rate": 1e-2}
    before, after = (
        autoencoder.AdversarialAutoencoder(replace(CODES, **changes), SCALE) for _ in range(2)
    )
    for aae in (before, after):
        transfer.start_decoder_at_models(
            aae,
            [
                (m.mean_[:, 1:9].reshape(-1, 3)[:64] / SCALE, np.zeros((1, 64, 3)))
                for m in shape_models
            ],
            [0.5, 0.5],
        )
    training.finetune_decoder(after, clouds, seed=seed)
    return before, after


def test_fine_tuning_changes_the_decoder_alone_and_brings_it_nearer(shape_models, waves):
    before, after = tuned(shape_models, waves)
    assert changed_networks(before, after) == ["decoder"]
    codes = before.codes(waves)
    errors = [
        np.asarray(losses.chamfer_loss(waves, aae.decode(codes) / np.float32(SCALE)))
        for aae in (before, after)
    ]
    assert errors[1].mean() < errors[0].mean() / 2


def test_no_steps_of_fine_tuning_change_nothing(shape_models, waves):
    before, after = tuned(shape_models, waves, steps=0)
    assert changed_networks(before, after) == []


def test_fine_tuning_depends_on_its_seed(shape_models, waves):
    many = np.concatenate([waves] * 7)
    first, again, other = (tuned(shape_models, many, 3, seed)[1] for seed in (0, 0, 1))
    assert changed_networks(first, again) == []
    assert changed_networks(first, other) == ["decoder"]
