"""The paper's four data sets, on small files of the same form: same names, columns, separators and quirks."""

import gzip

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from noise_scaling import datasets, signals
from noise_scaling.counts import count_store
from noise_scaling.datasets import on_disk
from noise_scaling.errors import InputError

RNG = np.random.default_rng(0)
RNA, ADT = "GSM5008737_RNA_3P", "GSM5008738_ADT_3P"


def write_mtx(path, matrix):
    with gzip.open(path, "wb") as stream:
        scipy.io.mmwrite(stream, sp.coo_matrix(matrix))


def write_lines(path, lines):
    with gzip.open(path, "wt") as stream:
        stream.writelines(f"{line}\n" for line in lines)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """An empty mirror; each test puts its files into <mirror>/<data set>."""
    monkeypatch.setenv("NOISE_SCALING_MIRROR", str(tmp_path))
    monkeypatch.setenv("NOISE_SCALING_CACHE", str(tmp_path / "cache"))

    def folder(name):
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name

    return folder


@pytest.fixture
def pbmc(mirror):
    """12 cells, 5 genes (one symbol twice), 228 proteins; the proteins' and the annotation's cells in other orders."""
    folder = mirror("pbmc")
    cells = [f"L1_{'ACGT'[i % 4] * 4}{i:02d}" for i in range(12)]
    rna = RNG.poisson(2, (5, 12)) + 1
    adt = RNG.poisson(50, (228, 12))
    write_mtx(folder / f"{RNA}-matrix.mtx.gz", rna)
    write_lines(folder / f"{RNA}-barcodes.tsv.gz", cells)
    write_lines(folder / f"{RNA}-features.tsv.gz", ["CD3E", "NAN", "MS4A1", "CD8A", "CD8A"])
    write_mtx(folder / f"{ADT}-matrix.mtx.gz", adt[:, ::-1])
    write_lines(folder / f"{ADT}-barcodes.tsv.gz", cells[::-1])
    write_lines(folder / f"{ADT}-features.tsv.gz", [f"P{i}" for i in range(228)])
    meta = pd.DataFrame(
        {
            "nCount_ADT": adt.sum(axis=0),
            "nCount_RNA": rna.sum(axis=0),
            "donor": "P1",
            "time": 0,
            "celltype.l1": "Mono",
            "celltype.l3": [f"type {i % 3}" for i in range(12)],
        },
        index=cells,
    )
    meta.iloc[::-1].to_csv(folder / "GSE164378_sc.meta.data_3P.csv.gz")
    return folder, rna, adt, meta


def test_pbmc(pbmc):
    _, rna, adt, meta = pbmc
    data = datasets.load("pbmc")
    assert (data.counts.toarray() == rna.T).all()
    assert np.expm1(data.signal.values) == pytest.approx(adt.T)
    assert data.cell_ids.tolist() == meta.index.tolist()
    assert data.gene_ids.tolist() == ["CD3E", "NAN", "MS4A1", "CD8A", "CD8A-1"]
    labels = datasets.load("pbmc", signal="celltype.l3").signal
    assert labels.values.tolist() == meta["celltype.l3"].tolist()


@pytest.fixture
def larry(mirror):
    """10 cells of 2 libraries that share barcodes, counts scaled to one total and written with 6 digits."""
    folder = mirror("larry")
    counts = RNG.poisson(3, (10, 6))
    counts[:, 0] = 1
    scaled = counts / counts.sum(axis=1, keepdims=True) * 4321.0
    write_mtx(folder / "stateFate_inVitro_normed_counts.mtx.gz", np.round(scaled, 4))
    write_lines(folder / "stateFate_inVitro_gene_names.txt.gz", [f"Gene{i}" for i in range(6)])
    meta = pd.DataFrame(
        {
            "Library": ["d6_2_2"] * 5 + ["LK_d2"] * 5,
            "Cell barcode": [f"GCGTGCAA-AGAAGT{i}" for i in range(5)] * 2,
            "Time point": [6.0] * 5 + [2.0] * 5,
            "Starting population": "Lin-Kit+Sca1-",
            "Cell type annotation": "Undifferentiated",
            "Well": [2] * 5 + [0] * 5,
            "SPRING-x": 1.5,
            "SPRING-y": -2.5,
        }
    )
    meta.to_csv(folder / "stateFate_inVitro_metadata.txt.gz", sep="\t", index=False)
    clones = np.zeros((10, 3), dtype=int)
    clones[[0, 5], 0] = 1  # day 6 and day 2 of one clone
    clones[[1, 2], 1] = 1  # two cells of day 6
    clones[6, [0, 2]] = 1  # in two clones
    write_mtx(folder / "stateFate_inVitro_clone_matrix.mtx.gz", clones)
    return folder, counts


