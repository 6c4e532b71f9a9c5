"""Sockets to measure, on a family of capsules whose code is their length and radius."""

from types import SimpleNamespace

import analytic
import numpy as np
import pytest

from aaelib.apps import design
from aaelib.models import files

STD = 0.2


class Capsules:
    """A decoder of 200 mm x 50 mm capsules; a standard deviation is 20 mm and 5 mm of radius."""

    recipe = SimpleNamespace(prior_std=STD, code_size=3, normalization="dataset", linear_models=0)

    def decode(self, codes):
        sizes = [self.sizes(code) for code in np.asarray(codes, float)]
        grids = [analytic.socket(*size, n_angles=48, n_heights=40).vertices for size in sizes]
        return np.stack([grid.reshape(-1, 3) for grid in grids]).astype(np.float32)

    def sizes(self, code):
        """Length and radius; the third number of the code is for nothing."""
        return 200 + 20 * code[0] / STD, 50 + 5 * code[1] / STD

    def draw_prior(self, n, seed=0):
        return (STD * np.random.default_rng(seed).normal(size=(n, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def capsules():
    return Capsules()


@pytest.fixture(scope="module")
def draws(capsules):
    return design.population(capsules, 60)


def perimeter(radius):
    """Of a polygon with as many corners as surfaces have angles."""
    return 2 * 72 * radius * np.sin(np.pi / 72)


# Sizes of codes


def test_a_capsule_s_sizes_are_those_of_the_formulas(capsules):
    sizes = design.measure_codes(capsules, np.zeros((1, 3)), heights=[30, 100, 150, 900])
    # A hemisphere and a cylinder; the brim is fitted half a point's spacing above the points.
    assert sizes["length_mm"] == pytest.approx(200, abs=4)
    assert sizes["brim_height_mean_mm"] == pytest.approx(200, abs=4)
    volume = np.pi * 50**2 * (2 / 3 * 50 + sizes["length_mm"][0] - 50)
    assert sizes["volume_mm3"] == pytest.approx(volume, rel=0.01)
    assert sizes["volume_l"] == sizes["volume_mm3"] / 1e6
    hemisphere = perimeter(np.sqrt(50**2 - 20**2))
    known = [hemisphere, perimeter(50), perimeter(50), np.nan]
    np.testing.assert_allclose(sizes["perimeters_mm"][0], known, rtol=0.005)


def test_a_carried_surface_is_the_one_fitted_anew(capsules):
    carried = design._Carried.at(capsules, np.zeros(3))
    codes = capsules.draw_prior(5, 1)
    names = [*design.ATTRIBUTES, 60.0]
    fitted = [design._values(design.decoded_surface(capsules, code), names) for code in codes]
    np.testing.assert_allclose(carried.values(codes, names), fitted, rtol=0.02)


# Attributes


def test_a_direction_changes_its_attribute_alone(capsules):
    names = ["length_mm", "distal_perimeter_mm"]
    found = design.attribute_directions(capsules, np.zeros(3), names)
    # One mm is a 20th of a standard deviation of the first number, with the others unchanged.
    np.testing.assert_allclose(found["length_mm"].step, [STD / 20, 0, 0], atol=0.05 * STD / 20)
    across = found["distal_perimeter_mm"].step
    assert abs(across[0] / across[1]) < 0.02
    for direction in found.values():
        assert direction.effect == pytest.approx(1, abs=0.1)
        assert direction.reliability > 0.95
        assert all(abs(leak) < 0.005 for leak in direction.leak.values())


def test_where_a_change_cannot_be_had_alone_the_rest_gives_way(capsules):
    # Three attributes of two numbers: no step changes one and leaves both others.
    found = design.attribute_directions(
        capsules, np.zeros(3), ["length_mm", "volume_mm3", "proximal_perimeter_mm"]
    )
    lengthened = found["length_mm"].leak
    assert 0 < lengthened["volume_mm3"] < 0.04
    assert -0.04 < lengthened["proximal_perimeter_mm"] < 0


def test_the_kind_is_a_direction_that_labels_give(capsules):
    rng = np.random.default_rng(0)
    kinds = np.repeat(["A", "B"], 40)
    codes = STD * rng.normal(size=(80, 3)) * [1, 1, 0.1]
    codes[40:, 2] += 4 * STD
    found = design.attribute_directions(
        capsules, np.zeros(3), ["length_mm"], labelled=(codes, kinds)
    )["kind"]
    assert found.reliability == 1
    apart = codes[40:].mean(axis=0) - codes[:40].mean(axis=0)
    np.testing.assert_allclose(found.step, [0, 0, apart[2]], atol=0.1 * STD)
    with pytest.raises(ValueError, match=r"\['A'\]"):
        design.attribute_directions(capsules, np.zeros(3), labelled=(codes[:40], kinds[:40]))


@pytest.mark.parametrize("by", [-20.0, 10.0])
def test_a_move_changes_the_length_by_so_much(capsules, by):
    start = np.array([0.5, -0.5, 0.3], np.float32) * STD
    moved = design.move(capsules, start, "length_mm", by, held=["distal_perimeter_mm"])
    np.testing.assert_allclose(moved, np.add(start, [by * STD / 20, 0, 0]), atol=0.04 * STD)
    before, after = (design.measure_codes(capsules, [code]) for code in (start, moved))
    assert after["length_mm"] - before["length_mm"] == pytest.approx(by, abs=0.5)


# Design by measurement


def test_a_socket_is_found_by_its_sizes(capsules, draws):
    code = np.array([0.8, -1.2, 0.0], np.float32) * STD
    sizes = design.measure_codes(capsules, [code], heights=[30, 60, 90])
    perimeters = dict(zip([30, 60, 90], sizes["perimeters_mm"][0], strict=True))
    wanted = {"length_mm": sizes["length_mm"][0], "perimeters_mm": perimeters}
    found = design.fit(capsules, wanted, draws=draws)
    # The number that is for nothing stays where the prior has its middle.
    np.testing.assert_allclose(found.code, code, atol=0.05 * STD)
    assert abs(found.shortfalls["length_mm"]) < 1
    for height, size in perimeters.items():
        assert found.measured["perimeters_mm"][height] == pytest.approx(size, rel=0.005)
        assert found.shortfalls["perimeters_mm"][height] == pytest.approx(
            size - found.measured["perimeters_mm"][height]
        )
    assert found.distance == pytest.approx(np.sqrt((0.8**2 + 1.2**2) / 3), rel=0.05)
    assert 40 < found.percentile < 50  # of a chi-square distribution of 3 degrees: 2.08


def test_little_is_asked_and_the_rest_is_the_prior_s(capsules, draws):
    found = design.fit(capsules, {"length_mm": 225.0}, draws=draws)
    assert found.measured["length_mm"] == pytest.approx(225, abs=1)
    np.testing.assert_allclose(found.code[1:], 0, atol=0.05 * STD)


def test_sizes_that_no_socket_has_are_refused_or_met_as_nearly_as_can_be(capsules, draws):
    with pytest.raises(ValueError, match=r"length_mm is 500; .* have 1\d\d\.?\d* to 2\d\d"):
        design.fit(capsules, {"length_mm": 500}, draws=draws)
    with pytest.raises(ValueError, match="the perimeter at 60 mm is 900"):
        design.fit(capsules, {"perimeters_mm": {60: 900}}, draws=draws)
    with pytest.raises(ValueError, match="brim_height_min_mm is 600"):
        design.fit(capsules, {"perimeters_mm": {600: 314}}, draws=draws)
    # Two lengths at once: what is between them is nearest, and lacks the same of both.
    both = {"length_mm": 200.0, "brim_height_mean_mm": 220.0}
    found = design.fit(capsules, both, draws=draws, nearest=True)
    missed = found.shortfalls
    assert missed["length_mm"] == pytest.approx(-10, abs=1.5)
    assert missed["brim_height_mean_mm"] == pytest.approx(10, abs=1.5)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "nothing is wanted"),
        ({"width_mm": 3}, "'width_mm'"),
        ({"length_mm": np.nan}, "length_mm is nan"),
        ({"perimeters_mm": {30: -1}}, "the perimeter at 30 mm is -1"),
        ({"perimeters_mm": {-30: 100}}, "at -30"),
    ],
)
def test_what_cannot_be_wanted_is_refused(capsules, draws, wanted, message):
    with pytest.raises(ValueError, match=message):
        design.fit(capsules, wanted, draws=draws)


def test_a_kind_needs_a_model_that_tells_kinds(capsules, draws):
    with pytest.raises(ValueError, match="the model tells no kinds"):
        design.fit(capsules, {"length_mm": 200}, kind="TT", draws=draws)


def test_sockets_without_a_size_cannot_be_measured():
    aae = SimpleNamespace(recipe=SimpleNamespace(normalization="unit-sphere"))
    with pytest.raises(ValueError, match="unit-sphere"):
        design.fit(aae, {"length_mm": 200})


def test_the_model_that_comes_along_makes_sockets_of_a_kind_to_measure():
    aae = files.load("sockets")
    draws = design.population(aae, 60)
    wanted = {"length_mm": 260.0, "perimeters_mm": {60: 300.0, 120: 340.0}}
    for kind in ("TT", "TF"):
        found = design.fit(aae, wanted, kind=kind, draws=draws)
        assert design.kinds_of(aae, found.code[None]) == [kind]
        assert abs(found.shortfalls["length_mm"]) < 3
        for height, size in wanted["perimeters_mm"].items():
            assert abs(found.shortfalls["perimeters_mm"][height]) < 0.02 * size
