"""Sockets made to measure, on a family of capsules whose code is their length and radius."""

from types import SimpleNamespace

import analytic
import numpy as np
import pytest

from aaelib.apps import design
from aaelib.shapes.shape_model import ShapeModel

STD = 0.2


class Capsules:
    """A decoder of 200 mm x 50 mm capsules; a standard deviation is 20 mm and 5 mm of radius."""

    recipe = SimpleNamespace(prior_std=STD, code_size=3, normalization="dataset", linear_models=0)

    def decode(self, codes):
        sizes = [self.sizes(code) for code in np.asarray(codes, float)]
        grids = [analytic.socket(*size, n_angles=48, n_heights=40).vertices for size in sizes]
        return np.stack([grid.reshape(-1, 3) for grid in grids]).astype(np.float32)

    def sizes(self, code):
        """Length and radius; the third number of the code changes nothing."""
        return 200 + 20 * code[0] / STD, 50 + 5 * code[1] / STD

    def draw_prior(self, n, seed=0):
        return (STD * np.random.default_rng(seed).normal(size=(n, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def capsules():
    return Capsules()


@pytest.fixture(scope="module")
def draws(capsules):
    return design.population(capsules)


@pytest.fixture
def two_attributes(monkeypatch):
    """As many attributes as the capsules' codes have numbers that matter."""
    monkeypatch.setattr(design, "ATTRIBUTES", ("length_mm", "distal_perimeter_mm"))


def measured(aae, code):
    return design.decoded_surface(aae, code).measure()


# Sizes of codes


def test_draws_of_the_prior_have_the_sizes_of_surfaces_fitted_to_each(capsules, draws):
    for code, surface in zip(draws.codes[:5], draws.surfaces, strict=False):
        sizes, fitted = surface.measure(), measured(capsules, code)
        for name in design.ATTRIBUTES:
            assert sizes[name] == pytest.approx(fitted[name], rel=0.02)


# Attributes


@pytest.mark.usefixtures("two_attributes")
def test_a_direction_changes_its_attribute_alone(capsules):
    found = design.attribute_directions(capsules, np.zeros(3))
    # One mm is a 20th of a standard deviation of the first number, with the others unchanged.
    np.testing.assert_allclose(found["length_mm"].step, [STD / 20, 0, 0], atol=0.05 * STD / 20)
    across = found["distal_perimeter_mm"].step
    assert abs(across[0] / across[1]) < 0.02
    for direction in found.values():
        assert direction.wanted == pytest.approx(0.04 * direction.value)
        assert direction.measured == pytest.approx(direction.wanted, rel=0.1)
        assert direction.reliability > 0.95
        assert all(abs(leak) < 0.005 for leak in direction.leak.values())


def test_if_an_attribute_cannot_change_alone_the_others_give_way(capsules):
    # Five attributes of two numbers: no step changes one and leaves all others.
    lengthened = design.attribute_directions(capsules, np.zeros(3))["length_mm"].leak
    assert 0 < lengthened["volume_mm3"] < 0.04
    assert -0.04 < lengthened["proximal_perimeter_mm"] < 0


def test_labels_give_a_direction_between_kinds(capsules):
    rng = np.random.default_rng(0)
    kinds = np.repeat(["A", "B"], 40)
    codes = STD * rng.normal(size=(80, 3)) * [1, 1, 0.1]
    codes[40:, 2] += 4 * STD
    found = design.attribute_directions(capsules, np.zeros(3), (codes, kinds))["kind"]
    assert found.reliability == 1
    apart = codes[40:].mean(axis=0) - codes[:40].mean(axis=0)
    np.testing.assert_allclose(found.step, [0, 0, apart[2]], atol=0.1 * STD)
    with pytest.raises(ValueError, match=r"\['A'\]"):
        design.attribute_directions(capsules, np.zeros(3), (codes[:40], kinds[:40]))


@pytest.mark.parametrize("by", [-20.0, 10.0])
@pytest.mark.usefixtures("two_attributes")
def test_the_length_changes_by_as_much_as_asked(capsules, by):
    start = np.array([0.5, -0.5, 0.3], np.float32) * STD
    moved = design.change_size(capsules, start, "length_mm", by)
    np.testing.assert_allclose(moved, np.add(start, [by * STD / 20, 0, 0]), atol=0.04 * STD)
    before, after = (measured(capsules, code)["length_mm"] for code in (start, moved))
    assert after - before == pytest.approx(by, abs=0.5)


# Design by measurement


def test_a_socket_is_found_by_its_sizes(capsules, draws):
    code = np.array([0.8, -1.2, 0.0], np.float32) * STD
    sizes = measured(capsules, code)
    perimeters = dict(zip(sizes["heights_mm"][:3], sizes["perimeters_mm"], strict=False))
    wanted = {"length_mm": sizes["length_mm"], "perimeters_mm": perimeters}
    found = design.fit_sizes(capsules, wanted, draws=draws)
    # The number that changes nothing stays at the prior's mean.
    np.testing.assert_allclose(found.code, code, atol=0.05 * STD)
    missed = sizes["length_mm"] - found.surface.measure()["length_mm"]
    assert found.shortfalls["length_mm"] == pytest.approx(missed)
    assert abs(missed) < 1
    for height, size in perimeters.items():
        assert abs(found.shortfalls[height]) < 0.005 * size
    assert found.distance == pytest.approx(np.sqrt((0.8**2 + 1.2**2) / 3), rel=0.05)


def test_sizes_that_contradict_each_other_are_met_as_nearly_as_possible(capsules, draws):
    # Two lengths at once: the nearest one is in between, and misses both by as much.
    both = {"length_mm": 200.0, "brim_height_mean_mm": 220.0}
    missed = design.fit_sizes(capsules, both, nearest=True, draws=draws).shortfalls
    assert missed["length_mm"] == pytest.approx(-10, abs=1.5)
    assert missed["brim_height_mean_mm"] == pytest.approx(10, abs=1.5)


@pytest.mark.usefixtures("two_attributes")
def test_what_a_step_changes_is_measured_where_it_leads():
    class Curved(Capsules):
        def sizes(self, code):
            return 200 + 20 * (code[0] + code[0] ** 2 / STD) / STD, 50 + 5 * code[1] / STD

    found = design.attribute_directions(Curved(), np.zeros(3))["length_mm"]
    # The slope alone promises the wanted change; the curvature adds a square of it.
    assert found.measured == pytest.approx(found.wanted + found.wanted**2 / 20, abs=0.5)


def test_a_shape_model_is_conditioned_on_sizes_in_closed_form():
    # One standard deviation is 20 mm of length; the second mode changes no size.
    mean, modes = analytic.socket(200).vertices, np.zeros((2, *analytic.socket(200).vertices.shape))
    modes[0] = analytic.socket(220).vertices - mean
    model = ShapeModel(mean, modes, np.array([1.0, 0.0]), 3)
    taller = {"brim_height_mean_mm": 230.0}
    made = design.condition_on_sizes({"A": model}, taller)
    # Known up to 1 mm: w = a b / (a^2 + 1) with a = 20 mm a standard deviation and b = 30 mm.
    weight = 20 * 30 / (20**2 + 1)
    np.testing.assert_allclose(made.code, [weight, 0], atol=1e-6)
    assert made.shortfalls["brim_height_mean_mm"] == pytest.approx(30 - 20 * weight)
    assert made.distance == pytest.approx(weight / np.sqrt(2))
    # Of two models the one to which the sizes are more plausible.
    other = ShapeModel(analytic.socket(300).vertices, modes, np.array([1.0, 0.0]), 3)
    both = design.condition_on_sizes({"B": other, "A": model}, taller)
    np.testing.assert_array_equal(both.code, made.code)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "nothing is wanted"),
        ({"width_mm": 3}, "'width_mm'"),
        ({"heights_mm": 3}, "'heights_mm'"),
        ({"length_mm": np.nan}, "length_mm is nan"),
        ({"perimeters_mm": {30: -1}}, "the perimeter at 30 mm is -1"),
        ({"perimeters_mm": {-30: 100}}, "at -30"),
        # Which no socket has.
        ({"length_mm": 500}, r"length_mm is 500; .* have 1?\d\d\.?\d* to 2\d\d"),
        ({"perimeters_mm": {60: 900}}, "the perimeter at 60 mm is 900"),
        ({"perimeters_mm": {600: 314}}, "brim_height_min_mm is 600"),
    ],
)
def test_wanted_sizes_that_cannot_be_had_are_refused(capsules, draws, wanted, message):
    with pytest.raises(ValueError, match=message):
        design.fit_sizes(capsules, wanted, draws=draws)


def test_sockets_without_a_size_cannot_be_measured():
    aae = SimpleNamespace(recipe=SimpleNamespace(normalization="unit-sphere"))
    uses = {"fit_sizes": (), "change_size": ("length_mm", 10), "attribute_directions": ()}
    for use, arguments in uses.items():
        with pytest.raises(ValueError, match="unit-sphere"):
            getattr(design, use)(aae, np.zeros(3), *arguments)


def test_the_shipped_model_makes_sockets_with_the_sizes_of_sockets_of_both_kinds(shipped):
    draws = design.population(shipped)
    for kind in ("TT", "TF"):
        sizes = draws.surfaces[np.flatnonzero(draws.kinds == kind)[0]].measure()
        perimeters = dict(zip(sizes["heights_mm"][1:4], sizes["perimeters_mm"][1:4], strict=True))
        wanted = {"length_mm": sizes["length_mm"], "perimeters_mm": perimeters}
        found = design.fit_sizes(shipped, wanted, draws=draws).shortfalls
        assert abs(found["length_mm"]) < 3
        assert all(abs(found[height]) < 0.02 * size for height, size in perimeters.items())
