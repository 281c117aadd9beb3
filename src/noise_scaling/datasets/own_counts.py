"""Read the raw counts of a file: choose the matrix and the features that are genes, and refuse unusable counts."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from ..counts.count_store import FileStore, is_small
from ..counts.thinning import check_format
from ..errors import InputError
from .columns import listed
from .formats import ANEW, Cells
from .own_rounding import Rounding, elsewhere, normalised, whole_counts

_GENES = ("gene expression", "gene", "genes", "rna", "gex", "mrna")


Others = Mapping[str, Callable[[], sp.csr_matrix]]
"""Maps each type of feature other than genes to a function that reads its counts [cells, features]."""


class Features(NamedTuple):
    """Integer counts [cells, genes], the names of the genes, and the other counted features by type.

    `notes` returns the notes for the user; of a store, once all of its cells have been read. `where` is the place of
    the counts in the file, for messages, and `chosen` marks which of the file's features [features] are genes.
    """

    counts: Any
    genes: np.ndarray
    others: Others
    notes: Callable[[], list[str]]
    where: str
    chosen: np.ndarray


def read_counts(
    cells: Cells, layer: str | None, name: str, *, round_counts: bool, paths: Sequence[Path] = ()
) -> Features:
    """Read the counts of the genes from X or a layer; `round_counts`: round estimated ones, do not refuse them.

    With `paths`, the files of `cells`, the counts stay in them: they are a `FileStore`, which checks them block by
    block as they are read, and does not refuse cells without a count.
    """
    shape = (len(cells.obs_names), len(cells.var_names))
    where = f"layer {layer!r} of {name}" if layer else f"X of {name}"
    if min(shape) == 0:
        raise InputError(f"{name} is empty, {shape[0]} cells x {shape[1]} genes: give at least one of each")
    values = None if paths else _as_csr(_chosen(cells, layer, name), where, shape)
    genes, others, said = _features(cells, name)
    _names_unique(cells, genes, name)
    names = cells.var_names[genes].to_numpy(str)
    if values is None:
        convert = _Convert(where, genes, round_counts)
        store = FileStore(paths, layer=layer, convert=convert, n_genes=len(names))
        if store.shape[0] != shape[0]:
            raise InputError(f"{where} has {store.shape[0]} rows for {shape[0]} cells: {ANEW}")
        rest = {kind: partial(_others, paths, layer, at) for kind, at in others.items()}
        return Features(store, names, rest, lambda: convert.rounding.notes(where) + said, where, genes)
    counts, rounding = whole_counts(values[:, genes], where, cells, round_counts)
    refuse_empty(np.diff(counts.indptr), where)
    notes = [*rounding.notes(where), *said, *normalised(np.asarray(counts.sum(axis=1)).ravel(), where)]
    rest = {kind: partial(values.__getitem__, (slice(None), at)) for kind, at in others.items()}
    return Features(counts, names, rest, lambda: notes, where, genes)


def large_files(cells: Cells, layer: str | None) -> list[Path]:
    """Return the files of cells whose counts are too large for memory and can be read cell by cell; else none."""
    if isinstance(cells, AnnData):
        return []
    stored = cells.stored_counts(f"layers/{layer}" if layer else "X")
    return cells.paths if stored and not is_small(stored) else []


class _Convert:
    """Converts a block of the file's values to counts of the genes, and keeps track of what was rounded."""

    def __init__(self, where: str, genes: np.ndarray, round_counts: bool) -> None:
        self.where, self.round_counts, self.rounding = where, round_counts, Rounding()
        self.genes = None if genes.all() else np.flatnonzero(genes)

    def __call__(self, block: sp.csr_matrix, name: str) -> sp.csr_matrix:
        check_format(block, self.where, ANEW)
        values = block if self.genes is None else block[:, self.genes]
        counts, rounding = whole_counts(values, self.where, None, self.round_counts)
        self.rounding += rounding
        return counts


def _others(paths: Sequence[Path], layer: str | None, columns: np.ndarray) -> sp.csr_matrix:
    store = FileStore(paths, layer=layer, convert=lambda block, name: block[:, columns], n_genes=len(columns))
    return store.tocsr()


def refuse_empty(counts: np.ndarray, where: str) -> None:
    """Raise InputError if any cell has no count; `counts` is each cell's number of counts, `where` is for messages."""
    empty = int((counts == 0).sum())
    if empty == len(counts):
        raise InputError(f"{where} holds no count but 0: give the raw counts, in X or in a layer named with --layer")
    if empty:
        raise InputError(
            f"{where} has {empty} of {len(counts)} cells without a single count: "
            "remove them first with scanpy.pp.filter_cells(adata, min_counts=1)"
        )


def _chosen(cells: Cells, layer: str | None, name: str) -> Any:
    if layer is not None and layer not in cells.layers:
        hint = f"; {elsewhere(cells)}" if layer.startswith("raw") and cells.raw is not None else ""
        hint += "; X is read where no layer is named" if layer == "X" else ""
        raise InputError(f"{name} has no layer {layer!r}: choose one of {listed(cells.layers)}{hint}")
    values = cells.layers[layer] if layer else cells.X
    if values is None:
        there = f"; there are layers {listed(cells.layers)}" if len(cells.layers) else ""
        raise InputError(f"{name} has no X: {elsewhere(cells)}{there}")
    return values


def _as_csr(values: Any, where: str, shape: tuple[int, int]) -> sp.csr_matrix:
    """Convert `values` to CSR; check them first, because scipy converts without checks."""
    if getattr(values, "ndim", 0) != 2 or getattr(values, "dtype", np.dtype(object)).kind not in "iuf":
        found = getattr(values, "dtype", type(values).__name__)
        raise InputError(f"{where} has dtype {found}: give a matrix of integers, or of floats that hold integers")
    if values.shape != shape:
        raise InputError(f"{where} has shape {values.shape} for {shape[0]} cells and {shape[1]} genes: {ANEW}")
    if sp.issparse(values):
        check_format(values, where, ANEW)
    return sp.csr_matrix(values)


def _features(cells: Cells, name: str) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    """Return which features are genes [features], the positions of the others by their 10x type, and notes."""
    column = next((key for key in ("feature_types", "feature_type", "modality") if key in cells.var), None)
    if column is None:
        return np.ones(len(cells.var_names), dtype=bool), {}, []
    kinds = pd.Series(np.asarray(cells.var[column]), dtype=object).fillna("unnamed").astype(str).str.strip()
    genes = kinds.str.lower().isin(_GENES).to_numpy()
    if not genes.any():
        note = f"{name}: no feature is called a gene ({listed(kinds.unique())}), so all are taken for genes"
        return ~genes, {}, [note]
    others = {kind: np.flatnonzero(kinds == kind) for kind in kinds[~genes].unique()}
    if not others:
        return genes, {}, []
    found, form = ", ".join(f"{len(at)} {kind}" for kind, at in others.items()), f"features:{next(iter(others))}"
    return genes, others, [f"{name}: {found} are no genes and are left out of the counts (as the signal: {form!r})"]


def _names_unique(cells: Cells, genes: np.ndarray, name: str) -> None:
    for what, index, remedy in (
        ("cells", cells.obs_names, "adata.obs_names_make_unique()"),
        ("genes", cells.var_names[genes], "adata.var_names_make_unique()"),
    ):
        repeated = index[index.duplicated()].unique()
        if len(repeated):
            raise InputError(
                f"{name} has several {what} named {repeated[0]!r}, {len(repeated)} such names in all: {remedy} and save"
            )
