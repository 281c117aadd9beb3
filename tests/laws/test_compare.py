"""Laws against each other: quality and errors on unseen depths of straight lines by hand, shares and intervals."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws
from noise_scaling.laws import alternatives, compare
from noise_scaling.laws.grids import Grid
from noise_scaling.laws.law import predict

N, U = np.geomspace(100, 1e5, 10), np.geomspace(10, 3000, 10)


def grid(bits, dataset="d", model="scvi"):
    shape = bits.shape
    return Grid((dataset, "s", model, "p", "e"), N[: shape[1]], U[: shape[0]], bits, np.full(shape, 2.0),
                np.full(shape, 0.03))  # fmt: skip


def curves(law, *, sd=0.0, count=6):
    theta = np.array([[{"scale": 5.0, "exponent": 0.7, "slope": 0.3, "level": 2.0}[k] for k in law.kinds]])
    bits = predict(law, theta, U).T + np.random.default_rng(0).normal(0, sd, (10, count))
    return compare.curves([grid(bits), grid(bits + 0.01, "other")])


def test_the_law_behind_the_curves_wins():
    found = compare.compare_laws(curves(laws.NOISE_LAW, sd=0.01))
    short = compare.summary(found).set_index("law")
    assert short["left_out"].idxmin() in ("noise_law", "stretched")
    assert short.loc["noise_law", "best_aicc"] > 0.5
    assert 0.05 < short.loc["noise_law", "chi_square"] < 0.6  # noise of 0.01 under a stated one of 0.03 / sqrt(2)
    assert compare.gap(found, "noise_law", "log_linear", "left_out")[2] < 0


def test_leaving_one_out_of_a_line_is_the_hat_matrix():
    found = curves(alternatives.ALTERNATIVES["log_linear"], sd=0.1)
    design = np.stack([np.ones(10), np.log(U)], axis=1)
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    left = (np.eye(10) - hat) @ found.bits.T / (1 - np.diag(hat))[:, None]
    start = np.array([[0.3, 2.0]] * 12)
    away = compare.left_out(found, alternatives.ALTERNATIVES["log_linear"], start)
    np.testing.assert_allclose(away, -left.T, rtol=1e-5, atol=1e-6)


def test_beyond_sees_the_shallow_part_only():
    found = curves(alternatives.ALTERNATIVES["log_linear"])
    wrong = compare.Curves(found.names, found.u, found.bits + np.where(np.arange(10) > 5, 1.0, 0.0), found.noise)
    away = compare.beyond(wrong, alternatives.ALTERNATIVES["log_linear"])
    assert np.isnan(away[:, :6]).all()
    np.testing.assert_allclose(away[:, 6:], -1.0, atol=1e-6)


@pytest.fixture(scope="module")
def line():
    """One grid of curves with 10 depths, and by hand the residuals of straight lines in the logarithm of depth."""
    bits = 2 + 0.3 * np.log(U / 100)[:, None] + np.random.default_rng(3).normal(0, 0.1, (10, 6))
    found = compare.curves([grid(bits)])
    table = compare.compare_laws(found)
    left = np.array([row - np.polyval(np.polyfit(np.log(U), row, 1), np.log(U)) for row in bits.T])
    return found, table, left, table[table["law"] == "log_linear"]


def test_quality_of_a_line_by_hand(line):
    found, _, left, rows = line
    rss = (left**2).sum(axis=1)
    np.testing.assert_allclose(rows["r_squared"], 1 - rss / (10 * found.bits.var(axis=1)), rtol=1e-9)
    # Burnham & Anderson 2002, section 2.4: n ln(RSS / n) + 2 K + 2 K (K + 1) / (n - K - 1), K = 3 with the variance
    np.testing.assert_allclose(rows["aicc"], 10 * np.log(rss / 10) + 6 + 24 / 6, rtol=1e-9)
    # two seeds with a standard deviation of 0.03: a mean has 0.03 / sqrt(2); 10 points less 2 parameters
    np.testing.assert_allclose(rows["chi_square"], rss / (0.03**2 / 2) / 8, rtol=1e-6)
    neighbours = (left[:, 1:] * left[:, :-1]).sum(axis=1) / rss
    np.testing.assert_allclose(rows["repeat"], neighbours, rtol=1e-5)


def test_errors_on_unseen_depths_of_a_line_by_hand(line):
    found, _, left, rows = line
    x = np.log(U)
    leverage = 1 / 10 + (x - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()
    out = left / (1 - leverage)
    np.testing.assert_allclose(rows["left_out"], np.sqrt((out**2).mean(axis=1)), rtol=1e-5)
    np.testing.assert_allclose(rows["left_out_median"], np.median(np.abs(out), axis=1), rtol=1e-5)
    ahead = np.array([np.polyval(np.polyfit(x[:6], row[:6], 1), x[6:]) - row[6:] for row in found.bits])
    np.testing.assert_allclose(rows["ahead"], np.sqrt((ahead**2).mean(axis=1)), rtol=1e-5)


def test_chi_square_needs_a_second_seed():
    lone = grid(np.log(U)[:, None] * np.ones(6))
    lone.seed_sd[:] = np.nan
    assert compare.compare_laws(compare.curves([lone]))["chi_square"].isna().all()


def test_aicc_of_too_few_points_is_infinite():
    assert compare._aicc(np.array([5]), np.array([2.0]), 4)[0] == np.inf
    assert np.isfinite(compare._aicc(np.array([6]), np.array([2.0]), 4)[0])


def test_curves_have_five_depths_and_more():
    bits = np.ones((10, 3))
    bits[4:, 0], bits[5:, 1] = np.nan, np.nan
    found = compare.curves([grid(bits)])
    np.testing.assert_array_equal(found.names["n_cells"], N[1:3])
    assert np.isfinite(found.bits).sum(axis=1).tolist() == [5, 10]
    np.testing.assert_allclose(found.noise[1], 0.03 / np.sqrt(2))


def test_summary_is_medians_and_shares():
    columns = ["n_parameters", "r_squared", "chi_square", "left_out_median", "left_out", "ahead", "repeat"]
    rows = [
        {"grid": "g", "n_cells": n, "law": law, "label": law, "aicc": aicc} | dict.fromkeys(columns, n * aicc)
        for n, pair in ((1, (1.0, 2.0)), (2, (1.0, 2.0)), (5, (3.0, 2.0)))
        for law, aicc in zip(("a", "b"), pair, strict=True)
    ]
    short = compare.summary(pd.DataFrame(rows)).set_index("law")
    assert short["best_aicc"].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert short["left_out"].tolist() == [2.0, 4.0]


def test_a_gap_is_resampled_by_grid():
    # differences 1 to 9, one a grid: a resample's median is at most k as often as binomial(9, k / 9) exceeds 4, which
    # is 0.0012 for 1 and 0.0304 for 2: the 2.5 % quantile is 2, and 8 the 97.5 % one
    rows = [
        {"grid": g, "n_cells": n, "law": law, "left_out": g * (law == "a")}
        for g in range(1, 10) for n in (0, 1) for law in ("a", "b")
    ]  # fmt: skip
    both = pd.DataFrame(rows)
    assert compare.gap(both[both["n_cells"] == 0], "a", "b", "left_out") == (5, 2, 8)
    # curves of one grid are drawn together: a second one in each changes nothing
    assert compare.gap(both, "a", "b", "left_out") == (5, 2, 8)


def test_the_ceiling_of_labels_is_their_entropy():
    law, entropy = alternatives.ALTERNATIVES["labels"], 2.2157  # five lines, by their card
    bits = np.repeat(predict(law, np.array([[np.log(50), 2.4]]), U).T, 6, axis=1)  # more than five lines can hold
    bits += np.random.default_rng(0).normal(0, 1e-4, bits.shape)
    for dataset, signal, most in (("cell_lines5", "genotype", entropy), ("d", "s", 2.4)):
        one = Grid(
            (dataset, signal, "scvi", "p", "e"), N[:6], U, bits, np.full(bits.shape, 2.0), np.full(bits.shape, 0.03)
        )
        found = compare.curves([one])
        left = compare.residuals(found, law)
        fitted = (found.bits - left).max(axis=1)
        assert fitted == pytest.approx(np.full(6, most), abs=2e-3)
        assert (compare.compare_laws(found).set_index("law").loc["labels", "left_out"] < 0.01).all() == (most == 2.4)
    assert compare.entropy("rna_mixtures", "amount") == np.inf  # four values, but no label
