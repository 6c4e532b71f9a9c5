"""Facts of the tables: what is counted, what is smallest, how numbers are written."""

import numpy as np
import pandas as pd
import pytest
from analytic import socket, sockets

from aaelib import tables
from aaelib.baselines import resampled
from aaelib.data import Shapes
from aaelib.shape_model import ShapeModel


@pytest.fixture(scope="module")
def surfaces():
    """Two transtibial sockets, 180 and 220 mm long, and three transfemoral ones of 300 mm."""
    return [socket(180), socket(220), *[socket(300, radius) for radius in (60, 70, 80)]]


@pytest.fixture(scope="module")
def shapes(surfaces):
    points = np.stack([surface.sample(100, seed=50 + i) for i, surface in enumerate(surfaces)])
    return Shapes(points, np.array(list("abcde")), np.array(["TT"] * 2 + ["TF"] * 3), "analytic")


SPLIT = {"scans": np.array([0, 2]), "validation": np.array([3]), "test": np.array([1, 4])}


# Data and shape models


def test_sockets_are_counted_and_measured_per_kind_and_part(shapes, surfaces):
    table = tables.sockets(shapes, surfaces, SPLIT)
    found = {(kind, row.part): row for kind, row in table.iterrows()}
    counts = {key: row.sockets for key, row in found.items()}
    assert counts == {
        ("TT", "scans"): 1,
        ("TT", "validation"): 0,
        ("TT", "test"): 1,
        ("TF", "scans"): 1,
        ("TF", "validation"): 1,
        ("TF", "test"): 1,
    }
    assert table.sockets.sum() == len(shapes)
    assert found["TT", "test"].length_mm == pytest.approx(220)
    assert found["TF", "test"].proximal_perimeter_mm == pytest.approx(2 * np.pi * 80, rel=0.02)
    # Hemisphere and cylinder of 50 mm, 130 mm of it: in litres. The grid is a coarse one.
    volume = np.pi * 50**2 * (130 + 2 / 3 * 50) / 1e6
    assert found["TT", "scans"].volume_l == pytest.approx(volume, rel=0.03)


def test_sizes_of_a_part_are_means_and_extremes(shapes, surfaces):
    row = tables.sockets(shapes, surfaces, {"all": np.arange(5)}).loc["TT"]
    assert [row.length_min_mm, row.length_mm, row.length_max_mm] == pytest.approx([180, 200, 220])


def test_every_socket_is_in_the_part_that_the_split_says(shapes):
    table = tables.splits(shapes, SPLIT)
    assert dict(table.part) == {
        "a": "scans",
        "b": "test",
        "c": "scans",
        "d": "validation",
        "e": "test",
    }
    assert list(table.kind) == list(shapes.kinds)


@pytest.fixture(scope="module")
def fitted():
    surfaces = sockets(6)
    model = ShapeModel.fit(surfaces)
    return surfaces, model, tables.shape_model_curves(model, surfaces, [1, 2, 4, 5], n_samples=10)


def test_curves_are_by_number_of_modes(fitted):
    _, model, curve = fitted
    assert list(curve.index) == [1, 2, 4, 5]
    np.testing.assert_allclose(curve.compactness, model.compactness()[[0, 1, 3, 4]])
    assert curve.generalization[1] > curve.generalization[4]
    # Without one of six there are four modes.
    assert np.isnan(curve.generalization[5])
    assert (curve.specificity > 0).all()
    assert (curve.specificity_sd[1:] > 0).all()


def test_shape_models_are_beside_the_published_ones(fitted):
    _, model, curve = fitted
    unseen = sockets(2, seed=9)
    clouds = resampled(unseen, 100)
    own = [model.reconstruct(surface) for surface in unseen]
    known = (resampled(own, 100), own)
    table = tables.shape_models(
        {"TT": curve, "TF": curve},
        {"TT": model, "TF": model},
        {"TT": (clouds, unseen), "TF": known},
    )
    row = table.loc["TT"]
    assert row.sockets == 6
    assert model.compactness()[int(row.modes_for_95_percent) - 1] >= 0.95
    assert (model.compactness()[: int(row.modes_for_95_percent) - 1] < 0.95).all()
    # The last number of modes at which both errors are known.
    assert row.generalization_mm == curve.generalization[4]
    assert row.specificity_mm == curve.specificity[4]
    # Costa et al. (2021), abstract.
    assert list(table.published_generalization_mm) == [6.8, 10.5]
    assert list(table.published_specificity_mm) == [9.7, 9.8]
    assert row.unseen_surface_mm > 0.01
    # What the model has itself is reconstructed.
    assert table.loc["TF"].unseen_surface_mm == pytest.approx(0, abs=1e-3)


# Comparison


