"""What sweeps have measured so far goes to the committed table job by job."""

import json
import runpy

import pandas as pd
import pytest
import yaml

from noise_scaling import measurements
from noise_scaling.errors import InputError


@pytest.fixture
def keep(root, tmp_path):
    """A function that runs workflow/scripts/keep.py on a folder of tables, and gives the rows of campaign.csv."""
    script = runpy.run_path(str(root / "workflow/scripts/keep.py"))
    main = script["main"]
    main.__globals__.update(ROOT=tmp_path, FOLDER=tmp_path / "tables")
    config = {
        "folder": "build", "preset": "small", "device": "cpu", "seeds": [0, 1], "models": ["pca"],
        "estimators": ["default"],
        "datasets": {name: {"cell_numbers": [100], "fractions": [1]} for name in ("pbmc68k", "simulated")},
    }  # fmt: skip
    (tmp_path / "sweep.yml").write_text(yaml.safe_dump(config))

    def run():
        main(str(tmp_path / "sweep.yml"))
        return measurements.read(tmp_path / "tables/campaign.csv")

    return run


def add(root, path, name, seed, **changes):
    """One row of a committed table, at another path."""
    table = measurements.read(root / "data/measurements/demo.csv")
    row = table[(table["dataset"] == name) & (table["model"] == "pca") & (table["n_cells"] == 100)].iloc[[0]]
    path.parent.mkdir(parents=True, exist_ok=True)
    measurements.write(row.assign(seed=seed, **changes), path)


def of(table):
    return list(zip(table["dataset"], table["seed"], strict=True))


def test_what_is_done_is_kept_job_by_job(root, tmp_path, keep):
    slices = tmp_path / "build/slices/protocol"
    add(root, slices / "simulated_seed1_cpu.csv", "simulated", 1)
    assert of(keep()) == [("simulated", 1)]
    about = tmp_path / "tables/campaign.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"gpu": "a card", "rows": 99}))
    add(root, slices / "pbmc68k_seed1_cpu.csv", "pbmc68k", 1)
    (slices / "simulated_seed1_cpu.csv").unlink()  # as on another machine: its rows stay
    assert of(keep()) == [("pbmc68k", 1), ("simulated", 1)]
    kept = json.loads(about.read_text())
    assert (kept["rows"], kept["gpu"]) == (2, "a card")


def test_a_curve_takes_the_place_of_its_own_former_rows_alone(root, tmp_path, keep):
    add(root, tmp_path / "tables/campaign.csv", "simulated", 1, mi_bits=7)
    before = measurements.read(tmp_path / "tables/campaign.csv")
    deeper, model, cells = before.assign(fraction=0.5), before.assign(model="scvi"), before.assign(n_cells=200)
    measurements.write(pd.concat([before, deeper, model, cells]), tmp_path / "tables/campaign.csv")
    add(root, tmp_path / "build/slices/protocol/simulated_seed1_cpu.csv", "simulated", 1, mi_bits=1)
    kept = keep()
    found = zip(kept["model"], kept["n_cells"], kept["mi_bits"], strict=True)
    assert sorted(found) == [("pca", 100, 1), ("pca", 200, 7), ("scvi", 100, 7)]


def test_nothing_done_is_a_sentence(keep):
    with pytest.raises(InputError, match="no job is done yet"):
        keep()
