"""Rival laws: slopes against difference quotients, fits against lmfit, formulas against the package's definitions."""

import numpy as np
import pytest

from noise_scaling import laws
from noise_scaling.laws import rivals

U = np.geomspace(10, 5000, 9)
AT = {"scale": np.log(150.0), "exponent": 0.7, "line": 0.3, "level": 2.2}


def typical(law):
    return np.array([[AT[kind] for kind in law.shape]])


@pytest.fixture(params=list(rivals.RIVALS.values()), ids=list(rivals.RIVALS))
def law(request):
    return request.param


def test_slopes_are_difference_quotients(law):
    theta, at = typical(law), (np.log(U)[None],)
    slope = law.slopes(theta, at)[1]
    for i in range(law.n_parameters):
        step = np.zeros_like(theta)
        step[0, i] = 1e-6
        quotient = (law.slopes(theta + step, at)[0] - law.slopes(theta - step, at)[0]) / 2e-6
        np.testing.assert_allclose(slope[..., i], quotient, rtol=1e-5, atol=1e-8)


def test_an_exact_curve_is_recovered(law):
    theta = typical(law)
    fit = laws.fit_rivals(law, U[None], law.slopes(theta, (np.log(U)[None],))[0])
    np.testing.assert_allclose(fit.theta, theta, rtol=1e-4)
    assert fit.converged.all()


@pytest.mark.parametrize("name", ["noise_law", "two_sided", "saturating_power"])
def test_formulas_are_the_packages(name):
    law = rivals.RIVALS[name]
    values = {k: v[0] for k, v in rivals.natural(law, typical(law)).items()}
    arguments = {"u_sat": "n_sat", "i_max": "i_inf"} if name == "saturating_power" else {}
    expected = rivals.FORMULAS[name](U, **{arguments.get(k, k): v for k, v in values.items()})
    np.testing.assert_allclose(rivals.predict(law, typical(law), U)[0], expected, rtol=1e-10)


def noisy(count=30, seed=0):
    rng = np.random.default_rng(seed)
    u_bar, i_max = 10 ** rng.uniform(1.5, 3.2, (count, 1)), rng.uniform(1, 4, (count, 1))
    return laws.noise_law(U, u_bar, i_max) + rng.normal(0, 0.05, (count, len(U)))


def test_many_fits_are_lmfits_one_by_one():
    bits = noisy()
    ours = rivals.natural(rivals.EQ_1, laws.fit_rivals(rivals.EQ_1, U, bits).theta)
    reference = [laws.fit_noise_law(U, row) for row in bits]
    np.testing.assert_allclose(ours["u_bar"], [f.u_bar for f in reference], rtol=2e-3)
    np.testing.assert_allclose(ours["i_max"], [f.i_max for f in reference], rtol=5e-4)


def test_a_missing_depth_is_left_out_and_no_more():
    bits = noisy(3)
    holed = bits.copy()
    holed[:, 4] = np.nan
    weights = np.ones_like(bits)
    weights[:, 4] = 0
    kept = np.delete(np.arange(len(U)), 4)
    fits = [
        laws.fit_rivals(rivals.EQ_1, U, holed), laws.fit_rivals(rivals.EQ_1, U, bits, weights),
        laws.fit_rivals(rivals.EQ_1, U[kept], bits[:, kept]),
    ]  # fmt: skip
    np.testing.assert_allclose(fits[0].theta, fits[2].theta, rtol=1e-4)
    np.testing.assert_allclose(fits[1].theta, fits[2].theta, rtol=1e-4)


def test_bootstrap_spread_is_that_of_fresh_curves():
    truth = laws.noise_law(U, 300.0, 2.5)
    rng = np.random.default_rng(1)
    fresh = laws.fit_rivals(rivals.EQ_1, U, truth + rng.normal(0, 0.05, (400, len(U)))).theta.std(axis=0)
    some = truth + rng.normal(0, 0.05, (60, len(U)))
    spread = laws.bootstrap_rivals(rivals.EQ_1, U, some, 100, seed=0).std(axis=0)
    # residuals are widened by Student's t for 7 degrees (2.36 / 1.96) and by their leverage: 1.2 to 1.6 times
    ratio = np.median(spread, axis=0) / fresh
    assert ((ratio > 1.0) & (ratio < 1.8)).all()


def test_bootstrap_is_of_one_seed():
    one, two, other = (laws.bootstrap_rivals(rivals.EQ_1, U, noisy(2), 10, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