@pytest.fixture(scope="module")
def compared(shapes, surfaces):
    rng = np.random.default_rng(0)
    floor = resampled(surfaces, 100, seed=3)
    reconstructions = {
        "noise of 8 mm": floor + rng.normal(0, 8, floor.shape),
        "noise of 2 mm": floor + rng.normal(0, 2, floor.shape),
        "floor": floor,
    }
    generations = {
        "noise of 8 mm": [floor + rng.normal(0, 8, floor.shape) for _ in range(2)],
        "noise of 2 mm": [floor + rng.normal(0, 2, floor.shape)],
        "floor": [shapes.points],
    }
    return tables.comparison(shapes, surfaces, reconstructions, generations)


def test_each_reconstruction_gets_a_row_and_the_floor_is_lowest(compared):
    table, errors = compared
    assert list(table.index) == list(errors) == ["noise of 8 mm", "noise of 2 mm", "floor"]
    for column in ("chamfer", "surface_mm"):
        assert table[column].is_monotonic_decreasing
        assert list(table[column]) == pytest.approx([row[column].mean() for row in errors.values()])
        assert list(table[f"{column}_sd"]) == pytest.approx(
            [row[column].std(ddof=1) for row in errors.values()]
        )
    # Points on the surface are at no distance from it; noise is, by its part along the normal.
    assert table.surface_mm["floor"] == pytest.approx(0, abs=1e-3)
    expected = 2 * np.sqrt(2 / np.pi)
    assert table.surface_mm["noise of 2 mm"] == pytest.approx(expected, rel=0.1)


def test_generations_are_scored(compared):
    table, _ = compared
    columns = ["fidelity", "coverage", "jsd", "one_nn_accuracy"]
    assert table.fidelity.is_monotonic_decreasing
    # The test sockets themselves: nothing is nearer.
    assert table.loc["floor", columns].tolist() == pytest.approx([0, 1, 0, 0], abs=1e-6)
    assert (table.loc["noise of 8 mm", ["fidelity", "jsd"]] > 0).all()
    # One draw has no spread, two have.
    assert table.loc["floor", [f"{c}_sd" for c in columns]].isna().all()
    assert table.loc["noise of 8 mm", "fidelity_sd"] > 0


def test_errors_are_averaged_within_a_kind():
    errors = {"a": {"chamfer": np.array([1.0, 2, 6]), "surface_mm": np.array([10.0, 20, 60])}}
    table = tables.by_kind(np.array(["TT", "TF", "TT"]), errors)
    assert list(table.columns) == ["TT chamfer", "TT surface_mm", "TF chamfer", "TF surface_mm"]
    assert list(table.loc["a"]) == [3.5, 35, 2, 20]


# Words and numbers


@pytest.mark.parametrize(
    ("mean", "sd", "shown"),
    [
        (0.0015649, 0.0002345, "0.00156 ± 0.00023"),
        (12.345, 0.678, "12.3 ± 0.7"),
        (123.45, 6.78, "123 ± 7"),
        (12345.6, 78.9, "12346 ± 79"),
        (-0.5, 0.25, "-0.500 ± 0.250"),
        (12.345, np.nan, "12.3"),
        (6.8, np.nan, "6.80"),
        (30.0, np.nan, "30"),
        (0.0, 0.0, "0"),
        (1e-9, 1e-9, "0"),
        (np.nan, np.nan, "-"),
        (np.nan, 1.0, "-"),
    ],
)
def test_numbers_are_written_with_their_spread(mean, sd, shown):
    frame = pd.DataFrame({"error": [mean], "error_sd": [sd]})
    table = tables.with_spread(frame)
    assert list(table.columns) == ["error"]
    assert table.error[0] == shown


def test_columns_without_spread_stay_and_digits_are_as_many_as_asked_for():
    frame = pd.DataFrame({"n": [3, 4], "x": [1.23456, 2], "x_sd": [0.1, 0.2]}, index=["a", "b"])
    table = tables.with_spread(frame, digits=2)
    assert table.to_dict("index") == {
        "a": {"n": "3", "x": "1.2 ± 0.1"},
        "b": {"n": "4", "x": "2.0 ± 0.2"},
    }


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (0.00156, 0.00133, "0.00156 → 0.00133 (15 % lower)"),
        (2.0, 3.0, "2 → 3 (50 % higher)"),
        (4.0, 1.0, "4 → 1 (75 % lower)"),
        (4.0, 4.0, "4 → 4 (the same)"),
    ],
)
def test_a_change_says_its_way_and_share(before, after, said):
    frame = pd.DataFrame({"chamfer": [before, after]}, index=["scans", "augmented"])
    assert tables.change(frame, "chamfer", "scans", "augmented") == said
