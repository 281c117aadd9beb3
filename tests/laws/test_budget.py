"""The noise budget: its closed forms, its fit against scipy's, its bootstrap against the truth of simulated grids."""

import json

import numpy as np
import pytest
from scipy import optimize

from noise_scaling import laws
from noise_scaling.errors import InputError
from noise_scaling.laws.budget import budget_model

TRUE = {"v0": 0.03, "v1": 20.0, "v2": 1.5, "v3": 900.0, "s": 0.5}
N, U = (x.ravel() for x in np.meshgrid(np.geomspace(100, 1e5, 8), np.geomspace(10, 3000, 8)))


def test_budget_hand_worked():
    # n = 100, s = 1/2: 1/10; u = 10: 1/10; noise-to-signal 0.1 + 2/10 + 3/10 + 40/100 = 1: half a bit
    assert laws.noise_budget(100, 10, 0.1, 2, 3, 40, 0.5) == pytest.approx(0.5, abs=1e-12)


def test_budget_is_the_noise_law_at_every_cell_number():
    u = np.geomspace(1, 1e5, 40)
    for n in (100.0, 1e4):
        low, high = 0.03 + 1.5 * n**-0.5, 20 + 900 * n**-0.5
        i_max = 0.5 * np.log2(1 + 1 / low)
        np.testing.assert_allclose(laws.noise_budget(n, u, **TRUE), laws.noise_law(u, high / low, i_max), rtol=1e-12)


def test_two_sided_law():
    # u = half: each side keeps 1/2, squared correlation 3/4 x 1/4 at i_max = 1 bit
    assert laws.two_sided_law(50.0, 50.0, 1.0) == pytest.approx(-0.5 * np.log2(1 - 3 / 16), abs=1e-12)
    assert laws.two_sided_law(1e9, 50.0, 2.3) == pytest.approx(2.3, abs=1e-5)


def test_jacobian_is_the_difference_quotient():
    theta = np.array([[0.05, 0.2, 0.1, 0.3, 0.5, 0.9], [0.01, 0.5, 0.2, 0.1, 1.2, 1.1]])
    at = (np.tile(np.linspace(-3, 3, 7), (2, 1)), np.tile(np.linspace(2, -2, 7), (2, 1)))
    slope = budget_model(theta, at)[1]
    for i in range(6):
        step = np.zeros(6)
        step[i] = 1e-6
        quotient = (budget_model(theta + step, at)[0] - budget_model(theta - step, at)[0]) / 2e-6
        np.testing.assert_allclose(slope[..., i], quotient, rtol=1e-5, atol=1e-9)


def test_exact_grid_is_recovered():
    fit = laws.fit_noise_budget(N, U, laws.noise_budget(N, U, **TRUE))
    assert fit.status == laws.CONVERGED
    for name, value in TRUE.items():
        assert fit.parameters[name] == pytest.approx(value, rel=1e-3)
    assert fit.ceiling == pytest.approx(0.5 * np.log2(1 + 1 / 0.03), rel=1e-3)


def test_stretched_budget_recovers_the_exponent_of_depth():
    fit = laws.fit_noise_budget(N, U, laws.noise_budget(N, U, **TRUE, a=0.8), family=laws.STRETCHED_BUDGET)
    assert fit.parameters["a"] == pytest.approx(0.8, rel=1e-3)


