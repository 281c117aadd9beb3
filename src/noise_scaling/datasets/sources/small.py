"""The small real data sets, each a file or two: counts recovered as integers and checked, signals aligned."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ...signals import Signal
from .. import recover
from ..dataset import Dataset, assemble
from ..registry import Card

Files = dict[str, Path]

_GENES_AT_ONCE = 500
"""Rows of a dense table that are parsed before they are made sparse: 27 MB of 6,855 cells."""


def pbmc68k(card: Card, files: Files, signal: str) -> Dataset:
    """700 PBMC that scanpy ships. raw.X is log1p(10,000 x count / n_counts), as float32 of few digits.

    The largest count, 259, comes back 0.08 off an integer; of counts up to 50 none is more than 0.025 off.
    """
    import scanpy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the shipped file predates today's AnnData
        source = scanpy.datasets.pbmc68k_reduced()
    scaled = sp.csr_matrix(source.raw.X, dtype=np.float64)
    scaled.data = np.expm1(scaled.data)
    n_counts = source.obs["n_counts"].to_numpy(dtype=np.float64)
    counts, deviation = recover.integers(sp.diags_array(n_counts / 1e4) @ scaled, name=card.name, tolerance=0.1)
    labels = Signal(signal, "label", source.obs[signal].to_numpy(dtype=str))
    genes = source.raw.var_names.to_numpy(dtype=str)
    return assemble(card, counts, source.obs, genes, labels, largest_deviation=deviation)


def pbmc10k(card: Card, files: Files, signal: str) -> Dataset:
    """6,855 PBMC with 14 surface proteins, two tables of [genes or proteins, cells]; integers written as floats.

    The signal is log1p of the protein counts: they span 1 to 10,000, and the raw scale is that of a few cells.
    """
    blocks, genes, cells = [], [], None
    with pd.read_csv(files["pbmc10k_harmo_rna.csv.gz"], index_col=0, chunksize=_GENES_AT_ONCE) as reader:
        for block in reader:
            blocks.append(sp.csr_matrix(block.to_numpy(dtype=np.float32)))
            genes.extend(block.index)
            cells = block.columns
    counts, deviation = recover.integers(sp.vstack(blocks).T, name=card.name, tolerance=0)
    proteins = pd.read_csv(files["pbmc10k_harmo_pro.csv.gz"], index_col=0).T.loc[cells]
    values = Signal(signal, "vector", recover.log1p(proteins.to_numpy()))
    return assemble(card, counts, proteins, np.array(genes), values, largest_deviation=deviation)


def larry_subset(card: Card, files: Files, signal: str) -> Dataset:
    """781 cells in 339 clones. X is scaled per cell; every cell has a gene of one molecule, its smallest value."""
    source = recover.read_h5ad(files["test_adata_preprocessed.h5ad"])
    counts, deviation = recover.integers(recover.unscale_rows(source.X), name=card.name, tolerance=1e-3)
    clone = np.asarray(source.obsm["X_clone"].argmax(axis=1)).ravel()  # each cell is in exactly one
    times = source.obs["time_info"].astype(float).to_numpy() if signal == "clone_later" else None
    relatives = Signal(signal, "pair", clone, times=times)
    genes = source.var_names.to_numpy(dtype=str)
    return assemble(card, counts, source.obs, genes, relatives, largest_deviation=deviation)


def merfish_poa(card: Card, files: Files, signal: str) -> Dataset:
    """One section of 6,509 cells. Values are counts over the cell's volume; the last 20 genes are not counts.

    Those 20 were imaged one at a time and their fluorescence was kept. Of the others the smallest value of a
    cell is one molecule; counts come back within 0.03 of integers.
    """
    source = _read_r(files["merfish_mousePOA.rda"])["merfish_mousePOA"]
    values, cells, genes = _cells_by_genes(source.assays.data.listData["volnorm"])
    single = recover.unscale_rows(values[:, :-20])
    counts, deviation = recover.integers(single, name=card.name, tolerance=0.05)
    place = source.int_colData.listData["spatialCoords"]
    obs = pd.DataFrame({k: np.asarray(v) for k, v in source.colData.listData.items()}, index=cells)
    neighbours = Signal(signal, "pair", np.asarray(place, dtype=np.float64))
    return assemble(card, counts, obs, genes[:-20], neighbours, largest_deviation=deviation)


def worm_embryo(card: Card, files: Files, signal: str) -> Dataset:
    """1,805 embryonic cells of C. elegans. Cells of the "mixed" libraries have no time point."""
    values, cells, genes = _cells_by_genes(_read_r(files["worm_embryo_expression_matrix.rds"]))
    counts, deviation = recover.integers(values, name=card.name, tolerance=0)
    columns = _read_r(files["worm_embryo_coldata.rds"]).listData
    obs = pd.DataFrame({k: np.asarray(v) for k, v in columns.items()}).set_index("cell").loc[cells]
    if signal == "time.point":
        label = obs[signal].astype(str).replace("mixed", "")
        found = Signal(signal, "label", label.to_numpy(dtype=str))
    else:
        found = Signal(signal, "vector", obs[[signal]].to_numpy(dtype=np.float64))
    return assemble(card, counts, obs, genes, found, largest_deviation=deviation)


def _read_r(path: Path) -> object:
    """An .rds or .rda file; S4 objects without a Python counterpart come as namespaces of their slots."""
    import rdata

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Missing constructor for R class")
        return (rdata.read_rda if path.suffix == ".rda" else rdata.read_rds)(path)


def _cells_by_genes(matrix: SimpleNamespace) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    """R's column-compressed [genes, cells] read as row-compressed [cells, genes]; names of cells and of genes."""
    genes, cells = (np.asarray(names, dtype=str) for names in matrix.Dimnames)
    return sp.csr_matrix((matrix.x, matrix.i, matrix.p), shape=(len(cells), len(genes))), cells, genes
