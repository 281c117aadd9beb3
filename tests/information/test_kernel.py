"""Curved coordinates against scikit-learn's kernel, the scale they are at, and what a regression in them tells."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import norm
from sklearn.metrics.pairwise import rbf_kernel

from noise_scaling.information import classifier, kernel
from noise_scaling.information.coordinates import at_own_scale, columns, standardised
from noise_scaling.information.crossfit import folds


def test_curved_components_are_those_of_the_gaussian_kernel():
    x = np.random.default_rng(0).standard_normal((100, 3)) * [1.0, 2.0, 0.5]
    z = at_own_scale(x, standardised(x)).double().numpy()
    middle = np.eye(100) - 0.01
    expected = middle @ rbf_kernel(z, gamma=1 / np.median(pdist(z, "sqeuclidean"))) @ middle
    found = kernel.curved(x, seed=0).double().numpy()
    np.testing.assert_allclose(found @ found.T / 100, expected, atol=0.01)
    assert (np.diff(found.var(0)) <= 1e-6).all()


def test_a_column_that_takes_two_values_has_curved_components_too():
    rare = np.zeros((600, 1))
    rare[3] = 1
    assert torch.isfinite(kernel.curved(rare, seed=0)).all()
    even = np.arange(600.0)[:, None] % 2
    by_hand = np.sqrt(600 * (1 - np.exp(-1)) / 2)  # the kernel is 1 within a value and 1 / e between the two
    assert kernel.curved(even, seed=0)[:, 0].abs().numpy() == pytest.approx(np.full(600, by_hand), rel=1e-3)


def test_columns_are_as_far_apart_as_they_were_up_to_a_factor():
    x = np.random.default_rng(0).standard_normal((4000, 5)) * [1, 2, 0.5, 1000, 1e-3] + 7
    deviation = at_own_scale(x, standardised(x)).std(0).numpy()
    np.testing.assert_allclose(deviation / deviation[0], [1, 2, 0.5, 5, 0.2], rtol=0.1)
    assert np.square(deviation).mean() == pytest.approx(1, abs=0.01)
    assert at_own_scale(x, columns(x))[:, 5].std() == pytest.approx(1, abs=0.01)  # the distance


def test_a_place_in_an_order_is_told_as_well_as_its_noise_allows():
    """20 time points, equally likely, told by one of five axes with normal noise: entropies by sums over a grid."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 5))
    cuts = norm.ppf(np.arange(1, 20) / 20) * np.hypot(1, 0.3)
    codes = np.searchsorted(cuts, x[:, 0] + 0.3 * rng.standard_normal(600))
    grid = np.linspace(-5, 5, 2001)
    edges = np.concatenate([[-np.inf], cuts, [np.inf]])
    chances = np.diff(norm.cdf((edges - grid[:, None]) / 0.3), axis=1)
    inside = -(chances * np.log(chances.clip(1e-300))).sum(1) @ norm.pdf(grid) * 0.005
    part = folds(600, 5, seed=0, strata=codes)[0]
    bent = kernel.curved(x, seed=0).double()
    found = classifier._by_time(bent, torch.from_numpy(codes), part, np.bincount(codes) / 600)
    loss = -found[part.score, codes[part.score]].mean().item()
    assert found.exp().sum(1).numpy() == pytest.approx(1, abs=1e-4)
    assert inside - 0.15 < loss < inside + 0.4 < np.log(20) - 0.5
