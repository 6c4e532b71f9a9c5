"""Tables of directions, sockets made to measure, and walls."""

import numpy as np
import pytest
from analytic import socket

from aaelib.apps import design, tables


def test_directions_are_a_row_each_with_their_largest_leak():
    def found(leak):
        return design.AttributeDirection(200.0, np.zeros(4), 0.9, 8.0, 7.5, leak)

    table = tables.directions(
        {"TT": {"length_mm": found({"a": 0.01, "b": -0.03}), "kind": found({})}}
    )
    assert [*zip(table.index, table["size"], strict=True)] == [("TT", "length_mm"), ("TT", "kind")]
    assert (table.wanted.iloc[0], table.measured.iloc[0], table.leak.iloc[0]) == (8, 7.5, 0.03)
    assert np.isnan(table.leak.iloc[1])


def test_walls_are_closed_and_as_thick_as_asked_for():
    table = tables.walls([socket(180)])
    assert list(table.index) == [0, 0, 0]
    assert list(table.thickness_mm) == [3, 4, 6]
    assert table.watertight.all()
    assert (table.near > 0.95).all()
    thin, _, thick = table.volume_cm3
    assert thick == pytest.approx(2 * thin, rel=0.1)


def test_network_and_shape_model_are_given_the_same_sizes(monkeypatch):
    given = socket(200)
    sizes = given.measure()

    def make(model, wanted, **options):
        assert wanted["length_mm"] == sizes["length_mm"]
        assert list(wanted["perimeters_mm"].values()) == sizes["perimeters_mm"]
        shortfalls = {h: 0.01 * p for h, p in wanted["perimeters_mm"].items()}
        return design.Design(np.zeros(4), given, shortfalls | {"length_mm": model}, 1.5)

    monkeypatch.setattr(design, "population", lambda aae: None)
    monkeypatch.setattr(design, "fit_sizes", make)
    monkeypatch.setattr(design, "condition_on_sizes", make)
    made = tables.made_to_measure(-2.0, 3.0, [given])
    assert list(made.length_mm) == [2, 3]
    assert made.loc[tables.NETWORK].perimeter[0] == pytest.approx(0.01)
    assert made.loc[tables.SHAPE_MODEL].surface_mm[0] == pytest.approx(0, abs=1e-6)
