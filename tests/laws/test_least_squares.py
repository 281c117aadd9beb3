"""Stacked Levenberg-Marquardt and its derivatives against scipy and closed forms."""

import numpy as np
import pytest
from scipy import optimize

from noise_scaling.laws import least_squares
from noise_scaling.laws.least_squares import covariance, jacobian, minimise

pytestmark = pytest.mark.any_machine

X = np.linspace(-1, 2, 12)


def line(theta, at):
    return theta[:, :1] + theta[:, 1:] * at[0]


def decay(theta, at):
    return theta[:, :1] * np.exp(-theta[:, 1:] * at[0])


FREE = np.full(2, -np.inf), np.full(2, np.inf)


def solve(model, bits, weights=None, start=(1.0, 0.5), bounds=FREE):
    bits = np.atleast_2d(bits)
    weights = np.ones_like(bits) if weights is None else np.atleast_2d(weights)
    return minimise(model, np.tile(start, (len(bits), 1)), (X[None],), bits, weights, *bounds)


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


def test_vectors_are_shared_by_all_problems():
    bits = 2 * np.exp(-0.8 * X)
    found = minimise(decay, np.array([[1.0, 0.5], [3.0, 0.2], [1.5, 1.0]]), (X,), bits, np.ones(12), *FREE)
    np.testing.assert_allclose(found.theta, [[2, 0.8]] * 3, rtol=1e-6)


def test_bounds_hold_and_the_others_are_at_their_best():
    bits = 2 * np.exp(-0.8 * X)
    found = solve(decay, bits, bounds=(np.array([0.0, 0.0]), np.array([10.0, 0.5])))
    shape = np.exp(-0.5 * X)
    assert found.theta[0, 1] == 0.5
    assert found.theta[0, 0] == pytest.approx(bits @ shape / (shape @ shape), rel=1e-6)


def test_the_best_of_several_starts():
    found = solve(decay, np.tile(2 * np.exp(-0.8 * X), (3, 1)))
    worse = type(found)(found.theta, found.cost + np.array([2.0, 0.0, 1.0]), found.converged)
    assert worse.best_of(3).cost[0] == found.cost[1]


def test_derivatives_are_those_by_hand():
    theta = np.array([[2.0, 0.8], [1e-4, 0.0]])
    shape = np.exp(-theta[:, 1:] * X)
    slope = jacobian(decay, theta, (X[None],), *FREE)
    np.testing.assert_allclose(slope[..., 0], shape, rtol=1e-8)
    np.testing.assert_allclose(slope[..., 1], -theta[:, :1] * X * shape, rtol=1e-6, atol=1e-9)


def test_derivatives_stay_within_the_bounds():
    def root(theta, at):
        return np.sqrt(theta[:, :1]) * at[0] + theta[:, 1:]

    held = np.array([1.0, 7.0]), np.array([np.inf, 7.0])
    slope = jacobian(lambda t, at: root(t - [1, 0] + [1e-4, 0], at), np.array([[1.0, 7.0]]), (X[None],), *held)
    np.testing.assert_allclose(slope[0, :, 0], 0.5 * X / 1e-2, rtol=0.05)  # one-sided: of first order
    np.testing.assert_array_equal(slope[..., 1], 0)


def test_covariance_is_the_inverse_of_the_normal_matrix():
    slope = np.stack([np.ones(12), X], axis=1)
    expected = np.linalg.inv(slope.T @ slope)
    np.testing.assert_allclose(covariance(slope), expected, rtol=1e-9)
    # a unit of 1e-9 is no reason to call a fit singular, two columns that say the same are
    np.testing.assert_allclose(covariance(slope * [1, 1e-9]), expected * [[1, 1e9], [1e9, 1e18]], rtol=1e-9)
    assert covariance(np.stack([X, 3 * X], axis=1)) is None
    assert covariance(np.stack([X, 0 * X], axis=1)) is None


def test_a_step_that_gives_no_number_is_not_taken():
    bits = 3 * np.log(2 + X)

    def logarithm(theta, at):
        return theta[:, :1] * np.log(theta[:, 1:] + at[0])

    found = solve(logarithm, bits, start=(1.0, 1.01))
    np.testing.assert_allclose(found.theta[0], [3, 2], rtol=1e-6)


def test_few_steps_are_said(monkeypatch):
    monkeypatch.setattr(least_squares, "_MAX_STEPS", 2)
    assert not solve(decay, 2 * np.exp(-0.8 * X)).converged[0]


def test_many_problems_are_solved_in_blocks():
    bits = np.outer(np.linspace(1, 2, 5000), np.ones(12))
    np.testing.assert_allclose(solve(line, bits).theta[:, 0], bits[:, 0], rtol=1e-6)
