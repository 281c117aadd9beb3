"""Where a share of the best is reached: exact curves, and how often the interval holds the truth."""

import numpy as np
import pytest

from noise_scaling import laws
from noise_scaling.laws.saturation import reached

pytestmark = pytest.mark.any_machine

N = np.geomspace(100, 1e5, 10)


def test_between_two_points_it_is_on_the_line_of_the_logarithm():
    found = reached(np.array([1.0, 10, 100, 1000]), np.array([0.0, 0.8, 1.0, 1.0]), np.zeros(4), 0.9)
    assert found == pytest.approx((10**1.5,) * 3)


def test_a_flat_curve_is_there_from_the_first_and_nothing_has_no_best():
    assert reached(N, np.full(10, 2.0), np.zeros(10), 0.95) == (100, 100, 100)
    assert np.isnan(reached(N, np.full(10, 0.05), np.zeros(10), 0.9)).all()
    value, low, _ = reached(N, np.linspace(1, 2, 10), np.full(10, np.nan), 0.9)
    assert np.isfinite(value)
    assert np.isnan(low)


@pytest.mark.parametrize("noise", [0.02, 0.06])
def test_the_interval_holds_the_truth(noise):
    rng, held = np.random.default_rng(0), []
    for _ in range(60):
        exact = laws.cell_number_law(N, 10 ** rng.uniform(1.5, 2.5), rng.uniform(0.3, 0.8), rng.uniform(2, 3.5))
        true = reached(N, exact, np.zeros(10), 0.9)[0]
        _, low, high = reached(N, exact + rng.normal(0, noise, 10), np.full(10, noise), 0.9)
        held.append(low <= true <= high)
    assert np.mean(held) > 0.88
