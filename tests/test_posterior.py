"""What sizes leave open: draws that equal closed forms, intervals that hold what they should."""

import numpy as np
import pytest
from analytic import GRID, capsule, family, socket
from conftest import PRIOR_STD

from aaelib.apps import design, galleries, posterior, tables
from aaelib.shapes.folders import Shapes
from aaelib.shapes.shape_model import ShapeModel
from aaelib.shapes.sockets import SocketSurface


@pytest.fixture(scope="module")
def longer(capsules):
    """Capsules of 210 mm: half a standard deviation more than the mean."""
    return posterior.given_sizes(capsules, {"length_mm": 210}, n=1000)


@pytest.fixture(scope="module")
def linear():
    """A shape model of capsules whose modes are the network's."""
    weights = np.random.default_rng(0).normal(size=(30, 2))
    return {"": ShapeModel.fit([capsule(w) for w in (*weights, *-weights)], 2)}


def test_where_sizes_are_linear_draws_are_those_of_the_closed_form(longer):
    """
    One mode is the length, 20 mm a standard deviation; the other, the radius, is left open.

    A fitted surface is some 2 mm longer than the capsule: its brim is above the highest points.
    """
    numbers = np.array(longer.codes) / PRIOR_STD
    slope = 20 / design.tolerance("length_mm", 210)
    variance = 1 / (1 + slope**2)
    assert numbers[:, 0].mean() == pytest.approx(0.5 * slope**2 * variance, abs=0.12)
    assert numbers[:, 0].std() == pytest.approx(np.sqrt(variance), rel=0.25)
    assert numbers[:, 1].mean() == pytest.approx(0, abs=0.15)
    assert numbers[:, 1].std() == pytest.approx(1, abs=0.12)
    assert longer.effective > 0.5


def test_the_linear_baseline_agrees_with_the_network_where_that_is_linear(longer, linear):
    found = posterior.given_sizes_linear({"TT": linear[""]}, {"length_mm": 210}, n=1000)
    assert set(found.kinds) == {"TT"}
    for name in ("length_mm", "volume_mm3", 100.0):
        a, b = (each.sizes([name])[:, 0] for each in (longer, found))
        assert a.mean() == pytest.approx(b.mean(), rel=0.04)
        assert a.std() == pytest.approx(b.std(), rel=0.3)


def test_the_wall_is_uncertain_where_it_can_move(longer):
    """The radius has a standard deviation of 4 mm, the pole stays."""
    half = longer.uncertainty
    heights = longer.mean.mesh().vertices[:, 2]
    wall = (heights > heights.min() + 80) & (heights < heights.min() + 150)
    np.testing.assert_allclose(half[wall], 1.645 * 4, rtol=0.15)
    assert half[0] < 1.5


def test_the_next_measurement_is_that_of_what_is_open(longer):
    shares = longer.next_measurement(["length_mm", "brim_height_mean_mm", 100.0])
    assert next(iter(shares)) == 100.0
    assert shares[100.0] > 0.9
    assert shares["brim_height_mean_mm"] < 0.3
    assert all(0 <= share <= 1 for share in shares.values())


def test_alternatives_are_draws_that_differ(longer):
    chosen = longer.alternatives(8)
    assert len(set(chosen)) == 8
    radii = np.array(longer.codes)[chosen, 1] / PRIOR_STD
    assert np.ptp(radii) > 2
    np.testing.assert_array_equal(chosen, longer.alternatives(8))


def test_departures_of_a_wider_wall_are_its_distance():
    narrow, wide = socket(200, 50, **GRID), socket(200, 54, **GRID)
    found = posterior.departures(narrow, [wide, narrow])
    middle = np.abs(narrow.mesh().vertices[:, 2] - 120) < 40
    np.testing.assert_allclose(found[0][middle], 4, atol=0.3)
    assert np.nanmax(np.abs(found[1])) < 0.5
    moved = SocketSurface(narrow.vertices + np.array([7, -3, 50]))
    np.testing.assert_allclose(posterior.departures(moved, [wide]), found[:1], atol=1e-6)


def test_a_misfit_is_the_spread_of_errors_and_what_it_tells_of_others():
    rng = np.random.default_rng(1)
    true = [socket(200 + d, 50 + d / 10, **GRID) for d in rng.normal(0, 10, 40)]
    misfit = posterior.Misfit([socket(200, 50, **GRID)] * 40, true)
    assert np.sqrt(misfit(["length_mm"], ["length_mm"])) == pytest.approx(10, rel=0.3)
    ring = misfit([100.0], [100.0])[0, 0]
    assert np.sqrt(ring) == pytest.approx(2 * np.pi, rel=0.3)
    # Errors of one size are known from those of the other.
    both = misfit(["length_mm"], [100.0])[0, 0] / np.sqrt(
        ring * misfit(["length_mm"], ["length_mm"])
    )
    assert both > 0.98
    assert misfit([93.0], ["length_mm"]) == misfit([90.0], ["length_mm"])
    assert misfit(["unknown_mm"], ["length_mm"]) == 0
    assert misfit.wall == pytest.approx(1, rel=0.4)
    assert posterior.Misfit().wall == 0


def test_intervals_hold_the_truth_as_often_as_they_say(capsules):
    """Sockets of the prior, told their lengths within what the fit of surfaces leaves."""
    codes = capsules.draw_prior(60, seed=3)
    inside, draws = [], design.population(capsules)
    for code in codes:
        true = design.decoded_surface(capsules, code)
        found = posterior.given_sizes(capsules, posterior.told(true, []), n=200, draws=draws)
        volumes = found.sizes(["volume_mm3"])[:, 0]
        inside.append(abs(2 * np.mean(volumes < true.measure()["volume_mm3"]) - 1))
    for level in (0.5, 0.8, 0.95):
        assert np.mean(np.array(inside) <= level) == pytest.approx(level, abs=0.14)


def test_what_is_told_stays_below_the_brim():
    wanted = posterior.told(family()[0], [60.0, 1000.0])
    assert list(wanted["perimeters_mm"]) == [60.0]


def test_intervals_are_counted_in_a_table_and_drawn_in_a_figure(capsules, longer, linear):
    none = dict.fromkeys((tables.NETWORK, tables.SHAPE_MODEL), posterior.Misfit())
    true = [design.decoded_surface(capsules, code) for code in capsules.draw_prior(3, 5)]
    table = tables.left_open(capsules, linear, none, true)
    assert list(table.columns) == ["50%", "80%", "95%", "half", "n"]
    assert set(table.loc["network"].index) == {
        *("perimeter at 90 mm", "volume_mm3", "brim_height_mean_mm", "wall")
    }
    assert (table.n == 3).all()
    shares = table[["50%", "80%", "95%"]].to_numpy()
    assert ((shares >= 0) & (np.diff(shares, axis=1, prepend=0) >= 0)).all()
    figure = galleries.left_open(longer, n=4)
    assert len(figure.data) == 5
    assert "90 %" in figure.layout.scene.annotations[0].text


def test_misfits_of_a_model_that_follows_every_socket_are_small(capsules, linear):
    codes = capsules.draw_prior(4, 2)
    true = [design.decoded_surface(capsules, code) for code in codes]
    shapes = Shapes(capsules.decode(codes), [f"{i}" for i in range(4)], [""] * 4, "made here")
    found = tables.misfits(capsules, linear, shapes, true)
    assert set(found) == {tables.NETWORK, tables.SHAPE_MODEL}
    assert found[tables.NETWORK].wall < found[tables.SHAPE_MODEL].wall + 2 < 5
