"""The larger real data sets: what their publications say of them, and what their loaders refuse."""

from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from noise_scaling import datasets, signals
from noise_scaling.datasets import sources
from noise_scaling.datasets.sources import LOADERS
from noise_scaling.errors import InputError


def sizes(values):
    names, counts = np.unique(values, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def test_merfish_hypothalamus_has_five_sections_that_are_tested_whole(load_small):
    data = load_small("merfish_hypothalamus")
    # 3 cells that are no counts and 2 that are empty are gone.
    of_file = {"1.-0.09": 6184, "7.-0.09": 5954, "7.0.16": 5780, "1.0.26": 5584, "1.0.21": 5578}
    found = sizes(data.signal.sections)
    assert set(found) == set(of_file)
    assert sum(of_file.values()) - sum(found.values()) == 5
    assert [*sizes(data.blocks).values()] == [*found.values()]
    assert data.gene_ids.tolist() == load_small("merfish_poa").gene_ids.tolist()
    assert not set(data.cell_ids) & set(load_small("merfish_poa").cell_ids)
    first, second = signals.pairs(data.signal, np.arange(data.n_cells), seed=0)
    assert (data.signal.sections[first] == data.signal.sections[second]).all()


FEW_VALUES = [(card.name, signal) for card in map(datasets.card, datasets.names()) for signal in card.signals
              if "entropy" in card.signals[signal]]  # fmt: skip


@pytest.mark.parametrize(("name", "signal"), FEW_VALUES)
def test_the_entropy_on_a_card_is_that_of_the_files_values(name, signal, load_small):
    load_small(name)  # skips where the files are not here
    values = pd.DataFrame(datasets.load(name, signal=signal).signal.values).replace("", None)
    share = values.value_counts(normalize=True, dropna=True).to_numpy()
    assert datasets.card(name).signals[signal]["entropy"] == pytest.approx(-share @ np.log2(share), abs=1e-4)


def test_seqfish_embryo_has_two_planes(load_small):
    data = load_small("seqfish_embryo")
    assert sizes(data.signal.sections) == {"z2": 8011, "z5": 6880}
    assert len(signals.pairs(data.signal, np.arange(data.n_cells), seed=0)[0]) == 5520
    assert data.adata.uns["largest_deviation"] < 1e-12
    tiles = signals.groups(data.signal)
    assert len(set(tiles[data.signal.sections == "z2"]) & set(tiles[data.signal.sections == "z5"])) > 0.9 * len(
        set(tiles)
    )


def test_citeseq_cbmc_is_of_human_cells(load_small):
    data = load_small("citeseq_cbmc")
    assert data.signal.values.shape == (8009, 13)
    # B cells have CD19 and no CD3: of the cells with much CD19 few have much CD3 (columns 9 and 0).
    protein = np.expm1(data.signal.values)
    b_cells = protein[:, 9] > 400
    assert 200 < b_cells.sum() < 600
    assert np.median(protein[b_cells, 0]) < 50


def test_proteins_of_the_others(load_small):
    assert load_small("citeseq_pbmc49").signal.values.shape == (3762, 49)
    assert load_small("citeseq_pbmc49").signal.values.max() == 10
    inhouse = load_small("citeseq_inhouse")
    assert inhouse.signal.values.shape == (1372, 10)
    assert "CD3E" in inhouse.gene_ids


def test_pbmc_facs_has_ten_gates(load_small):
    found = sizes(load_small("pbmc_facs").signal.values)
    assert len(found) == 10
    assert found["CD19+ B"] == 767


def test_mixtures_are_those_of_the_bench(load_small):
    shares = load_small("cell_mixtures").signal.values
    assert len(np.unique(shares.round(6), axis=0)) >= 10
    assert ((shares >= 0) & (shares.sum(axis=1, keepdims=True) <= 1)).all()
    assert len(np.unique(load_small("rna_mixtures").signal.values, axis=0)) == 7
    assert np.unique(np.exp2(load_small("rna_mixtures", signal="amount").signal.values)) == pytest.approx(
        [3.75, 7.5, 15, 30]
    )
    assert set(sizes(load_small("cell_lines5").signal.values)) == {"A549", "H1975", "H2228", "H838", "HCC827"}


def test_a549_dex_has_three_hours_in_their_order_and_open_chromatin(load_small):
    data = load_small("a549_dex")
    assert sizes(data.signal.values) == {"0": 583, "1": 983, "3": 1075}
    assert data.signal.levels == ("0", "1", "3")
    chromatin = load_small("a549_dex", signal="chromatin").signal.values
    assert chromatin.shape == (2641, 10)
    assert chromatin.std(axis=0) == pytest.approx(np.ones(10), abs=0.01)  # singular vectors, times root n


def test_fucci_is_tested_on_donors_of_their_own(load_small):
    data = load_small("fucci")
    assert sorted(sizes(data.blocks).values()) == [103, 112, 122, 163, 182, 206]
    angle = load_small("fucci", signal="angle").signal.values
    assert np.hypot(*angle.T) == pytest.approx(np.ones(888))


def write_plates(folder, wells=("A1", "A2")):
    counts = pd.DataFrame([[1, 2], [3, 0]], index=["g1", "g2"], columns=["A1", "A2"])
    meta = pd.DataFrame({"H1975": [9, 0], "H2228": [0, 3], "HCC827": [0, 6]}, index=wells)
    for table, kind in ((counts, "count"), (meta, "metadata")):
        table.to_csv(folder / f"p1.{kind}.csv.gz")
    return {path.name: path for path in folder.glob("p1*")}


def test_plates_of_mixtures_are_read_and_others_refused(tmp_path):
    load, card = LOADERS["cell_mixtures"], datasets.card("cell_mixtures")
    data = load(card, write_plates(tmp_path), "mixture")
    assert data.counts.toarray().tolist() == [[1, 3], [2, 0]]
    assert data.signal.values == pytest.approx(np.array([[1, 0], [0, 1 / 3]]))
    with pytest.raises(InputError, match=r"p1\.metadata\.csv\.gz lacks 1 of 2 cells, e\.g\. 'A2'"):
        load(card, write_plates(tmp_path, wells=("A1", "B2")), "mixture")
    with pytest.raises(InputError, match=r"p1\.metadata\.csv\.gz has no column 'mRNA_amount'"):
        LOADERS["rna_mixtures"](card, write_plates_of_rna(tmp_path), "amount")


def write_plates_of_rna(folder):
    files = write_plates(folder)
    meta = pd.read_csv(files["p1.metadata.csv.gz"], index_col=0)
    meta.assign(H1975_prop=0.5, H2228_prop=0.5).to_csv(files["p1.metadata.csv.gz"])
    return files


def test_tables_of_xenium_without_a_place_or_with_half_counts_are_refused(tmp_path):
    load, card = LOADERS["xenium_breast"], datasets.card("xenium_breast")
    table = pd.DataFrame({"x_centroid": [0.0, 1.0], "y_centroid": 0.0, "area": 1.0, "ERBB2": [1, 2.5]})
    path = tmp_path / "corner.csv.gz"
    table.to_csv(path)
    with pytest.raises(InputError, match=r"xenium_breast: counts are up to 0\.5 away"):
        load(card, {path.name: path}, "space")
    table.drop(columns="y_centroid").to_csv(path)
    with pytest.raises(InputError, match=r"corner\.csv\.gz has no column 'y_centroid'"):
        load(card, {path.name: path}, "space")


def test_hdf5_of_proteins_of_other_cells_or_of_another_form_is_refused(tmp_path):
    counts, proteins = tmp_path / "CITE_CBMC_counts_top2000.h5", tmp_path / "GSE100866_CBMC_8K_13AB_10X-ADT_umi.csv.gz"
    files = {path.name: path for path in (counts, proteins)}
    with h5py.File(counts, "w") as file:
        file["X"], file["ADT_X"] = np.ones((3, 120)), np.zeros((3, 2))
    pd.DataFrame(np.ones((13, 2), int), columns=["a", "b"]).to_csv(proteins)
    with pytest.raises(InputError, match=r"ADT_umi\.csv\.gz has 2 cells for 3"):
        LOADERS["citeseq_cbmc"](datasets.card("citeseq_cbmc"), files, "protein")
    with h5py.File(counts, "w") as file:
        file["Y"] = np.ones(3)
    with pytest.raises(InputError, match=r"top2000\.h5 is not of the form its publication gave it"):
        LOADERS["citeseq_cbmc"](datasets.card("citeseq_cbmc"), files, "protein")


R_FILES = {
    "merfish_hypothalamus": ("mousePH_subset.rda", "hypothalamus_banksy.rda"), "seqfish_embryo": ("mouseEmbryo2.rda",),
    "pbmc_facs": ("pbmc_facs.RData",), "a549_dex": ("data_A549.rda",), "fucci": ("eset_final_sub.rda",),
    "citeseq_inhouse": ("RNA.rds", "Protein.rds"),
}  # fmt: skip


@pytest.mark.parametrize("name", R_FILES)
def test_files_of_r_that_hold_something_else_are_refused(name, tmp_path, monkeypatch):
    load, card = LOADERS[name], datasets.card(name)
    files = {file: tmp_path / file for file in R_FILES[name]}
    monkeypatch.setitem(load.__globals__, "read_r", lambda path: {"another": 1})
    with pytest.raises(InputError, match=f"{R_FILES[name][0]} is not of the form its publication gave it"):
        load(card, files, card.signal)


def test_proteins_of_other_cells_are_refused(tmp_path, monkeypatch):
    def matrix(cells):
        values = sp.csc_matrix(np.ones((2, len(cells))))
        names = [np.array(["g1", "g2"]), np.array(cells)]
        return SimpleNamespace(x=values.data, i=values.indices, p=values.indptr, Dimnames=names)

    files = {"RNA.rds": tmp_path / "RNA.rds", "Protein.rds": tmp_path / "Protein.rds"}
    monkeypatch.setattr(
        sources.citeseq, "read_r", lambda path: matrix(["a", "b"] if path.name == "RNA.rds" else ["a", "c"])
    )
    with pytest.raises(InputError, match=r"Protein\.rds lacks 1 of 2 cells, e\.g\. 'b'"):
        LOADERS["citeseq_inhouse"](datasets.card("citeseq_inhouse"), files, "protein")


def matrix_of_r(cells, genes=("g1", "g2"), value=1.0):
    """R's dgCMatrix [genes, cells], all of one value."""
    values = sp.csc_matrix(np.full((len(genes), len(cells)), value))
    return SimpleNamespace(x=values.data, i=values.indices, p=values.indptr, Dimnames=[list(genes), list(cells)])


def frame_of_r(values, index, columns):
    return SimpleNamespace(to_pandas=lambda: pd.DataFrame(values, index, columns))


def test_chromatin_of_other_cells_is_refused(tmp_path, monkeypatch):
    held = {"RNA": matrix_of_r(["a", "b"]), "ATAC": matrix_of_r(["a", "c"])}
    labels = pd.DataFrame({"Time": ["0", "1"]}, index=["a", "b"])
    monkeypatch.setattr(sources.a549_dex, "read_r", lambda path: {"data_A549": {"data": held, "labels": labels}})
    with pytest.raises(InputError, match=r"data_A549\.rda lacks 1 of 2 cells, e\.g\. 'b'"):
        LOADERS["a549_dex"](datasets.card("a549_dex"), {"data_A549.rda": tmp_path / "data_A549.rda"}, "chromatin")


def test_cells_without_a_fluorescent_marker_are_refused(tmp_path, monkeypatch):
    marks = pd.DataFrame({"rfp.median.log10sum.adjust": [0.1], "theta": [1.0], "chip_id": ["d"]}, index=["a"])
    table = SimpleNamespace(maps=[{"exprs": frame_of_r([[1], [2]], ["g1", "g2"], ["a"])}])
    held = SimpleNamespace(assayData=table, phenoData=SimpleNamespace(data=marks))
    monkeypatch.setattr(sources.fucci, "read_r", lambda path: {"eset_final_sub": held})
    with pytest.raises(InputError, match=r"eset_final_sub\.rda has no column 'gfp\.median\.log10sum\.adjust'"):
        LOADERS["fucci"](datasets.card("fucci"), {"eset_final_sub.rda": tmp_path / "eset_final_sub.rda"}, "markers")


def sections_of_r(genes=("g1", "g2"), counts=((1.0, 2.0), (1.0, 1.3))):
    """Files of merfish_hypothalamus: two cells of log2(1 + 1), and two of `counts` [cells, genes]."""
    first = SimpleNamespace(
        assays=SimpleNamespace(data=SimpleNamespace(listData={"logcounts": matrix_of_r(["a", "b"])})),
        int_colData=SimpleNamespace(listData={"spatialCoords": np.zeros((2, 2))}),
        colData=SimpleNamespace(listData={"samples": ["1.0.26", "7.0.16"]}),
    )
    place = pd.DataFrame([[0.0, 1.0, 0.21], [1.0, 1.0, 0.21]], index=["c", "d"], columns=["sdimx", "sdimy", "bregma"])
    second = {"expression": frame_of_r(np.transpose(counts), genes, ["c", "d"]), "locations": place}
    return {"mousePH_subset.rda": {"spe2": first}, "hypothalamus_banksy.rda": {"hypothalamus": second}}


def test_cells_of_merfish_that_are_no_counts_go_and_sections_without_its_genes_are_refused(tmp_path, monkeypatch):
    load, card = LOADERS["merfish_hypothalamus"], datasets.card("merfish_hypothalamus")
    files = {name: tmp_path / name for name in R_FILES["merfish_hypothalamus"]}
    monkeypatch.setattr(sources.merfish_hypothalamus, "read_r", lambda path: sections_of_r()[path.name])
    data = load(card, files, "space")
    assert data.cell_ids.tolist() == ["a", "b", "c"]  # "d" has 1.3 molecules of a gene
    assert data.counts.toarray().tolist() == [[1, 1], [1, 1], [1, 2]]
    others = sections_of_r(genes=("g1", "h"))
    monkeypatch.setattr(sources.merfish_hypothalamus, "read_r", lambda path: others[path.name])
    with pytest.raises(InputError, match=r"hypothalamus_banksy\.rda is not of the form its publication gave it"):
        load(card, files, "space")