def test_larry(larry):
    _, counts = larry
    data = datasets.load("larry")
    assert (data.counts.toarray() == counts).all()
    assert 0 < data.adata.uns["largest_deviation"] < 1e-3
    assert data.signal.values.tolist() == [0, 1, 1, -1, -1, 0, -1, -1, -1, -1]
    assert data.cell_ids[0] == "d6_2_2_GCGTGCAA-AGAAGT0"
    first, second = signals.pairs(data.signal, np.arange(10), seed=0)
    assert (first.tolist(), second.tolist()) == ([5], [0])  # the later one is the signal
    first, _ = signals.pairs(datasets.load("larry", signal="clone").signal, np.arange(10), seed=0)
    assert len(first) == 2


@pytest.fixture
def merfish(mirror):
    """9 cells with names of 39 digits, 4 genes and 2 blanks; the metadata in another order."""
    folder = mirror("merfish")
    cells = [str(110883424764611924400221639916314253469 + i) for i in range(9)]
    counts = RNG.poisson(4, (9, 6)) + 1
    genes = ["Oxgr1", "Htr1a", "Blank-1", "Slc17a7", "Gfap", "Blank-2"]
    pd.DataFrame(counts.astype(float), index=cells, columns=genes).to_csv(folder / "cell_by_gene_S1R1.csv")
    meta = pd.DataFrame({"fov": 3, "volume": 512.5, "center_x": np.arange(9.0), "center_y": 2.0}, index=cells)
    for side in ("min_x", "max_x", "min_y", "max_y"):
        meta[side] = 0.0
    meta.iloc[::-1].to_csv(folder / "cell_metadata_S1R1.csv")
    return folder, counts, cells


def test_merfish(merfish):
    _, counts, cells = merfish
    data = datasets.load("merfish")
    assert data.gene_ids.tolist() == ["Oxgr1", "Htr1a", "Slc17a7", "Gfap"]
    assert (data.counts.toarray() == counts[:, [0, 1, 3, 4]]).all()
    assert data.cell_ids.tolist() == cells
    assert data.signal.values.tolist() == [[x, 2.0] for x in range(9)]


@pytest.fixture
def embryo(mirror):
    """Four .h5ad files of 7 cells each, names shared between files as those of the source may be."""
    folder = mirror("mouse_embryo")
    counts = RNG.poisson(2, (28, 5)) + 1
    days = np.array([f"E{8 + i % 7}.5" for i in range(27)] + ["P0"])
    for i in range(4):
        rows = slice(7 * i, 7 * i + 7)
        obs = pd.DataFrame({"day": pd.Categorical(days[rows])}, index=[f"cell{j}" for j in range(7)])
        var = pd.DataFrame(index=[f"ENSMUSG0000{g}" for g in range(5)])
        written = anndata.AnnData(sp.csr_matrix(counts[rows].astype(np.float32)), obs, var)
        written.write_h5ad(folder / f"adata_JAX_dataset_{i + 1}.h5ad")
    return folder, counts, days


def test_mouse_embryo(embryo):
    _, counts, days = embryo
    data = datasets.load("mouse_embryo")
    assert (data.counts.toarray() == counts).all()
    assert data.signal.values.tolist() == days.tolist()
    assert len(set(data.cell_ids)) == 28


