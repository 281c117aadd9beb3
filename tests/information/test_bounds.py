"""infonce, classifier_bound and lmi against closed forms."""

import numpy as np
import pytest
from scipy.stats import norm

from noise_scaling.information import classifier_bound, infonce, lmi


def gaussian(n, bits, seed=0, signal=4, noise=12):
    """Two Gaussians [n, signal + noise] of known information, rotated."""
    rng = np.random.default_rng(seed)
    rho = np.sqrt(1 - 2 ** (-2 * bits / signal))
    x, y = rng.standard_normal((2, n, signal + noise))
    y[:, :signal] = rho * x[:, :signal] + np.sqrt(1 - rho**2) * y[:, :signal]
    turn = np.linalg.qr(rng.standard_normal((signal + noise, signal + noise)))[0]
    return x @ turn, y @ turn.T


# What a lower bound may miss at 2,000 cells: 16 x 16 coefficients cost about 256 / (2 x 1,100 ln 2) = 0.17 bits.
@pytest.mark.parametrize("bits", [0.5, 1.0, 2.0, 4.0])
def test_infonce_finds_gaussian_information_among_noise(bits):
    found = infonce(*gaussian(2000, bits))
    assert bits - 0.25 < found.bits < bits + 3 * found.stderr
    assert found.lower_bound
    assert found.bits == pytest.approx(found.pointwise.mean())


def test_infonce_is_not_capped_by_the_batch():
    # 9 bits in 3 dimensions: log2 of a batch of 128 is 7.
    found = infonce(*gaussian(6000, 9.0, signal=3, noise=1))
    assert found.bits > 8.0


def test_infonce_sees_dependence_without_correlation():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 3))
    y = x * rng.choice([-1, 1], 2000)[:, None] + 0.3 * rng.standard_normal((2000, 3))
    assert np.abs(np.corrcoef(x.T, y.T)[:3, 3:]).max() < 0.1
    assert infonce(x, y).bits > 1.5


def test_infonce_of_few_cells_uses_ranks_only():
    x, y = gaussian(600, 2.0)
    assert infonce(np.exp(x), y**3).bits == infonce(x, y).bits


def test_infonce_stderr_is_the_spread_over_samples():
    found = [infonce(*gaussian(400, 1.0, seed, signal=2, noise=2), seed=seed) for seed in range(20)]
    spread = np.std([f.bits for f in found], ddof=1)
    assert 0.6 < np.mean([f.stderr for f in found]) / spread < 1.6


def test_classifier_finds_the_entropy_of_labels_that_x_gives_away():
    codes = np.repeat(np.arange(8), 100)
    x = np.eye(8)[codes] * 50 + np.random.default_rng(0).standard_normal((800, 8))
    assert classifier_bound(x, codes).bits == pytest.approx(3.0, abs=0.02)
    shares = np.repeat([0, 1, 2], [400, 200, 200])  # H = 1.5 bits
    x = np.eye(3)[shares] * 50 + np.random.default_rng(0).standard_normal((800, 3))
    assert classifier_bound(x, shares).bits == pytest.approx(1.5, abs=0.02)


def test_classifier_finds_the_binary_gaussian_channel():
    # +-1 in unit Gaussian noise by numerical integration: 0.486 bits.
    t = np.linspace(-10, 10, 20001)
    density = 0.5 * (norm.pdf(t - 1) + norm.pdf(t + 1))
    truth = -np.trapezoid(density * np.log2(density), t) - 0.5 * np.log2(2 * np.pi * np.e)
    rng = np.random.default_rng(1)
    sign = rng.choice([-1, 1], 3000)
    x = np.hstack([sign[:, None] + rng.standard_normal((3000, 1)), rng.standard_normal((3000, 7))])
    found = classifier_bound(x, sign)
    assert abs(found.bits - truth) < 3 * found.stderr
    assert found.lower_bound


def test_classifier_sees_classes_that_no_line_separates():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 2))
    codes = (x[:, 0] * x[:, 1] > 0).astype(int)  # XOR: 1 bit, 0 of it linear
    assert 0.8 < classifier_bound(x, codes).bits <= 1.0


def test_classes_of_one_and_two_cells_cost_bits_but_finitely_many():
    rng = np.random.default_rng(0)
    codes = np.r_[np.repeat([0, 1], 150), 2, 3, 3]
    x = np.eye(4)[codes] * 5 + rng.standard_normal((303, 4))
    found = classifier_bound(x, codes)
    assert np.isfinite(found.pointwise).all()
    assert found.n == 303
    assert 0.8 < found.bits < 1.1  # H = 1.08 bits


def test_lmi_finds_one_strong_dimension():
    x, y = gaussian(2000, 2.0, signal=1, noise=0)
    found = lmi(x, y, hidden=(64, 32), learning_rate=2e-3, epochs=60)
    assert found.bits == pytest.approx(2.0, abs=0.25)
    assert found.n == 800  # four tenths of the cells
    assert np.isnan(found.pointwise).sum() == 1200
    assert not found.lower_bound


def test_infonce_sees_clusters_that_no_line_joins():
    """Four clusters a side, matched by a permutation: 2 bits, and no correlation between the columns."""
    rng = np.random.default_rng(4)
    corners = np.array([[-3, -3], [-3, 3], [3, 3], [3, -3]])
    x_of, y_of = np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2])
    which = rng.integers(0, 4, 2000)
    twisted = np.stack([np.sign(corners[:, 0] * corners[:, 1]) * 3, corners[:, 1]], 1)[y_of]
    x = corners[x_of][which] + rng.normal(0, 0.3, (2000, 2))
    y = twisted[which] + rng.normal(0, 0.3, (2000, 2))
    found = infonce(x, y, seed=0)
    assert found.bits == pytest.approx(2.0, abs=0.06)
