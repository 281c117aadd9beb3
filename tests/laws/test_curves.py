import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws
from noise_scaling.errors import InputError

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


def test_noise_law_fit_covers_the_truth_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), []
    for _ in range(300):
        fit = laws.fit_noise_law(*noisy(rng))
        hits.append(
            [
                fit.u_bar_interval[0] < 300 < fit.u_bar_interval[1],
                fit.i_max_interval[0] < 2.5 < fit.i_max_interval[1],
            ]
        )
    # 300 draws of a 95 % interval: the share has a standard error of 0.0126
    assert np.abs(np.mean(hits, axis=0) - 0.95).max() < 4 * 0.0126


def test_stderr_matches_the_spread_of_fits():
    rng = np.random.default_rng(2)
    fits = [laws.fit_noise_law(*noisy(rng)) for _ in range(200)]
    for name in ("u_bar", "i_max"):
        spread = np.std([getattr(f, name) for f in fits])
        assert np.median([getattr(f, f"{name}_stderr") for f in fits]) == pytest.approx(spread, rel=0.2)


def test_band_is_two_standard_errors_of_the_curve():
    rng = np.random.default_rng(3)
    at = np.array([10.0, 300.0, 5000.0])
    fits = [laws.fit_noise_law(*noisy(rng)) for _ in range(200)]
    spread = np.std([f.predict(at) for f in fits], axis=0)
    half = np.median([(f.band(at)[1] - f.band(at)[0]) / 2 for f in fits], axis=0)
    np.testing.assert_allclose(half, 2 * spread, rtol=0.25)


def test_cell_number_fit_recovers():
    n = np.tile(np.geomspace(100, 1e6, 12), 3)
    bits = laws.cell_number_law(n, 50.0, 0.4, 3.0) + np.random.default_rng(0).normal(0, 0.01, len(n))
    fit = laws.fit_cell_number_law(n, bits)
    assert fit.status == laws.CONVERGED
    assert fit.i_inf == pytest.approx(3.0, abs=4 * fit.i_inf_stderr)
    assert fit.s == pytest.approx(0.4, abs=4 * fit.s_stderr)
    assert fit.r_squared > 0.99


def test_flat_curve_is_flagged():
    u = np.geomspace(10, 1000, 8)
    fit = laws.fit_noise_law(u, np.full(8, -0.05))
    assert fit.status == laws.AT_BOUND
    assert "i_max" in fit.note or "u_bar" in fit.note


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


def test_fit_curves_keeps_what_cannot_be_fitted():
    curve = {"dataset": "d", "signal": "s", "preset": "small", "estimator": "lmi", "n_cells": 100}
    rows = [curve | {"model": "long", "umis_per_cell": u, "mi_bits": laws.noise_law(u, 100, 2)} for u in (10, 50, 900)]
    rows += [curve | {"model": "short", "umis_per_cell": u, "mi_bits": 1.0} for u in (10, 50)]
    fits = laws.fit_curves(pd.DataFrame(rows)).set_index("model")
    assert fits.loc["long", "u_bar"] == pytest.approx(100, rel=1e-3)
    assert fits.loc["short", "status"] == laws.FAILED
    assert "at least 3" in fits.loc["short", "note"]
