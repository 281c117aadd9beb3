"""The factorial's part of its page, on tables of a known law; and no row of it on any other page."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements
from noise_scaling.laws.apart import FORMS, PARAMETERS
from noise_scaling.measure import cost
from noise_scaling.plots import ablations, apart, cells_or_depth, claims, estimators, figures, page, saturation

Q = (1.0, 0.3, 0.1, 0.03)
TRUTH = {"v0": 0.02, "r": 30.0, "l": 3.0, "s": 0.6, "k": 20.0}
"""A sum, per UMI and cell."""


def bits(n, w, u):
    given = [(np.log if p not in ("a", "s") else float)(TRUTH.get(p, 1.0 if p == "a" else 1e-17)) for p in PARAMETERS]
    return FORMS["sum"].bits(np.array([given]), tuple(np.array([[x]]) for x in (n, w, u))).item()


def rows(dataset="pbmc10k", signal="protein", model="pca", **values) -> list[dict]:
    blank = {name: {str: "", int: 0, float: np.nan}[kind] for name, kind in measurements.COLUMNS.items()}
    head = {"dataset": dataset, "signal": signal, "model": model, "preset": "small", "estimator": "default"}
    rng = np.random.default_rng(0)
    return [
        blank | head | {"status": "ok", "n_cells": n, "fraction": q, "fraction_train": w, "seed": seed}
        | {"umis_per_cell": 1000 * q, "umis_per_cell_train": 1000 * w, "train_seconds": 1.0, "mi_seconds": 1.0}
        | {"n_test": 500, "device": "cpu"}
        | {"mi_bits": bits(n, 1000 * w, 1000 * q) + rng.normal(0, 0.01)} | values
        for n in (50, 100, 300, 1000) for q in Q for w in Q for seed in (0, 1)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return measurements.sort([*rows(), *rows("worm_embryo", "time.point"), *rows(model="scvi")])


def test_the_answer_and_its_numbers(table):
    lost = apart.losses(table).set_index(["dataset", "model"])
    deep = bits(1000, 1000, 1000)
    worm = lost.loc[("worm_embryo", "pca")]
    assert worm["new_cells"] == pytest.approx(deep - bits(1000, 1000, 30), abs=0.03)
    assert worm["training_cells"] == pytest.approx(deep - bits(1000, 30, 1000), abs=0.03)
    assert worm["both"] == pytest.approx(deep - bits(1000, 30, 30), abs=0.03)
    middle = 1000 * np.sqrt(0.03)
    cost = apart.halved(table)
    for axis, less in {"u_test": (1000, middle, middle / 2), "u_train": (1000, middle / 2, middle)}.items():
        np.testing.assert_allclose(cost[axis], bits(1000, middle, middle) - bits(*less), atol=0.03)
    assert (cost["u_test_low"] < cost["u_test"]).all()
    np.testing.assert_allclose(cost["learning_depth"], 20, rtol=0.3)
    said = apart.answer(table).data
    assert "loses most by halving the depth of the new cells, then" in said
    assert "without a law, between neighbouring levels at the most cells: halving the depth of the new cells" in said
    assert "3 curves of 2 data sets" in said
    assert "cost more than shallow training cells in 3 of 3 curves" in said
    lead = apart.lead(table).data
    assert "Shallow new cells cost more than shallow training cells in 3 of 3 curves." in lead
    assert apart._costs(apart.halved(table)) in lead


def test_what_reading_costs_most_is_told_apart_from_ties(table):
    halved = apart.halved(table).assign(u_test=0.5, u_train=[0.2, 0.2, 0.21], n=[0.2, 0.21, 0.2])
    assert apart._order(halved) == (
        "depth of the new cells, then the depth of the training cells, then the training cells (not told apart "
        "from the one before)"
    )
    alike = halved.assign(n=halved["u_train"])  # a law of cells times their depth
    assert apart._order(alike) == ("depth of the new cells, then the molecules trained on, in cells or in depth alike")


def test_one_seed_has_no_interval_and_no_empty_column(table, tmp_path):
    source = measurements.write(table[table["seed"] == 0], tmp_path / "one.csv")
    shown = page.show(apart.halved_table, source).data
    assert "One seed: no interval." in shown
    assert "95 %" not in shown
    assert "–" not in shown
    assert "95 % intervals over 2 seeds" in apart.halved_table(table).data
    uneven = table[(table["seed"] == 0) | (table["dataset"] == "pbmc10k")]
    assert "over 1 to 2 seeds (jackknife). One seed gives none." in apart.halved_table(uneven).data
    assert "1 to 2 seeds; means" in apart.answer(uneven).data


def test_the_figure_and_the_tables_of_the_page(table):
    made = apart.factorial_figure(table)
    drawn = [line for line in made.axes[0].lines if line.get_linestyle() == "None"]
    assert len(drawn) == len(Q)
    named = [(text.get_text(), line.get_color()) for text, line in zip(
        made.legends[0].get_texts(), made.legends[0].legend_handles, strict=True)]  # fmt: skip
    assert [colour for _, colour in named] == [line.get_color() for line in drawn[::-1]]  # every line has a name
    assert (named[0][0], named[-1][0]) == ("trained on all molecules", "fewest")
    deepest = drawn[-1]
    means = table.query("dataset == 'pbmc10k' and model == 'scvi' and n_cells == 1000 and fraction_train == 1")
    np.testing.assert_allclose(deepest.get_ydata(), means.groupby("fraction")["mi_bits"].mean())
    chosen = apart.forms(table)
    assert chosen.loc[chosen["law"] == FORMS["reading"].label, "verdict"].tolist() == ["worse"]
    assert "bits lost, depth of the new cells halved, as measured" in apart.halved_table(table).data


def test_of_cells_thinned_alike_a_sentence_stands_there(tmp_path, table):
    alike = measurements.write(table.query("fraction == fraction_train"), tmp_path / "alike.csv")
    assert "No model of this table was measured at 3 depths" in page.show(apart.answer, alike).data


def test_the_parents_own_tables_stand_beside():
    found = apart.parent_depths().set_index(["model", "umis_per_cell"])
    assert len(found.loc["geneformer"]) == 10
    assert found.loc[("geneformer", 8.15674)].tolist() == [0.369801, 0.302223]
    said = apart.parent_sentence().data  # 3.2444 - 0.369801 and 3.07811 - 0.302223
    assert "loses 2.87 bits from 8,157 to 8 UMIs" in said
    assert "and 2.78 where its training cells are too" in said
    assert "they differ by +0.17 (random projection +1.12)" in said  # 3.2444 - 3.07811, 4.03348 - 2.91234
    assert "is not told apart from this offset" in said


@pytest.mark.parametrize(
    "make",
    [
        laws.fit_curves, figures.usable, saturation.saturations, ablations.nominal_depth, estimators.level_by_estimator,
        cost.training_times, cost.fit_estimates,
        lambda t: [grid.bits.ravel() for grid in cells_or_depth.measured_grids(t)],
        lambda t: [vars(claims.find(claim, t)) for claim in claims.CLAIMS],
    ],
)  # fmt: skip
def test_rows_thinned_apart_enter_no_other_page(table, make):
    lmi = table.assign(estimator="lmi", mi_bits=table["mi_bits"] / 2)
    both = pd.concat([table, lmi], ignore_index=True)
    alike = both[both["fraction"] == both["fraction_train"]].reset_index(drop=True)
    found, expected = (pd.DataFrame(make(t)).reset_index(drop=True) for t in (both, alike))
    assert len(expected)
    pd.testing.assert_frame_equal(found, expected)
