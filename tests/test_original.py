"""The tables of notebook 08 on cases that are solved by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from aaelib.shapes.folders import Shapes
from aaelib.study import original
from aaelib.study.original import BOTH, COMPACT, NEITHER, ORIGINAL


def run(errors, selected, first=0):
    history = pd.DataFrame({"val_chamfer": errors})
    card = {"settings": {"first_selectable": first}}
    return SimpleNamespace(history=history, best_epoch=selected, card=card)


def test_lengths_count_how_often_a_shape_comes_by():
    study = {
        "pretraining": {"epochs": 3, "steps_per_epoch": 100, "batch_size": 32},
        "transfer": {"epochs": 9, "steps_per_epoch": 9, "batch_size": 16},
        "original": {"epochs": 150, "steps_per_epoch": 51},
    }
    found = original.lengths(study, n_scans=51, n_shapes=9600)
    assert found.passes.tolist() == [1, 2400]
    assert found.paper.tolist() == [1 / 1500, 1.6]


def test_the_nearest_training_shape_is_what_a_model_has_to_beat():
    points = np.random.default_rng(0).normal(size=(4, 50, 3)).astype(np.float32)
    points[3] = points[2] + np.float32(0.01)
    shapes = Shapes(points, np.arange(4).astype(str), np.array(["a"] * 4), "made")
    parts = {"training": np.array([0, 1, 2]), "validation": np.array([3])}
    models = {
        "perfect": SimpleNamespace(reconstruct=lambda clouds: clouds),
        "bad": SimpleNamespace(reconstruct=lambda clouds: clouds + 1),
    }
    found = original.unseen_shapes(models, shapes, parts)
    assert found.chamfer["perfect"] == pytest.approx(0, abs=1e-12)
    assert 0 < found.chamfer["nearest training shape"] < 0.001 < found.chamfer["bad"]
    assert found.nearer.tolist() == [1, 0, 0]


def test_steadiness_is_of_the_epochs_that_could_be_selected():
    found = original.steadiness({"a": run([9.0, 2.0, 4.0, 8.0], selected=2, first=1)})
    assert found.loc["a"].to_dict() == {"selected": 4, "least": 2, "median": 4, "most": 8}


@pytest.mark.parametrize(("worst", "told"), [(0.02, False), (0.2, True)])
def test_conditions_are_told_apart_only_by_more_than_epochs_differ(worst, told):
    table = pd.DataFrame({"chamfer": 0.01, "one_pass_chamfer": 0.02}, [*ORIGINAL, COMPACT])
    table.loc[NEITHER, "chamfer"] = worst
    epochs = original.steadiness({name: run([0.01, 0.03], 0) for name in ORIGINAL})
    apart, compact, more = original.sentences(table, epochs, run([4, 4, 1, 1], 3))
    assert ("do not tell the conditions apart" in apart) is not told
    assert f"{table.chamfer[BOTH]:.4f} with both" in apart
    assert "0.0200 in one pass and 0.01000 with refined codes" in compact
    assert more.endswith("changes by -75 % (medians over epochs): more steps would help.")
