"""Hold-outs: what is hidden, yardsticks by hand, and a choice that never sees its own data set."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws
from noise_scaling.laws import contest, rivals, scoring
from noise_scaling.laws.grids import Grid

N, U = np.geomspace(100, 1e5, 10), np.geomspace(10, 3000, 10)


def grid(bits, dataset="d", model="scvi"):
    shape = bits.shape
    return Grid((dataset, "s", model, "p", "e"), N[: shape[1]], U[: shape[0]], bits, np.full(shape, 2.0),
                np.full(shape, 0.03))  # fmt: skip


def test_what_is_hidden():
    masks = {d: list(scoring.hidden(grid(np.ones((10, 10))), d)) for d in scoring.DESIGNS}
    assert [len(masks[d]) for d in scoring.DESIGNS] == [10, 10, 1, 1]
    assert sum(masks[scoring.DEPTHS]).tolist() == np.ones((10, 10)).tolist()
    np.testing.assert_array_equal(masks[scoring.MOST_CELLS][0].any(axis=0), [False] * 7 + [True] * 3)
    np.testing.assert_array_equal(masks[scoring.DEEPEST][0].any(axis=1), [False] * 7 + [True] * 3)


def test_little_grids_hide_nothing():
    assert list(scoring.hidden(grid(np.ones((5, 4))), scoring.CELLS)) == []
    assert len(list(scoring.hidden(grid(np.ones((5, 4))), scoring.DEPTHS))) == 5


def test_yardsticks_by_hand():
    line = grid(np.log(U)[:, None] + 0 * N)
    mask = next(scoring.hidden(line, scoring.DEEPEST))
    np.testing.assert_allclose(scoring.log_linear(line.without(mask), 0), line.bits)
    assert scoring.carry_forward(line.without(mask), 0)[-1, 0] == pytest.approx(np.log(U[6]))
    product = grid((1 + np.log(U))[:, None] * np.log(N))
    for design in scoring.DESIGNS:
        for mask in scoring.hidden(product, design):
            np.testing.assert_allclose(scoring.low_rank(product.without(mask)), product.bits, rtol=1e-9)


def test_an_exact_law_foretells_all():
    exact = grid(laws.noise_budget(*np.meshgrid(N, U), 0.03, 20.0, 1.5, 900.0, 0.5))
    table = scoring.score([exact])
    found = table[table["forecast"] == scoring.LAW].set_index("design")["rms"]
    assert (found < 2e-3).all()
    assert scoring.wins(table, scoring.MOST_CELLS, scoring.LAW, scoring.CARRY) == (1, 1)


def test_the_choice_is_made_on_other_data_sets():
    rows = []
    for dataset, better in (("a", "one, 100%"), ("b", "two, 100%"), ("c", "two, 100%")):
        for name in ("one, 100%", "two, 100%"):
            rms = 0.1 if name == better else 0.2
            rows.append(((dataset,), dataset, "m", scoring.CELLS, name, rms, rms, 1))
    columns = ["grid", "dataset", "model", "design", "forecast", "rms", "median", "n_cells"]
    found = scoring.choose(pd.DataFrame(rows, columns=columns)).set_index("dataset")
    # a is judged by b and c, which say two, though one is better on a itself
    assert found.loc["a", "chosen"] == "two, 100%"
    assert found.loc["a", "rms"] == 0.2


def curves(law, *, sd=0.0, count=6):
    theta = np.array([[{"scale": 5.0, "exponent": 0.7, "line": 0.3, "level": 2.0}[k] for k in law.shape]])
    bits = rivals.predict(law, theta, U).T + np.random.default_rng(0).normal(0, sd, (10, count))
    return contest.curves([grid(bits), grid(bits + 0.01, "other")])


def test_the_law_behind_the_curves_wins():
    found = contest.contest(curves(rivals.EQ_1, sd=0.01))
    short = contest.summary(found).set_index("law")
    assert short["left_out"].idxmin() in ("noise_law", "stretched")
    assert short.loc["noise_law", "best_aicc"] > 0.5
    assert 0.05 < short.loc["noise_law", "chi_square"] < 0.6  # noise of 0.01 under a stated one of 0.03 / sqrt(2)
    assert contest.gap(found, "noise_law", "exponential", "left_out")[2] < 0


def test_leaving_one_out_of_a_line_is_the_hat_matrix():
    found = curves(rivals.RIVALS["log_linear"], sd=0.1)
    design = np.stack([np.ones(10), np.log(U)], axis=1)
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    left = (np.eye(10) - hat) @ found.bits.T / (1 - np.diag(hat))[:, None]
    np.testing.assert_allclose(contest.left_out(found, rivals.RIVALS["log_linear"]), -left.T, rtol=1e-5, atol=1e-6)


def test_beyond_sees_the_shallow_part_only():
    found = curves(rivals.RIVALS["log_linear"])
    wrong = contest.Curves(found.names, found.u, found.bits + np.where(np.arange(10) > 5, 1.0, 0.0), found.noise)
    away = contest.beyond(wrong, rivals.RIVALS["log_linear"])
    assert np.isnan(away[:, :6]).all()
    np.testing.assert_allclose(away[:, 6:], -1.0, atol=1e-6)


def test_aicc_by_hand():
    # 10 points, 3 fitted: 10 ln(RSS / 10) + 6 + 24 / 6
    assert contest._aicc(np.array([10]), np.array([2.0]), 3)[0] == pytest.approx(10 * np.log(0.2) + 6 + 4)
    assert contest._aicc(np.array([5]), np.array([2.0]), 4)[0] == np.inf
