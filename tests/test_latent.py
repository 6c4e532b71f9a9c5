"""Facts of the latent space: straight lines, directions, moments, principal axes."""

import numpy as np
import pytest

from aaelib.models import latent


@pytest.fixture
def codes():
    return np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


# Interpolation


def test_an_interpolation_is_a_straight_line_that_ends_at_its_codes_to_the_last_bit(codes):
    line = latent.interpolate(codes[0], codes[1], 5)
    assert (line.shape, line.dtype) == ((5, 8), np.float32)
    steps = np.tile((codes[1] - codes[0]) / 4, (4, 1))
    np.testing.assert_allclose(np.diff(line, axis=0), steps, atol=1e-6)
    ends = np.float32([codes[0] * 1e6, codes[1] * 1e-6])
    np.testing.assert_array_equal(latent.interpolate(*ends, 7)[[0, -1]], ends)


def test_lines_that_cannot_be_are_refused(codes):
    with pytest.raises(ValueError, match="steps is 1"):
        latent.interpolate(codes[0], codes[1], 1)
    with pytest.raises(ValueError, match=r"\(8,\) and \(7,\)"):
        latent.interpolate(codes[0], codes[1, :7], 3)
    with pytest.raises(ValueError, match=r"\(50, 8\)"):
        latent.interpolate(codes, codes, 3)


# Directions


def test_a_direction_is_what_the_ones_with_it_have_more():
    codes = np.array([[1, 5], [3, 5], [0, 1], [0, 3], [0, 5]])
    found = latent.direction(codes, [True, True, False, False, False])
    np.testing.assert_array_equal(found, [2, 2])


def test_a_characteristic_of_all_or_none_is_refused(codes):
    for has in (np.ones(50), np.zeros(50)):
        with pytest.raises(ValueError, match="with and shapes without"):
            latent.direction(codes, has)
    with pytest.raises(ValueError, match=r"\(49,\); there are 50"):
        latent.direction(codes, np.ones(49))


# Moments


def test_moments_tell_what_is_unlike_the_prior(codes):
    draws = np.random.default_rng(1).normal(size=(500, 8))
    expected = latent.code_statistics(draws, 1.0)
    shifted = latent.code_statistics(draws + 3, 1.0)
    assert shifted["mean"] == pytest.approx(3, abs=0.1)
    assert shifted["spread"] == pytest.approx(expected["spread"])
    narrow = latent.code_statistics(draws / 10, 1.0)
    assert narrow["spread"] == pytest.approx(expected["spread"] / 10)
    assert narrow["correlation"] == pytest.approx(expected["correlation"])
    same = latent.code_statistics(np.repeat(draws[:, :1], 8, axis=1), 1.0)
    assert same["correlation"] == pytest.approx(1)


# The prior


def test_draws_of_the_prior_pass_its_check():
    n = 2000
    draws = 0.2 * np.random.default_rng(3).normal(size=(n, 64))
    found = latent.prior_check(draws, 0.2)
    # The mean of n draws, and their correlations, are off by 1 / sqrt(n).
    assert found["mean"] == pytest.approx(1 / np.sqrt(n), rel=0.3)
    assert found["correlation"] == pytest.approx(1 / np.sqrt(n), rel=0.1)
    assert found["spread"] == pytest.approx(1, rel=0.01)
    # A chi distribution of 64 degrees: its mean is 1 / 256 below sqrt(64).
    assert found["norm"] == pytest.approx(1 - 1 / 256, abs=0.003)
    # Variances of a normal sample's skewness and kurtosis are 6 / n and 24 / n (Fisher, 1930); the
    # mean absolute value of a normal number is sqrt(2 / pi) standard deviations.
    assert found["skewness"] == pytest.approx(np.sqrt(2 / np.pi * 6 / n), rel=0.5)
    assert found["excess_kurtosis"] == pytest.approx(np.sqrt(2 / np.pi * 24 / n), rel=0.5)
    assert found["energy_p"] > 0.05


def test_moments_that_are_right_do_not_make_the_prior():
    rng = np.random.default_rng(4)
    # Mean 0 and variance 1, as the prior, but exponential: skewness 2, excess kurtosis 6.
    found = latent.prior_check(rng.exponential(size=(5000, 4)) - 1, 1.0)
    assert found["mean"] == pytest.approx(0, abs=0.05)
    assert found["spread"] == pytest.approx(1, abs=0.05)
    assert found["skewness"] == pytest.approx(2, rel=0.1)
    assert found["excess_kurtosis"] == pytest.approx(6, rel=0.25)
    assert found["energy_p"] == pytest.approx(0.001)


# Principal axes


def test_a_plane_of_codes_is_found_with_its_shares():
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.normal(size=(8, 8)))[0][:2]
    places = rng.normal(size=(300, 2)) * [3, 1]
    places -= places.mean(axis=0)
    (xy,), explained = latent.project(places @ axes + 7)
    assert explained.sum() == pytest.approx(1)
    assert explained[0] == pytest.approx(0.9, abs=0.02)
    # Axes are orthonormal: distances in the plane stay what they were.
    np.testing.assert_allclose(np.linalg.norm(xy, axis=1), np.linalg.norm(places, axis=1))
    assert abs(np.corrcoef(xy.T)[0, 1]) < 1e-9
