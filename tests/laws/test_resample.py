"""The wild bootstrap: residuals left out against refits, widths against tables, factors by their moments."""

import numpy as np
import pytest

from noise_scaling.laws import resample


def test_a_groups_residuals_are_those_of_a_fit_without_it():
    rng = np.random.default_rng(0)
    x, groups, weights = rng.normal(size=12), np.repeat(np.arange(6), 2), rng.uniform(0.5, 2, 12)
    y = rng.normal(size=12)
    slope = np.stack([np.ones(12), x], axis=1)
    left = y - np.polynomial.polynomial.polyval(x, np.polynomial.polynomial.polyfit(x, y, 1, w=np.sqrt(weights)))
    found = resample.left_out(left, slope, weights, groups)
    for group in range(6):
        out = groups == group
        line = np.polynomial.polynomial.polyfit(x[~out], y[~out], 1, w=np.sqrt(weights[~out]))
        np.testing.assert_allclose(found[out], y[out] - np.polynomial.polynomial.polyval(x[out], line), rtol=1e-9)


def test_a_point_of_no_weight_has_no_residual():
    found = resample.left_out(np.ones(4), np.ones((4, 1)), np.array([1.0, 1, 1, 0]), np.array([0, 1, 2, 2]))
    np.testing.assert_allclose(found, [1.5, 1.5, 1.5, 0])


def test_a_group_the_fit_leans_on_does_not_grow_without_end():
    # alone in its column, a point has leverage 1: its residual grows by 20 at most
    found = resample.left_out(np.ones(3), np.array([[1.0], [0], [0]]), np.ones(3), np.arange(3))
    np.testing.assert_allclose(found, [20, 1, 1])


@pytest.mark.parametrize(("groups", "t"), [(10, 2.306004), (3, 12.706205), (2, 12.706205)])
def test_the_wild_bootstrap_widens_by_students_t(groups, t):
    # a mean of one point a group: left out, a residual of 1 is 1 / (1 - 1 / groups); Webb's factors; t and z of tables
    found = resample.wild_bootstrap(
        np.ones(groups), np.ones((groups, 1)), np.ones(groups), np.arange(groups), 600, seed=0
    )
    factors = np.unique(np.round(found * (1 - 1 / groups) / (t / 1.959964), 5))
    webb = np.sqrt([0.5, 1, 1.5])
    np.testing.assert_allclose(factors, [*-webb[::-1], *webb], atol=2e-5)


def test_a_group_shares_its_factor():
    groups = np.array([0, 1, 1, 2, 0])
    found = resample.wild_factors(groups, 4000, seed=1)
    np.testing.assert_array_equal(found[:, 0], found[:, 4])
    np.testing.assert_array_equal(found[:, 1], found[:, 2])
    assert np.corrcoef(found[:, 0], found[:, 1])[0, 1] == pytest.approx(0, abs=0.06)
    assert (found.mean(), found.var()) == pytest.approx((0, 1), abs=0.06)
