"""The small real data sets: shapes and counts as their publications and this project's design state them."""

import numpy as np
import pytest
import scanpy
import scipy.sparse as sp

from noise_scaling import datasets, signals
from noise_scaling.datasets import sources
from noise_scaling.datasets.reading import integers, unscale_rows
from noise_scaling.errors import InputError


def depth(data):
    return np.asarray(data.counts.sum(axis=1)).ravel()


@pytest.fixture
def pbmc68k(load_small):
    return load_small("pbmc68k")


def test_pbmc68k_counts_give_back_the_values_they_came_from(pbmc68k):
    source = scanpy.datasets.pbmc68k_reduced()
    totals = source.obs["n_counts"].to_numpy()[:, None]
    again = np.log1p(pbmc68k.counts.toarray() / totals * 1e4)
    assert np.abs(again - source.raw.X.toarray()).max() < 1e-3  # the source keeps three decimals of the logarithm
    assert pbmc68k.adata.uns["largest_deviation"] == pytest.approx(0.0815, abs=1e-4)
    assert pbmc68k.counts.max() == 259


def test_pbmc68k_has_its_labels(pbmc68k):
    assert (pbmc68k.n_cells, pbmc68k.n_genes) == (700, 765)
    labels, sizes = np.unique(pbmc68k.signal.values, return_counts=True)
    assert len(labels) == 10
    assert dict(zip(labels, sizes, strict=True))["Dendritic"] == 240
    assert pbmc68k.cell_ids[0] == "AAAGCCTGGCTAAC-1"


def test_the_same_data_have_the_same_sha256_and_other_signals_another(pbmc68k, load_small):
    assert datasets.load("pbmc68k").data_sha256 == pbmc68k.data_sha256
    both = {load_small("worm_embryo", signal=name).data_sha256 for name in ("time.point", "embryo.time")}
    assert len(both) == 2


@pytest.mark.parametrize(
    "name",
    [
        "pbmc68k", "pbmc10k", "larry_subset", "merfish_poa", "worm_embryo", "simulated", "xenium_breast",
        "merfish_hypothalamus", "seqfish_embryo", "citeseq_pbmc49", "citeseq_cbmc", "citeseq_inhouse", "pbmc_facs",
        "cell_mixtures", "rna_mixtures", "cell_lines5", "a549_dex", "fucci",
    ],
)  # fmt: skip
def test_a_card_says_what_is_loaded(name, load_small):
    data = load_small(name)
    card = data.card
    assert (data.n_cells, data.n_genes) == (card.n_cells, card.n_genes)
    assert np.median(depth(data)) == pytest.approx(card.median_umis, abs=1)
    assert card.fractions[-1] * depth(data).mean() == pytest.approx(10, rel=0.01)
    assert isinstance(data.counts, sp.csr_matrix)
    assert data.counts.dtype == np.int32
    assert data.counts.data.min() >= 1
    assert data.counts.has_sorted_indices
    assert signals.test_eligible(data.signal).sum() >= card.n_test
    assert len(data.signal.values) == data.n_cells


def test_pbmc10k_has_fourteen_proteins(load_small):
    data = load_small("pbmc10k")
    assert data.signal.values.shape == (6855, 14)
    # First cell, first protein of the file: 7 counts of CD127; then 491 of CD14.
    assert data.cell_ids[0] == "AAACCCAAGATTGTGA-1"
    assert np.expm1(data.signal.values[0, :2]) == pytest.approx([7, 491])
    assert data.adata.uns["largest_deviation"] == 0