def test_an_embryo_cell_without_a_day_has_no_signal(embryo):
    folder, _, days = embryo
    file = folder / "adata_JAX_dataset_1.h5ad"
    cells = anndata.read_h5ad(file)
    cells.obs["day"] = cells.obs["day"].where(np.arange(7) != 2)
    cells.write_h5ad(file)
    found = datasets.load("mouse_embryo").signal.values.tolist()
    assert found == ["" if i == 2 else day for i, day in enumerate(days)]


def test_mouse_embryo_stays_in_its_files_where_it_is_large(embryo, monkeypatch, tmp_path):
    """The same data set: what was kept out of memory, dropped and named."""
    folder = embryo[0]
    for i, path in enumerate(sorted(folder.iterdir())):
        adata = anndata.read_h5ad(path)
        adata.obs["cell_id"] = [f"run{i}_{name}" for name in adata.obs_names]
        adata.obs["keep"] = ["no" if name == "cell3" else "yes" for name in adata.obs_names]
        adata.X[2] = 0
        adata.write_h5ad(path)
    small = datasets.load("mouse_embryo")
    assert small.cell_ids.tolist()[:3] == ["run0_cell0", "run0_cell1", "run0_cell4"]
    monkeypatch.setenv("NOISE_SCALING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(count_store, "IN_MEMORY_BELOW", 0)
    large = datasets.load("mouse_embryo")
    assert large.on_disk
    assert large.data_sha256 == small.data_sha256
    assert (large.counts.tocsr() != small.counts).nnz == 0
    assert (large.take(np.array([7, 2, 11])) != small.counts[[7, 2, 11]]).nnz == 0
    assert large.cell_ids.tolist() == small.cell_ids.tolist()
    assert large.signal.values.tolist() == small.signal.values.tolist()
    assert large.umis.tolist() == small.umis.tolist()
    assert (large.n_cells, large.n_genes) == (20, 5)


def test_a_changed_file_is_read_anew(embryo, monkeypatch, tmp_path):
    monkeypatch.setenv("NOISE_SCALING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(count_store, "IN_MEMORY_BELOW", 0)
    before = datasets.load("mouse_embryo")
    monkeypatch.setattr(on_disk, "CountsHash", None)  # would be called
    assert datasets.load("mouse_embryo").data_sha256 == before.data_sha256
    monkeypatch.undo()
    monkeypatch.setenv("NOISE_SCALING_MIRROR", str(embryo[0].parent))
    monkeypatch.setenv("NOISE_SCALING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(count_store, "IN_MEMORY_BELOW", 0)
    rewrite(embryo[0], "adata_JAX_dataset_1.h5ad", lambda adata: adata.X.data.__iadd__(1))
    after = datasets.load("mouse_embryo")
    assert after.data_sha256 != before.data_sha256
    assert after.umis.sum() == before.umis.sum() + 35


def test_mouse_embryo_takes_the_other_name_of_the_day(embryo):
    folder, _, days = embryo
    for path in folder.iterdir():
        adata = anndata.read_h5ad(path)
        adata.obs = adata.obs.rename(columns={"day": "author_day"})
        adata.write_h5ad(path)
    assert datasets.load("mouse_embryo").signal.values.tolist() == days.tolist()


def rewrite(folder, name, change):
    path = folder / name
    adata = anndata.read_h5ad(path)
    change(adata)
    adata.write_h5ad(path)


def as_csc(adata):
    adata.X = adata.X.tocsc()


def other_genes(adata):
    adata.var_names = [f"x{i}" for i in range(adata.n_vars)]


def no_day(adata):
    del adata.obs["day"]


def halved(adata):
    adata.X = adata.X / 2


OTHER_FORMS = {
    "pbmc: annotation without types": (
        "pbmc",
        lambda f: pd.DataFrame({"donor": ["P1"]}, index=["L1_AAAA00"]).to_csv(f / "GSE164378_sc.meta.data_3P.csv.gz"),
        "no column 'celltype.l3'",
    ),
    "pbmc: annotation of other cells": (
        "pbmc",
        lambda f: pd.DataFrame({"celltype.l3": ["B"]}, index=["x"]).to_csv(f / "GSE164378_sc.meta.data_3P.csv.gz"),
        "lacks 12 of 12 cells",
    ),
    "pbmc: fewer barcodes": (
        "pbmc",
        lambda f: write_lines(f / f"{RNA}-barcodes.tsv.gz", ["L1_AAAA00"]),
        r"matrix.mtx.gz is \(5, 12\), where its names give \(5, 1\)",
    ),
    "pbmc: proteins of other cells": (
        "pbmc",
        lambda f: write_lines(f / f"{ADT}-barcodes.tsv.gz", [f"x{i}" for i in range(12)]),
        "ADT_3P-barcodes.tsv.gz lacks 12 of 12 cells",
    ),
    "pbmc: fractional counts": (
        "pbmc",
        lambda f: write_mtx(f / f"{RNA}-matrix.mtx.gz", np.full((5, 12), 0.5)),
        "0.5 away from non-negative integers",
    ),
    "pbmc: not gzip": (
        "pbmc",
        lambda f: (f / f"{RNA}-matrix.mtx.gz").write_text("%%MatrixMarket"),
        "is not of the form its publication gave it",
    ),
    "pbmc: cut short": (
        "pbmc",
        lambda f: (f / f"{RNA}-matrix.mtx.gz").write_bytes((f / f"{RNA}-matrix.mtx.gz").read_bytes()[:-20]),
        "is not of the form its publication gave it",
    ),
    "larry: other columns": (
        "larry",
        lambda f: write_lines(f / "stateFate_inVitro_metadata.txt.gz", ["Library,Cell barcode", "a,b"]),
        "no column 'Library'|not of the form",
    ),
    "larry: clones of other cells": (
        "larry",
        lambda f: write_mtx(f / "stateFate_inVitro_clone_matrix.mtx.gz", np.eye(3)),
        "clone_matrix.mtx.gz is",
    ),
    "larry: logarithms": (
        "larry",
        lambda f: write_mtx(f / "stateFate_inVitro_normed_counts.mtx.gz", np.log1p(RNG.poisson(3, (10, 6)) + 1.0)),
        "away from non-negative integers",
    ),
    "merfish: text among counts": (
        "merfish",
        lambda f: (f / "cell_by_gene_S1R1.csv").write_text(",Oxgr1\n1,many\n"),
        "is not of the form its publication gave it",
    ),
    "merfish: no genes": (
        "merfish",
        lambda f: (f / "cell_by_gene_S1R1.csv").write_text(",Blank-1\n110883424764611924400221639916314253469,2\n"),
        "1 cells and 0 genes",
    ),
    "merfish: no centres": (
        "merfish",
        lambda f: (f / "cell_metadata_S1R1.csv").write_text(",fov\n1,3\n"),
        "no column 'center_x'",
    ),
    "merfish: empty": ("merfish", lambda f: (f / "cell_by_gene_S1R1.csv").write_text(""), "is not of the form"),
    "embryo: no day": (
        "embryo",
        lambda f: rewrite(f, "adata_JAX_dataset_2.h5ad", no_day),
        "dataset_2.h5ad has no column 'day'",
    ),
    "embryo: other genes": (
        "embryo",
        lambda f: rewrite(f, "adata_JAX_dataset_3.h5ad", other_genes),
        "dataset_3.h5ad has other genes than adata_JAX_dataset_1.h5ad",
    ),
    "embryo: by column": (
        "embryo",
        lambda f: rewrite(f, "adata_JAX_dataset_1.h5ad", as_csc),
        "is csc_matrix, not csr",
    ),
    "embryo: fractional": ("embryo", lambda f: rewrite(f, "adata_JAX_dataset_4.h5ad", halved), "away from non-neg"),
    "embryo: not HDF5": (
        "embryo",
        lambda f: (f / "adata_JAX_dataset_1.h5ad").write_text("moved"),
        "is not of the form its publication gave it",
    ),
}


@pytest.mark.parametrize("case", OTHER_FORMS)
def test_a_file_of_another_form_is_refused(case, request):
    fixture, change, said = OTHER_FORMS[case]
    folder = request.getfixturevalue(fixture)[0]
    change(folder)
    with pytest.raises(InputError, match=said) as caught:
        datasets.load("mouse_embryo" if fixture == "embryo" else fixture)
    assert "\n" not in str(caught.value)
