"""Eq. 1 and the cell-number law: closed forms, and fits against scipy, lmfit and the spread of simulated curves."""

from dataclasses import replace

import lmfit
import numpy as np
import pandas as pd
import pytest
from scipy import optimize

from noise_scaling import laws
from noise_scaling.errors import InputError
from noise_scaling.laws import curves

pytestmark = pytest.mark.any_machine


def test_noise_law_hand_worked():
    # u = u_bar, i_max = 1: 1 - 1/2 log2(2 / (1 + 1/4)) = 1 - 1/2 log2(8/5)
    assert laws.noise_law(100.0, 100.0, 1.0) == pytest.approx(1 - 0.5 * np.log2(1.6), abs=1e-12)


@pytest.mark.parametrize("i_max", [0.3, 1.2, 2.47, 5.0])
def test_noise_law_limits(i_max):
    assert laws.noise_law(0.0, 316.0, i_max) == pytest.approx(0, abs=1e-12)
    assert laws.noise_law(1e12, 316.0, i_max) == pytest.approx(i_max, abs=1e-6)
    deep = 1e6 * 316 * 2 ** (-2 * i_max)
    assert laws.noise_law(deep, 316.0, i_max) == pytest.approx(laws.noise_law_asymptote(deep, 316.0, i_max), abs=1e-5)


def test_noise_law_is_gaussian_channel():
    # I = 1/2 log2(1 + 1/NSR) with NSR = v0 (1 + u_bar/u), v0 = 1 / (2^(2 i_max) - 1)
    u, u_bar, i_max = np.geomspace(1, 1e5, 50), 321.0, 2.2
    nsr = (1 + u_bar / u) / (2 ** (2 * i_max) - 1)
    np.testing.assert_allclose(laws.noise_law(u, u_bar, i_max), 0.5 * np.log2(1 + 1 / nsr), rtol=1e-12)


def test_collapse_is_exact():
    u = np.geomspace(0.1, 1e6, 60)
    for u_bar, i_max in ((10.0, 0.4), (316.0, 2.47), (5000.0, 5.2)):
        missing = i_max - laws.noise_law(u, u_bar, i_max)
        np.testing.assert_allclose(laws.collapse(laws.collapse_z(u, u_bar, i_max)), missing, atol=1e-12)


def test_cell_number_law_hand_worked():
    # (400 / 100)^(-1/2) = 1/2
    assert laws.cell_number_law(400.0, 100.0, 0.5, 3.0) == pytest.approx(2.5, abs=1e-12)


def noisy(rng, sd=0.05, seeds=3):
    u = np.tile(np.geomspace(10, 5000, 10), seeds)
    return u, laws.noise_law(u, 300.0, 2.5) + rng.normal(0, sd, len(u))


@pytest.fixture(scope="module")
def fits() -> pd.DataFrame:
    """300 fits of Eq. 1 with u_bar 300 and i_max 2.5 under noise of 0.05 bits, 30 points each."""
    rng, parts = np.random.default_rng(1), []
    names = {"dataset": "d", "signal": "s", "model": "m", "preset": "p", "estimator": "e"}
    for i in range(300):
        u, bits = noisy(rng)
        parts.append(pd.DataFrame({"n_cells": i, "umis_per_cell": u, "mi_bits": bits}).assign(**names))
    return laws.fit_curves(pd.concat(parts))


def test_noise_law_fit_covers_the_truth_as_often_as_it_says(fits):
    for name, value in (("u_bar", 300), ("i_max", 2.5)):
        held = ((fits[f"{name}_if_eq1_low"] < value) & (value < fits[f"{name}_if_eq1_high"])).mean()
        assert abs(held - 0.95) < 4 * 0.0126  # 300 draws of a 95 % interval: the share has a standard error of 0.0126
        assert ((fits[f"{name}_low"] < value) & (value < fits[f"{name}_high"])).mean() > 0.97  # other laws widen it


def test_stderr_matches_the_spread_of_fits(fits):
    for name in ("u_bar", "i_max"):
        assert fits[f"{name}_stderr"].median() == pytest.approx(fits[name].std(), rel=0.2)


