import json
import os

import numpy as np
import pandas as pd
import pytest
import yaml

from noise_scaling import measurements
from noise_scaling.errors import InputError
from noise_scaling.measure import status
from noise_scaling.measure.run import measure

CONFIG = {
    "folder": "build/nowhere", "preset": "small", "estimators": ["default"], "device": "cpu", "seeds": [0],
    "models": ["random_projection", "pca"],
    "datasets": {"pbmc68k": {"cell_numbers": [50, 100], "fractions": [1, 0.1]}},
}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "sweep.yml"
    path.write_text(yaml.safe_dump(CONFIG | {"folder": str(tmp_path / "run")}))
    return path


@pytest.fixture
def half_done(config, tmp_path):
    """RP is measured at full depth; one of its rows is then made a failure by hand."""
    measure(
        "pbmc68k", models=["random_projection"], cell_numbers=[50, 100], fractions=[1.0], progress=False,
        results=tmp_path / "run" / "units",
    )  # fmt: skip
    for path in (tmp_path / "run" / "units").rglob("*.json"):
        (row,) = json.loads(path.read_text())
        row |= {"train_seconds": 1.0, "mi_seconds": 2.0}
        if row["n_cells"] == 100:
            row |= {"status": "error", "error": "TimeLimit: stopped after 9 s", "mi_bits": float("nan")}
        path.write_text(json.dumps([row]))
    return status.completeness(config)


def test_done_failed_and_missing(half_done):
    """8 measurements: RP at full depth is done at 50 cells and failed at 100, the other 6 are missing."""
    assert half_done["state"].value_counts().to_dict() == {"missing": 6, "done": 1, "failed": 1}
    counts = status.summary(half_done, ["model", "n_cells"])
    assert counts.values.tolist() == [
        ["pca", 50, 0, 0, 2], ["pca", 100, 0, 0, 2],
        ["random_projection", 50, 1, 0, 1], ["random_projection", 100, 0, 1, 1],
    ]  # fmt: skip


def test_time_left_is_that_of_like_measurements(half_done):
    """One RP measurement took 3 s, so the three that are left take 9; of PCA nothing is known."""
    times = status.times(half_done).set_index("model")
    assert times.loc["random_projection", "hours_spent"] == pytest.approx(3 / 3600)
    assert times.loc["random_projection", "hours_left"] == pytest.approx(9 / 3600)
    assert np.isnan(times.loc["pca", "hours_left"])


def test_the_report_is_text_that_names_the_failure(half_done):
    text = status.report(half_done)
    assert text.startswith("1 done, 1 failed, 6 missing of 8 measurements")
    assert "failed 1 times: TimeLimit: stopped after 9 s" in text


def test_training_is_counted_once_for_all_its_estimators():
    row = {name: {str: "x", int: 1, float: 0.5}[kind] for name, kind in measurements.COLUMNS.items()}
    rows = [row | {"estimator": name, "train_seconds": 10.0, "mi_seconds": 1.0} for name in ("default", "lmi")]
    assert status._own_seconds(pd.DataFrame(rows)).tolist() == [6.0, 6.0]


def test_the_newest_of_several_versions_counts(tmp_path):
    """A unit measured anew after a change of its model leaves the old file behind."""
    row = {name: {str: "x", int: 1, float: 0.5}[kind] for name, kind in measurements.COLUMNS.items()}
    for age, (unit, bits) in enumerate([("bb", 2.0), ("aa", 1.0)]):
        measurements.write_unit(tmp_path, unit * 12, [row | {"mi_bits": bits}])
        os.utime(measurements.unit_path(tmp_path, unit * 12), (1e9 - age, 1e9 - age))
    assert status.kept_units([tmp_path])["mi_bits"].tolist() == [2.0]


def test_committed_tables_can_be_asked(config, tmp_path):
    table = measure("pbmc68k", models=["pca"], cell_numbers=[50], fractions=[1.0], progress=False)
    measurements.write(table, tmp_path / "table.csv")
    states = status.completeness([config], tmp_path / "table.csv")["state"]
    assert states.value_counts().to_dict() == {"missing": 7, "done": 1}


def test_a_training_counts_once_whatever_it_served(tmp_path):
    """PCA for two signals and two estimators is one training; a random projection and failed rows are none."""
    row = {name: {str: "x", int: 1, float: 0.5}[kind] for name, kind in measurements.COLUMNS.items()} | {"status": "ok"}
    served = [row | {"model": "pca", "signal": s, "estimator": e} for s in "ab" for e in ("ksg", "lmi")]
    others = [
        row | {"model": "random_projection"},
        row | {"model": "scvi", "status": "error", "error": "ValueError: 0"},
    ]
    measurements.write([*served, *others, row | {"model": "pca", "seed": 2}], tmp_path / "table.csv")
    assert status.trainings(tmp_path / "table.csv").values.tolist() == [["pca", 2]]


def test_counting_by_what_is_no_column(half_done):
    with pytest.raises(InputError, match="cannot count by"):
        status.summary(half_done, ["colour"])


def test_a_sweep_goes_on_from_its_table(tmp_path):
    """Units lost, the table kept: restored, every row is looked up and comes back as it was, clock readings too."""
    slice_ = {"models": ["pca"], "cell_numbers": [50], "fractions": [1], "estimators": ["ksg"], "progress": False}
    slice_ |= {"dataset": "simulated"}
    first = measure(**slice_, results=tmp_path / "units", output=tmp_path / "table.csv")
    assert measurements.restore(measurements.read(tmp_path / "table.csv"), tmp_path / "units") == 0
    assert measurements.restore(measurements.read(tmp_path / "table.csv"), tmp_path / "elsewhere") == 1
    pd.testing.assert_frame_equal(measure(**slice_, results=tmp_path / "elsewhere"), first)
    pd.testing.assert_frame_equal(status.gather([tmp_path / "elsewhere"]), first)
    pd.testing.assert_frame_equal(status.gather([tmp_path / "elsewhere", tmp_path / "table.csv"]), first)
