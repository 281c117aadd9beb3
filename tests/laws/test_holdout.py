"""Hold-outs: what is hidden, yardsticks by hand, and a choice that never sees its own data set."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws
from noise_scaling.laws import holdout
from noise_scaling.laws.grids import Grid

N, U = np.geomspace(100, 1e5, 10), np.geomspace(10, 3000, 10)


def grid(bits, dataset="d", model="scvi"):
    shape = bits.shape
    return Grid((dataset, "s", model, "p", "e"), N[: shape[1]], U[: shape[0]], bits, np.full(shape, 2.0),
                np.full(shape, 0.03))  # fmt: skip


def test_what_is_hidden():
    masks = {d: list(holdout.hidden(grid(np.ones((10, 10))), d)) for d in holdout.DESIGNS}
    assert [len(masks[d]) for d in holdout.DESIGNS] == [10, 10, 1, 1]
    assert sum(masks[holdout.DEPTHS]).tolist() == np.ones((10, 10)).tolist()
    np.testing.assert_array_equal(masks[holdout.MOST_CELLS][0].any(axis=0), [False] * 7 + [True] * 3)
    np.testing.assert_array_equal(masks[holdout.DEEPEST][0].any(axis=1), [False] * 7 + [True] * 3)


def test_little_grids_hide_nothing():
    assert list(holdout.hidden(grid(np.ones((5, 4))), holdout.CELLS)) == []
    assert len(list(holdout.hidden(grid(np.ones((5, 4))), holdout.DEPTHS))) == 5


def test_yardsticks_by_hand():
    line = grid(np.log(U)[:, None] + 0 * N)
    mask = next(holdout.hidden(line, holdout.DEEPEST))
    np.testing.assert_allclose(holdout.log_linear(line.without(mask), 0), line.bits)
    assert holdout.carry_forward(line.without(mask), 0)[-1, 0] == pytest.approx(np.log(U[6]))
    product = grid((1 + np.log(U))[:, None] * np.log(N))
    for design in holdout.DESIGNS:
        for mask in holdout.hidden(product, design):
            np.testing.assert_allclose(holdout.low_rank(product.without(mask)), product.bits, rtol=1e-9)


def test_an_exact_law_foretells_all():
    exact = grid(laws.noise_budget(*np.meshgrid(N, U), 0.03, 20.0, 1.5, 900.0, 0.5))
    table = holdout.score([exact])
    found = table[table["forecast"] == holdout.LAW].set_index("design")["rms"]
    assert (found < 2e-3).all()
    assert holdout.wins(table, holdout.MOST_CELLS, holdout.LAW, holdout.CARRY) == (1, 1)


def test_the_choice_is_made_on_other_data_sets():
    rows = []
    for dataset, better in (("a", "one, 100%"), ("b", "two, 100%"), ("c", "two, 100%")):
        for name in ("one, 100%", "two, 100%"):
            rms = 0.1 if name == better else 0.2
            rows.append(((dataset,), dataset, "m", holdout.CELLS, name, rms, rms, 1))
    columns = ["grid", "dataset", "model", "design", "forecast", "rms", "median", "n_cells"]
    found = holdout.choose(pd.DataFrame(rows, columns=columns)).set_index("dataset")
    # a is judged by b and c, which say two, though one is better on a itself
    assert found.loc["a", "chosen"] == "two, 100%"
    assert found.loc["a", "rms"] == 0.2


def test_forecasts_are_mixed_with_the_yardstick_in_shares():
    exact = grid(laws.noise_budget(*np.meshgrid(N, U), 0.03, 20.0, 1.5, 900.0, 0.5))
    for design, first, yardstick in (
        (holdout.MOST_CELLS, "residuals 0", holdout.CARRY), (holdout.DEEPEST, "deep 1", holdout.LINE),
    ):  # fmt: skip
        masks = np.array(list(holdout.hidden(exact, design)))
        found = holdout.forecasts(exact, design, masks)[0]
        for share in (0.25, 0.5, 0.75):
            expected = share * found[f"{first}, 100%"] + (1 - share) * found[yardstick]
            np.testing.assert_allclose(found[f"{first}, {share:.0%}"], expected)
        assert (holdout.SEPARATE in found) == (design == holdout.DEEPEST)
    alone = holdout.forecasts(exact, holdout.CELLS, np.array(list(holdout.hidden(exact, holdout.CELLS))))
    assert len(alone) == 10
    assert sum(holdout.is_candidate(pd.Series(list(alone[0])))) == 4


def test_smooth_residuals_carry_over_to_hidden_cells():
    # a hump of the residuals over cells that no budget follows: what is left around a hidden column tells its sign
    hump = 0.3 * np.exp(-((np.log(N / 3000)) ** 2))
    bent = grid(laws.noise_budget(*np.meshgrid(N, U), 0.03, 20.0, 1.5, 900.0, 0.5) + hump)
    masks = np.array(list(holdout.hidden(bent, holdout.CELLS)))
    found = holdout.forecasts(bent, holdout.CELLS, masks)
    off = {
        name: np.mean([np.abs(f[name] - bent.bits)[m].mean() for f, m in zip(found, masks, strict=True)])
        for name in (holdout.LAW, "residuals 1, 100%")
    }
    assert off["residuals 1, 100%"] < 0.7 * off[holdout.LAW]


def test_eq1_at_each_cell_number_is_fitted_alone():
    u_bar = np.array([50.0, 100, 200, 400])
    exact = grid(laws.noise_law(U[:, None], u_bar, 2.0))
    holed = exact.without(np.arange(10)[:, None] > np.array([1, 2, 9, 9]))
    found = holdout.eq1_at_each_cell_number(holed)
    assert np.isnan(found[:, 0]).all()
    np.testing.assert_allclose(found[:, 2:], exact.bits[:, 2:], atol=1e-5)
    np.testing.assert_allclose(found[:3, 1], exact.bits[:3, 1], atol=1e-5)


def test_scores_by_hand():
    flat = grid(np.arange(10.0)[:, None] + 0 * N)
    table = holdout.score([flat]).set_index(["design", "forecast"])
    carried = table.loc[(holdout.DEEPEST, holdout.CARRY)]  # depths 7, 8, 9 foretold as 6
    assert carried["rms"] == pytest.approx(np.sqrt((1 + 4 + 9) / 3))
    assert carried["median"] == 2
    assert carried["n_cells"] == 30
    assert table.loc[(holdout.CELLS, holdout.CARRY), "rms"] == 0
    assert table.loc[(holdout.DEPTHS, holdout.CARRY), "n_cells"] == 100


def test_wins_count_grids():
    rows = [("a", 1.0, 2.0), ("b", 2.0, 1.0), ("c", 1.0, 1.0)]
    table = pd.DataFrame(
        [
            {"grid": g, "design": "x", "forecast": f, "rms": v}
            for g, *both in rows
            for f, v in zip("pq", both, strict=True)
        ]
    )
    assert holdout.wins(table, "x", "p", "q") == (1, 3)
    assert holdout.wins(table, "x", "absent", "q") == (0, 0)


def test_one_data_set_alone_takes_the_first_candidate():
    rows = [((0,), "a", "m", "x", name, rms, rms, 1) for name, rms in (("one, 100%", 0.3), ("two, 100%", 0.1))]
    columns = ["grid", "dataset", "model", "design", "forecast", "rms", "median", "n_cells"]
    assert holdout.choose(pd.DataFrame(rows, columns=columns))["chosen"].tolist() == ["one, 100%"]
