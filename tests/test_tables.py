"""Facts of the tables: what is counted, what is smallest, how numbers are written."""

import numpy as np
import pandas as pd
import pytest
from analytic import socket, sockets
from scipy.stats import chi2

from aaelib.metrics import generative, inference
from aaelib.shapes.clouds import normalize
from aaelib.shapes.folders import Shapes
from aaelib.shapes.shape_model import ShapeModel
from aaelib.study import evaluation, tables
from aaelib.study.baselines import resampled
from aaelib.study.spread import with_spread


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
    assert list(found) == [(kind, part) for kind in ("TF", "TT") for part in SPLIT]
    assert list(table.sockets) == [1, 1, 1, 1, 0, 1]
    assert found["TT", "test"].length_mm == pytest.approx(220)
    assert found["TF", "test"].proximal_perimeter_mm == pytest.approx(2 * np.pi * 80, rel=0.02)
    # Hemisphere and cylinder of 50 mm, 130 mm of it: in litres. The grid is a coarse one.
    volume = np.pi * 50**2 * (130 + 2 / 3 * 50) / 1e6
    assert found["TT", "scans"].volume_l == pytest.approx(volume, rel=0.03)
    both = tables.sockets(shapes, surfaces, {"all": np.arange(5)}).loc["TT"]
    assert [both.length_min_mm, both.length_mm, both.length_max_mm] == pytest.approx(
        [180, 200, 220]
    )
    assert " ".join(tables.splits(shapes, SPLIT).part) == "scans test scans validation test"


def test_shape_models_are_beside_the_published_ones():
    surfaces, unseen = sockets(6), sockets(2, seed=9)
    model = ShapeModel.fit(surfaces)
    curve = tables.shape_model_curves(model, surfaces, [1, 2, 4, 5], n_samples=10)
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
def unseen(shapes, surfaces):
    return evaluation.Unseen(shapes, surfaces)


@pytest.fixture(scope="module")
def evaluated(unseen, surfaces):
    rng = np.random.default_rng(0)
    floor = resampled(surfaces, 100, seed=3)

    def noisy(sd):
        return floor + rng.normal(0, sd, floor.shape)

    def thrice(sd):
        return np.concatenate([noisy(sd) for _ in range(3)])

    made = {
        "noise of 8 mm": (noisy(8), [thrice(8), thrice(8)]),
        "noise of 2 mm": (noisy(2), [thrice(2)]),
        "floor": (floor, [unseen.points]),
    }
    return {name: [unseen.evaluate(*each)] for name, each in made.items()}


def test_errors_and_scores_grow_with_the_noise(evaluated):
    table = tables.summary(evaluated, of_draws=True)
    assert list(table.index) == list(evaluated) == ["noise of 8 mm", "noise of 2 mm", "floor"]
    assert list(table.columns[::2]) == list(evaluation.METRICS)
    for column in ("chamfer", "surface_mm"):
        assert table[column].is_monotonic_decreasing
        means = [runs[0][column].mean() for runs in evaluated.values()]
        assert list(table[column]) == pytest.approx(means)
        assert table[f"{column}_sd"].isna().all()
    # Points on the surface are at no distance from it; noise is, by its part along the normal.
    assert table.surface_mm["floor"] == pytest.approx(0, abs=1e-3)
    expected = 2 * np.sqrt(2 / np.pi)
    assert table.surface_mm["noise of 2 mm"] == pytest.approx(expected, rel=0.1)
    # The test sockets themselves: nothing is nearer.
    columns = ["fidelity", "coverage", "jsd", "one_nn_accuracy"]
    assert table.fidelity.is_monotonic_decreasing
    assert table.loc["floor", columns].tolist() == pytest.approx([0, 1, 0, 0], abs=1e-6)
    # One draw has no spread, two have.
    assert table.loc["floor", [f"{c}_sd" for c in columns]].isna().all()
    assert table.loc["noise of 8 mm", "fidelity_sd"] > 0


