"""Intervals averaged over laws hold the truth where Eq. 1 is not it, seeds and splits included."""

import numpy as np
import pytest

from noise_scaling import laws
from noise_scaling.laws import averaged

pytestmark = pytest.mark.any_machine

TRUTHS = {"eq1": (1, 1), "power .85": (0.85, 1), "power 1.2": (1.2, 1), "power 1.5": (1.5, 1), "4 channels": (1, 4)}


def simulated(power, channels, count, *, seeds, shift=1.0, rng):
    """Curves of 8 to 10 depths whose every seed moves I_max by 0.05 bits and u_bar by 10 % (sd), noise 0.04 bits."""
    out, truth = [], []
    for _ in range(count):
        u = np.geomspace(10, rng.choice([300, 1000, 5000]), rng.integers(8, 11))
        u_bar, i_max = u[-1] * 10 ** rng.uniform(-1.3, 0), rng.uniform(1, 3.5)
        bits = [
            laws.channels_law(u, u_bar * np.exp(shift * rng.normal(0, 0.1)), i_max + shift * rng.normal(0, 0.05),
                              power, channels) + rng.normal(0, 0.04, len(u))
            for _ in range(seeds)
        ]  # fmt: skip
        out.append(averaged.Curve(u, np.array(bits)))
        truth.append((u_bar, i_max))
    return out, np.array(truth)


@pytest.mark.parametrize("seeds", [3, 1])
@pytest.mark.parametrize("law", TRUTHS)
def test_the_truth_is_covered_whatever_the_law(law, seeds):
    curves, truth = simulated(*TRUTHS[law], 80, seeds=seeds, shift=float(seeds > 1), rng=np.random.default_rng(5))
    found = averaged.intervals(curves)
    for i, name in enumerate(("u_bar", "i_max")):
        low, high = found[name].T
        # 90 % asked: 80 draws have a standard error of 0.034 there
        assert ((low < truth[:, i]) & (truth[:, i] < high)).mean() >= 0.87, name
    low, high = found["i_max"].T
    assert np.median(high - low) < 0.8  # and it says something


def test_eq_1s_own_interval_does_not():
    curves, truth = simulated(1.5, 1, 40, seeds=3, rng=np.random.default_rng(6))
    held = []
    for one, (_, i_max) in zip(curves, truth, strict=True):
        fit = laws.fit_noise_law(np.tile(one.u, 3), one.bits.ravel())
        low, high = fit.interval("i_max")
        held.append(low < i_max < high)
        assert not low < fit.i_max_interval[0]
        assert not high > fit.i_max_interval[1]
    assert np.mean(held) < 0.5


def test_a_curve_that_does_not_bend_has_no_upper_end():
    u = np.geomspace(10, 1000, 9)
    bits = 0.5 * np.log2(1 + u / 50) + np.random.default_rng(0).normal(0, 0.03, (3, 9))
    found = averaged.intervals([averaged.Curve(u, bits)])
    assert np.isinf(found["i_max"][0, 1])
    assert np.isinf(found["u_bar"][0, 1])
    assert found["i_max"][0, 0] > 2  # 2.2 bits are seen at the deepest


def test_points_are_a_curve():
    u = np.array([10.0, 100.1, 10.1, 100.0, 1000.0])
    one = averaged.curve(u, np.arange(5.0), np.array([1, 1, 2, 2, 2]))
    np.testing.assert_allclose(one.u, [10.05, 100.05, 1000])
    np.testing.assert_array_equal(one.bits, [[0, 1, np.nan], [2, 3, 4]])
    unknown = averaged.curve(u, np.array([5.0, 1, 2, 3, 4]), None)  # the lowest are one seed's
    np.testing.assert_array_equal(unknown.bits, [[2, 1, 4], [5, 3, np.nan]])


def test_seeds_that_differ_widen_the_interval():
    u = np.geomspace(10, 5000, 10)
    bits = laws.noise_law(u, 300.0, 2.5) + np.random.default_rng(0).normal(0, 0.02, (3, 10))
    apart = bits + np.array([-0.3, 0.0, 0.3])[:, None]
    ends = averaged.intervals([averaged.Curve(u, b) for b in (bits, apart)])["i_max"]
    # three seeds 0.3 bits apart: a mean has a standard error of 0.17, and Student's t for 2 is 4.3
    assert ends[1, 1] - ends[1, 0] > 1.2 > 3 * (ends[0, 1] - ends[0, 0])


@pytest.mark.parametrize("bits", [np.ones((2, 3)), np.full((2, 8), 0.01)])
def test_three_depths_or_no_information_have_no_interval(bits):
    depths = bits.shape[1]
    found = averaged.intervals([averaged.Curve(np.geomspace(10, 1000, depths), bits)])
    assert np.isnan(found["i_max"]).all()