def test_one_fit_is_that_of_many(fits):
    one = laws.fit_noise_law(*noisy(np.random.default_rng(1)))
    assert one.status == fits["status"].iloc[0] == laws.CONVERGED
    for name in ("u_bar", "u_bar_stderr", "i_max", "i_max_stderr", "r_squared", "residual_sd", "n_points"):
        assert getattr(one, name) == pytest.approx(fits[name].iloc[0], rel=1e-5)


def slopes(u, u_bar, i_max):
    """d Eq. 1 / d ln u_bar and d i_max, by hand."""
    ratio, least = u / u_bar, 2.0 ** (-2 * i_max)
    near, far = ratio / (1 + ratio), ratio / (ratio + least)
    return np.stack([0.5 / np.log(2) * (near - far), far], axis=1)


def test_errors_intervals_and_band_are_scipys():
    u, bits = noisy(np.random.default_rng(5))
    fit = laws.fit_noise_law(u, bits)
    best, pcov = optimize.curve_fit(laws.noise_law, u, bits, (300, 2.5), xtol=1e-14, ftol=1e-14)
    assert (fit.u_bar, fit.i_max) == pytest.approx(best, rel=1e-5)
    assert (fit.u_bar_stderr, fit.i_max_stderr) == pytest.approx(np.sqrt(np.diag(pcov)), rel=1e-4)
    t = 2.048407  # Student's t, 28 degrees of freedom, 97.5 %
    assert fit.interval("i_max") == pytest.approx(best[1] + np.array([-t, t]) * np.sqrt(pcov[1, 1]), rel=1e-5)
    ends = best[0] * np.exp(np.array([-t, t]) * np.sqrt(pcov[0, 0]) / best[0])
    assert fit.interval("u_bar") == pytest.approx(ends, rel=1e-4)
    at = np.array([10.0, 300.0, 5000.0])
    scale = np.array([1 / best[0], 1])
    gradient = slopes(at, *best)
    half = np.sqrt(np.einsum("ni,ij,nj->n", gradient, pcov * np.outer(scale, scale), gradient))
    low, high = fit.band(at)
    np.testing.assert_allclose(high - fit.predict(at), 2 * half, rtol=1e-4)
    np.testing.assert_allclose(fit.predict(at) - low, 2 * half, rtol=1e-4)
    np.testing.assert_allclose((fit.band(at, 3.0)[1] - fit.predict(at)) / half, 3, rtol=1e-4)


def test_quality_by_hand():
    u, bits = noisy(np.random.default_rng(6))
    fit = laws.fit_noise_law(u, bits)
    left = bits - laws.noise_law(u, fit.u_bar, fit.i_max)
    assert fit.residual_sd == pytest.approx(np.sqrt((left**2).sum() / 28), rel=1e-12)
    assert fit.r_squared == pytest.approx(1 - (left**2).sum() / (30 * np.var(bits)), rel=1e-12)
    assert fit.n_points == 30
    small = laws.fit_noise_law(u[:10], 1.0 + 0.01 * (bits[:10] - 1))
    left = 1.0 + 0.01 * (bits[:10] - 1) - small.predict(u[:10])
    assert small.r_squared == pytest.approx(1 - (left**2).sum() / (10 * np.var(0.01 * bits[:10])), rel=1e-9)


def test_many_curves_are_lmfits_one_by_one():
    rng, model = np.random.default_rng(0), lmfit.Model(laws.noise_law)
    for _ in range(10):
        u_bar, i_max = 10 ** rng.uniform(1.5, 3.2), rng.uniform(1, 4)
        u = np.geomspace(10, 5000, 9)
        bits = laws.noise_law(u, u_bar, i_max) + rng.normal(0, 0.05, 9)
        reference = model.fit(bits, u=u, u_bar=u_bar, i_max=i_max, fit_kws={"xtol": 1e-13, "ftol": 1e-13})
        fit = laws.fit_noise_law(u, bits)
        for name in ("u_bar", "i_max"):
            assert getattr(fit, name) == pytest.approx(reference.params[name].value, rel=1e-4)
            assert getattr(fit, f"{name}_stderr") == pytest.approx(reference.params[name].stderr, rel=1e-2)


