"""Stacked Levenberg-Marquardt against scipy and closed forms; profile intervals against Student's t."""

import numpy as np
import pytest
from scipy import optimize, stats

from noise_scaling.laws.least_squares import Prior, minimise
from noise_scaling.laws.profile import profile_interval

pytestmark = pytest.mark.any_machine

X = np.linspace(-1, 2, 12)


def line(theta, at):
    return theta[:, :1] + theta[:, 1:] * at[0], np.stack([np.ones_like(at[0]), at[0]], axis=-1)


def decay(theta, at):
    shape = np.exp(-theta[:, 1:] * at[0])
    return theta[:, :1] * shape, np.stack([shape, -theta[:, :1] * at[0] * shape], axis=-1)


FREE = np.full(2, -np.inf), np.full(2, np.inf)


def solve(model, bits, weights=None, start=(1.0, 0.5), bounds=FREE, **options):
    bits = np.atleast_2d(bits)
    weights = np.ones_like(bits) if weights is None else np.atleast_2d(weights)
    return minimise(model, np.tile(start, (len(bits), 1)), (X[None],), bits, weights, *bounds, **options)


def test_a_line_is_the_normal_equations():
    rng = np.random.default_rng(0)
    bits, weights = rng.normal(size=(5, 12)), rng.uniform(0.1, 2, (5, 12))
    found = solve(line, bits, weights)
    for theta, y, w in zip(found.theta, bits, weights, strict=True):
        expected = np.polynomial.polynomial.polyfit(X, y, 1, w=np.sqrt(w))
        np.testing.assert_allclose(theta, expected, rtol=1e-6)


def test_a_decay_is_scipys():
    rng = np.random.default_rng(1)
    bits = 2 * np.exp(-0.8 * X) + rng.normal(0, 0.1, (20, 12))
    found = solve(decay, bits)
    assert found.converged.all()
    for theta, y in zip(found.theta, bits, strict=True):
        expected = optimize.least_squares(lambda p, y=y: p[0] * np.exp(-p[1] * X) - y, [1.0, 0.5], xtol=1e-12).x
        np.testing.assert_allclose(theta, expected, rtol=1e-5)


def test_bounds_hold_and_the_others_are_at_their_best():
    bits = 2 * np.exp(-0.8 * X)
    found = solve(decay, bits, bounds=(np.array([0.0, 0.0]), np.array([10.0, 0.5])))
    shape = np.exp(-0.5 * X)
    assert found.theta[0, 1] == 0.5
    assert found.theta[0, 0] == pytest.approx(bits @ shape / (shape @ shape), rel=1e-6)


def test_a_prior_is_one_more_observation():
    # one level, 12 observations of 1 and a prior at 0 of weight 12: half way
    bits = np.ones(12)
    bounds = np.array([-np.inf, 0.0]), np.array([np.inf, 0.0])
    found = solve(line, bits, start=(0.3, 0.0), bounds=bounds, prior=Prior(np.zeros(2), np.array([12.0, 0.0])))
    assert found.theta[0, 0] == pytest.approx(0.5, rel=1e-6)


def test_the_best_of_several_starts():
    found = solve(decay, np.tile(2 * np.exp(-0.8 * X), (3, 1)))
    worse = type(found)(found.theta, found.cost + np.array([2.0, 0.0, 1.0]), found.converged)
    assert worse.best_of(3).cost[0] == found.cost[1]


def profile(bits, index, bounds=FREE, model=line):
    theta = solve(model, bits).theta[0]
    return theta, profile_interval(model, theta, (X[None],), bits[None], np.ones((1, 12)), *bounds, index)


@pytest.mark.parametrize("index", [0, 1])
def test_profile_of_a_line_is_students(index):
    bits = 1 + 0.5 * X + np.random.default_rng(2).normal(0, 0.2, 12)
    wide = np.array([-50.0, -50.0]), np.array([50.0, 50.0])
    theta, (low, high) = profile(bits, index, wide)
    design = np.stack([np.ones(12), X], axis=1)
    variance = ((bits - design @ theta) ** 2).sum() / 10
    half = stats.t.ppf(0.975, 10) * np.sqrt(variance * np.linalg.inv(design.T @ design)[index, index])
    assert (low, high) == pytest.approx((theta[index] - half, theta[index] + half), rel=2e-2)


def test_a_side_that_the_data_leave_open_is_infinite():
    bits = np.random.default_rng(3).normal(0, 0.2, 12)  # no decay to speak of: any rate with a level of 0
    bounds = np.array([0.0, 0.0]), np.array([5.0, 50.0])
    theta = solve(decay, bits, bounds=bounds).theta[0]
    low, high = profile_interval(decay, theta, (X[None] + 1,), bits[None], np.ones((1, 12)), *bounds, 1)
    assert low == -np.inf
    assert high == np.inf
