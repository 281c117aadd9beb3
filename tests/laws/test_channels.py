"""Laws from noise: against simulated channels, an integral, and Eq. 1."""

import numpy as np
import pytest
from scipy import integrate

from noise_scaling import laws

pytestmark = pytest.mark.any_machine

U = np.geomspace(1, 1e5, 40)


@pytest.mark.parametrize("i_max", [0.01, 0.4, 2.5, 12.0])
def test_one_channel_is_eq_1(i_max):
    np.testing.assert_allclose(
        laws.channels_law(U, 300.0, i_max), laws.noise_law(U, 300.0, i_max), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("channels", "sides"), [(1, 2), (4, 1), (2.5, 2)])
def test_u_bar_halves_the_signal_to_noise_of_the_whole(channels, sides):
    found = laws.channels_law(np.array([300.0, 1e15]), 300.0, 2.5, channels=channels, sides=sides)
    assert np.expm1(2 * np.log(2) * found[0]) == pytest.approx((2**5 - 1) / 2)
    assert found[1] == pytest.approx(2.5, abs=1e-6)


@pytest.mark.parametrize("sides", [1, 2])
def test_parallel_channels_are_counted_vectors(sides):
    # D Gaussian latents of variance 1, seen as the mean of u noisy molecules: information from covariances alone
    channels, floor, k = 3, 0.2, 40.0  # squared correlation 1 / (1 + floor) before counting
    i_max = channels / 2 * np.log2(1 + 1 / floor)
    for u in (5.0, 60.0, 2000.0):
        kept = u / (u + k)
        rho = np.sqrt(kept**sides / (1 + floor))
        joint = np.block([[np.eye(channels), rho * np.eye(channels)], [rho * np.eye(channels), np.eye(channels)]])
        bits = -0.5 * np.log2(np.linalg.det(joint))
        # u_bar, where the whole has half its signal-to-noise, by bisection
        low, high = 1e-3, 1e6
        for _ in range(100):
            u_bar = np.sqrt(low * high)
            at = -channels / 2 * np.log2(1 - (u_bar / (u_bar + k)) ** sides / (1 + floor))
            low, high = (u_bar, high) if 2 * (4**at - 1) < 4**i_max - 1 else (low, u_bar)
        assert laws.channels_law(u, u_bar, i_max, channels=channels, sides=sides) == pytest.approx(bits, rel=1e-9)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_bits_for_a_doubling_of_depth_are_at_most_half_the_channels(channels):
    u = np.geomspace(0.01, 1e4, 400)
    rise = laws.channels_law(2 * u, 1e5, 20.0 * channels, channels=channels) - laws.channels_law(
        u, 1e5, 20.0 * channels, channels=channels
    )
    assert rise.max() == pytest.approx(channels / 2, rel=0.01)
    assert (rise <= channels / 2).all()


def test_labels_are_a_two_valued_input_in_gaussian_noise():
    def exact(snr):
        bits = lambda z: np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * np.log2(1 + np.exp(-2 * snr - 2 * np.sqrt(snr) * z))  # noqa: E731
        return 1 - integrate.quad(bits, -12, 12)[0]

    half = 0.5 * (2**0 / 0.3073) ** (1 / 0.8935) / 2  # sigma^2 = 4 snr with 0.3073 sigma^1.787 = 1
    for snr in (0.1, 0.5, 1.0, 2.0, 4.0, 8.0):
        assert laws.labels_law(snr, half, 1.0) == pytest.approx(exact(snr), abs=1.5e-3)
