"""Choices on grids whose truth is known: an exact law loses nothing, and its promise is kept."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling import laws, measurements
from noise_scaling.plan import backtest

N = (100, 215, 464, 1000, 2154, 4641, 10_000)
U = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
BLANK = {str: "", int: 0, float: 0.0}


def table(noise: float = 0.0, **law) -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for n in N:
        for u in U:
            key = {"dataset": "toy", "signal": "s", "model": "scvi", "preset": "p", "estimator": "lmi", "status": "ok"}
            values = {"n_cells": n, "fraction": u / 3000, "umis_per_cell": u}
            bits = float(laws.noise_budget(n, u, **law)) + noise * rng.normal()
            blank = {name: BLANK[kind] for name, kind in measurements.COLUMNS.items()}
            rows.append(blank | key | values | {"mi_bits": bits})
    return measurements.sort(rows)


@pytest.mark.parametrize(
    ("law", "rule"),
    [
        ({"v0": 0.01, "v1": 30, "v2": 0.0, "v3": 1.0, "s": 0.3}, "deepest"),  # cells change next to nothing
        ({"v0": 0.01, "v1": 0.01, "v2": 5.0, "v3": 0.0, "s": 0.5}, "most_cells"),  # depth does
    ],
)
def test_an_exact_law_chooses_the_best_and_the_wrong_rule_does_not(law, rule):
    made = backtest.choices(table(**law), prices=(0.1,))
    assert len(made) >= 3
    assert made["regret_law"].max() < 1e-6
    assert made[f"regret_{rule}"].max() < 0.02
    assert made[f"regret_{'most_cells' if rule == 'deepest' else 'deepest'}"].min() > 0.1
    assert made["promised"].to_numpy() == pytest.approx(made["measured"].to_numpy(), abs=1e-4)


def test_the_summary_counts_and_averages():
    law = {"v0": 0.01, "v1": 30, "v2": 3.0, "v3": 100.0, "s": 0.4}
    made = backtest.choices(table(noise=0.02, **law))
    score = backtest.summary(made)
    assert list(score.index) == [*sorted(set(made["price"])), "all"]
    assert score.loc["all", "choices"] == len(made)
    assert abs(score.loc["all", "off_mean"]) < 0.1
    assert score.loc["all", "regret_law"] == pytest.approx(made["regret_law"].mean())


def test_a_grid_without_room_for_a_pilot_gives_no_choice():
    small = table(v0=0.01, v1=30, v2=3.0, v3=100.0, s=0.4).query("n_cells <= 464 and umis_per_cell >= 300")
    assert backtest.choices(small).empty
