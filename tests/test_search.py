"""The search varies one thing at a time, runs nothing twice, and tells what it measured."""

from unittest import mock

import numpy as np
import pytest

from aaelib.study import workspace
from benchmarks import search

DEFAULT = workspace.Study("default", "search")
TRIALS = search.trials(DEFAULT)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of results, and inputs that need no notebook."""
    monkeypatch.setattr(search, "FOLDER", tmp_path)
    monkeypatch.setattr(workspace.Study, "load_sockets", lambda made: None)
    return tmp_path


def measured(profile, trial, split):
    """Stands in for training and evaluation."""
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


# Running


def test_finished_trials_are_not_run_again_even_after_a_failure(folder):
    def measure(profile, trial, split):
        if trial.condition.name == "encoder":
            raise FloatingPointError("diverged")
        return measured(profile, trial, split)

    with pytest.raises(FloatingPointError, match="diverged"):
        search.run("default", ["transfer", "encoder", "base"], measure=measure)
    second = mock.Mock(side_effect=measured)
    text = search.run("default", ["base", "encoder", "transfer"], measure=second)
    asked = [call.args[1:] for call in second.call_args_list]
    assert asked == [(TRIALS[key], 0) for key in ("base", "encoder")]
    assert sorted(search.finished().key) == ["base", "encoder", "transfer"]
    assert (folder / "search.md").read_text() == text
    assert {file.name for file in folder.iterdir()} == {"trials.csv", "search.md"}


def test_the_table_has_means_and_spread_over_splits(folder):
    text = search.run("default", ["base"], (0, 2), measured)
    [row] = [line for line in text.splitlines() if line.startswith("| base ")]
    assert "1.33 ± 1.41" in row
    assert "Not run: neither, encoder" in text
