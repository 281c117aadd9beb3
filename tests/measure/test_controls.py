import numpy as np
import pytest
from scipy.stats import entropy

from noise_scaling.measure import controls
from noise_scaling.measure.run import measure
from noise_scaling.signals import Aligned

pytestmark = pytest.mark.any_machine


def test_vectors_share_two_bits():
    """The log determinants of the sample covariances of 200,000 pairs."""
    x, y = controls.known_vectors(200_000, np.random.default_rng(0))
    joint = np.linalg.slogdet(np.cov(np.hstack([x, y]).T))[1]
    alone = np.linalg.slogdet(np.cov(x.T))[1] + np.linalg.slogdet(np.cov(y.T))[1]
    assert 0.5 * (alone - joint) / np.log(2) == pytest.approx(2, abs=0.01)


def test_labels_hold_two_bits_of_the_class():
    x, label = controls.known_labels(200_000, np.random.default_rng(0))
    centres = np.stack([np.median(x[label == k], axis=0) for k in range(8)])
    nearest = ((x[:, None, :] - centres) ** 2).sum(2).argmin(1)
    counts = np.histogram2d(nearest, label, bins=8)[0]
    bits = entropy(counts.sum(0), base=2) + entropy(counts.sum(1), base=2) - entropy(counts.ravel(), base=2)
    assert bits == pytest.approx(2, abs=0.01)


def test_a_model_is_left_as_it_is_and_a_shuffled_one_keeps_its_cells():
    pair = Aligned(np.arange(20.0).reshape(10, 2), np.arange(10.0)[:, None], None)
    assert controls.apply("pca", pair, seed=0, n_cells=5) is pair
    shuffled = controls.apply("shuffled", pair, seed=0, n_cells=5)
    np.testing.assert_array_equal(np.sort(shuffled.x, axis=0), pair.x)
    assert (shuffled.x != pair.x).any()
    assert shuffled.y is pair.y


def test_controls_in_a_slice_come_out_near_what_they_hold():
    """280 test cells: a lower bound finds most of 2 bits, and nothing in shuffled pairs."""
    found = measure(
        "pbmc68k", models=["shuffled", "known_2_bits"], cell_numbers=[100], fractions=[1], seeds=[0, 1], progress=False
    ).groupby("model")["mi_bits"].mean()  # fmt: skip
    assert found["known_2_bits"] == pytest.approx(2, abs=0.35)
    assert found["shuffled"] == pytest.approx(0, abs=0.1)
