"""Your own .h5ad: every form of signal, and counts in X or in a layer, dense or sparse."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from noise_scaling import datasets, signals


@pytest.fixture
def load(make_adata, tmp_path):
    def write_and_load(signal, change=lambda adata: None, **kwargs):
        adata = make_adata()
        change(adata)
        path = tmp_path / "mine.h5ad"
        adata.write_h5ad(path)
        return adata, datasets.load(str(path), signal=signal, **kwargs)

    return write_and_load


def test_counts_come_as_they_are(load):
    adata, data = load("obs:type")
    assert (data.counts.toarray() == adata.X.toarray()).all()
    assert data.cell_ids.tolist() == adata.obs_names.tolist()
    assert data.gene_ids.tolist() == adata.var_names.tolist()
    assert data.name == "mine"


@pytest.mark.parametrize("kind", ["csc", "dense", "int64", "explicit zeros"])
def test_counts_may_be_stored_in_any_way(load, kind):
    def change(adata):
        if kind == "explicit zeros":
            adata.X = sp.csr_matrix(adata.X.toarray() + 1)
            adata.X.data -= 1
        else:
            adata.X = {"csc": adata.X.tocsc(), "dense": adata.X.toarray(), "int64": adata.X.astype(np.int64)}[kind]

    _, plain = load("obs:type")
    _, data = load("obs:type", change)
    assert isinstance(data.counts, sp.csr_matrix)
    assert data.counts.dtype == np.int32
    assert (data.counts != plain.counts).nnz == 0
    assert data.data_sha256 == plain.data_sha256


def test_counts_may_be_in_a_layer(load):
    def change(adata):
        adata.layers["counts"] = adata.X.copy()
        adata.X = adata.X.log1p()

    adata, data = load("obs:type", change, layer="counts")
    assert (data.counts != adata.layers["counts"]).nnz == 0


@pytest.mark.parametrize("column", ["type", "day", "flag"])
def test_text_categories_flags_and_whole_numbers_are_labels(load, column):
    adata, data = load(f"obs:{column}", add_flag)
    assert data.signal.kind == "label"
    assert data.signal.values.tolist() == adata.obs[column].astype(str).tolist()


def add_flag(adata):
    adata.obs["flag"] = adata.obs["day"] > 2


def test_other_numbers_are_a_vector(load):
    adata, data = load("obs:score")
    assert data.signal.kind == "vector"
    assert data.signal.values.ravel() == pytest.approx(adata.obs["score"].to_numpy())


def test_many_whole_numbers_are_a_vector(load, make_adata, tmp_path):
    adata = make_adata(n_cells=250)
    adata.obs["umis"] = np.arange(250)
    adata.write_h5ad(tmp_path / "many.h5ad")
    assert datasets.load(str(tmp_path / "many.h5ad"), signal="obs:umis").signal.kind == "vector"


def test_missing_labels_and_numbers_are_not_scored(load):
    def change(adata):
        adata.obs["type"] = adata.obs["type"].astype(object)
        adata.obs.loc["cell3", "type"] = None
        adata.obs["type"] = pd.Categorical(adata.obs["type"])
        adata.obs.loc["cell5", "score"] = np.nan

    _, data = load("obs:type", change)
    assert np.flatnonzero(~signals.test_eligible(data.signal)).tolist() == [3]
    _, data = load("obs:score", change)
    assert np.flatnonzero(~signals.test_eligible(data.signal)).tolist() == [5]


@pytest.mark.parametrize("kind", ["array", "table", "sparse"])
def test_a_matrix_is_a_vector(load, kind):
    def change(adata):
        values = adata.obsm["protein"]
        if kind == "table":
            adata.obsm["protein"] = pd.DataFrame(values, index=adata.obs_names, columns=["CD3", "CD4", "CD8"])
        elif kind == "sparse":
            adata.obsm["protein"] = sp.csr_matrix(values)

    adata, data = load("obsm:protein", change)
    expected = adata.obsm["protein"]
    expected = expected.toarray() if sp.issparse(expected) else np.asarray(expected)
    assert data.signal.values == pytest.approx(expected)


def test_clones_with_and_without_time(load):
    adata, data = load("pairs:clone")
    assert len(np.unique(data.signal.values)) == 10
    first, second = signals.pairs(data.signal, np.arange(30), seed=0)
    assert len(first) == 10
    assert (adata.obs["clone"].to_numpy()[first] == adata.obs["clone"].to_numpy()[second]).all()
    _, data = load("pairs:clone,day")
    first, second = signals.pairs(data.signal, np.arange(30), seed=0)
    assert (adata.obs["day"].to_numpy()[second] > adata.obs["day"].to_numpy()[first]).all()


@pytest.mark.parametrize("missing", [None, "", -1])
def test_cells_without_a_clone_are_no_clone(load, missing):
    def change(adata):
        if missing == -1:
            adata.obs["clone"] = np.where(np.arange(30) < 10, -1, np.arange(30) // 3)
        else:
            adata.obs["clone"] = pd.Categorical([missing if i < 10 else f"c{i // 3}" for i in range(30)])

    _, data = load("pairs:clone", change)
    assert (data.signal.values[:10] == -1).all()
    assert (data.signal.values[12:] >= 0).all()


def test_space_with_and_without_sections(load):
    adata, data = load("space:obsm/spatial")
    assert data.signal.is_spatial
    assert data.signal.values == pytest.approx(adata.obsm["spatial"])
    _, data = load("space:obsm/spatial,section")
    first, second = signals.pairs(data.signal, np.arange(30), seed=0)
    assert (adata.obs["section"].to_numpy()[first] == adata.obs["section"].to_numpy()[second]).all()


def test_the_card_is_made_from_what_is_found(load):
    adata, data = load("obs:type")
    card = data.card
    assert (card.n_cells, card.n_genes, card.signal) == (30, 8, "obs:type")
    assert card.median_umis == np.median(adata.X.toarray().sum(axis=1))
    assert card.n_test == 10
    assert card.n_test + card.n_validation + max(card.cell_numbers) == 30


def test_no_more_test_cells_are_proposed_than_half_of_those_that_have_the_signal(load):
    def change(adata):
        adata.obs["clone"] = ["a"] * 6 + [f"c{i}" for i in range(24)]

    _, data = load("pairs:clone", change)
    assert data.card.n_test == 3
