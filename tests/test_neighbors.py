"""Facts about the search for nearest neighbours."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from aaelib.metrics.neighbors import nearest, searchable


def clouds(n, n_points, seed=0):
    return np.random.default_rng(seed).normal(size=(n, n_points, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("n_points", "m_points"), [(1, 1), (7, 1), (1, 7), (128, 128), (129, 127), (1000, 301)]
)
def test_nearest_points_are_those_of_scipys_tree(n_points, m_points):
    a, b = clouds(1, n_points)[0], clouds(1, m_points, seed=1)[0]
    found = nearest(searchable(a), searchable(b))
    np.testing.assert_array_equal(found, cKDTree(b).query(a)[1])
    assert found.dtype == np.int32


def test_a_nearest_point_is_never_one_that_only_fills_the_lanes():
    # The last point is nearest to all, and is what fills.
    a, b = clouds(1, 50)[0], clouds(1, 5, seed=1)[0]
    b[:4] += 100
    assert (nearest(searchable(a), searchable(b)) == 4).all()


def test_a_query_that_is_not_finite_finds_the_first_point_and_leaves_the_others_alone():
    a, b = clouds(1, 20)[0], clouds(1, 20, seed=1)[0]
    a[3, 1] = np.nan
    found = nearest(searchable(a), searchable(b))
    assert found[3] == 0
    others = np.arange(20) != 3
    np.testing.assert_array_equal(found[others], cKDTree(b).query(a[others])[1])
