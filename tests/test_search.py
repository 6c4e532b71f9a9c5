"""The search varies one thing at a time, runs nothing twice, and tells what it measured."""

import numpy as np
import pytest
from analytic import sockets

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

    monkeypatch.setattr(search, "_check_inputs", lambda made: None)
    return tmp_path


class Measure:
    """Stands in for training: notes what it is asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, profile, trial):
        self.asked.append(trial.what)
        return dict.fromkeys(search.COLUMNS, 1 / 3) | {"training_s": np.nan}


# What is tried


def test_a_trial_is_one_thing_apart_from_its_reference():
    for trial in TRIALS.values():
        own = search.settings(DEFAULT, trial)
        reference = search.settings(DEFAULT, TRIALS[trial.reference] if trial.reference else trial)
        assert own.keys() == reference.keys()
        assert sum(own[name] != reference[name] for name in own) == bool(trial.reference)


def test_trials_share_a_model_only_where_they_only_refine_otherwise():
    slugs = {key: trial.condition.slug for key, trial in TRIALS.items()}
    shared = {key for key, slug in slugs.items() if slug == "base"}
    assert shared == {"base", "refinement-0", "refinement-2", "refinement-20"}
    assert len(set(slugs.values())) == len(TRIALS) - 3


def test_a_trial_has_the_profiles_entries_changed_and_models_of_its_own(folder):
    made = search._TrialStudy("default", TRIALS["share-0.2"].profile)
    assert made["transfer"] == DEFAULT["transfer"] | {"share": 0.2}
    assert made.folder == DEFAULT.folder
    assert made.model_path("base_0") == folder / "models" / "default_base_0.keras"


# Running


def test_finished_trials_are_not_run_again_even_after_a_failure(folder):
    def measure(profile, trial):
        if trial.condition.name == "code-8":
            raise FloatingPointError("diverged")
        return Measure()(profile, trial)

    with pytest.raises(FloatingPointError, match="diverged"):
        search.run("default", ["code-8", "scan", "base"], measure)
    second = Measure()
    text = search.run("default", ["base", "code-8", "scan"], second)
    assert second.asked == [TRIALS["code-8"].what]
    assert list(search.finished().key) == ["base", "scan", "code-8"]
    assert (search.finished().chamfer == 1 / 3).all()
    assert (folder / "search.md").read_text() == text
    assert {file.name for file in folder.iterdir()} == {"trials.csv", "search.md"}


def test_other_settings_are_run_and_shown_anew(folder, monkeypatch):
    search.run("default", ["base"], Measure())
    monkeypatch.setattr(search, "_check_inputs", lambda made: setattr(made, "source", "others"))
    measure = Measure()
    text = search.run("default", ["scan"], measure)
    assert measure.asked == [TRIALS["scan"].what]
    assert "| base " not in text
    search.run("default", ["base"], measure)
    assert search.finished().source.tolist()[1:] == ["others"] * 2


# The numbers


class Refiner:
    """In place of a model: errors of 8 mm that each step of refinement makes smaller."""

    def reconstruct(self, points, refinement_steps):
        refinement_steps = 3 if refinement_steps is None else refinement_steps
        return points + np.random.default_rng(0).normal(0, 8 / (1 + refinement_steps), points.shape)

    def sample(self, n, seed):
        return np.random.default_rng(seed).normal(0, 100, (n, 64, 3))


def test_scores_are_of_all_columns_and_change_with_refinement():
    surfaces = sockets(3)
    points = np.stack([surface.sample(64, seed=0) for surface in surfaces])
    shapes = folders.Shapes(points, np.array(["a", "b", "c"]), np.array(["TT"] * 3), "analytic")
    unseen = Unseen(shapes, surfaces)
    found, more, none = (search.scores(Refiner(), unseen, steps) for steps in (None, 20, 0))
    assert {*found, "discriminator_accuracy", "training_s"} == set(search.COLUMNS)
    assert more["chamfer"] < found["chamfer"] < found["one_pass_chamfer"] == none["chamfer"]