def test_pbmc5k_extra_is_pbmc10k_and_another_donor_to_train_on(load_small, small_source, monkeypatch):
    small_source("pbmc5k_extra")
    tested = load_small("pbmc10k")
    monkeypatch.setattr(sources.pbmc10k, "pbmc10k", lambda *_: tested)  # its tables are long
    data = datasets.load("pbmc5k_extra")
    assert (data.n_cells, data.n_genes) == (data.card.n_cells, data.card.n_genes) == (6855 + 3994, 4000)
    assert np.median(depth(data)) == data.card.median_umis
    assert np.median(depth(data)[6855:]) == 1147
    eligible = signals.test_eligible(data.signal)
    assert eligible.tolist() == [True] * 6855 + [False] * 3994
    assert (data.stream, data.card.fractions) == (tested.stream, tested.card.fractions)
    assert (data.cell_ids[:6855] == tested.cell_ids).all()  # so that a split tests the same cells (test_splits)
    monkeypatch.setattr(sources.pbmc10k, "_read", lambda path: (data.counts, data.cell_ids, data.gene_ids[::-1]))
    with pytest.raises(InputError, match=r"^pbmc5k_harmo_rna\.csv\.gz has other genes than"):
        datasets.load("pbmc5k_extra")


def test_xenium_breast_is_four_corners_of_one_slide(load_small):
    data = load_small("xenium_breast")
    assert len(data.adata.uns["dropped_cells"]) == 369
    assert data.cell_ids[0] == "44514"
    assert data.signal.values[0] == pytest.approx([1243.655212, 559.333981])
    assert data.counts[0, :2].toarray().tolist() == [[3, 0]]  # ABCC11, ACTA2
    assert data.gene_ids[[0, -1]].tolist() == ["ABCC11", "ZNF562"]
    # 13,130 where each table is paired off alone, but two of them meet in a line, twice.
    assert len(signals.pairs(data.signal, np.arange(data.n_cells), seed=0)[0]) == pytest.approx(13_130, abs=5)


def test_larry_subset_has_its_clones(load_small):
    data = load_small("larry_subset")
    assert data.adata.uns["largest_deviation"] < 1e-4
    assert len(np.unique(data.signal.values)) == 339
    everyone = np.arange(data.n_cells)
    assert len(signals.pairs(data.signal, everyone, seed=0)[0]) == 283
    later = load_small("larry_subset", signal="clone_later").signal
    first, second = signals.pairs(later, everyone, seed=0)
    assert (later.times[second] > later.times[first]).all()
    assert set(later.times) == {2, 4, 6}


def test_merfish_poa_leaves_out_what_are_no_counts(load_small):
    data = load_small("merfish_poa")
    assert data.adata.uns["largest_deviation"] < 0.03
    assert data.gene_ids[-1] == "Ttyh2"  # the last of 135; the 20 after it, Adcyap1 to Vgf, are not counts
    assert len(data.adata.uns["dropped_cells"]) == 1
    assert data.signal.values[0] == pytest.approx([16.2437593, 144.081123])


def test_worm_embryo_has_three_time_points_and_cells_without(load_small):
    data = load_small("worm_embryo")
    labels, sizes = np.unique(data.signal.values, return_counts=True)
    assert dict(zip(labels, sizes.tolist(), strict=True)) == {
        "": 410, "300_minutes": 183, "400_minutes": 461, "500_minutes": 751,
    }  # fmt: skip
    times = load_small("worm_embryo", signal="embryo.time").signal
    assert times.kind == "vector"
    assert (times.values.min(), times.values.max()) == (210, 780)


def test_scaled_counts_come_back_and_others_are_refused():
    counts = np.array([[1, 0, 4], [0, 2, 1], [0, 0, 0]])
    scaled = sp.csr_matrix(counts / np.array([[3.7], [0.2], [1.0]]))
    found, deviation = integers(unscale_rows(scaled), name="x", tolerance=1e-6)
    assert found.toarray().tolist() == counts.tolist()
    assert deviation < 1e-12
    for bad in (1.3, -1.0, np.nan):
        with pytest.raises(InputError, match="x: counts are up to"):
            integers(sp.csr_matrix([[bad, 1.0]]), name="x", tolerance=0.1)