def test_cell_number_fit_recovers():
    n = np.tile(np.geomspace(100, 1e6, 12), 3)
    bits = laws.cell_number_law(n, 50.0, 0.4, 3.0) + np.random.default_rng(0).normal(0, 0.01, len(n))
    fit = laws.fit_cell_number_law(n, bits)
    assert fit.status == laws.CONVERGED
    assert fit.i_inf == pytest.approx(3.0, abs=4 * fit.i_inf_stderr)
    assert fit.s == pytest.approx(0.4, abs=4 * fit.s_stderr)
    assert fit.r_squared > 0.99
    best, pcov = optimize.curve_fit(laws.cell_number_law, n, bits, (50, 0.4, 3), xtol=1e-14, ftol=1e-14)
    assert (fit.n_sat, fit.s, fit.i_inf) == pytest.approx(best, rel=1e-4)
    errors = (fit.n_sat_stderr, fit.s_stderr, fit.i_inf_stderr)
    assert errors == pytest.approx(np.sqrt(np.diag(pcov)), rel=1e-3)


def test_a_curve_that_cells_do_not_change_is_at_a_bound():
    fit = laws.fit_cell_number_law(np.geomspace(100, 1e5, 8), np.full(8, 0.3))
    assert fit.status in (laws.AT_BOUND, laws.NOT_IDENTIFIED)
    assert fit.predict(1e3) == pytest.approx(0.3, abs=1e-6)


def test_flat_curve_is_flagged():
    u = np.geomspace(10, 1000, 8)
    fit = laws.fit_noise_law(u, np.full(8, -0.05))
    assert fit.status == laws.AT_BOUND
    assert "i_max" in fit.note or "u_bar" in fit.note
    assert np.isnan(fit.i_max_stderr)
    assert np.isnan(fit.interval("i_max")).all()
    assert np.isnan(fit.i_max_interval).all()


def test_a_fit_without_a_covariance_has_no_errors():
    fit = replace(laws.fit_noise_law(*noisy(np.random.default_rng(0))), covariance=None)
    assert np.isnan([fit.u_bar_stderr, *fit.interval("i_max"), *np.ravel(fit.band(np.array([10.0])))]).all()


def test_a_parameter_is_identified_within_a_factor():
    # the 95 % ends lie a factor e^(2 t sd) apart, with Student's t = 12.7062 for 1 degree of freedom
    u, bits = np.array([10.0, 100.0, 1000.0]), laws.noise_law(np.array([10.0, 100.0, 1000.0]), 300.0, 2.5)
    fit = laws.fit_noise_law(u, bits)
    edge = np.log(1e4) / 2 / 12.7062
    for sd, status in ((0.99 * edge, laws.CONVERGED), (1.01 * edge, laws.NOT_IDENTIFIED)):
        wide = replace(fit, covariance=np.diag([sd**2, 0.01]), status=laws.CONVERGED)
        assert curves._status(wide, u, True)[0] == status
    assert curves._status(fit, u, False)[0] == laws.FAILED


@pytest.mark.parametrize(("u_bar", "status"), [(1500.0, laws.CONVERGED), (3000.0, laws.BEYOND)])
def test_a_depth_beyond_the_deepest_counts_is_beyond_the_data(u_bar, status):
    u = np.geomspace(10, 2000, 10)
    fit = laws.fit_noise_law(u, laws.noise_law(u, u_bar, 2.5) + np.random.default_rng(0).normal(0, 0.01, 10))
    assert fit.status == status
    assert (fit.note != "") == (status == laws.BEYOND)
    assert 0 < fit.u_bar_interval[0] < fit.u_bar < fit.u_bar_interval[1]


