"""Which shapes a model has not seen: told by points, and in its own folder by names as well."""

import numpy as np
import pytest

from aaelib.shapes.folders import Shapes, digest
from aaelib.study.selection import select

KINDS = np.array(["egg", "ball"] * 8)
POINTS = np.random.default_rng(0).normal(size=(16, 9, 3)).astype(np.float32)
NAMES = np.array([f"{kind}_{i}" for i, kind in enumerate(KINDS)])
PARTS = {"training": range(8), "validation": range(8, 11), "test": range(11, 16)}
SPLIT = {part: {NAMES[i]: digest(POINTS[i]) for i in index} for part, index in PARTS.items()}
CARD = {"folder": "/here", "split": SPLIT}


def shapes(points=POINTS, names=NAMES, folder="/here"):
    return Shapes(points, names, KINDS, "balls", folder)


UNSEEN = "the 5 of 16 shapes that the model was neither trained on nor selected by"
COPIES = np.array([f"copy of {name}" for name in NAMES])
BY_POINTS = " (as far as points and names tell)"
KNOWN = {part: SPLIT[part] for part in ("training", "validation")}


@pytest.mark.parametrize(
    ("split", "given", "which"),
    [
        (SPLIT, shapes(), UNSEEN),
        # Known by their points under any name in any folder.
        (SPLIT, shapes(names=COPIES, folder="/there"), UNSEEN + BY_POINTS),
        # Saved anew in their folder, known by their names: training and validation are enough.
        (KNOWN, shapes(1.001 * POINTS), UNSEEN),
    ],
)
def test_shapes_that_the_model_has_not_seen_are_chosen(split, given, which):
    found = select(CARD | {"split": split}, given)
    assert list(found.chosen) == list(PARTS["test"])
    assert list(found.trained) == list(PARTS["training"])
    assert found.is_new.all()
    assert found.which == which


@pytest.mark.parametrize("folder", ["/there", ""])
def test_other_points_of_equal_names_in_another_folder_do_not_count_as_unseen(folder):
    other = shapes(1.001 * POINTS, folder=folder)
    found = select(CARD, other)
    assert list(found.chosen) == list(PARTS["test"])
    assert found.which == f"{UNSEEN}, without 11 that have names of such{BY_POINTS}"
    assert found.n_trained == 0  # they are not known to be training shapes either
    every = select(CARD, other, everything=True)
    assert list(np.flatnonzero(every.is_new)) == list(PARTS["test"])
    assert "trained on or selected by 0, and 11 more have names of such" in every.which


@pytest.mark.parametrize(
    ("card", "new", "which"),
    [
        ({}, range(16), "all 16 shapes; which of them the model was trained on is not known"),
        (CARD, range(8, 16), "all 16 shapes; the model was trained on or selected by 11"),
    ],
)
def test_all_shapes_are_chosen_where_that_is_asked_for(card, new, which):
    found = select(card, shapes(), everything=True)
    assert list(found.chosen) == list(range(16))
    assert list(np.flatnonzero(found.is_new)) == list(new)
    assert found.which == which


def test_of_many_shapes_some_of_each_class_are_drawn():
    found = select(CARD, shapes(), everything=True, limit=4)
    assert sorted(KINDS[found.chosen]) == ["ball", "ball", "egg", "egg"]
    assert found.which.endswith("4 of them drawn")


def test_of_many_training_shapes_some_are_drawn(monkeypatch):
    monkeypatch.setattr("aaelib.study.selection.TRAINED_PER_SHAPE", 2)
    found = select(CARD, shapes(), limit=3)
    assert (len(found.trained), found.n_trained) == (6, 8)
    assert set(found.trained) <= set(PARTS["training"])


@pytest.mark.parametrize(("folder", "named"), [("/here", "/here"), ("", "balls")])
def test_fewer_than_two_unseen_shapes_are_refused(folder, named):
    known = shapes(folder=folder)[:12]
    with pytest.raises(ValueError, match=f"{named}: the 1 of 12 shapes .*--all"):
        select(CARD, known)
