"""The paper's four data sets, read from the files of their publications as they are.

None of these files can be had by the tests: each loader is tested on a small file of the same form, written after
what the publications and public readers of these files say of them.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse as sp
from anndata._io.specs.registry import IORegistryError  # raised by the public readers, exported nowhere
from anndata.utils import make_index_unique

from ...errors import InputError
from ...seeds import generator
from ...signals import Signal, single_clone
from .. import recover
from ..dataset import Dataset, assemble
from ..registry import Card

Files = dict[str, Path]

CELLS_AT_ONCE = 20_000
"""Cells of one block of a streamed file: about 0.2 GB at 1,000 genes a cell."""
MOST_CELLS = 300_000
"""Cells of the embryo atlas that `load` keeps in memory, about 2.5 GB; `embryo_blocks` streams all 11 million."""


def pbmc(card: Card, files: Files, signal: str) -> Dataset:
    """Hao et al. 2021, 3' cells: two matrices [genes, cells] and [proteins, cells], and the cells' annotation."""
    meta = files["GSE164378_sc.meta.data_3P.csv.gz"]
    with _of_form(meta):
        obs = pd.read_csv(meta, index_col=0)
    counts, cells, genes = _matrix_market(files, "GSM5008737_RNA_3P")
    _columns(obs, ["celltype.l3"], meta)
    _all_there(cells, obs.index, meta)
    obs = obs.loc[cells]
    counts, deviation = recover.integers(counts, name=card.name, tolerance=0)
    if signal == "celltype.l3":
        found = Signal(signal, "label", obs[signal].fillna("").to_numpy(dtype=str))
    else:
        proteins, protein_cells, _ = _matrix_market(files, "GSM5008738_ADT_3P")
        _all_there(cells, protein_cells, files["GSM5008738_ADT_3P-barcodes.tsv.gz"])
        rows = protein_cells.get_indexer(cells)
        found = Signal(signal, "vector", recover.log1p(proteins[rows].toarray()))
    return assemble(card, counts, obs, genes, found, largest_deviation=deviation)


def larry(card: Card, files: Files, signal: str) -> Dataset:
    """Weinreb et al. 2020, in vitro: a matrix [cells, genes] scaled to one total, metadata, and a clone matrix.

    The smallest value of a cell is one molecule. A cell of no clone, or of more than one, is of no clone here.
    """
    meta = files["stateFate_inVitro_metadata.txt.gz"]
    names = files["stateFate_inVitro_gene_names.txt.gz"]
    with _of_form(meta):
        obs = pd.read_csv(meta, sep="\t", dtype={"Library": str, "Cell barcode": str})
    with _of_form(names):
        genes = pd.read_csv(names, sep="\t", header=None, dtype=str)[0]
    _columns(obs, ["Library", "Cell barcode", "Time point"], meta)
    values = _read_mtx(files["stateFate_inVitro_normed_counts.mtx.gz"], (len(obs), len(genes)))
    clones = _read_mtx(files["stateFate_inVitro_clone_matrix.mtx.gz"], (len(obs), None))
    counts, deviation = recover.integers(recover.unscale_rows(values), name=card.name, tolerance=0.1)
    # A barcode is unique within its library only.
    obs.index = make_index_unique(pd.Index(obs["Library"] + "_" + obs["Cell barcode"]))
    times = obs["Time point"].to_numpy(dtype=np.float64) if signal == "clone_later" else None
    relatives = Signal(signal, "pair", single_clone(clones), times=times)
    return assemble(card, counts, obs, _unique(genes), relatives, largest_deviation=deviation)


def merfish(card: Card, files: Files, signal: str) -> Dataset:
    """Vizgen S1R1: cells by genes and by blank barcodes, which are left out; centres of cells in micrometres.

    Cell names are whole numbers of 39 digits: read as text, as no integer or float holds them.
    """
    table, meta = files["cell_by_gene_S1R1.csv"], files["cell_metadata_S1R1.csv"]
    blocks, cells = [], []
    with _of_form(table):
        first = pd.read_csv(table, nrows=0).columns
        genes = [name for name in first[1:] if "blank" not in name.lower()]
        with pd.read_csv(table, index_col=0, dtype={first[0]: str}, chunksize=CELLS_AT_ONCE) as reader:
            for block in reader:
                blocks.append(sp.csr_matrix(block[genes].to_numpy(dtype=np.float32)))
                cells.extend(block.index)
    with _of_form(meta):
        obs = pd.read_csv(meta, index_col=0, dtype={pd.read_csv(meta, nrows=0).columns[0]: str})
    _columns(obs, ["center_x", "center_y"], meta)
    _all_there(pd.Index(cells), obs.index, meta)
    if not genes or not blocks:
        raise InputError(f"{table.name} has {len(cells)} cells and {len(genes)} genes: fetch the file anew")
    obs = obs.loc[cells]
    counts, deviation = recover.integers(sp.vstack(blocks), name=card.name, tolerance=0)
    neighbours = Signal(signal, "pair", obs[["center_x", "center_y"]].to_numpy(dtype=np.float64))
    return assemble(card, counts, obs, np.array(genes), neighbours, largest_deviation=deviation)


def mouse_embryo(card: Card, files: Files, signal: str, *, most_cells: int = MOST_CELLS) -> Dataset:
    """Qiu et al. 2024: a fixed random `most_cells` of the 11 million cells, streamed, never whole in memory."""
    paths = [path for name, path in sorted(files.items()) if name.endswith(".h5ad")]
    total = sum(_n_cells(path) for path in paths)
    chosen = np.ones(total, dtype=bool)
    if total > most_cells:
        chosen[:] = False
        chosen[generator(0, card.name).choice(total, most_cells, replace=False)] = True
    blocks, tables, start = [], [], 0
    for block, table, names in embryo_blocks(paths):
        kept = chosen[start : start + len(table)]
        start += len(table)
        blocks.append(recover.integers(block[kept], name=card.name, tolerance=0)[0])
        tables.append(table.loc[kept])
        genes = names
    obs = pd.concat(tables)
    obs.index = make_index_unique(obs.index.astype(str))
    labels = Signal(signal, "label", obs["day"].astype(str).to_numpy(dtype=str))
    counts = sp.csr_matrix(sp.vstack(blocks))
    return assemble(card, counts, obs, _unique(genes), labels)


def embryo_blocks(
    paths: list[Path], *, cells_at_once: int = CELLS_AT_ONCE
) -> Iterator[tuple[sp.csr_matrix, pd.DataFrame, pd.Index]]:
    """Stream .h5ad files block by block: counts [cells, genes], the cells' "day", the genes' names.

    The files must hold the same genes in the same order; "day" may be called "author_day".
    """
    first = None
    for path in paths:
        with _of_form(path), h5py.File(path) as file:
            obs = anndata.io.read_elem(file["obs"]).rename(columns={"author_day": "day"})
            genes = anndata.io.read_elem(file["var"]).index.astype(str)
            _columns(obs, ["day"], path)
            first = genes if first is None else first
            if not genes.equals(first):
                raise InputError(f"{path.name} has other genes than {paths[0].name}: fetch the files anew")
            stored = file["X"]
            if isinstance(stored, h5py.Group):
                stored = anndata.io.sparse_dataset(stored)
                if stored.format != "csr":
                    raise InputError(f"X of {path.name} is {stored.format}, not csr: write it anew, cell by cell")
            for start in range(0, len(obs), cells_at_once):
                stop = start + cells_at_once
                yield sp.csr_matrix(stored[start:stop]), obs[["day"]].iloc[start:stop], genes


def _n_cells(path: Path) -> int:
    with _of_form(path), h5py.File(path) as file:
        return len(anndata.io.read_elem(file["obs"]))


@contextmanager
def _of_form(path: Path) -> Iterator[None]:
    """Turn what the readers raise on a file of another form into a sentence."""
    try:
        yield
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error, IORegistryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise InputError(
            f"{path.name} is not of the form its publication gave it ({reason}): delete {path} and fetch it anew"
        ) from error


def _matrix_market(files: Files, stem: str) -> tuple[sp.csr_matrix, pd.Index, np.ndarray]:
    """A 10x-like triple of files as [cells, features], the cells' names, and the features' names."""
    names = []
    for part in ("barcodes", "features"):
        path = files[f"{stem}-{part}.tsv.gz"]
        with _of_form(path):
            names.append(pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False)[0])
    cells, features = names
    values = _read_mtx(files[f"{stem}-matrix.mtx.gz"], (len(features), len(cells)))
    return sp.csr_matrix(values.T), pd.Index(cells), _unique(features)


def _read_mtx(path: Path, shape: tuple[int, int | None]) -> sp.csr_matrix:
    with _of_form(path), gzip.open(path) as stream:
        values = sp.csr_matrix(scipy.io.mmread(stream))
    wanted = (shape[0], values.shape[1] if shape[1] is None else shape[1])
    if values.shape != wanted:
        raise InputError(f"{path.name} is {values.shape}, where its names give {wanted}: fetch the files anew together")
    return values


def _unique(genes: pd.Series | pd.Index) -> np.ndarray:
    """Gene symbols made unique by a number, as scanpy does."""
    return make_index_unique(pd.Index(genes.astype(str))).to_numpy(dtype=str)


def _columns(table: pd.DataFrame, wanted: list[str], path: Path) -> None:
    absent = [name for name in wanted if name not in table.columns]
    if absent:
        raise InputError(f"{path.name} has no column {absent[0]!r}: it is not the file of the card; fetch it anew")


def _all_there(cells: pd.Index, known: pd.Index, path: Path) -> None:
    absent = cells[~cells.isin(known)]
    if len(absent):
        raise InputError(f"{path.name} lacks {len(absent)} of {len(cells)} cells, e.g. {absent[0]!r}: fetch it anew")
