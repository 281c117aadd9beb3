"""Reading and learning: against covariances of a linear model, and against truths that are known."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling import measurements
from noise_scaling.laws import apart
from noise_scaling.laws.apart import FORMS, Factorial

TRUTH = {"v0": 0.02, "r": 0.6, "a": 1.0, "l": 0.05, "x": 0.8, "s": 0.5, "k": 0.7}
"""Over the middle of the grid below: 300 cells, 100 UMIs."""
N, U = np.array([30.0, 95, 300, 950, 3000]), np.geomspace(10, 1000, 6)


def theta(**changed) -> np.ndarray:
    values = np.array([(TRUTH | changed)[p] for p in apart.PARAMETERS])
    return np.where(apart._LOGARITHMIC, np.log(np.maximum(values, 1e-17)), values)[None]


def factorial(
    form: str = "both", seeds: int = 5, noise: float = 0.0, seed: int = 0, key=("d", "s", "m", "p", "e"), **changed
):
    at = np.array(np.meshgrid(N, U, U, indexing="ij")).reshape(3, -1)
    middle = np.array([300.0, 100, 100])[:, None]
    bits = FORMS[form].bits(theta(**changed), tuple(at / middle))
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, noise / 2, (seeds, 1))  # a seed's split moves all of its points
    return Factorial(key, at, bits + shared + rng.normal(0, noise, (seeds, at.shape[1])))


@pytest.mark.any_machine
def test_a_direction_learnt_at_an_angle_lets_in_noise_and_other_differences():
    # x = z d + w e + counting noise, read along cos d + sin e: information from the covariances alone
    other, counted, angle = 0.3, 0.4, 0.5
    along = np.cos(angle) ** 2 + np.sin(angle) ** 2 * other + counted
    bits = -0.5 * np.log2(1 - np.cos(angle) ** 2 / along)
    gap = np.tan(angle) ** 2
    few = gap**-2  # of them the shortfall is n^-0.5
    law = FORMS["both"].bits(
        theta(v0=1e-17, r=counted, l=other, x=1, k=1e-17), (np.array([[few]]), *np.ones((2, 1, 1)))
    )
    assert law == pytest.approx(np.array([[bits]]), rel=1e-9)


def test_forms_that_join_otherwise():
    at = tuple(np.ones((3, 1, 1)))
    bits = {
        form: FORMS[form].bits(theta(v0=0.1, r=0.2, l=0.5, k=1.0), at).item()
        for form in ("sum", "product", "bottleneck")
    }
    ratio = {form: 1 / (2 ** (2 * b) - 1) for form, b in bits.items()}
    assert ratio["product"] == pytest.approx(1.3 * 2 - 1)
    assert ratio["bottleneck"] == pytest.approx(1.0)
    few = FORMS["molecules"].bits(theta(), tuple(np.array([8.0, 1, 1])[:, None, None]))
    shallow = FORMS["molecules"].bits(theta(), tuple(np.array([1.0, 8, 1])[:, None, None]))
    assert few == pytest.approx(shallow)


def test_the_truth_is_recovered_and_chosen():
    data = factorial(seeds=1)
    fit = apart.fit(data, FORMS["both"])
    np.testing.assert_allclose(fit.theta, theta(), rtol=1e-3, atol=1e-3)
    assert fit.learning_depth == pytest.approx(70, rel=1e-2)
    # by hand: the best model's floor and slope in 1/u are those of its shortfall, and u_bar is their ratio
    gap = 10**-0.5 * (1 + 0.7 / 10)
    u_bar = 100 * 0.6 * (1 + 0.8 * gap) / (0.02 + 0.05 * gap)
    assert fit.reading_depth == pytest.approx(u_bar, rel=0.02)
    at = np.array([[3000.0], [100], [100]])
    v = [
        0.02 + 0.05 * gap + 0.6 * (1 + 0.8 * gap) * doubled
        for gap, doubled in ((10**-0.5 * 1.7, 1), (10**-0.5 * 1.7, 2))
    ]
    assert fit.lost("u_test", at) == pytest.approx(0.5 * np.log2((1 + 1 / v[0]) / (1 + 1 / v[1])), abs=1e-4)
    assert fit.residual_sd < 1e-4


def test_the_law_behind_the_data_is_best_or_ties_and_the_one_that_errs_least_is_chosen():
    keys = [(d, "s", "m", "p", "e") for d in "abc"]
    found = apart.compare(factorial("sum", 2, 0.02, i, key, x=1e-17) for i, key in enumerate(keys)).set_index("form")
    assert found.loc[["reading", "cells", "molecules"], "verdict"].tolist() == ["worse"] * 3
    assert found.loc["sum", "verdict"] in ("best", "a tie")
    assert found.loc["both", "verdict"] in ("best", "a tie")  # it holds the sum
    assert apart.chosen(found.reset_index()) == found["error"].idxmin()
    assert found.loc["sum", "error"] == pytest.approx(0.015, abs=0.01)  # the noise of a mean of two seeds


def test_bits_per_halving_are_steps_of_the_grid():
    # bits linear in the logarithms: every step is the slope; a loss of learning at few cells alone is not counted
    at = np.array(np.meshgrid(N, U, U, indexing="ij")).reshape(3, -1)
    bits = 0.1 * np.log2(at[0]) + 0.2 * np.log2(at[1]) + 0.3 * np.log2(at[2]) - 5 * (at[0] < 300)
    found = apart.per_halving(Factorial(("d", "s", "m", "p", "e"), at, bits[None]))
    assert found == pytest.approx({"n": 0.1, "u_train": 0.2, "u_test": 0.3})


def test_intervals_hold_the_truth():
    at = np.array([[3000.0], [100], [100]])
    true = {axis: apart.fit(factorial(seeds=1), FORMS["both"]).lost(axis, at)[0, 0] for axis in apart.HALVED}
    held = []
    for seed in range(12):
        fit = apart.fit(factorial("both", 5, 0.05, seed), FORMS["both"])
        for axis, value in true.items():
            _, low, high = apart.jackknife(fit.lost(axis, at)[:, 0])
            held.append(low <= value <= high)
    assert np.mean(held) >= 0.9


def test_one_seed_has_no_interval():
    value, low, high = apart.jackknife(np.array([[1.0]]))
    assert value == 1
    assert np.isnan([low, high]).all()


def rows() -> pd.DataFrame:
    head = {"dataset": "pbmc10k", "signal": "protein", "model": "pca", "preset": "small", "estimator": "default"}
    return measurements.sort([
        measurements.BLANK | head | {"status": "ok", "n_cells": n, "fraction": q, "fraction_train": w, "seed": seed}
        | {"umis_per_cell": 1000 * q + seed, "umis_per_cell_train": 1000 * w, "mi_bits": 1 + q + w}
        for n in (100, 1000) for q in (1, 0.5, 0.1) for w in (1, 0.5, 0.1) for seed in (0, 1, 2)
        if (n, q, w, seed) != (100, 1, 1, 2)
    ])  # fmt: skip


def test_the_points_of_a_table():
    (found,) = apart.factorials(rows())
    assert found.key[:3] == ("pbmc10k", "protein", "pca")
    assert found.bits.shape == (2, 18)  # the third seed lacks a point
    np.testing.assert_allclose(sorted(set(found.at[2])), [101, 501, 1001], atol=0.1)  # depths are means over seeds
    assert set(found.at[1]) == {100, 500, 1000}
    _, w, u = found.at
    np.testing.assert_allclose(found.bits[0], 1 + (u - 1) / 1000 + w / 1000, atol=1e-4)
    assert list(apart.factorials(rows().query("fraction_train == fraction"))) == []
