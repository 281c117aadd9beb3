"""Grids from tables, surfaces by hand, exchange rates by closed forms."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from noise_scaling import laws, measurements
from noise_scaling.laws import exchange, surface
from noise_scaling.laws.grids import Grid, grids

KEY = ("d", "s", "scvi", "small", "default")
N, U = np.geomspace(100, 1e5, 7), np.geomspace(10, 3000, 7)
TRUE = (0.03, 20.0, 1.5, 900.0, 0.5)


def grid(bits, n=N, u=U, seeds=2):
    return Grid(KEY, n, u, bits, np.full(bits.shape, float(seeds)), np.full(bits.shape, 0.05))


def budget():
    return grid(laws.noise_budget(*np.meshgrid(N, U), *TRUE))


@pytest.fixture
def table() -> pd.DataFrame:
    blank = measurements.BLANK | dict(zip(laws.CURVE, KEY, strict=True)) | {"status": "ok"}
    rows = []
    for n in (100, 300, 1000):
        for fraction in (0.1, 0.5, 1.0):
            for seed in (0, 1):
                cell = {
                    "n_cells": n,
                    "fraction": fraction,
                    "seed": seed,
                    "mi_bits": np.log10(n) * fraction + 0.2 * seed,
                }
                rows.append(blank | cell | {"umis_per_cell": 1000 * fraction + seed})
    return pd.DataFrame(rows)


def test_a_grid_is_means_over_seeds(table):
    (one,) = grids(table)
    assert one.key == KEY
    np.testing.assert_array_equal(one.n, [100, 300, 1000])
    np.testing.assert_allclose(one.u, [100.5, 500.5, 1000.5])
    assert one.bits[2, 0] == pytest.approx(2.1)  # the mean of 2 and 2.2
    np.testing.assert_allclose(one.noise(), 0.2 / np.sqrt(2) / np.sqrt(2))  # sd of two seeds 0.2 apart, of their mean


def test_variants_controls_and_projections_are_no_grids(table):
    other = pd.concat(
        [
            table.assign(variant="thin_per_gene"),
            table.assign(model="shuffled"),
            table.assign(model="random_projection"),
            table.assign(status="error", model="pca"),
        ]
    )
    assert list(grids(other)) == []
    assert [g.model for g in grids(other, all_models=True)] == ["random_projection"]


def test_noise_is_pooled_over_the_depth_and_the_grid():
    # variances 0.01, 0.03 (2 seeds each) in one depth and 0.09 (3 seeds) in another; cells with one seed say nothing
    seeds = np.array([[2.0, 2.0], [3.0, 1.0]])
    sd = np.sqrt([[0.01, 0.03], [0.09, np.nan]])
    one = Grid(KEY, N[:2], U[:2], np.ones((2, 2)), seeds, sd)
    whole = (0.01 + 0.03 + 2 * 0.09) / 4
    shallow, deep = (0.01 + 0.03 + whole) / 3, (2 * 0.09 + whole) / 3
    variances = np.array([[0.5 * (shallow + whole)] * 2, [0.5 * (deep + whole)] * 2]) / seeds
    np.testing.assert_allclose(one.noise(), np.sqrt(variances), rtol=1e-12)
    np.testing.assert_allclose(one.weights(), 1 / (0.05**2 + variances), rtol=1e-12)
    np.testing.assert_allclose(one.without(seeds == 3).weights()[1, 0], 0)


def test_grids_come_sorted_by_key(table):
    both = pd.concat([table.assign(model="scvi"), table.assign(model="geneformer"), table.assign(model="pca")])
    assert [g.model for g in grids(both)] == ["geneformer", "pca", "scvi"]


def test_small_grids_are_left_out(table):
    assert [len(list(grids(table, least=least))) for least in ((3, 3), (4, 3), (3, 4))] == [1, 0, 0]


def test_a_lone_seed_has_no_noise(table):
    (one,) = grids(table[table["seed"] == 0])
    assert np.isnan(one.noise()).all()
    assert (one.weights() > 0).all()


def test_one_residual_is_spread_by_its_covariance():
    # one measured cell with a residual of 1: elsewhere share k / (share + 1)
    bits = np.full((7, 7), np.nan)
    bits[3, 3] = 1.0
    smooth = surface.Smoothness(share=4, cells=2, depth=1)
    found = surface.smooth_residuals(grid(bits), np.zeros((7, 7)), smooth)
    away = np.sqrt(3) * np.log(N[4] / N[3]) / 2
    assert found[3, 3] == pytest.approx(4 / 5, rel=1e-9)
    assert found[3, 4] == pytest.approx(4 / 5 * (1 + away) * np.exp(-away), rel=1e-9)


def test_residuals_of_one_depth_hang_together_by_row():
    # covariance with a cell of the same depth: row x Matern at three times the length, and nothing across depths
    bits = np.full((7, 7), np.nan)
    bits[3, 3] = 1.0
    found = surface.smooth_residuals(grid(bits), np.zeros((7, 7)), surface.Smoothness(share=0, cells=2, depth=1, row=3))
    away = np.sqrt(3) * np.log(N[4] / N[3]) / 6
    assert found[3, 4] == pytest.approx(3 / 4 * (1 + away) * np.exp(-away), rel=1e-9)
    assert found[4, 3] == 0


def test_deep_weights_depths():
    # a law that no budget follows: the more the deep end counts, the closer the fit comes to it
    bent = grid(budget().bits + 0.2 * np.sin(np.log(U))[:, None])
    none = np.zeros((1, *bent.bits.shape), bool)
    off = [np.abs(surface.law_surfaces(bent, none, deep=d)[0] - bent.bits)[-1].mean() for d in (0.0, 2.0)]
    assert off[1] < 0.5 * off[0]


def test_a_surface_of_the_law_is_the_law():
    holed = budget().without(np.eye(7, dtype=bool))
    np.testing.assert_allclose(surface.surface(holed), budget().bits, atol=1e-4)


def test_laws_under_masks_are_those_of_the_grid_without():
    noisy = grid(budget().bits + np.random.default_rng(0).normal(0, 0.05, (7, 7)))
    masks = np.zeros((2, 7, 7), bool)
    masks[0, 2], masks[1, :, 5:] = True, True
    many = surface.law_surfaces(noisy, masks)
    for mask, bits in zip(masks, many, strict=True):
        np.testing.assert_allclose(bits, surface.fit_grid(noisy.without(mask)).predict(*noisy.mesh), atol=2e-3)


def test_cells_needed_undo_the_budget():
    bits = laws.noise_budget(5000.0, 200.0, *TRUE)
    assert exchange.cells_needed(bits, 200.0, np.array([*TRUE, 1.0])) == pytest.approx(5000.0, rel=1e-9)
    assert exchange.cells_needed(5.0, 200.0, np.array([*TRUE, 1.0])) == np.inf  # floor at u = 200: 1.6 bits
    assert exchange.cells_needed(0.0, 200.0, np.array([*TRUE, 1.0])) == 0


def test_isotonic_regression_is_weighted_by_seeds():
    # 2 falls to 1: pooled at their mean, seeds 3 to 1; no seed counts as one
    found = exchange.rising(np.array([[2.0, 1.0, 3.0], [2.0, 1.0, 3.0]]), np.array([[3.0, 1.0, 1.0], [1.0, 0.0, 1.0]]))
    np.testing.assert_allclose(found, [[1.75, 1.75, 3.0], [1.5, 1.5, 3.0]])


def power_draws(rates):
    """Draws of noise-to-signal n^-s / u alone: twice the depth is worth a factor 2^(1/s) in cells."""
    draws = np.zeros((len(rates), 6))
    draws[:, 0], draws[:, 3], draws[:, 4], draws[:, 5] = 1e-15, 1.0, 1 / np.log2(rates), 1.0
    return draws


def drawn(draws):
    """A fit with these draws, of which the first is the fit."""
    parameters = dict(zip(("v0", "v1", "v2", "v3", "s", "a"), draws[0], strict=True))
    return replace(surface.fit_grid(budget()), parameters=parameters, draws=draws)


def test_the_interval_of_an_exchange_rate_holds_95_percent_of_the_draws():
    draws = power_draws(np.random.default_rng(0).permutation(np.linspace(2, 12, 401)))
    fit = drawn(draws)
    found = exchange.exchange_rate(fit, 1000.0, 50.0)
    assert found[1:] == pytest.approx((2.25, 11.75), rel=1e-6)
    assert float(found[0]) == pytest.approx(2 ** (1 / draws[0, 4]), rel=1e-6)
    fourfold = exchange.exchange_rate(fit, 1000.0, 50.0, deeper=4.0)
    assert float(fourfold[1]) == pytest.approx(2.25**2, rel=1e-6)


def test_an_exchange_rate_without_draws_has_no_interval():
    fit = surface.fit_grid(budget())
    value, low, high = exchange.exchange_rate(fit, 1000.0, 50.0)
    bits = laws.noise_budget(1000.0, 100.0, *TRUE)
    assert float(value) == pytest.approx(exchange.cells_needed(bits, 50.0, np.array([*TRUE, 1.0])) / 1000, rel=1e-3)
    assert np.isnan([low, high]).all()


def test_levels_of_a_flat_stretch_are_reached_in_its_middle():
    n = np.array([1.0, 10.0, 100.0, 1000.0])
    found = exchange._cells_at(n, np.array([0.0, 1.0, 1.0, 2.0]), np.array([1.0, 1.5, 2.5, -0.5]))
    np.testing.assert_allclose(found, [10**1.5, 10**2.25, np.nan, np.nan])


def test_a_depth_with_a_hole_gives_no_rate():
    holed = budget().without(np.eye(7, dtype=bool) & (np.arange(7) == 3))
    free = exchange.grid_rates(holed)
    assert np.isnan(free[2:4]).all()
    assert np.isfinite(free[0]).any()


def test_across_seeds_of_one_grid_are_one():
    found = exchange.across_seeds(budget(), budget())
    np.testing.assert_array_equal(found["grid"], found["free"])
    np.testing.assert_allclose(found["law"], found["free"], rtol=0.25)
    np.testing.assert_allclose(found["surface"], found["free"], rtol=1e-3)


def test_exchange_rate_hand_worked():
    # noise-to-signal 100 n^-1/2 u^-1 alone: twice the depth is worth four times the cells
    fit = drawn(np.array([[1e-12, 0, 0, 100, 0.5, 1.0], [1e-12, 0, 0, 100, 0.25, 1.0]]))
    value, low, high = exchange.exchange_rate(fit, 1000.0, 50.0)
    assert float(value) == pytest.approx(4, rel=1e-6)
    assert (float(low), float(high)) == pytest.approx((4, 16), rel=1e-6)


def test_rates_read_off_a_grid_of_powers():
    # bits 1/3 log10 n + log10 u: a factor f in depth is worth f^3 in cells, where measured cells reach that far
    n, u = np.geomspace(100, 1e6, 9), np.geomspace(10, 80, 4)
    free = exchange.grid_rates(grid(np.log10(n) / 3 + np.log10(u)[:, None], n, u))
    assert free[0, :5] == pytest.approx([8.0] * 5, rel=1e-6)
    assert np.isnan(free[:, -1]).all()


def test_rates_agree_within_a_factor_of_two():
    found = exchange.agree(np.array([1.1, 3.9, 4.1, np.inf, np.nan]), np.array([2.0, 2.0, 2.0, 2.0, 2.0]))
    np.testing.assert_array_equal(found, [True, True, False, False, False])


def test_compared_rates_of_an_exact_budget_agree():
    # isotonic and linear between columns a factor 3.2 apart: within a few per cent
    found = exchange.compare_rates(budget())
    assert len(found) > 5
    assert set(found["grid"]) == {KEY}
    np.testing.assert_allclose(found["deeper"], (3000 / 10) ** (1 / 6))
    for row in found.itertuples():
        bits = laws.noise_budget(row.n, row.u * row.deeper, *TRUE)
        needed = exchange.cells_needed(bits, row.u, np.array([*TRUE, 1.0]))
        assert row.law == pytest.approx(float(needed) / row.n, rel=1e-2)
    np.testing.assert_allclose(found["law"], found["free"], rtol=0.25)
    assert (found["law_low"] <= found["law"] * 1.001).all()
    np.testing.assert_allclose(found["surface"], found["free"], rtol=0.05)


def test_starts_without_an_answer_are_kept_as_lower_bounds():
    # bits log2 n + 2 log2 u: twice the depth is worth four times the cells, unless the most cells are fewer
    n, u = np.geomspace(64, 2**16, 11), np.array([10.0, 20.0, 40.0])
    found = exchange.starts(grid(np.log2(n) + 2 * np.log2(u / 10)[:, None], n, u))
    assert len(found) == 22
    np.testing.assert_allclose(found["rate"], np.where(found["known"], 4, found["most"]), rtol=1e-6)
    np.testing.assert_array_equal(found["known"], found["most"] >= 4 * (1 - 1e-9))


def test_the_median_of_rates_is_the_product_limit_of_scipy():
    rng = np.random.default_rng(0)
    rates, bounds = rng.lognormal(1, 1, 80), rng.lognormal(1.5, 1, 80)
    known, seen = rates <= bounds, np.minimum(rates, bounds)
    curve = stats.ecdf(stats.CensoredData.right_censored(seen, ~known)).sf
    value, low, high = exchange.median_rate(seen, known, np.arange(80))
    assert value == curve.quantiles[curve.probabilities <= 0.5][0]
    assert low < np.exp(1) < high  # the median of what was drawn
    assert np.median(seen[known]) < low  # and what the starts with an answer alone would say
    assert np.isinf(exchange.median_rate(seen, np.zeros(80, bool), np.arange(80))).all()


def test_intervals_of_the_median_hold_it():
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rates = np.exp(1 + rng.normal(0, 0.5, (9, 1)) + rng.normal(0, 1, (9, 10))).ravel()  # depths differ
        bounds = rng.lognormal(1.5, 1, 90)
        _, low, high = exchange.median_rate(np.minimum(rates, bounds), rates <= bounds, np.repeat(np.arange(9), 10))
        held.append(low <= np.exp(1) <= high)
    assert np.mean(held) > 0.8
