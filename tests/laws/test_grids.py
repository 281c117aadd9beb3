"""Grids from tables, surfaces by hand, exchange rates by closed forms."""

import numpy as np
import pandas as pd
import pytest

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
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    blank |= dict(zip(laws.CURVE, KEY, strict=True)) | {"status": "ok"}
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


def test_draws_have_the_mean_and_the_spread_of_the_residuals():
    noisy = grid(np.random.default_rng(0).normal(0, 0.1, (7, 7)))
    noisy = noisy.without(np.eye(7, dtype=bool))
    flat = np.zeros((7, 7))
    draws = surface.residual_draws(noisy, flat, 3000, seed=0)
    spread = draws.std(axis=0)
    assert np.abs(draws.mean(axis=0) - surface.smooth_residuals(noisy, flat)).max() < 5 * spread.max() / np.sqrt(3000)
    assert np.median(spread[np.eye(7, dtype=bool)]) > np.median(spread[~np.eye(7, dtype=bool)])  # unmeasured: less sure


def test_cells_needed_undo_the_budget():
    bits = laws.noise_budget(5000.0, 200.0, *TRUE)
    assert exchange.cells_needed(bits, 200.0, np.array([*TRUE, 1.0])) == pytest.approx(5000.0, rel=1e-9)
    assert exchange.cells_needed(5.0, 200.0, np.array([*TRUE, 1.0])) == np.inf  # floor at u = 200: 1.6 bits
    assert exchange.cells_needed(0.0, 200.0, np.array([*TRUE, 1.0])) == 0


def test_exchange_rate_hand_worked():
    # noise-to-signal 100 n^-1/2 u^-1 alone: twice the depth is worth four times the cells
    fit = laws.BudgetFit(
        {"v0": 1e-12, "v1": 0.0, "v2": 0.0, "v3": 100.0, "s": 0.5, "a": 1.0}, 0.0, 1.0, 9, laws.CONVERGED,
        draws=np.array([[1e-12, 0, 0, 100, 0.5, 1.0], [1e-12, 0, 0, 100, 0.25, 1.0]]),
    )  # fmt: skip
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
    found = exchange.compare_rates(budget(), draws=20)
    assert len(found) > 5
    np.testing.assert_allclose(found["law"], found["free"], rtol=0.25)
    assert (found["law_low"] <= found["law"] * 1.001).all()
    assert (found["surface_high"] >= found["surface_low"])[found["surface_low"].notna()].all()
