"""Embeddings that files bring: thinned as `measure` thins, scored as its own models are, and refused in a sentence."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from noise_scaling import cli, counts, datasets, measurements, models, seeds
from noise_scaling.errors import InputError
from noise_scaling.measure import cost, grid
from noise_scaling.measure.brought import file_of, thin
from noise_scaling.measure.run import measure
from noise_scaling.measure.slice import Grid

HOW = {"cell_numbers": [50, 100], "fractions": [1.0, 0.3], "n_test": 250, "n_validation": 60, "progress": False}
ASKED = HOW | {"signal": "obs:bulk_labels", "models": ["obsm:X_own", "pca"], "estimators": ["mixed_ksg"]}


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A file of 700 cells, and the folder of its thinned files, each with what our PCA of 100 of its cells embeds."""
    path = tmp_path_factory.mktemp("mine") / "mine.h5ad"
    cells = datasets.load("pbmc68k").adata
    cells.obsm["X_full"] = np.ones((700, 2))
    cells.layers["scaled"] = cells.X.copy()
    cells.write_h5ad(path)
    for written in thin(path, fractions=HOW["fractions"], output=path.parent / "thin"):
        data = datasets.load(written, signal="obs:bulk_labels")
        split = Grid(data, (), (100,), (1.0,), "small", (), 250, 60, "cpu").split(0)
        pca = models.create("pca", seed=seeds.derive(0, "model", "pca", 100))
        pca.fit(data.take(split.training_cells(100)), data.take(split.validation))
        found = anndata.read_h5ad(written)
        found.obsm["X_own"] = pca.embed(data.counts)
        found[np.random.default_rng(0).permutation(700)].write_h5ad(written)  # rows in another order
    return path


def test_files_hold_the_molecules_that_measure_keeps_and_nothing_of_full_depth(mine):
    data = datasets.load(mine, signal="obs:bulk_labels")
    found = anndata.read_h5ad(file_of(mine.parent / "thin", 0.3, 0))[data.cell_ids]
    seed, ids = seeds.derive(0, "thin", data.stream), {"cell_ids": data.cell_ids, "gene_ids": data.gene_ids}
    assert (counts.thin(data.counts, 0.3, seed=seed, **ids) != found.X).nnz == 0
    assert {"bulk_labels", "phase"} < set(found.obs)
    assert (list(found.obsm), list(found.layers), found.raw) == (["X_own"], [], None)


def test_an_embedding_that_is_pca_of_the_thinned_files_is_measured_as_pca_is(mine, tmp_path):
    asked = ASKED | {"embeddings": mine.parent / "thin", "results": tmp_path}
    table = measure(mine, **asked).set_index(["model", "n_cells", "fraction"])
    same = ["umis_per_cell", "umis_per_cell_train", "mi_bits", "mi_stderr", "n_test", "dims", "seed"]
    for fraction in HOW["fractions"]:
        brought, pca = (table.loc[(model, 100, fraction), same] for model in ("obsm:X_own", "pca"))
        assert brought.to_dict() == pytest.approx(pca.to_dict(), rel=1e-5)
    assert len(table) == 6  # once, at the largest number of cells, where pca has two
    assert set(table["status"]) == {measurements.OK}


def test_a_configuration_of_the_workflow_asks_for_it(mine):
    """Its job knows what `measure` makes of it, and what it needs: PCA at two numbers of cells, it at the last."""
    own = {"dataset": str(mine), "embeddings": str(mine.parent / "thin"), **ASKED}
    del own["progress"]
    config = {"folder": "b", "preset": "small", "device": "auto", "seeds": [0], "estimators": ["mixed_ksg"]}
    (job,) = grid.jobs(grid.check_config(config | {"datasets": {"mine": own}}))
    table = measure(**job.parameters(), progress=False)
    keys = [(key["model"], key["n_cells"], key["fraction"]) for key in job.row_keys()]
    assert sorted(keys) == list(zip(table["model"], table["n_cells"], table["fraction"], strict=True))
    assert cost.request(job, {})["mem_mb"] > 0
    large = [job.name for job in grid.jobs(config | {"large_cells": 60, "datasets": {"mine": own}})]
    assert sum("obsm" in name for name in large) == len(own["fractions"])
    with pytest.raises(InputError, match="is of no use"):
        grid.check_config(config | {"datasets": {"mine": own | {"models": ["pca"]}}})


