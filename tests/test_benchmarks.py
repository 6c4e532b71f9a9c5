"""What is compared computes the same thing, is timed in turn, and is told honestly."""

import numpy as np
import pytest
import tensorflow as tf

from aaelib.metrics import distances, generative
from aaelib.models import autoencoder, losses, networks, recipes
from benchmarks import measure, original, tables
from benchmarks.rows import GROWTH, ROWS, step_work


def clouds(n, n_points, seed=0):
    points = np.random.default_rng(seed).uniform(-0.9, 0.9, size=(n, n_points, 3))
    return points.astype(np.float32)


# The baselines compute what ours does


def test_the_broadcast_form_is_our_chamfer_loss():
    a, b = clouds(3, 60), clouds(3, 70, seed=1)
    expected = losses.chamfer_loss(a, b, "sum")
    np.testing.assert_allclose(original.broadcast_chamfer(a, b), expected, rtol=1e-5)


def test_the_loop_over_pairs_is_our_matrix_but_for_the_mean():
    a, b = clouds(3, 50), clouds(2, 50, seed=1)
    looped = original.loop_over_pairs(tf.constant(a), tf.constant(b))
    np.testing.assert_allclose(looped / 50, distances.pairwise_chamfer(a, b), rtol=1e-5)


def test_the_loop_over_points_finds_our_divergence():
    a, b = clouds(4, 300), clouds(4, 300, seed=1) ** 3
    expected = generative.jensen_shannon_divergence(a, b, resolution=6)
    assert original.divergence(a, b, resolution=6) == pytest.approx(expected, rel=1e-9)


def test_the_original_scheme_has_the_networks_of_the_paper_recipe():
    scheme, ours = (
        original.TrainingStep(64),
        autoencoder.AdversarialAutoencoder(recipes.recipe("paper", n_points=64)),
    )
    for network in networks.NETWORKS:
        expected = [w.shape for w in getattr(ours, network).weights]
        assert [w.shape for w in getattr(scheme, network).weights] == expected


def test_a_step_of_the_original_scheme_moves_every_network():
    scheme, points = original.TrainingStep(32), tf.constant(clouds(2, 32))
    before = [getattr(scheme, network).get_weights() for network in networks.NETWORKS]
    scheme(points)
    for network, start in zip(networks.NETWORKS, before, strict=True):
        after = getattr(scheme, network).get_weights()
        assert any(not np.array_equal(a, b) for a, b in zip(start, after, strict=True))


# Measuring


def test_functions_are_timed_in_turn_after_one_call_each():
    calls = []
    timings = measure.in_turn([lambda: calls.append("a"), lambda: calls.append("b")], rounds=3)
    assert calls == ["a", "b"] * 4
    assert [len(timing.seconds) for timing in timings] == [3, 3]


def test_long_functions_get_three_rounds():
    timings = measure.in_turn([lambda: None], rounds=9, patience=0)
    assert len(timings[0].seconds) == 3


def test_ratio_is_that_of_rounds():
    slow, fast = (
        measure.Timing(np.array([4.0, 9.0, 8.0])),
        measure.Timing(np.array([2.0, 3.0, 1.0])),
    )
    assert measure.ratio(slow, fast) == (3, 2, 8)


def test_memory_is_that_of_this_process():
    before = measure.own_peak_memory()
    held = np.ones(30_000_000)
    assert measure.own_peak_memory() >= before
    assert measure.own_peak_memory() >= held.nbytes / 1e9


def test_least_time_is_set_by_what_takes_longer(monkeypatch):
    monkeypatch.setattr(measure, "machine", lambda: {"flops": 100.0, "bytes": 10.0})
    assert measure.roofline(flops=200, transferred=10) == 2
    assert measure.roofline(flops=200, transferred=50) == 5


@pytest.mark.parametrize("linear_models", [0, 2])
def test_the_work_of_a_step_is_that_of_its_weights(linear_models):
    """Counted by hand: one layer in the encoder, every point seen, no layer but the last after."""
    n, widths = 64, {"encoder": (8,), "decoder": (16,), "discriminator": (4,), "code_size": 4}
    changes = {**widths, "linear_models": linear_models}
    flops, transferred = step_work("compact", n_points=n, encoder_points=None, **changes)
    # Of each linear model a gate, a mean and a mode a number of the code.
    linear = linear_models * (4 + 5 * 3 * n)
    decoder, chamfer = 4 * 16 + 16 * 3 * n + linear, 8 * n**2
    seen, of_critical = 2 * 24 * n, 3 * 2 * 24 * np.arange(1, 9)
    assert flops - chamfer - seen - 6 * decoder in of_critical
    weights = 24 + 8 + 8 * 4 + 4 + 4 * 16 + 16 + 16 * 3 * n + 3 * n + 4 * 4 + 4 + 4 + 1
    weights += linear + linear_models
    assert transferred == 28 * weights / 32


# The tables


def measured_row(**changes):
    contender = {"seconds": 0.02, "spread": 0.001, "rounds": 3, "ratio": (1.0, 1.0, 1.0), "GB": 1.0}
    contender["first"] = 2.0
    slow = {**contender, "seconds": 0.1, "ratio": (5.0, 4.0, 6.0), "GB": 7.0}
    row = {"key": "k", "title": "Title", "unit": "cloud", "targets": {}, "least": 0.01}
    return {**row, "contenders": {"aaelib": contender, "other": slow}, **changes}


MACHINE = {"flops": 4e11, "bytes": 4e10, "processor": "some", "cores": 2}


def tabled(row):
    measured = {"rows": [row], "growth": [], "machine": MACHINE, "source": "some sockets"}
    return tables.everything(measured)


@pytest.mark.parametrize(
    ("targets", "verdict"),
    [
        ({"other": 5}, "5 times: met"),
        ({"other": 6}, "6 times: **missed**"),
        ({"ms": 20}, "20 ms: met"),
        ({"ms": 19}, "19 ms: **missed**"),
        ({"GB": 0.9}, "0.9 GB: **missed**"),
    ],
)
def test_a_target_that_is_missed_is_said_to_be(targets, verdict):
    assert verdict in tabled(measured_row(targets=targets))


def test_a_line_tells_times_ratio_memory_and_distance_from_the_least():
    text = tabled(measured_row())
    for part in (
        "20 ± 1 ms a cloud",
        "other, 100 ± 1 ms",
        "5.00 (4.00 to 6.00)",
        "2.0 x 10 ms",
        "some sockets",
    ):
        assert part in text


def test_every_target_is_of_something_that_is_measured():
    for row in ROWS.values():
        assert next(iter(row.contenders)) == "aaelib"
        assert set(row.targets) <= {*row.contenders, "ms", "GB"}
    for growth in GROWTH.values():
        assert set(growth.targets) <= {"GB"}
