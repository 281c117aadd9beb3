import base64
import io
import re

import numpy as np
import pandas as pd
import pytest

from noise_scaling import measurements
from noise_scaling.datasets import card
from noise_scaling.measure import cost as measure_cost
from noise_scaling.measure.grid import check_config
from noise_scaling.models import MODELS
from noise_scaling.plots import cost


def rows(seconds, *, model="scvi", estimator="default", names=("pbmc68k", "pbmc10k", "simulated")):
    """A table whose trainings take `seconds(kilogenes, n_cells)`, and whose estimates 2 ms a test cell."""
    blank = {name: {str: "", int: 0, float: 0.5}[kind] for name, kind in measurements.COLUMNS.items()}
    found = []
    for name in names:
        about = card(name)
        for n in (100, 1000, 3000):
            for seed in range(3):
                row = blank | {
                    "dataset": name, "signal": about.signal, "model": model, "preset": "small", "n_cells": n,
                    "seed": seed, "estimator": estimator, "n_test": 500, "mi_seconds": 1.0, "status": "ok",
                    "train_seconds": seconds(about.n_genes / 1000, n) * (50 if seed == 2 else 1),
                }  # fmt: skip
                found.append(row)
    return measurements.sort(found)


@pytest.fixture
def table():
    """3 s, 0.5 s for every thousand genes, and 2 s more for every thousand of them and thousand cells."""
    return rows(lambda g, n: 3 + 0.5 * g + 2 * g * n / 1000)


def test_a_formula_is_found_again(table):
    """Exactly, and past a first unit that took 50 times as long: medians are fitted."""
    fit = measure_cost.fit_training(table).iloc[0]
    assert [fit["fixed"], fit["per_kilogene"], fit["per_cell"]] == pytest.approx([3, 0.5, 2])
    assert fit["largest"] == 3000
    assert measure_cost.training_seconds(fit, 2000, np.array([1e6]))[0] == pytest.approx(3 + 1 + 4000)


def test_no_term_is_negative():
    """Times that fall with cells, which no formula with positive terms can follow, give a constant."""
    fit = measure_cost.fit_training(rows(lambda g, n: 10 - n / 1000)).iloc[0]
    assert fit["per_cell"] == 0
    assert fit["fixed"] > 0


def test_a_grid_is_projected_by_hand(table):
    """One depth and seed of merfish: 483 genes, 10,000 and 1,000 training cells, 15,000 test cells at 2 ms."""
    config = check_config(
        {
            "folder": "x", "preset": "small", "estimators": ["default", "lmi"], "device": "cpu", "seeds": [0],
            "models": ["scvi", "geneformer"],
            "datasets": {"merfish": {"cell_numbers": [1000, 10000], "fractions": [1]}},
        }
    )  # fmt: skip
    hours = measure_cost.project(config, table).set_index("model")
    g = card("merfish").n_genes / 1000
    small, large = 3 + 0.5 * g + 2 * g, 3 + 0.5 * g + 20 * g
    assert hours.loc["scvi", "train_hours"] == pytest.approx((small + large) / 3600)
    assert hours.loc["scvi", "beyond"] == pytest.approx(large / (small + large))
    assert hours.loc["scvi", "estimate_hours"] == pytest.approx(2 * 15_000 * 0.002 / 3600)
    assert np.isnan(hours.loc["geneformer", "train_hours"])
    assert measure_cost.unmeasured_estimators(config, table) == ["lmi"]


def test_trainings_under_two_estimators_are_one(table):
    both = measurements.sort(pd.concat([table, table.assign(estimator="lmi")]))
    pd.testing.assert_frame_equal(measure_cost.training_times(both), measure_cost.training_times(table))


def test_an_atlas_by_hand():
    """10^7 cells of 0.6 x 2,500 + 1 entries at 8 bytes are 120 GB; 256 float32 dimensions of them are 10.24 GB."""
    (found,) = measure_cost.footprint([10**7]).to_dict("records")
    assert found["loaded"] == pytest.approx(10**7 * 1501 * 8 / 1e9)
    assert found["embeddings_256"] == pytest.approx(10.24)
    assert found["tokens"] == pytest.approx(10.24)


def test_times_have_units():
    assert [cost._duration(s) for s in (1e-3, 1, 60, 3600, 86400, 86400 * 30)] == [
        "1 ms", "1 s", "1 min", "1 h", "1 day", "30 days",
    ]  # fmt: skip


def test_days_are_rounded(monkeypatch):
    """20 hours and 20 of estimates are 1.7 days on one core, 0.8 on two."""
    line = {"dataset": "merfish", "model": "scvi", "trainings": 3, "beyond": 0.5}
    table = pd.DataFrame([line | {"train_hours": 20.0, "estimate_hours": 20.0}])
    monkeypatch.setattr(measure_cost, "project", lambda config, measured: table)
    monkeypatch.setattr(measure_cost, "unmeasured_estimators", lambda config, measured: [])
    text = cost.projection(table, "workflow/config/paper.yml").data
    assert "3 trainings, of which 3 by models that were measured: 2 days on one core, 1 on two." in text


def test_jobs_ask_for_their_units_by_hand(tmp_path):
    """Two models at three cell numbers and two depths, each under two estimators: 24 units in the one seed's job."""
    config = tmp_path / "mine.yml"
    config.write_text(
        "folder: x\npreset: small\ndevice: cpu\nseeds: [0]\n"
        "models: [pca, random_projection]\nestimators: [default, lmi]\n"
        "datasets:\n  merfish: {cell_numbers: [100, 300, 1000], fractions: [0.1, 1]}\n"
    )
    html = cost.limits(config).data
    full = pd.read_csv(io.BytesIO(base64.b64decode(re.search(r"base64,([\w+/=]+)", html).group(1))))
    assert full[["dataset", "jobs", "units"]].to_numpy().tolist() == [["merfish", 1, 24]]
    merfish = card(
        "merfish"
    )  # bytes as on the page: the program, all cells as loaded, the job's own thinned and trained
    entries = min(merfish.n_genes, 0.6 * merfish.median_umis) + 1
    own = 1000 + merfish.n_test + merfish.n_validation
    model = MODELS["pca"].bytes_in_training("small", n_genes=merfish.n_genes)
    bytes_asked = 2e9 + 8 * entries * merfish.n_cells + 20 * entries * own + model
    assert full["memory_gb"].item() == pytest.approx(bytes_asked / 1e9, abs=0.001)
    assert full["hours_asked"].item() < 1


def test_the_page_says_what_was_not_measured(table):
    text = cost.projection(table, "workflow/config/paper.yml").data
    assert "Never measured here, and so not counted: Geneformer, PCA, random projection." in text
    assert "Estimates by lmi are not counted" in text
