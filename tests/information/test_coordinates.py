"""The inputs of critics: what whitening, scores and turned axes promise."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from noise_scaling.information import coordinates


def sides(pair, n=4000, dx=5, dy=4):
    """Unit Gaussians [n, dx] and [n, dy], float32, after `pair` has tied them."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n, dx)), rng.standard_normal((n, dy))
    pair(x, y, rng)
    return (torch.from_numpy(side).float() for side in (x / x.std(0), y / y.std(0)))


def linear(x, y, rng):
    y[:, 1] = 0.8 * x[:, 3] + 0.6 * y[:, 1]


def by_products_alone(x, y, rng):
    y[:, [1, 2]] = (0.9 * x[:, [3, 0]] + 0.4 * y[:, [1, 2]]) * rng.choice([-1, 1], len(x))[:, None]


@pytest.mark.parametrize(("pair", "of_x", "of_y"), [(linear, [3], [1]), (by_products_alone, [0, 3], [1, 2])])
def test_axes_lead_with_the_columns_that_depend_on_the_other_side(pair, of_x, of_y):
    x, y = sides(pair)
    (moments,) = coordinates.moments(x, y, [np.arange(len(x))], np.random.default_rng(1))
    maps = coordinates.axes(moments, 5, 4, coordinates.Gains())
    for turn, columns in zip(maps, (of_x, of_y), strict=True):
        gains = turn.norm(dim=0)
        assert gains[0].item() == pytest.approx(1.0, abs=1e-5)
        assert gains[len(columns) :].max() < 0.5 * gains[: len(columns)].min()
        assert turn[columns][:, : len(columns)].norm(dim=0).numpy() == pytest.approx(
            gains[: len(columns)].numpy(), rel=0.03
        )


def test_moments_of_parts_add_up():
    x, y = sides(linear, n=600)
    halves = coordinates.moments(x, y, [np.arange(300), np.arange(300, 600)], np.random.default_rng(1))
    (whole,) = coordinates.moments(x, y, [np.arange(600)], np.random.default_rng(1))
    torch.testing.assert_close((halves[0] + halves[1])[0], whole[0], rtol=1e-4, atol=1e-2)
    assert whole[0, 3, 1] > 400  # 600 cells of correlation 0.8
    assert abs(whole[1, 3, 1]) < 100  # shuffled: none
    unfolded = coordinates._unfold(whole, 5, 4)
    assert unfolded[0, 0, 3, 0, 1] == whole[0, 3, 1]  # column with column
    assert unfolded[0, 1 + 2, 2, 0, 1] == whole[0, 5 + 9, 1]  # a square with a column


def test_whitened_components_have_unit_variance_and_no_correlation_and_drop_what_is_constant_in_effect():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3000, 3)) @ rng.standard_normal((3, 6))  # six columns of rank three
    z = coordinates.whitened(coordinates.components(coordinates.standardised(x[:, :2])))
    assert np.cov(z.T.numpy()) == pytest.approx(np.eye(2), abs=0.06)
    assert coordinates.whitened(coordinates.components(torch.from_numpy(x).float())).shape == (3000, 3)


def test_far_values_keep_their_order_and_lose_their_reach():
    x = np.r_[np.linspace(-1, 1, 99), 1e6][:, None]
    z = coordinates.standardised(x)[:, 0]
    assert (z.diff() > 0).all()
    assert z.max() < 10  # a million deviations: by the logarithm
    scores = coordinates.normal_scores(np.exp(x[:-1]))
    torch.testing.assert_close(scores, coordinates.normal_scores(x[:-1]))
    assert scores.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_the_distance_from_the_middle_is_a_column_unless_it_says_nothing():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 3)) * rng.chisquare(2, 500)[:, None]
    distance = np.log(np.square((x - np.median(x, 0)) / np.subtract(*np.percentile(x, [75, 25], axis=0))).mean(1))
    for found in (coordinates.columns(x), coordinates.ranks(x)):
        assert found.shape == (500, 4)
        assert spearmanr(found[:, 3], distance).statistic > 0.99
    assert coordinates.columns(x[:, :1]).shape == coordinates.ranks(x[:, :1]).shape == (500, 1)
    corners = rng.permuted(np.repeat([[-1.0], [1.0]], 250, axis=0) * np.ones(3), axis=0)
    assert coordinates.columns(corners).shape == (500, 3)  # all as far from the middle


def test_gains_go_from_few_cells_to_many_without_a_step():
    assert coordinates.gains(300) == coordinates.FEW
    assert coordinates.gains(10_000) == coordinates.MANY
    floors = [coordinates.gains(n).floor for n in range(1500, 6001, 100)]
    assert np.diff(floors).min() > 0
    assert np.diff(floors).max() < 0.02
