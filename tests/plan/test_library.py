"""Saturation against closed forms and 10x's own numbers; whose UMIs a table counts."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import lambertw

from noise_scaling import datasets
from noise_scaling.errors import InputError
from noise_scaling.plan import library


@pytest.mark.parametrize("saturation", [1e-6, 0.1, 0.5, 0.9, 0.99])
def test_molecules_of_a_library_are_lamberts(saturation):
    # (1 - exp(-x)) / x = 1 / c with c = 1 / (1 - S) has the solution x = c + W(-c exp(-c))
    c = 1 / (1 - saturation)
    x = c + lambertw(-c * np.exp(-c)).real
    found = library.library(saturation, reads=1e4)
    assert found.molecules == pytest.approx(1e4 / x, rel=1e-4 if saturation < 1e-3 else 1e-9)
    assert found.saturation(1e4) == pytest.approx(saturation, abs=1e-12)


def test_saturation_is_what_10x_reports():
    # their worked example (pbmc_1k_v3): 10,196,940 unique of 34,982,401 reads are a saturation of 0.7085123
    found = library.library(0.7085123, reads=34_982_401)
    assert found.umis(34_982_401) == pytest.approx(10_196_940, rel=1e-6)
    assert library.library(0.7085123, umis=10_196_940).molecules == pytest.approx(found.molecules, rel=1e-6)


@pytest.mark.parametrize("shape", [0.5, 3.0, np.inf])
def test_reads_and_umis_are_inverse_and_bounded(shape):
    found, reads = library.Library(3000.0, shape), np.array([1.0, 100, 2000, 10_000])
    assert found.reads(found.umis(reads)) == pytest.approx(reads, rel=1e-9)
    assert found.umis(np.inf) == pytest.approx(found.molecules)
    assert found.reads(found.molecules * 1.1) == np.inf
    assert library.library(0, reads=10).umis(123.0) == 123.0


@pytest.mark.parametrize("saturation", [-0.1, 1.0, 60.0, np.nan])
def test_a_saturation_that_is_no_share_is_refused(saturation):
    with pytest.raises(InputError, match="share from 0 to below 1"):
        library.library(saturation, reads=100)


@pytest.mark.parametrize("shape", [1.5, np.inf])
def test_a_curve_of_cell_ranger_gives_the_library_back(shape, tmp_path):
    truth, reads = library.Library(9000.0, shape), np.array([2000, 5000, 12_000, 30_000])
    seen = [f"{100 * s:.6f}%" for s in truth.saturation(reads * 0.8)]
    columns = {"Mean Reads per Cell": [f"{r:,}" for r in reads], "Sequencing Saturation": seen}
    pd.DataFrame(columns).to_csv(tmp_path / "metrics_summary.csv", index=False)
    found = library.fitted_library(tmp_path / "metrics_summary.csv", 0.8)
    assert found.molecules == pytest.approx(9000, rel=1e-3)
    assert found.umis(50_000) == pytest.approx(float(truth.umis(50_000)), rel=1e-4)
    pd.DataFrame({"reads": [1000.0], "saturation": [0.4]}).to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(InputError, match="ends in 'reads per cell'"):
        library.fitted_library(tmp_path / "one.csv", 1.0)
    pd.DataFrame({"reads_per_cell": [1000.0], "saturation": [0.4]}).to_csv(tmp_path / "one.csv", index=False)
    assert library.fitted_library(tmp_path / "one.csv", 1.0).saturation(1000.0) == pytest.approx(0.4)
    pd.DataFrame({"reads_per_cell": [1000.0], "saturation": [40]}).to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(InputError, match="saturations above 0 and below 1"):
        library.fitted_library(tmp_path / "one.csv", 1.0)


def test_the_library_behind_a_panel():
    card = datasets.card("pbmc68k")
    assert library.panel("pbmc68k", None, 690.0) == (card.library_umis / card.median_umis, [])
    factor, said = library.panel("pbmc10k", None, 1100.0)
    assert factor == 1
    assert "taken for the whole library" in said[0]
    assert library.panel("pbmc10k", 5500.0, 1100.0) == (5.0, [])
    with pytest.raises(InputError, match="cannot have 1,100 counted of it"):
        library.panel("pbmc10k", 500.0, 1100.0)


@pytest.mark.parametrize("name", ["merfish", "merfish_poa", "xenium_breast", "seqfish_embryo"])
def test_imaging_has_no_price_of_reads(name):
    with pytest.raises(InputError, match="fields of view and rounds, no reads"):
        library.refuse_imaging(name)
    library.refuse_imaging("pbmc")
