"""Runs: selection of the best epoch, interruption, and runs that are already done."""

import numpy as np
import pandas as pd
import pytest

from aaelib import data, models, training

RECIPE = models.recipe(
    "compact",
    n_points=32,
    code_size=4,
    encoder=(8,),
    decoder=(8,),
    discriminator=(8,),
    encoder_points=None,
)
EPOCHS, STEPS = 4, 3


@pytest.fixture
def clouds():
    return np.random.default_rng(0).normal(size=(8, 32, 3)).astype(np.float32) * [20, 20, 60]


class Run:
    """A small run."""

    def __init__(self, clouds, path, seed=0):
        self.clouds, self.path, self.seed = clouds, path, seed

    def draw(self, first_step, n_steps):
        return data.batches(
            self.clouds[:6], 100, n_steps, batch_size=4, first_step=first_step, seed=self.seed
        )

    def train(self):
        aae = models.AdversarialAutoencoder(RECIPE, scale=100, seed=self.seed)
        return training.train(aae, self.draw, self.clouds[6:], self.path, EPOCHS, STEPS)


def test_best_epoch_is_the_one_of_lowest_validation_jsd(clouds, tmp_path):
    aae, history, best = Run(clouds, tmp_path / "run.keras").train()
    assert list(history.index) == list(range(EPOCHS))
    assert training.card_of(tmp_path / "run.keras")["best_epoch"] == best
    assert best == history.val_jsd.idxmin()
    assert training.prior_jsd(aae, clouds[6:]) == pytest.approx(history.val_jsd.min(), abs=1e-12)


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
    save = models.AdversarialAutoencoder.save
    with monkeypatch.context() as patch:

        def torn(self, filepath, **kwargs):
            if "epoch-2" in str(filepath):
                filepath.write_bytes(b"half a file")
                raise KeyboardInterrupt
            save(self, filepath, **kwargs)

        patch.setattr(models.AdversarialAutoencoder, "save", torn)
        with pytest.raises(KeyboardInterrupt):
            Run(clouds, tmp_path / "cut.keras").train()
    again, *_ = Run(clouds, tmp_path / "cut.keras").train()
    for a, b in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_finished_run_is_not_trained_again_but_another_one_is(clouds, tmp_path, monkeypatch):
    path = tmp_path / "run.keras"
    first, *_ = Run(clouds, path).train()
    fits = []
    fit = models.AdversarialAutoencoder.fit
    monkeypatch.setattr(
        models.AdversarialAutoencoder, "fit", lambda *a, **k: fits.append(1) or fit(*a, **k)
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
    run.draw = lambda first, n: data.batches(run.clouds[:6], 1e-25, n, 4, first_step=first)
    with pytest.raises(FloatingPointError, match="learning rates"):
        run.train()


def test_epochs_before_the_first_selectable_are_not_selected(clouds, tmp_path):
    run = Run(clouds, tmp_path / "run.keras")
    aae = models.AdversarialAutoencoder(RECIPE, scale=100)
    *_, best = training.train(aae, run.draw, clouds[6:], run.path, EPOCHS, STEPS, EPOCHS - 1)
    assert best == EPOCHS - 1


def test_a_run_that_could_select_nothing_does_not_start(clouds, tmp_path):
    run = Run(clouds, tmp_path / "run.keras")
    aae = models.AdversarialAutoencoder(RECIPE, scale=100)
    with pytest.raises(ValueError, match="first_selectable is 4"):
        training.train(aae, run.draw, clouds[6:], run.path, EPOCHS, STEPS, EPOCHS)
