"""Tables of directions, sockets made to measure, and walls."""

import numpy as np
import pytest
from analytic import socket

from aaelib.apps import design, tables


def test_directions_are_a_row_each_with_their_largest_leak():
    def found(leak):
        return design.AttributeDirection(200.0, np.zeros(4), 0.9, 1.1, leak)

    table = tables.directions(
        {"TT": {"length_mm": found({"a": 0.01, "b": -0.03}), "kind": found({})}}
    )
    assert [*zip(table.index, table["size"], strict=True)] == [("TT", "length_mm"), ("TT", "kind")]
    assert table.leak.iloc[0] == 0.03
    assert np.isnan(table.leak.iloc[1])


def test_walls_are_closed_and_as_thick_as_asked_for():
    table = tables.walls([socket(180)])
    assert list(table.index) == [0, 0, 0]
    assert list(table.thickness_mm) == [3, 4, 6]
    assert table.watertight.all()
    assert (table.near > 0.95).all()
    thin, _, thick = table.volume_cm3
    assert thick == pytest.approx(2 * thin, rel=0.1)


def test_designs_are_told_all_sizes_and_their_shortfalls_are_tabulated(monkeypatch):
    given = socket(200)
    sizes = given.measure()

    def fit_sizes(aae, wanted, nearest, draws):
        assert wanted["length_mm"] == sizes["length_mm"]
        assert list(wanted["perimeters_mm"].values()) == sizes["perimeters_mm"]
        shortfalls = {h: 0.01 * p for h, p in wanted["perimeters_mm"].items()}
        return design.Design(np.zeros(4), given, shortfalls | {"length_mm": -2.0}, 1.5)

    monkeypatch.setattr(design, "population", lambda aae: None)
    monkeypatch.setattr(design, "fit_sizes", fit_sizes)
    row = tables.made_to_measure(None, [given]).iloc[0]
    assert (row.length_mm, row.distance) == (2, 1.5)
    assert row.perimeter == pytest.approx(0.01)
    assert row.surface_mm == pytest.approx(0, abs=1e-6)
