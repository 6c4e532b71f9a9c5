"""Facts of the answers: known intervals, coverage, distances and p-values."""

import numpy as np
import pytest
from scipy import stats

from aaelib.metrics.inference import answer, bootstrap, energy_test


@pytest.fixture
def differences():
    """Of 5 splits with 40 test sockets each."""
    rng = np.random.default_rng(0)
    return rng.normal(0.1, 0.2, size=(5, 1)) + rng.gamma(5.0, 0.2, size=(5, 40)) - 1


# Splits and their items


@pytest.mark.parametrize(("shift", "p"), [(0, 1), (-0.3, 2 / 10_001)])
def test_the_interval_of_a_constant_shift_is_the_shift(shift, p):
    """Its p-value is no less than that of one resample in all, either way."""
    found = bootstrap(np.full((5, 40), shift))
    assert [found.mean, found.low, found.high] == pytest.approx([shift] * 3)
    assert found.p == p


def test_of_one_split_it_is_student_s_interval_of_its_items(differences):
    # Skewness moves the ends of a percentile interval by some 5 % of its length.
    of_one = differences[:1, :20]
    found = bootstrap(of_one)
    expected = stats.ttest_1samp(of_one[0], 0)
    ends = expected.confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx([*ends], abs=0.07 * (ends.high - ends.low))


@pytest.mark.parametrize("level", [0.05, 0.005])
def test_of_one_item_a_split_it_has_student_s_tails(level):
    # Splits that are this far off on average have a p-value of `level`.
    z = np.array([-1.5, -0.5, 0.0, 0.5, 1.5])
    shift = stats.t.isf(level / 2, 4) * z.std(ddof=1) / np.sqrt(5)
    found = bootstrap((z + shift)[:, None], n_resamples=100_000)
    assert found.p == pytest.approx(level, rel=0.25)


def test_both_levels_add_their_variances():
    rng = np.random.default_rng(4)
    splits, items = rng.normal(size=(60, 1)), 5 * rng.normal(size=(60, 50))
    splits, items = splits - splits.mean(), items - items.mean(axis=1, keepdims=True)
    found = bootstrap(splits + items, n_resamples=5000)
    variance = splits.var() / 60 + items.var() / 60 / 50
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.08)


@pytest.mark.parametrize("between", [0.0, 0.3, 1.0])
def test_the_interval_holds_the_truth_and_p_says_the_same(between):
    rng = np.random.default_rng(6)
    held = 0
    for seed in range(300):
        # Test sets of 45 of the same 180 sockets.
        sockets = rng.normal(size=180)
        drawn = [rng.permutation(sockets)[:45] + rng.normal(0, between) for _ in range(5)]
        found = bootstrap(drawn, 999, seed)
        is_held = found.low <= 0 <= found.high
        assert is_held == (found.p >= 0.05)
        held += is_held
    # 300 studies: 0.95 +- 0.013. Percentiles without Student's tails hold it in 0.86 to 0.90.
    assert held / 300 > 0.92


def test_one_difference_decides_nothing():
    found = bootstrap([[0.4]])
    assert (found.mean, found.p) == (0.4, 1)
    assert np.isnan([found.low, found.high]).all()


# Answers


@pytest.mark.parametrize(
    ("mean", "p", "lower", "higher"),
    [
        (-2, 0.049, "supported", "contradicted"),
        (1, 0.049, "contradicted", "supported"),
        (-2, 0.05, "undecided", "undecided"),
        (0, 1, "undecided", "undecided"),
    ],
)
def test_an_answer_is_the_side_of_zero_where_p_is_small(mean, p, lower, higher):
    assert (answer(mean, p), answer(mean, p, "higher")) == (lower, higher)


# Samples


def test_the_energy_distance_of_two_points_is_twice_their_distance():
    # E|X - Y| = 3; each sample is one point, so the rest is 0. Both splits are as far.
    assert energy_test([[1.0]], [[4.0]]) == (pytest.approx(6), 1)


def test_in_one_dimension_it_is_the_square_of_scipys():
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=30), rng.normal(0.5, 2, size=45)
    statistic, _ = energy_test(a[:, None], b[:, None], n_permutations=1)
    assert statistic == pytest.approx(stats.energy_distance(a, b) ** 2)


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
    ("call", "given", "message"),
    [
        (bootstrap, [np.ones(5)], r"\(5,\), not \(n_splits, n_items\)"),
        (bootstrap, [np.ones((3, 0))], r"\(3, 0\)"),
        (bootstrap, [np.full((3, 5), np.nan)], "infs or NaNs"),
        (energy_test, [np.full((3, 2), np.inf), np.ones((3, 2))], "infs or NaNs"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, given, message):
    with pytest.raises(ValueError, match=message):
        call(*given)
