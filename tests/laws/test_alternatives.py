"""The laws of depth: formulas by hand, fits of exact curves, and the bootstrap of many curves."""

import numpy as np
import pytest

from noise_scaling import laws
from noise_scaling.laws import alternatives
from noise_scaling.laws.law import fit_many, predict

U = np.geomspace(10, 5000, 9)
EXAMPLES = {  # parameters as fitted (depths as logarithms), a depth, and bits worked by hand
    "noise_law": ([np.log(100), 1.0], 100, 1 - 0.5 * np.log2(1.6)),
    "stretched": ([np.log(100), 0.5, 1.0], 400, 1 - 0.5 * np.log2(3 / 2.25)),
    # i_max = D: each channel's signal-to-noise is 3 at infinite depth. At u_bar that of all, 4^D - 1, is halved; noise
    # of counts beyond the 1/3 of infinite depth is halved at twice the depth, of two sides that of each
    "channels": ([np.log(100), 2.0, 2.0], 200, np.log2(1 + 1 / (1 / 6 + 0.5 / (8.5**0.5 - 1)))),
    "four_channels": ([np.log(100), 4.0], 200, 2 * np.log2(1 + 1 / (1 / 6 + 0.5 / (128.5**0.25 - 1)))),
    "two_sided": ([np.log(100), 1.0], 200, -0.5 * np.log2(1 - 0.75 / (0.5 + 0.5 * 1.25**0.5) ** 2)),
    "two_sided_channels": ([np.log(100), 2.0, 2.0], 100, 0.5 * np.log2(8.5)),
    "labels": ([np.log(100), 3.0], 100, 3 * 0.5**1.1064),
    "logistic": ([np.log(100), 0.5, 3.0], 400, 2.0),
    "hill": ([np.log(100), 3.0], 200, 2.0),
    "saturating_power": ([np.log(100), 0.5, 3.0], 400, 2.5),
    "log_linear": ([0.5, 1.5], 100 * np.e, 2.0),
}


@pytest.fixture(params=list(alternatives.ALTERNATIVES.values()), ids=list(alternatives.ALTERNATIVES))
def law(request):
    return request.param


def test_formulas_by_hand(law):
    theta, u, bits = EXAMPLES[law.name]
    assert predict(law, np.array([theta]), np.array([u])) == pytest.approx(bits, abs=1e-12)
    assert law.n_parameters == len(theta)


@pytest.mark.parametrize("scale", [150.0, 3.0])  # the second below the shallowest depth
def test_an_exact_curve_is_recovered(law, scale):
    kinds = {
        "scale": np.log(scale),
        "one bit": np.log(scale),
        "exponent": 0.7,
        "channels": 2.5,
        "slope": 0.3,
        "level": 2.2,
    }
    theta = np.array([[kinds[kind] for kind in law.kinds]])
    fit = fit_many(law, U[None], predict(law, theta, U))
    np.testing.assert_allclose(fit.theta, theta, rtol=1e-4)
    assert fit.converged.all()
    named = {name: float(value[0]) for name, value in law.natural(theta).items()}
    for name, kind in zip(law.parameters, law.kinds, strict=True):
        assert named[name] == pytest.approx(scale if kind in ("scale", "one bit") else kinds[kind])


def noisy(count=30, seed=0):
    rng = np.random.default_rng(seed)
    u_bar, i_max = 10 ** rng.uniform(1.5, 3.2, (count, 1)), rng.uniform(1, 4, (count, 1))
    return laws.noise_law(U, u_bar, i_max) + rng.normal(0, 0.05, (count, len(U)))


def test_a_missing_depth_is_left_out_and_no_more():
    bits = noisy(3)
    holed = bits.copy()
    holed[:, 4] = np.nan
    weights = np.ones_like(bits)
    weights[:, 4] = 0
    kept = np.delete(np.arange(len(U)), 4)
    fits = [
        laws.fit_many(laws.NOISE_LAW, U, holed), laws.fit_many(laws.NOISE_LAW, U, bits, weights),
        laws.fit_many(laws.NOISE_LAW, U[kept], bits[:, kept]),
    ]  # fmt: skip
    np.testing.assert_allclose(fits[0].theta, fits[2].theta, rtol=1e-4)
    np.testing.assert_allclose(fits[1].theta, fits[2].theta, rtol=1e-4)
