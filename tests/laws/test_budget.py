"""The noise budget: its closed forms, its fit against scipy's, its bootstrap against the truth of simulated grids."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from noise_scaling import laws
from noise_scaling.errors import InputError
from noise_scaling.laws import budget

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


def test_exact_grid_is_recovered():
    fit = laws.fit_noise_budget(N, U, laws.noise_budget(N, U, **TRUE))
    assert fit.status == laws.CONVERGED
    for name, value in TRUE.items():
        assert fit.parameters[name] == pytest.approx(value, rel=1e-3)


def test_a_steep_exponent_of_cells_is_recovered():
    n = N / 1000
    fit = laws.fit_noise_budget(n, U, laws.noise_budget(n, U, 0.03, 20.0, 0.5, 90.0, 2.0))
    assert fit.status == laws.CONVERGED
    assert fit.parameters["s"] == pytest.approx(2, rel=1e-3)


def test_a_fit_starts_from_the_linear_fit_of_the_bits():
    # to first order in what is off the law, at the law's own s: the hat matrix of d bits / d v by hand
    exact, off = laws.noise_budget(N, U, **TRUE | {"s": 0.35}), 1e-5 * np.random.default_rng(0).normal(size=N.size)
    data = budget._checked(N, U, exact + off, None)
    starts = budget._starts(data)
    start = starts[starts[:, 4] == 0.35]
    terms = np.stack([np.ones(N.size), 1 / U, N**-0.35, N**-0.35 / U], axis=1)
    ratio = terms @ [TRUE[f"v{i}"] for i in range(4)]
    slope = -terms / (2 * np.log(2) * ratio * (1 + ratio))[:, None]
    expected = slope @ np.linalg.pinv(slope) @ off
    np.testing.assert_allclose(budget.budget_model(start, data.at)[0] - exact, expected, atol=1e-8)


def test_averaged_intervals_hold_beyond_where_the_law_is_another():
    """Grids by four channels with noise, a power of depth that is not 1, or Eq. 1: bits at four times the depths."""
    rng, held, plain = np.random.default_rng(5), [], []
    for a, channels in ((1.0, 4.0), (0.65, 1.0), (1.0, 1.0)):
        for seed in range(4):
            truth = {"a": a, "channels": channels, **TRUE}
            bits = laws.noise_budget(N, U, **truth) + rng.normal(0, 0.02, len(N))
            fit = laws.fit_noise_budget(N, U, bits)
            at = N.max() * np.array([1.0, 4, 1]), U.max() * np.array([4.0, 1, 1])
            for found, out in ((fit.averaged(100, seed=seed), held), (fit.bootstrap(100, seed=seed), plain)):
                low, high = found.interval(*at)
                out.extend((low <= laws.noise_budget(*at, **truth)) & (laws.noise_budget(*at, **truth) <= high))
    assert np.mean(held) > 0.9
    assert np.mean(plain) < 0.75


def test_averaged_draws_are_of_the_law_that_made_the_points():
    fit = laws.fit_noise_budget(N, U, laws.noise_budget(N, U, **TRUE, channels=2.0)).averaged(50)
    assert set(fit.draws[:, 6]) == {2.0}
    assert set(fit.draws[:, 5]) == {1.0}
    assert fit.predict_draws(N, U).mean(axis=0) == pytest.approx(
        laws.noise_budget(N, U, **TRUE, channels=2.0), abs=1e-3
    )


def test_stretched_budget_recovers_the_exponent_of_depth():
    bits = laws.noise_budget(N, U, **TRUE, a=0.8)
    assert laws.fit_budgets(N, U, bits, np.ones((1, N.size)), stretched=True)[0, 5] == pytest.approx(0.8, rel=1e-3)


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
    for _ in range(60):
        low, high = laws.fit_noise_budget(N, U, shaken(rng)).bootstrap(200).interval(n, u)
        hits.append((low < truth) & (truth < high))
    assert 0.90 <= np.mean(hits) <= 0.99


def test_treating_points_as_independent_would_cover_less():
    rng, hits = np.random.default_rng(4), []
    truth = laws.noise_budget(1000.0, 100.0, **TRUE)
    for _ in range(60):
        fit = laws.fit_noise_budget(N, U, shaken(rng))
        apart = replace(fit, data=replace(fit.data, groups=np.arange(N.size)))
        low, high = apart.bootstrap(100).interval(1000.0, 100.0)
        hits.append(low < truth < high)
    assert np.mean(hits) < 0.8


def test_draws_are_the_same_from_one_seed():
    fit = laws.fit_noise_budget(N, U, shaken(np.random.default_rng(1)))
    one, two, other = fit.bootstrap(20, seed=1), fit.bootstrap(20, seed=1), fit.bootstrap(20, seed=2)
    np.testing.assert_array_equal(one.draws, two.draws)
    assert not np.array_equal(one.draws, other.draws)


def test_draws_speak_of_cells_and_umis():
    # one draw is a fit to other bits: the same law at the same points, whatever the coordinates were divided by
    fit = laws.fit_noise_budget(N, U, shaken(np.random.default_rng(1))).bootstrap(30)
    spread = np.std([laws.noise_budget(N, U, *draw) for draw in fit.draws], axis=0)
    assert 0.02 < np.median(spread) < 0.1  # errors of 0.05 bits in each of 8 depths
    np.testing.assert_allclose(fit.predict_draws(N, U)[3], laws.noise_budget(N, U, *fit.draws[3]))


def known_draws():
    """A fit whose 1,001 draws have ceilings of 1, 1.001, ... 2 bits, and nothing else."""
    ceilings = np.linspace(1, 2, 1001)
    draws = np.zeros((1001, 6))
    draws[:, 0], draws[:, 4:] = 1 / (2 ** (2 * ceilings) - 1), 1
    middle = dict(zip(("v0", "v1", "v2", "v3", "s", "a"), draws[500], strict=True))
    fit = laws.fit_noise_budget(N, U, laws.noise_budget(N, U, **TRUE))
    return replace(fit, parameters=middle, residual_sd=0.1, draws=draws)


def test_intervals_are_quantiles_of_the_draws():
    assert known_draws().interval(100.0, 10.0) == pytest.approx((1.025, 1.975), abs=1e-9)


def test_a_measurement_adds_the_residuals_normal_quantile():
    # 1.959964 of the normal table; curve and noise add as variances
    low, high = known_draws().interval(100.0, 10.0, measured=True)
    assert (1.5 - low, high - 1.5) == pytest.approx([np.hypot(0.475, 0.1959964)] * 2, abs=1e-6)


def test_quality_by_hand():
    rng = np.random.default_rng(0)
    weights, bits = rng.uniform(0.5, 2, N.size), laws.noise_budget(N, U, **TRUE) + rng.normal(0, 0.1, N.size)
    fit = laws.fit_noise_budget(N, U, bits, weights)
    left = bits - fit.predict(N, U)
    assert fit.n_points == 64
    assert fit.residual_sd == pytest.approx(np.sqrt((left**2).sum() / (64 - 5)), rel=1e-9)
    mean = (weights * bits).sum() / weights.sum()
    expected = 1 - (weights * left**2).sum() / (weights * (bits - mean) ** 2).sum()
    assert fit.r_squared == pytest.approx(expected, rel=1e-9)


def test_no_ceiling_is_said():
    bits = laws.noise_budget(N, U, 1e-9, 20.0, 0.0, 900.0, 0.5)
    fit = laws.fit_noise_budget(N, U, bits)
    assert fit.predict(1e30, 1e30) == pytest.approx(bits.max() + 0.5 * np.log2(1000), abs=0.01)  # as far as it may go
    assert fit.status == laws.NOT_IDENTIFIED
    assert "ceiling" in fit.note


def test_cells_that_change_nothing_are_said():
    fit = laws.fit_noise_budget(N, U, laws.noise_budget(N, U, 0.1, 20.0, 0.0, 0.0, 0.5))
    assert fit.status in (laws.NOT_IDENTIFIED, laws.AT_BOUND)


@pytest.mark.parametrize(("v2", "v3"), [(1.5, 0.0), (0.0, 900.0)])
def test_cells_that_matter_by_one_term_are_enough(v2, v3):
    fit = laws.fit_noise_budget(N, U, laws.noise_budget(N, U, 0.03, 20.0, v2, v3, 0.5))
    assert fit.status == laws.CONVERGED


def test_an_exponent_beyond_its_bound_is_said():
    n, u = N / 1000, U / 100
    fit = laws.fit_noise_budget(n, u, laws.noise_budget(n, u, 0.05, 0.1, 0.1, 0.1, 4.0))
    assert fit.status == laws.AT_BOUND
    assert "s ran" in fit.note


def test_a_negligible_weight_leaves_a_point_out():
    bits = laws.noise_budget(N, U, **TRUE)
    weights, wrong = np.ones(N.size), bits.copy()
    weights[[3, 40]], wrong[[3, 40]] = 0, 9.0
    fit = laws.fit_noise_budget(N, U, wrong, weights)
    assert fit.parameters["s"] == pytest.approx(0.5, rel=1e-3)
    assert fit.r_squared == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("n", "u", "bits", "word"),
    [
        ([1, 2], [1, 2], [1, 2], "at least 3"),
        (N, U, np.full(N.size, np.nan), "NaN"),
        (N, -U, np.ones(N.size), "above 0"),
        (N, U, np.ones(3), "one length"),
        ([1, 2, 3, 1, 2], [1, 2, 3, 2, 1], np.ones(5), "cannot fit 5"),
        ([1, 1, 2, 2, 1, 1], [1, 2, 3, 4, 5, 6], np.ones(6), "2 different cell numbers"),
    ],
)
def test_bad_input(n, u, bits, word):
    with pytest.raises(InputError, match=word):
        laws.fit_noise_budget(n, u, bits)


def test_weights_below_zero():
    with pytest.raises(InputError, match="weights"):
        laws.fit_noise_budget(N, U, np.ones(N.size), -np.ones(N.size))


def test_an_interval_needs_draws():
    with pytest.raises(InputError, match="bootstrap"):
        laws.fit_noise_budget(N, U, shaken(np.random.default_rng(1))).interval(1e3, 100.0)