def test_the_minimum_is_scipys():
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2, N.size)
    bits = laws.noise_budget(N, U, **TRUE) + rng.normal(0, 0.1, N.size)
    fit = laws.fit_noise_budget(N, U, bits, weights)

    def residuals(x):
        return np.sqrt(weights) * (laws.noise_budget(N, U, *np.exp(x[:4]), x[4]) - bits)

    start = [*np.log(list(TRUE.values())[:4]), 0.5]
    reference = optimize.least_squares(residuals, start, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    ours = (weights * (fit.predict(N, U) - bits) ** 2).sum()
    assert ours == pytest.approx(2 * reference.cost, rel=1e-6)


def shaken(rng, depth_sd=0.05, cell_sd=0.03):
    """A grid whose depths share an error, as test cells thinned once do."""
    groups = np.unique(U, return_inverse=True)[1]
    return laws.noise_budget(N, U, **TRUE) + rng.normal(0, depth_sd, 8)[groups] + rng.normal(0, cell_sd, N.size)


def test_intervals_cover_the_curve_though_depths_share_errors():
    rng, hits = np.random.default_rng(3), []
    n, u = (x.ravel() for x in np.meshgrid([300.0, 30_000.0], [30.0, 1000.0]))
    truth = laws.noise_budget(n, u, **TRUE)
    for _ in range(100):
        low, high = laws.fit_noise_budget(N, U, shaken(rng)).bootstrap(200).interval(n, u)
        hits.append((low < truth) & (truth < high))
    assert 0.91 <= np.mean(hits) <= 0.98


def test_treating_points_as_independent_would_cover_less():
    rng, hits = np.random.default_rng(4), []
    truth = laws.noise_budget(1000.0, 100.0, **TRUE)
    for _ in range(60):
        fit = laws.fit_noise_budget(N, U, shaken(rng), groups=np.arange(N.size)).bootstrap(100)
        low, high = fit.interval(1000.0, 100.0)
        hits.append(low < truth < high)
    assert np.mean(hits) < 0.8


def test_draws_are_the_same_from_one_seed_and_speak_json():
    fit = laws.fit_noise_budget(N, U, shaken(np.random.default_rng(1)))
    one, two, other = fit.bootstrap(20, seed=1), fit.bootstrap(20, seed=1), fit.bootstrap(20, seed=2)
    np.testing.assert_array_equal(one.draws, two.draws)
    assert not np.array_equal(one.draws, other.draws)
    told = json.loads(json.dumps(one.to_dict()))
    at = [laws.noise_budget(500.0, 90.0, *draw) for draw in told["draws"]]
    assert told["law"] == "noise_budget"
    assert np.quantile(at, 0.025) == pytest.approx(one.interval(500.0, 90.0)[0], rel=1e-9)


def test_one_more_measurement_is_less_sure_than_the_curve():
    fit = laws.fit_noise_budget(N, U, shaken(np.random.default_rng(1))).bootstrap(50)
    (low, high), (lower, higher) = fit.interval(1e4, 100.0), fit.interval(1e4, 100.0, measured=True)
    assert lower < low < high < higher
    assert higher - lower > 2 * 1.9 * fit.residual_sd


def test_profiles_hold_the_truth_and_say_what_is_open():
    rng = np.random.default_rng(5)
    fits = [laws.fit_noise_budget(N, U, shaken(rng, depth_sd=0)) for _ in range(60)]
    held = [low < TRUE[k] < high for f in fits for k in ("v0", "s") for low, high in [f.profile(k)]]
    assert 0.88 <= np.mean(held) <= 1.0
    shallow = U < 300
    least = laws.noise_budget(N, U, 1e-4, 20.0, 1.5, 900.0, 0.5) + rng.normal(0, 0.05, N.size)
    assert laws.fit_noise_budget(N[shallow], U[shallow], least[shallow]).profile("v0")[0] == -np.inf
    with pytest.raises(InputError, match="v0"):
        fits[0].profile("v1")


def test_no_ceiling_is_said():
    fit = laws.fit_noise_budget(N, U, laws.noise_budget(N, U, 1e-9, 20.0, 0.0, 900.0, 0.5))
    assert fit.status == laws.NOT_IDENTIFIED
    assert "ceiling" in fit.note


def test_cells_that_change_nothing_are_said():
    fit = laws.fit_noise_budget(N, U, laws.noise_budget(N, U, 0.1, 20.0, 0.0, 0.0, 0.5))
    assert fit.status in (laws.NOT_IDENTIFIED, laws.AT_BOUND)


@pytest.mark.parametrize(
    ("n", "u", "bits", "word"),
    [
        ([1, 2], [1, 2], [1, 2], "at least 3"),
        (N, U, np.full(N.size, np.nan), "NaN"),
        (N, -U, np.ones(N.size), "above 0"),
        (N, U, np.ones(3), "one length"),
        ([1, 2, 3, 1], [1, 2, 3, 2], [1, 1, 1, 1], "cannot fit 5"),
    ],
)
def test_bad_input(n, u, bits, word):
    with pytest.raises(InputError, match=word):
        laws.fit_noise_budget(n, u, bits)


def test_an_interval_needs_draws():
    with pytest.raises(InputError, match="bootstrap"):
        laws.fit_noise_budget(N, U, shaken(np.random.default_rng(1))).interval(1e3, 100.0)