def test_curve_without_a_ceiling_is_not_identified():
    # 1/2 log2(1 + u/50) is Eq. 1 in the limit of u_bar and i_max without end
    u = np.geomspace(10, 1000, 8)
    bits = 0.5 * np.log2(1 + u / 50) + np.random.default_rng(0).normal(0, 0.03, 8)
    fit = laws.fit_noise_law(u, bits)
    assert fit.status in (laws.NOT_IDENTIFIED, laws.AT_BOUND)
    assert fit.u_bar_interval[1] > 1e4 or fit.status == laws.AT_BOUND


def test_unknown_attribute():
    fit = laws.fit_noise_law(*noisy(np.random.default_rng(0)))
    with pytest.raises(AttributeError):
        _ = fit.n_sat
    with pytest.raises(AttributeError):
        _ = fit.u_bar_low


@pytest.mark.parametrize(
    ("u", "bits", "word"),
    [
        ([1, 2], [0.1, 0.2], "at least 3"),
        ([1, 2, 3], [0.1, np.nan, 0.2], "NaN"),
        ([0, 2, 3], [0.1, 0.1, 0.2], "above 0"),
        ([1, 2, 3], [0.1, 0.2], "one length"),
    ],
)
def test_bad_input(u, bits, word):
    with pytest.raises(InputError, match=word):
        laws.fit_noise_law(u, bits)


def test_an_unknown_law_is_refused_by_name():
    assert laws.named("cell_number_law") is laws.CELL_NUMBER_LAW
    with pytest.raises(InputError, match="noise_law"):
        laws.named("moore")


def test_protocol_rows():
    rows = pd.DataFrame({
        "model": ["pca", "shuffled", "known_2_bits", "pca", "pca", "pca", "pca"],
        "mi_bits": [1, 1, 1, np.nan, 1, 1, 1], "umis_per_cell": [1, 1, 1, 1, np.nan, 1, 1],
        "variant": ["", "", "", "", "", "thin_per_gene", ""], "status": ["ok"] * 6 + ["error"],
    })  # fmt: skip
    assert list(curves.protocol_rows(rows, "umis_per_cell").index) == [0]
    assert list(curves.protocol_rows(rows[["model", "mi_bits"]]).index) == [0, 4, 5, 6]


def test_fit_curves_of_the_cell_number_law_are_by_fraction():
    names = {"dataset": "d", "signal": "s", "model": "m", "preset": "p", "estimator": "e"}
    n, fractions = np.tile(np.geomspace(100, 1e5, 6), 2), np.repeat([0.1, 1.0], 6)
    bits = laws.cell_number_law(n, 50.0, 0.4, 2.0 + fractions)
    table = pd.DataFrame({"n_cells": n, "fraction": fractions, "umis_per_cell": 9.0, "mi_bits": bits}).assign(**names)
    found = laws.fit_curves(table, law=laws.CELL_NUMBER_LAW)
    assert list(found["fraction"]) == [0.1, 1.0]
    np.testing.assert_allclose(found["i_inf"], [2.1, 3.0], rtol=1e-4)
    np.testing.assert_allclose(found["n_sat"], 50, rtol=1e-2)


def test_fit_curves_keeps_what_cannot_be_fitted():
    curve = {"dataset": "d", "signal": "s", "preset": "small", "estimator": "lmi", "n_cells": 100}
    rows = [curve | {"model": "long", "umis_per_cell": u, "mi_bits": laws.noise_law(u, 100, 2)} for u in (10, 50, 900)]
    rows += [curve | {"model": "short", "umis_per_cell": u, "mi_bits": 1.0} for u in (10, 50)]
    fits = laws.fit_curves(pd.DataFrame(rows)).set_index("model")
    assert fits.loc["long", "u_bar"] == pytest.approx(100, rel=1e-3)
    assert fits.loc["short", "status"] == laws.FAILED
    assert "at least 3" in fits.loc["short", "note"]


def test_the_interval_of_i_max_begins_at_0_bits():
    fit = laws.fit_noise_law(np.geomspace(10, 100, 4), np.array([0.1, 0.05, 0.3, 0.2]))
    low, high = fit.interval("i_max")
    assert high > 2 * fit.i_max  # as far below: less than no information
    assert low == 0
