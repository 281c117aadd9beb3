"""ksg and mixed_ksg against closed forms, a brute-force reference and scikit-learn."""

import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import norm

from noise_scaling.errors import InputError
from noise_scaling.information import ksg, mixed_ksg, neighbours

pytestmark = pytest.mark.any_machine


def gaussian(n, d, bits, seed=0):
    """Two standard normal [n, d] that share `bits`, evenly over dimensions: I = -d/2 log2(1 - rho^2)."""
    rng = np.random.default_rng(seed)
    rho = np.sqrt(1 - 2 ** (-2 * bits / d))
    x = rng.standard_normal((n, d))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.standard_normal((n, d))


def reference(x, y, k):
    """Kraskov et al. (2004), Eq. 8, from full distance matrices, in bits a cell."""
    dx = np.abs(x[:, None] - x[None]).max(2)
    dy = np.abs(y[:, None] - y[None]).max(2)
    both = np.maximum(dx, dy)
    for distances in (dx, dy, both):
        np.fill_diagonal(distances, np.inf)
    radius = np.sort(both, axis=1)[:, k - 1 : k]
    nx, ny = (dx < radius).sum(1), (dy < radius).sum(1)
    return (digamma(k) + digamma(len(x)) - digamma(nx + 1) - digamma(ny + 1)) / np.log(2)


# Error at n = 2,000: random 0.05; beyond that a bias to zero that grows with dimensions and bits
# (Kraskov et al. 2004, Figs. 4 and 9; 4 bits in 4 dimensions: about a fifth is missed).
@pytest.mark.parametrize("bits", [0.0, 0.5, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_ksg_finds_gaussian_information(d, bits):
    found = ksg(*gaussian(2000, d, bits))
    bias = 0.065 * (d - 1) * bits
    assert -bias - 0.1 < found.bits - bits < 0.1
    assert found.method == "ksg"
    assert found.n == 2000
    assert not found.lower_bound


@pytest.mark.parametrize(("dx", "dy", "k"), [(1, 1, 1), (2, 3, 3), (8, 8, 3), (16, 1, 5)])
def test_ksg_is_the_brute_force_reference(dx, dy, k):
    rng = np.random.default_rng(dx)
    x, y = rng.standard_normal((400, dx)), rng.standard_normal((400, dy))
    y[:, 0] += x[:, 0]
    np.testing.assert_allclose(ksg(x, y, k=k).pointwise, reference(x, y, k), rtol=0, atol=1e-12)


def test_ksg_standard_error_is_the_spread_over_samples():
    found = [ksg(*gaussian(500, 2, 1.0, seed)) for seed in range(40)]
    spread = np.std([f.bits for f in found], ddof=1)
    assert 0.7 < np.mean([f.stderr for f in found]) / spread < 1.4


def test_ties_are_moved_apart_and_said():
    x, y = gaussian(2000, 1, 2.0)
    rounded = ksg(np.round(x, 1), np.round(y, 1))
    assert "jittered" in rounded.note
    # Rounding to 0.1 loses little of 2 bits: the grid is finer than the residual deviation of 0.25.
    assert rounded.bits == pytest.approx(2.0, abs=0.15)
    assert ksg(np.round(x, 1), np.round(y, 1)).bits == rounded.bits
    assert ksg(x, y).note == ""


def test_repeated_pairs_are_counted():
    # Resampled with replacement, independent data look dependent: why nothing here is ever bootstrapped.
    x, y = gaussian(500, 2, 0.0)
    again = np.random.default_rng(0).integers(0, 500, 500)
    found = ksg(x[again], y[again])
    counts = np.bincount(again)
    assert f"{counts[counts > 1].sum()} cells have the x and y of another" in found.note
    assert found.bits > 0.8
    assert "another" not in ksg(np.round(x, 1), y).note


def test_ksg_by_hand():
    """Five points on a line, k = 1, worked on paper: n_x = n_y = 0 everywhere, psi(1) + psi(5) - 2 psi(1) nats.

    Cells 0, 1, 3, 7, 15 in x and the same in y: a cell's nearest in both is its nearest in each, none is nearer.
    The other 30 cells lie far away and far apart, so that n = 35 and each is likewise alone.
    """
    points = np.r_[0.0, 1.0, 3.0, 7.0, 15.0, 1e3 * 1.5 ** np.arange(1, 31)]
    found = ksg(points, points, k=1)
    harmonic = sum(1 / i for i in range(1, 35))  # psi(35) - psi(1)
    np.testing.assert_allclose(found.pointwise, harmonic / np.log(2), rtol=1e-12)


def test_ksg_does_not_depend_on_the_number_of_threads(monkeypatch):
    x, y = gaussian(1000, 3, 1.0)
    one = ksg(x, y).pointwise
    monkeypatch.setattr("numba.config.NUMBA_NUM_THREADS", 3)
    np.testing.assert_array_equal(ksg(x, y).pointwise, one)


def test_ksg_leaves_the_threads_of_torch_alone():
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        ksg(*gaussian(300, 1, 1.0))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_mixed_ksg_is_scikit_learn_in_one_dimension():
    from sklearn.feature_selection import mutual_info_classif

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, 600)
    x = codes[:, None] + rng.standard_normal((600, 1))
    theirs = mutual_info_classif(x, codes, n_neighbors=3, random_state=0)[0] / np.log(2)
    assert mixed_ksg(x, codes).bits == pytest.approx(theirs, abs=1e-6)


def test_mixed_ksg_finds_the_binary_gaussian_channel():
    # +-1 in unit Gaussian noise: h(X) - h(noise) by numerical integration, 0.486 bits (capacity of BPSK at 0 dB).
    t = np.linspace(-10, 10, 20001)
    density = 0.5 * (norm.pdf(t - 1) + norm.pdf(t + 1))
    truth = -np.trapezoid(density * np.log2(density), t) - 0.5 * np.log2(2 * np.pi * np.e)
    assert truth == pytest.approx(0.486, abs=1e-3)
    rng = np.random.default_rng(1)
    sign = rng.choice([-1, 1], 3000)
    found = mixed_ksg(sign[:, None] + rng.standard_normal((3000, 1)), sign)
    assert abs(found.bits - truth) < 3 * found.stderr


def test_mixed_ksg_leaves_lone_cells_out_and_says_so():
    rng = np.random.default_rng(0)
    codes = np.r_[np.repeat([0, 1], 50), 7]
    found = mixed_ksg(codes[:, None] + rng.standard_normal((101, 1)), codes)
    assert found.n == 100
    assert np.isnan(found.pointwise[-1])
    assert "1 cells alone in their class" in found.note


@pytest.mark.parametrize("k", [0, 100, 2.5])
def test_k_outside_the_cells_is_refused(k):
    with pytest.raises(InputError, match="k must be a whole number from 1 to 99"):
        ksg(*gaussian(100, 1, 1.0), k=k)


def test_ties_are_moved_by_their_columns_own_scale():
    x = np.column_stack([np.repeat(np.arange(50.0), 2) * 1e6, np.arange(100.0)])
    moved, note = neighbours._untie(x, "x")
    assert (moved[:, 1] == x[:, 1]).all()
    assert 0.5 < (moved[:, 0] - x[:, 0]).std() / (neighbours.JITTER * x[:, 0].std()) < 1.5
    assert note.startswith("ties in 1 columns of x")
