"""Any set of shapes is split into training, validation and test parts."""

import numpy as np
import pytest

from aaelib.shapes.splits import split


def test_each_shape_is_in_one_part_and_classes_are_in_proportion():
    kinds = np.repeat(["a", "b"], [60, 20])
    parts = split(kinds, (0.5, 0.25, 0.25))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(80))
    counts = {part: len(index) for part, index in parts.items()}
    assert counts == {"training": 40, "validation": 20, "test": 20}
    for index in parts.values():
        assert abs((kinds[index] == "b").mean() - 0.25) <= 0.05


@pytest.mark.parametrize(
    ("kinds", "shares", "counts"),
    [("abc", (0.8, 0.1, 0.1), [1, 1, 1]), ("ab", (0.9, 0.1, 0), [1, 1, 0])],
)
def test_a_part_has_a_shape_however_few_there_are(kinds, shares, counts):
    assert [len(index) for index in split(np.array(list(kinds)), shares).values()] == counts


def test_a_split_depends_on_its_seed_alone():
    kinds = np.repeat(["a", "b"], 20)
    first, again, other = (split(kinds, seed=seed)["test"] for seed in (1, 1, 2))
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
def test_impossible_splits_are_refused(n, shares, said):
    with pytest.raises(ValueError, match=said):
        split(np.full(n, "a"), shares)