def test_another_embedding_is_another_unit(mine, tmp_path):
    """What is kept of one is not taken for the other, whatever the files are called."""
    one, keys = ASKED | {"models": ["obsm:X_own"], "fractions": [1], "results": tmp_path / "units"}, []
    for change in (1, -1):
        cells = anndata.read_h5ad(mine)
        cells.obsm["X_own"] = np.random.default_rng(change + 1).standard_normal((700, 3))
        cells.write_h5ad(tmp_path / "mine.h5ad")
        keys.append(measure(tmp_path / "mine.h5ad", **one)["config_hash"].item())  # without a folder: its own
    assert keys[0] != keys[1]


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_any_annotation_of_cells_and_genes_stays(tmp_path):
    """Columns of any kind, and a protein that has a gene's name."""
    obs = pd.DataFrame(
        {"batch": pd.Categorical(["a", "b"] * 10), "note": ["x", None] * 10}, index=[f"c{i}" for i in range(20)]
    )
    obs["passed"] = pd.array([True, None] * 10, dtype="boolean")
    obs["text"] = pd.array(["p", "q"] * 10, dtype="string")
    kinds = ["Gene Expression", "Gene Expression", "Antibody Capture"]
    var = pd.DataFrame({"feature_types": kinds, "id": ["E1", "E2", "A1"]}, index=["CD4", "CD8A", "CD4"])
    with anndata.settings.override(allow_write_nullable_strings=True):
        anndata.AnnData(csr_matrix(np.full((20, 3), 9, np.int32)), obs=obs, var=var).write_h5ad(tmp_path / "mine.h5ad")
    (written,) = thin(tmp_path / "mine.h5ad", fractions=0.5, output=tmp_path / "thin")
    found = anndata.read_h5ad(written)
    assert found.var["id"].tolist() == ["E1", "E2"]
    assert found.obs["batch"].tolist() == ["a", "b"] * 10
    assert set(found.obs) == {"batch", "note", "passed", "text"}


def _spoil(change):
    def spoilt(mine, folder):
        folder.mkdir()
        for source in (mine.parent / "thin").glob("*.h5ad"):
            found = change(anndata.read_h5ad(source))
            found.write_h5ad(folder / source.name)
        return {"embeddings": folder}

    return spoilt


def _hole(found):
    found.obsm["X_own"][:99, 1] = np.nan
    return found


def _twice(found):
    found.obs_names = [found.obs_names[1], *found.obs_names[1:]]
    return found


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_spoil(lambda found: found[:, :5][:690]), r"q1.h5ad lacks \d of 250 test cells, e.g. '\w+-\d': embed all"),
        (_spoil(_hole), r"holds NaN or infinite values in \d\d of 250 test cells"),
        (_spoil(_twice), "has two cells named"),
        (lambda mine, folder: {"models": ["obsm:X_no"], "embeddings": mine.parent / "thin"}, "q1.h5ad has no obsm key"),
        (lambda mine, folder: {"embeddings": folder}, "no file .*q1.h5ad .*noise-scaling thin .*mine.h5ad"),
        (lambda mine, folder: {"embeddings": mine.parent / "thin", "seeds": [1]}, "q0.3_seed1.h5ad .*--seeds 1"),
        (lambda mine, folder: {"models": ["obsm:X_full"]}, "at a fraction of 0.3 needs a file of its own"),
        (lambda mine, folder: {"embeddings": folder, "models": ["pca"]}, "is of no use: name the key"),
        (lambda mine, folder: {"models": ["obsm:"]}, "names no key"),
        (lambda mine, folder: {"models": ["obsm:X_full"], "variant": "train_full_depth"}, "changes nothing in"),
        (lambda mine, folder: {"models": ["obsm:X_own"], "devices": 2}, "train on one"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_a_sentence(mine, spoil, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        measure(mine, **ASKED | spoil(mine, tmp_path / "spoilt"))


def test_rows_that_do_not_fit_the_cells_are_refused(mine, tmp_path):
    import h5py

    anndata.read_h5ad(mine).write_h5ad(tmp_path / "mine.h5ad")
    with h5py.File(tmp_path / "mine.h5ad", "r+") as file:
        del file["obsm/X_full"]
        file["obsm/X_full"] = np.ones((699, 2))
    with pytest.raises(InputError, match="699 rows for 700 cells"):
        measure(tmp_path / "mine.h5ad", **ASKED | {"models": ["obsm:X_full"], "fractions": [1]})


def test_on_the_command_line(tmp_path, capsys):
    """A registered data set has no obsm, but its cells can be written and embedded."""
    words = ["pbmc68k", "--fractions", "1", "0.05", "--seeds", "0", "1", "--output", str(tmp_path)]
    assert cli.main(["thin", *words]) == 0
    names = [line.rpartition("/")[2] for line in capsys.readouterr().out.split()]
    assert names == ["q1.h5ad", "q0.05_seed0.h5ad", "q0.05_seed1.h5ad"]
    full, one, other = (anndata.read_h5ad(tmp_path / name).X for name in names)
    assert (full != datasets.load("pbmc68k").counts).nnz == 0
    assert one.sum() / full.sum() == pytest.approx(0.05, rel=0.02)  # 24,000 of 487,000 molecules: 0.6 % each
    assert (one != other).nnz > 0
    assert cli.main(["thin", "pbmc68k", "--fractions", "2", "--output", str(tmp_path)]) == 2
    assert "must be in (0, 1]" in capsys.readouterr().err
