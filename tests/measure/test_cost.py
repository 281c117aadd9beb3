import base64
import io
import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from noise_scaling import measurements
from noise_scaling.datasets import card
from noise_scaling.measure import cost as measure_cost
from noise_scaling.measure.grid import check_config, jobs
from noise_scaling.models import MODELS
from noise_scaling.plots import cost, style


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
                    "seed": seed, "estimator": estimator, "device": "cpu", "n_test": 500, "mi_seconds": 1.0,
                    "status": "ok", "train_seconds": seconds(about.n_genes / 1000, n) * (50 if seed == 2 else 1),
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
    expected = (small + large) / 3600 / MODELS["scvi"].gpu_speedup["small"]
    assert hours.loc["scvi", "card_hours"] == pytest.approx(expected)
    assert hours["rests_on"].to_dict() == {"scvi": "rows", "geneformer": "bound"}
    bound = 20 + 0.09 * (0.6 * card("merfish").median_umis + 1) / 512 * 3e4  # at either N: the preset's 400 steps
    assert hours.loc["geneformer", "train_hours"] == pytest.approx(2 * bound / 3600)
    assert measure_cost.unmeasured_estimators(config, table) == ["lmi"]


def test_a_preset_is_chosen_and_the_same_settings_are_the_same_preset(table):
    """PCA's published settings are its small ones, whose rows are known; scVI's are not, and its bound is counted."""
    config = check_config(
        {
            "folder": "x", "preset": "published", "estimators": ["default"], "device": "cpu", "seeds": [0],
            "models": ["scvi", "pca"], "datasets": {"merfish": {"cell_numbers": [1000], "fractions": [1, 0.1]}},
        }
    )  # fmt: skip
    both = measurements.sort(pd.concat([table, rows(lambda g, n: 0.5, model="pca")]))
    hours = measure_cost.project(config, both).set_index("model")
    assert hours["rests_on"].to_dict() == {"scvi": "bound", "pca": "rows"}
    assert hours["train_hours"].to_dict() == pytest.approx(
        {"scvi": 2 * (20 + 4e-4 * card("merfish").n_genes / 1000 * 1e7) / 3600, "pca": 2 * 0.5 / 3600}
    )
    small = measure_cost.project(config, both, preset="small").set_index("model")
    assert small["rests_on"].to_dict() == {"scvi": "rows", "pca": "rows"}


def test_a_job_asks_for_each_training_once_and_less_on_several_cards():
    """120 s for the depth; 20 s and 4e-4 for each thousand genes of 1e7 cells; 25 an estimate of 1,000 test cells."""

    def minutes(**own):
        config = {
            "folder": "x", "preset": "published", "estimators": ["default"], "device": "cpu", "seeds": [0],
            "models": ["scvi"], "datasets": {"merfish": {"cell_numbers": [100], "fractions": [1], "n_test": 2000}},
        } | own  # fmt: skip
        return [measure_cost.runtime_minutes(job) for job in jobs(check_config(config))]

    scvi = 20 + 4e-4 * card("merfish").n_genes / 1000 * 1e7
    assert minutes() == [math.ceil((120 + scvi + 50) / 60)]
    assert minutes(estimators=["default", "lmi"]) == [math.ceil((120 + scvi + 100) / 60)]
    one = 20 + 0.09 * (0.6 * card("merfish").median_umis + 1) / 512 * 3e4
    geneformer = {"models": ["geneformer"], "preset": "small"}
    assert minutes(**geneformer, devices=4) == [math.ceil((120 + one / (1 + 3 * 0.7) + 50) / 60)]
    assert minutes(models=["scvi", "geneformer"], preset="small", devices=4) == [
        math.ceil((120 + one / (1 + 3 * 0.7) + 20 + 4e-4 * card("merfish").n_genes / 1000 * 5e5 + 100) / 60)
    ]