def test_scores_are_those_of_the_metrics(unseen):
    rng = np.random.default_rng(1)
    draw = np.tile(unseen.points, (3, 1, 1)) + rng.normal(0, 15, (15, 100, 3))
    found = unseen.evaluate(unseen.points, [draw])
    generated = normalize(draw, "unit-sphere")[0]
    reference = normalize(unseen.points, "unit-sphere")[0]
    parts = [generated[i : i + 5] for i in (0, 5, 10)]  # 1-NN accuracy is of sets of one size
    one_nn = [generative.one_nearest_neighbor_accuracy(part, reference) for part in parts]
    expected = {
        "fidelity": generative.minimum_matching_distance(generated, reference),
        "coverage": generative.coverage(generated, reference),
        "jsd": generative.jensen_shannon_divergence(generated, reference),
        "one_nn_accuracy": np.mean(one_nn),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx([value])
    with pytest.raises(ValueError, match="a draw of 4 shapes for 5 test sockets"):
        unseen.evaluate(unseen.points, [draw[:4]])


@pytest.fixture(scope="module")
def of_models(unseen):
    """Results of two splits for a model that gives back what it sees, and for one that moves it."""

    def run(by, seed):
        draw = unseen.points[np.random.default_rng(seed).integers(5, size=15)]
        return unseen.evaluate(unseen.points + np.array([by, 0, 0]), [draw, draw[::-1]])

    return {"still": [run(0, 3), run(0, 4)], "moved": [run(20, 3), run(21, 4)]}


def test_the_spread_of_models_is_over_splits(unseen, of_models):
    table = tables.summary(of_models)
    assert table.chamfer["still"] == pytest.approx(0, abs=1e-6)
    moved = [run["surface_mm"].mean() for run in of_models["moved"]]
    assert table.surface_mm["moved"] == pytest.approx(np.mean(moved))
    # Not over sockets; n - 1 degrees of freedom.
    assert table.surface_mm_sd["moved"] == pytest.approx(abs(moved[0] - moved[1]) / np.sqrt(2))
    alone = tables.summary({name: runs[:1] for name, runs in of_models.items()})
    assert alone.filter(like="_sd").isna().all(axis=None)
    assert not with_spread(alone).map(lambda shown: "±" in shown).any(axis=None)
    # Without draws there is no generation.
    undrawn = tables.summary({"a": [unseen.evaluate(unseen.points, ())]})
    assert undrawn.loc["a", ["fidelity", "coverage", "jsd", "one_nn_accuracy"]].isna().all()


@pytest.fixture
def two_by_two():
    """Errors of 5 splits with 20 sockets each: a takes off 1, b adds 0.5, and effects add up."""
    rng = np.random.default_rng(0)
    # Whole multiples of 1 / 1024 are added without rounding.
    start, a, b = np.round(1024 * rng.normal([[[3]], [[-1]], [[0.5]]], 0.1, (3, 5, 20))) / 1024
    made = {"neither": start, "a": start + a, "b": start + b, "both": start + a + b}
    return {name: [{"mm": split} for split in values] for name, values in made.items()}


def test_claims_are_contrasts_with_an_answer(two_by_two):
    one, together = {"a": 1, "neither": -1}, {"both": 1, "a": -1, "b": -1, "neither": 1}
    listed = [
        ("a helps", one, ["mm"]),
        ("b helps", {"b": 1, "neither": -1}, ["mm"]),
        ("together more than the sum", together, ["mm"]),
    ]
    table = tables.claims(two_by_two, listed, {"mm": ("error, mm", "lower")})
    assert list(table.index) == [claim for claim, *_ in listed]
    assert list(table.columns) == ["metric", "mean", "low", "high", "p", "p_holm", "answer"]
    assert list(table.answer) == ["supported", "contradicted", "undecided"]
    assert table["mean"].tolist() == pytest.approx([-1, 0.5, 0], abs=0.05)
    # Effects that add up have no interaction.
    assert (table["mean"].iloc[2], table.p.iloc[2]) == (0, 1)
    higher = tables.claims(two_by_two, listed, {"mm": ("share", "higher")})
    assert list(higher.answer) == ["contradicted", "supported", "undecided"]
    assert tables.answers(table, "a helps") == "supported by error"


def test_answers_are_by_p_values_that_holm_corrects(monkeypatch, two_by_two):
    p = iter([0.01, 0.04, 0.03, 0.005])
    monkeypatch.setattr(
        tables.inference, "bootstrap", lambda _: inference.Difference(-1.0, -2.0, -0.5, next(p))
    )
    listed = [(str(i), {"a": 1, "b": -1}, ["mm"]) for i in range(4)]
    table = tables.claims(two_by_two, listed, {"mm": ("error", "lower")})
    # Sorted 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1, which may not be less than the one before.
    assert table.p_holm.tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert list(table.answer) == ["supported", "undecided", "undecided", "supported"]


def test_1_nn_accuracy_is_compared_by_its_distance_from_half():
    def runs(*draws):
        return [{"one_nn_accuracy": np.array(draws)}]

    found = {"baseline": runs(0.1, 0.3), "model": runs(0.8, 0.4)}
    listed = [("the model", {"model": 1, "baseline": -1}, ["one_nn_accuracy"])]
    table = tables.claims(found, listed)
    assert table["mean"].tolist() == pytest.approx([(0.3 + 0.1) / 2 - (0.4 + 0.2) / 2])
    assert table.metric.iloc[0] == "1-NN accuracy, distance from 0.5"


def test_errors_are_averaged_within_a_kind():
    runs = [
        {"chamfer": np.array([1.0, 2, 6]) * x, "surface_mm": np.array([10.0, 20, 60]) * x}
        for x in (1, 3)
    ]
    table = tables.by_kind([np.array(["TT", "TF", "TT"]), np.array(["TT"] * 3)], {"a": runs})
    assert list(table.columns) == ["TT chamfer", "TT surface_mm", "TF chamfer", "TF surface_mm"]
    # 1 and 6, then three times 1, 2 and 6.
    assert list(table.loc["a"]) == [6.8, 68, 2, 20]


def test_error_maps_are_means_of_a_kind_at_the_vertices_of_its_mean(monkeypatch, unseen, surfaces):
    grid = surfaces[0].vertices.shape[:2]
    # In place of fitted surfaces: socket i is off by i mm, inwards.
    off = -np.arange(5.0)[:, None, None] * np.ones((5, *grid))
    monkeypatch.setattr(tables, "surface_errors", lambda clouds, surfaces: off)
    measured = {name: {"reconstruction": None} for name in ("AAE", "linear")}
    meshes, values, labels = tables.error_maps(unseen, measured)
    assert labels == [
        f"{kind}, {name}: {mm} mm"
        for kind, mm in (("TT", "0.50"), ("TF", "3.00"))
        for name in ("AAE", "linear")
    ]
    assert [len(each) for each in values] == [len(mesh.vertices) for mesh in meshes]
    np.testing.assert_allclose(values[0], 0.5)
    np.testing.assert_allclose(values[2], 3)


def test_codes_like_draws_lie_on_the_diagonal_of_the_calibration():
    """And codes twice as far out as the prior's do not, whatever encoded them."""
    codes = np.random.default_rng(0).normal(0, 0.5, (2, 1000, 3))
    found = {"a": [{"codes": each, "one_pass_codes": 2 * each} for each in codes]}
    (_, shares), (_, spreads) = tables.calibration(found, 0.5).groupby("panel")
    np.testing.assert_allclose(shares.y, shares.x, atol=0.03)
    np.testing.assert_allclose(spreads.y, 1, atol=0.03)
    checks = tables.prior_checks(found, 0.5)
    levels = [f"inside_{level}" for level in (50, 80, 95, 99)]
    expected = {"a, refined": tables.LEVELS}
    # A chi-square of a quarter of the squared radius.
    expected["a, one pass"] = chi2.cdf(chi2.ppf(tables.LEVELS, 3) / 4, 3)
    for name, each in expected.items():
        assert checks.loc[name, levels].tolist() == pytest.approx(list(each), abs=0.03)


# Words and numbers


@pytest.mark.parametrize(
    ("mean", "sd", "shown"),
    [
        (0.0015649, 0.0002345, "0.00156 ± 0.00023"),
        (123.45, 6.78, "123 ± 7"),
        (-0.5, 0.25, "-0.500 ± 0.250"),
        (12.345, np.nan, "12.3"),
        (30.0, np.nan, "30"),
        (0.0, 0.0, "0"),
        (1e-9, 1e-9, "0"),
        (np.nan, np.nan, "-"),
    ],
)
def test_numbers_are_written_with_their_spread(mean, sd, shown):
    frame = pd.DataFrame({"n": [3], "error": [mean], "error_sd": [sd]})
    assert with_spread(frame).to_dict("list") == {"n": ["3"], "error": [shown]}


def test_a_change_says_its_way_and_share():
    frame = pd.DataFrame({"mm": [2.0, 1.5, 3.0, 2.0, 2.0001, 1.996, 2.2]}, index=list("abcdefg"))
    assert [tables.change(frame, "mm", "a", end) for end in "bcdefg"] == [
        "2 → 1.5 (25 % lower)",
        "2 → 3 (50 % higher)",
        "2 → 2 (the same)",
        "2 → 2 (less than 1 % higher)",
        "2 → 2 (less than 1 % lower)",
        "2 → 2.2 (10 % higher)",
    ]
