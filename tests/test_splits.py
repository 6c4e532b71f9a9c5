"""Sets of shapes are split into training, validation and test parts, sockets with scans."""

import numpy as np
import pytest

from aaelib.shapes.folders import Shapes
from aaelib.shapes.splits import proportional_counts, split, split_sockets


def some(n_tt=90, n_tf=90):
    n = n_tt + n_tf
    kinds = np.random.default_rng(0).permutation(["TT"] * n_tt + ["TF"] * n_tf)
    return Shapes(np.zeros((n, 1, 3)), np.arange(n).astype(str), kinds, "made up")


def counts_of(parts):
    return {part: len(index) for part, index in parts.items()}


def test_a_split_of_sockets_is_complete_and_disjoint_per_kind():
    shapes = some()
    parts = split_sockets(shapes)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(180))
    of_tt = {part: np.sum(shapes.kinds[index] == "TT") for part, index in parts.items()}
    # Of the 60 that are left a quarter, 0.35 and the rest.
    assert of_tt == {"scans": 30, "validation": 15, "test": 21, "more": 24}
    assert counts_of(parts) == {"scans": 51, "validation": 32, "test": 45, "more": 52}


def test_scans_depend_on_the_seed_and_not_on_the_shares():
    first, rest = split_sockets(some(), seed=1), split_sockets(some(), None, 0.25, 0.75, seed=1)
    np.testing.assert_array_equal(first["scans"], rest["scans"])
    assert counts_of(rest) == {"scans": 51, "more": 0, "validation": 32, "test": 97}
    assert rest["more"].dtype.kind == "i"
    assert (np.diff(first["scans"]) > 0).all()
    assert not np.array_equal(first["scans"], split_sockets(some(), seed=2)["scans"])


@pytest.mark.parametrize("shares", [(0.01, 0.01), (0.99, 0.01), (0.01, 0.99)])
def test_validation_and_test_have_one_each_at_least(shares):
    parts = split_sockets(some(4, 4), {"TT": 2, "TF": 2}, *shares)
    assert counts_of(parts) == {"scans": 4, "more": 0, "validation": 2, "test": 2}


@pytest.mark.parametrize(
    ("total", "sizes", "counts"),
    [(16, [30, 21], [9, 7]), (10, [1, 1, 1], [4, 3, 3]), (0, [], []), (2, [1, 99], [0, 2])],
)
def test_a_number_is_shared_out_in_proportion(total, sizes, counts):
    assert proportional_counts(total, sizes) == counts


def test_each_shape_is_in_one_part_and_classes_are_in_proportion():
    kinds = np.repeat(["a", "b"], [60, 20])
    parts = split(kinds, (0.5, 0.25, 0.25))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(80))
    assert counts_of(parts) == {"training": 40, "validation": 20, "test": 20}
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
    ("call", "given", "said"),
    [
        (split_sockets, (some(), None, 0, 0.5), "each must be above 0, both together at most 1"),
        (split_sockets, (some(), None, 0.6, 0.5), "each must be above 0, both together at most 1"),
        (split_sockets, (some(n_tt=31),), r"31 TT sockets \(made up\) leave 1 beside 30 scans"),
        (split_sockets, (some(n_tf=0),), "0 TF sockets"),
        (split, ("aa", (0.8, 0.1, 0.1)), "2 shapes can't be shared out to 3 parts"),
        (split, (9 * "a", (1, 0, 0)), "first two above 0"),
        (split, (9 * "a", (1.2, 0.1, -0.3)), "in all 1"),
    ],
)
def test_impossible_splits_are_refused(call, given, said):
    with pytest.raises(ValueError, match=said):
        call(*given)