def test_the_page_says_whether_a_card_was_measured(tmp_path, monkeypatch):
    """A step of 120 ms on a core and 3 on the card: 40 times as fast."""
    monkeypatch.setattr("noise_scaling.paths.ROOT", tmp_path)
    assert "No card has been measured: what is used is assumed." in cost.cards().data
    (tmp_path / "benchmarks/results").mkdir(parents=True)
    steps = [{"model": "scvi", "preset": "published", "cpu": 0.12, "cuda": 0.003}]
    found = {"devices": {"cuda": {"name": "NVIDIA H100"}}, "speedups": steps}
    (tmp_path / "benchmarks/results/gpu_check.json").write_text(json.dumps(found))
    assert "Measured on NVIDIA H100." in cost.cards().data
    _, table = measure_cost.card_speed()
    table = table.set_index(["model", "preset"])
    assert table.loc[("scvi", "published"), ["core_ms", "card_ms", "measured"]].tolist() == pytest.approx([120, 3, 40])
    assert np.isnan(table.loc[("geneformer", "small"), "measured"])


def test_trainings_under_two_estimators_are_one(table):
    both = measurements.sort(pd.concat([table, table.assign(estimator="lmi")]))
    pd.testing.assert_frame_equal(measure_cost.training_times(both), measure_cost.training_times(table))


def test_an_atlas_by_hand():
    """10^7 cells of 0.6 x 2,500 + 1 entries at 8 bytes are 120 GB; 256 float32 dimensions of them are 10.24 GB."""
    (found,) = measure_cost.footprint([10**7]).to_dict("records")
    assert found["loaded"] == pytest.approx(10**7 * 1501 * 8 / 1e9)
    assert found["embeddings_256"] == pytest.approx(10.24)
    assert found["tokens"] == pytest.approx(10.24)


def test_a_projection_calls_models_by_its_own_preset(table):
    """Not by that of the rows, of which none is of the published Geneformer."""
    with style.presets(pd.concat([table, rows(lambda g, n: 1 + n, model="geneformer")])):
        shown = [cost.projection(table, "workflow/config/paper.yml", name).data for name in ("", "published", "small")]
    assert ["small Geneformer" in text for text in shown] == [False, False, True]


def test_few_points_and_times_that_do_not_grow_have_no_line(table):
    """Two data sets of three medians each are too few, four are enough; and a constant is no projection."""
    names = ("merfish", "pbmc68k", "larry", "pbmc")
    few, grows = rows(lambda g, n: 3 + n, model="nmf"), rows(lambda g, n: 3 + n, names=names)
    flat = rows(lambda g, n: 10 - n / 1000, names=names, model="pca")
    axes = cost.training_figure(pd.concat([few, grows, flat])).axes[0]
    lines = [line.get_color() for line in axes.lines if line.get_linestyle() != "None"]
    assert lines == [style.colour("scvi")] * 2


def test_times_have_units():
    assert [cost._duration(s) for s in (1e-3, 1, 60, 3600, 86400, 86400 * 30)] == [
        "1 ms", "1 s", "1 min", "1 h", "1 day", "30 days",
    ]  # fmt: skip


def test_days_are_rounded(monkeypatch):
    """40 hours are 1.7 days."""
    line = {"dataset": "merfish", "model": "scvi", "trainings": 3, "beyond": 0.5, "rests_on": "rows"}
    table = pd.DataFrame([line | {"train_hours": 40.0, "card_hours": 4.0, "estimate_hours": 20.0}])
    monkeypatch.setattr(measure_cost, "project", lambda config, measured, *, preset: table)
    monkeypatch.setattr(measure_cost, "unmeasured_estimators", lambda config, measured: [])
    text = cost.projection(table, "workflow/config/paper.yml").data
    assert "3 trainings with the published presets: 2 days on one core, 0 where a card trains the networks" in text
    assert "and 1 days of estimates on one core." in text


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
    estimates = 24 * 25 * merfish.n_test / 1000
    assert full["hours_asked"].item() == pytest.approx((2 * 120 + 12 * 2 + estimates) / 3600, abs=0.03)


def test_the_page_says_what_was_not_measured(table):
    text = cost.projection(table, "workflow/config/paper.yml").data
    assert "No row holds the seconds of scVI, Geneformer, PCA, random projection with this preset: the bound" in text
    small = cost.projection(table, "workflow/config/paper.yml", "small").data
    assert "No row holds the seconds of small Geneformer, PCA, random projection with this preset" in small
    assert "Estimates by lmi are not counted" in text
