"""Facts of the answers: known intervals, coverage, distances and p-values."""

import numpy as np
import pytest
from scipy import stats

from aaelib.metrics.inference import (
    Difference,
    answer,
    bootstrap_difference,
    energy_test,
    paired_bootstrap,
)


@pytest.fixture
def errors():
    """Of one condition: 3 seeds on 40 sockets, some harder than others."""
    rng = np.random.default_rng(0)
    return rng.gamma(5.0, 0.2, size=(1, 40)) + rng.normal(0, 0.1, size=(3, 40))


# Errors of seeds and sockets


def test_the_interval_of_a_constant_shift_is_the_shift(errors):
    found = paired_bootstrap(errors, errors - 0.3)
    assert [found.mean, found.low, found.high] == pytest.approx([-0.3] * 3)
    assert (answer(found), answer(found, "higher")) == ("supported", "not supported")


def test_of_one_seed_it_is_the_bootstrap_of_sockets_as_scipy_has_it(errors):
    a, b = errors[:1], errors[1:2] + 0.05
    found = paired_bootstrap(a, b, n_resamples=20_000)
    peer = stats.bootstrap(
        ((b - a)[0],), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    # Percentiles of 20,000 draws are off by some 2 % of their standard deviation.
    atol = 0.06 * np.std(b - a) / np.sqrt(40)
    np.testing.assert_allclose([found.low, found.high], peer, atol=atol)


def test_one_run_on_more_sockets_does_not_become_several_runs():
    # A seed that is lucky on all sockets: more sockets don't narrow the interval, more seeds do.
    luck = np.random.default_rng(3).normal(size=(12, 1))
    luck = (luck - luck.mean()) / luck.std()
    widths = {}
    for seeds, sockets in ((3, 10), (3, 1000), (12, 10)):
        difference = luck[:seeds] + np.zeros((1, sockets))
        found = paired_bootstrap(np.zeros_like(difference), difference)
        widths[seeds, sockets] = found.high - found.low
    assert widths[3, 10] == pytest.approx(widths[3, 1000])
    expected = 2 * 1.96 / np.sqrt(12)
    assert widths[12, 10] == pytest.approx(expected, rel=0.1)


def test_resampling_both_levels_has_the_variance_of_both():
    rng = np.random.default_rng(4)
    seeds, sockets = rng.normal(size=(30, 1)), rng.normal(size=(1, 50))
    found = paired_bootstrap(np.zeros((30, 50)), seeds + sockets)
    variance = seeds.var() / 30 + sockets.var() / 50
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.05)


# One number a seed


def test_three_seeds_get_about_student_s_interval():
    a, b = np.zeros(3), np.array([0.0, 1.0, 2.0])
    found = bootstrap_difference(a, b)
    low, high = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.1 * (high - low))
    # All three are 0 or more; three coins fall alike in a quarter of cases.
    assert answer(found, "higher") == "not decidable here"


@pytest.mark.parametrize("n_seeds", [3, 5])
def test_the_interval_holds_the_truth_as_often_as_it_says(n_seeds):
    rng = np.random.default_rng(6)
    studies = rng.normal(0.7, 1.0, size=(400, n_seeds))
    found = [bootstrap_difference(np.zeros(n_seeds), study, 1000) for study in studies]
    held = np.mean([each.low <= 0.7 <= each.high for each in found])
    # 400 studies: 0.95 +- 0.011. Plain percentiles of 3 seeds would hold it in 0.75.
    assert 0.91 < held < 0.98


def test_one_seed_decides_nothing():
    found = bootstrap_difference([0.5], [0.9])
    assert found.mean == pytest.approx(0.4)
    assert np.isnan([found.low, found.high]).all()
    assert answer(found) == answer(found, "higher") == "not decidable here"


# Answers


@pytest.mark.parametrize(
    ("low", "high", "lower", "higher"),
    [
        (-2, -1, "supported", "not supported"),
        (1, 2, "not supported", "supported"),
        (-1, 2, "not decidable here", "not decidable here"),
        (-1, 0, "not decidable here", "not decidable here"),
        (0, 0, "not decidable here", "not decidable here"),
    ],
)
def test_an_answer_is_the_side_of_zero_that_holds_the_interval(low, high, lower, higher):
    difference = Difference((low + high) / 2, low, high)
    assert (answer(difference), answer(difference, "higher")) == (lower, higher)


# Samples


def test_the_energy_distance_of_two_points_is_twice_their_distance():
    # E|X - Y| = 3; each sample is one point, so the rest is 0. Both splits are as far.
    assert energy_test([[1.0]], [[4.0]]) == (pytest.approx(6), 1)


def test_in_one_dimension_it_is_the_square_of_scipys():
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=30), rng.normal(0.5, 2, size=45)
    statistic, _ = energy_test(a[:, None], b[:, None], n_permutations=1)
    assert statistic == pytest.approx(stats.energy_distance(a, b) ** 2)


def test_turning_and_moving_both_samples_changes_nothing_and_scaling_scales():
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(30, 5)), rng.normal(0.3, 1, size=(40, 5))
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    statistic, p = energy_test(a, b)
    assert energy_test(a @ turn + 7, b @ turn + 7) == (pytest.approx(statistic), p)
    assert energy_test(3 * a, 3 * b) == (pytest.approx(3 * statistic), p)


def test_p_is_uniform_where_the_distribution_is_one():
    rng = np.random.default_rng(9)
    p = [energy_test(*rng.normal(size=(2, 15, 3)), 99, seed)[1] for seed in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize("other", [(0.8, 1.0), (0.0, 2.0)], ids=["moved", "wider"])
def test_p_is_small_where_it_is_not(other):
    rng = np.random.default_rng(10)
    a, b = rng.normal(size=(60, 4)), rng.normal(*other, size=(80, 4))
    assert energy_test(a, b)[1] <= 0.01
    # No less than one split in all.
    assert energy_test(a + 100, b, n_permutations=199)[1] == pytest.approx(1 / 200)


# Bad input


@pytest.mark.parametrize(
    ("call", "a", "b", "message"),
    [
        (paired_bootstrap, np.ones((3, 5)), np.ones((3, 4)), r"\(3, 5\) and \(3, 4\)"),
        (paired_bootstrap, np.ones(5), np.ones(5), r"\(n_seeds, n_sockets\)"),
        (paired_bootstrap, np.ones((3, 1)), np.ones((3, 1)), "1 socket"),
        (paired_bootstrap, np.ones((3, 5)), np.full((3, 5), np.nan), "infs or NaNs"),
        (bootstrap_difference, np.ones(3), np.ones(2), r"\(3,\) and \(2,\)"),
        (bootstrap_difference, [], [], r"\(n_seeds,\) twice"),
        (energy_test, np.ones((3, 2)), np.ones((3, 4)), r"\(3, 2\) and \(3, 4\)"),
        (energy_test, np.ones((0, 2)), np.ones((3, 2)), r"\(0, 2\)"),
        (energy_test, np.full((3, 2), np.inf), np.ones((3, 2)), "infs or NaNs"),
        (answer, Difference(0.0, -1.0, 1.0), "smaller", "better is 'smaller'"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, a, b, message):
    with pytest.raises(ValueError, match=message):
        call(a, b)
