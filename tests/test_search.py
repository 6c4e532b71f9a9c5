"""The search varies one thing at a time, runs nothing twice, and tells what it measured."""

from dataclasses import replace

import numpy as np
import pytest
from analytic import sockets

from aaelib.models import recipes
from aaelib.models.autoencoder import AdversarialAutoencoder
from aaelib.shapes import folders
from aaelib.study import workspace
from aaelib.study.evaluation import Unseen
from benchmarks import search

DEFAULT = workspace.Study("default", "search")
TRIALS = search.trials(DEFAULT)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of results, and inputs that need no notebook."""
    monkeypatch.setattr(search, "FOLDER", tmp_path)
    monkeypatch.setattr(workspace.Study, "load_sockets", lambda made: None)
    return tmp_path


class Measure:
    """Stands in for training: notes what it is asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, profile, trial, split):
        self.asked.append((trial.what, split))
        return dict.fromkeys(search.COLUMNS, 1 / 3 + split) | {"training_s": np.nan}


# What is tried


def test_a_trial_is_one_thing_apart_from_its_reference():
    for trial in TRIALS.values():
        own = search.settings(DEFAULT, trial)
        reference = search.settings(DEFAULT, TRIALS[trial.reference] if trial.reference else trial)
        assert own.keys() == reference.keys()
        apart = {name for name in own if own[name] != reference[name]}
        # All learning rates by one factor are one thing.
        rates = {f"recipe.{rate}" for rate in search.RATES}
        assert len(apart) == bool(trial.reference) or apart == rates


def test_trials_share_a_model_only_where_it_is_only_used_otherwise():
    shared = {}
    for key, trial in TRIALS.items():
        shared.setdefault(trial.condition.slug, set()).add(key)
    assert {frozenset(keys) for keys in shared.values() if len(keys) > 1} == {
        frozenset({"base", "refinement-2", "refinement-10"}),
        frozenset({"augmentation", "mixture-1", "mixture-2"}),
    }


def test_a_trial_has_the_profiles_entries_changed_and_models_of_its_own(folder):
    made = search._TrialStudy("default", TRIALS["longer"].profile, 3)
    epochs = 3 * DEFAULT["pretraining"]["epochs"]
    assert made["pretraining"] == DEFAULT["pretraining"] | {"epochs": epochs}
    assert (made.folder, made.seed) == (DEFAULT.folder, 3)
    assert made.model_path("base_0") == folder / "models" / "default_base_0.keras"
    plain = search._TrialStudy("default", {})
    assert plain.model_path("pretrained") != made.model_path("pretrained")


# Running


def test_finished_trials_are_not_run_again_even_after_a_failure(folder):
    def measure(profile, trial, split):
        if trial.condition.name == "encoder":
            raise FloatingPointError("diverged")
        return Measure()(profile, trial, split)

    with pytest.raises(FloatingPointError, match="diverged"):
        search.run("default", ["transfer", "encoder", "base"], measure=measure)
    second = Measure()
    text = search.run("default", ["base", "encoder", "transfer"], measure=second)
    assert second.asked == [(TRIALS[key].what, 0) for key in ("base", "encoder")]
    assert sorted(search.finished().key) == ["base", "encoder", "transfer"]
    assert (folder / "search.md").read_text() == text
    assert {file.name for file in folder.iterdir()} == {"trials.csv", "search.md"}


def test_the_table_has_means_and_spread_over_splits(folder):
    text = search.run("default", ["base"], (0, 2), Measure())
    [row] = [line for line in text.splitlines() if line.startswith("| base ")]
    assert "1.33 ± 1.41" in row
    assert "Not run: neither, encoder" in text


def test_other_settings_are_run_and_shown_anew(folder, monkeypatch):
    search.run("default", ["base"], measure=Measure())
    load = lambda made: setattr(made, "source", "others")  # noqa: E731
    monkeypatch.setattr(workspace.Study, "load_sockets", load)
    measure = Measure()
    text = search.run("default", ["transfer"], measure=measure)
    assert measure.asked == [(TRIALS["transfer"].what, 0)]
    assert "| base " not in text
    search.run("default", ["base"], measure=measure)
    assert len(search.finished()) == 3


# The numbers


class Refiner:
    """In place of a model: errors of 8 mm that each step of refinement makes smaller."""

    recipe = recipes.recipe(code_size=2)
    draw_prior = AdversarialAutoencoder.draw_prior

    def encode(self, points, refinement_steps=None):
        steps = 3 if refinement_steps is None else refinement_steps
        return np.full((len(points), 2), 8 / (1 + steps)) + np.arange(len(points))[:, None]

    def reconstruct(self, points, codes):
        error = codes[0, 0]
        return points + np.random.default_rng(0).normal(0, error, points.shape)

    def decode(self, codes):
        return np.random.default_rng(0).normal(0, 100, (len(codes), 64, 3)) + codes.mean()


def test_scores_are_of_all_columns_and_change_with_refinement_and_mixture():
    surfaces = sockets(3)
    points = np.stack([surface.sample(64, seed=0) for surface in surfaces])
    shapes = folders.Shapes(points, np.array(["a", "b", "c"]), np.array(["TT"] * 3), "analytic")
    unseen = Unseen(shapes, surfaces)
    trial = TRIALS["base"]
    found, more, none = (
        search.scores(Refiner(), unseen, replace(trial, refinement_steps=steps), points)
        for steps in (None, 20, 0)
    )
    assert {*found, "discriminator_accuracy", "training_s"} == set(search.COLUMNS)
    assert more["chamfer"] < found["chamfer"] < found["one_pass_chamfer"] == none["chamfer"]
    mixed = search.scores(Refiner(), unseen, replace(trial, mixture=1), points)
    assert mixed["chamfer"] == found["chamfer"]
