"""Cells on disk and cells in memory go one road: the same rows, whichever way they came."""

import numpy as np
import pandas as pd
import pytest

from noise_scaling import datasets
from noise_scaling.counts import count_store
from noise_scaling.errors import InputError
from noise_scaling.measure.run import measure

MODELS = ["random_projection", "pca", "scvi", "geneformer"]
ASK = {"signal": "obs:s", "n_test": 60, "n_validation": 30, "estimators": ["ksg"], "progress": False}
ASK |= {"cell_numbers": [40, 150], "fractions": [1, 0.3]}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    data = datasets.simulate(260, 60, seed=1)
    adata = data.adata.copy()
    adata.obs["s"] = data.signal.values[:, 0]
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.fixture
def counts_on_disk(monkeypatch, tmp_path):
    """The data set stays on disk; training sets still come into memory, as small ones do."""
    monkeypatch.setenv("NOISE_SCALING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("noise_scaling.datasets.own_counts.is_small", lambda _: False)


def without_times(table):
    return table[[name for name in table if "seconds" not in name]]


@pytest.mark.parametrize("variant", ["", "test_full_depth", "train_full_depth"])
def test_rows_are_the_same_to_the_bit(path, counts_on_disk, monkeypatch, tmp_path, variant):
    ask = ASK | {"models": MODELS[:2] if variant else MODELS, "variant": variant, "preset": "small"}
    if not variant:
        ask |= {"variant": "fixed_steps_3", "models": MODELS[2:]}
    found = measure(path, results=tmp_path / "results", **ask)
    assert (found["status"] == "ok").all()
    assert not [path for path in (tmp_path / "results" / "thinned").iterdir() if path.is_dir()]
    with monkeypatch.context() as patch:
        patch.setattr("noise_scaling.datasets.own_counts.is_small", lambda _: True)
        pd.testing.assert_frame_equal(without_times(found), without_times(measure(path, **ask)))


def test_training_from_disk_gives_the_same_projections_and_all_models_work(path, counts_on_disk, monkeypatch, tmp_path):
    """PCA sums in another order, scVI takes its cells in another; Geneformer's medians are within 0.2 %."""
    ask = ASK | {"models": MODELS, "variant": ""}
    small = measure(path, **ask | {"models": MODELS[:2]})
    monkeypatch.setattr(count_store, "IN_MEMORY_BELOW", 0)
    for changes in ({"models": MODELS[:2]}, {"models": MODELS[2:], "variant": "fixed_steps_3"}):
        found = measure(path, results=tmp_path / "results", workers=2, **ask | changes)
        assert (found["status"] == "ok").all()
        if changes["models"] == MODELS[:2]:
            exact = ["umis_per_cell", "umis_per_cell_train", "config_hash", "n_test"]
            pd.testing.assert_frame_equal(found[exact], small[exact])
            projected = small["model"] == "random_projection"
            assert (found["mi_bits"] == small["mi_bits"])[projected].all()
            np.testing.assert_allclose(found["mi_bits"], small["mi_bits"], atol=0.01)
    assert not [path for path in (tmp_path / "results" / "thinned").iterdir() if path.is_dir()]


def test_a_finished_run_thins_nothing(path, counts_on_disk, monkeypatch, tmp_path):
    ask = ASK | {"models": ["random_projection"], "results": tmp_path / "results"}
    first = measure(path, **ask)
    monkeypatch.setattr("noise_scaling.measure.pools.thin_to_disk", None)
    pd.testing.assert_frame_equal(measure(path, **ask), first)


def test_a_disk_without_room_is_an_error_row(path, counts_on_disk, monkeypatch, tmp_path):
    monkeypatch.setattr("noise_scaling.counts.thinned_store._SPARE", 1 << 60)
    found = measure(path, **ASK | {"models": ["random_projection"], "results": tmp_path / "results"})
    assert (found["status"] == "error").all()
    assert found["error"].str.contains("GB free: free some").all()


def test_thinning_that_needs_all_cells_at_once_is_refused(path, counts_on_disk):
    with pytest.raises(InputError, match="'thin_per_gene' needs all cells in memory and the counts of 'cells' stay on"):
        measure(path, **ASK | {"models": ["pca"], "variant": "thin_per_gene"})
