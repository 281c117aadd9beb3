"""The raw counts of a file: which matrix, which of its features are genes, and what is refused or rounded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..counts import validate_counts
from ..errors import InputError
from .columns import listed
from .formats import ANEW, Cells

NOISE = 1e-3
"""Floats so near to whole numbers are whole numbers, as exp(log(1 + x)) - 1 in single precision gives them back."""
RELATIVE_NOISE = 2e-6
"""The same as a share of the count: single precision has 7 digits."""

_ESTIMATED = "made of estimated counts (EM, or corrected for ambient molecules)"
_CORRECTED = "normalised, or corrected for ambient molecules"
_LOGGED_OR_CORRECTED = "log-normalised, or corrected for ambient molecules"
_MAY_BE_ROUNDED = (_ESTIMATED, _CORRECTED, _LOGGED_OR_CORRECTED)
_ROUND = "if they are counts, round them with --round (round_counts=True in Python)"

_GENES = ("gene expression", "gene", "genes", "rna", "gex", "mrna")


class Features(NamedTuple):
    """Integer counts [cells, genes] with the names of the genes, and by type what else was counted."""

    counts: sp.csr_matrix
    genes: np.ndarray
    others: dict[str, sp.csr_matrix]
    notes: list[str]


def read_counts(cells: Cells, layer: str | None, name: str, *, round_counts: bool = False) -> Features:
    """Counts of the genes in X or in a layer.

    Raises
    ------
    InputError
        If there is no such matrix, it is broken, or it does not hold counts.
    """
    shape = (len(cells.obs_names), len(cells.var_names))
    if min(shape) == 0:
        raise InputError(f"{name} is empty, {shape[0]} cells x {shape[1]} genes: give at least one of each")
    where = f"layer {layer!r} of {name}" if layer else f"X of {name}"
    values = _sound(_chosen(cells, layer, name), where, shape)
    genes, others = _features(cells)
    _names_unique(cells, genes, name)
    counts, notes = _counts(values[:, genes], where, cells, round_counts)
    if not others and len(kinds := _kinds(cells)) and not kinds.str.lower().isin(_GENES).any():
        notes.append(f"{name}: no feature is called a gene ({listed(kinds.unique())}), so all are taken for genes")
    if len(others):
        kinds = ", ".join(f"{len(at)} {kind}" for kind, at in others.items())
        form = f"features:{next(iter(others))}"
        notes.append(f"{name}: {kinds} are no genes and are left out of the counts (as the signal: {form!r})")
    if _one_total(counts, counts.data, within=0.01):
        notes.append(
            f"{where}: every cell has about {counts.sum() / len(counts.indptr[1:]):.0f} counts, as if normalised"
        )
    empty = int((np.diff(counts.indptr) == 0).sum())
    if empty == counts.shape[0]:
        raise InputError(f"{where} holds no count but 0: give the raw counts, in X or in a layer named with --layer")
    if empty:
        raise InputError(
            f"{where} has {empty} of {counts.shape[0]} cells without a single count: "
            "remove them first with scanpy.pp.filter_cells(adata, min_counts=1)"
        )
    rest = {kind: values[:, at] for kind, at in others.items()}
    return Features(counts, cells.var_names[genes].to_numpy(str), rest, notes)


def _chosen(cells: Cells, layer: str | None, name: str) -> Any:
    if layer is not None and layer not in cells.layers:
        hint = f"; {_elsewhere(cells)}" if layer.startswith("raw") and cells.raw is not None else ""
        hint += "; X is read where no layer is named" if layer == "X" else ""
        raise InputError(f"{name} has no layer {layer!r}: choose one of {listed(cells.layers)}{hint}")
    values = cells.layers[layer] if layer else cells.X
    if values is None:
        there = f"; there are layers {listed(cells.layers)}" if len(cells.layers) else ""
        raise InputError(f"{name} has no X: {_elsewhere(cells)}{there}")
    return values


def _sound(values: Any, where: str, shape: tuple[int, int]) -> sp.csr_matrix:
    """`values` as CSR; checked before it is converted, for scipy converts without looking."""
    if getattr(values, "ndim", 0) != 2 or getattr(values, "dtype", np.dtype(object)).kind not in "iuf":
        found = getattr(values, "dtype", type(values).__name__)
        raise InputError(f"{where} has dtype {found}: give a matrix of integers, or of floats that hold integers")
    if values.shape != shape:
        raise InputError(f"{where} has shape {values.shape} for {shape[0]} cells and {shape[1]} genes: {ANEW}")
    return sp.csr_matrix(sound(values, where) if sp.issparse(values) else values)


def sound(values: sp.spmatrix, where: str) -> sp.spmatrix:
    """`values`, if its arrays fit together and into its shape."""
    try:
        values.check_format(full_check=True)
    except ValueError as error:
        raise InputError(f"{where} is a broken sparse matrix ({error}): {ANEW}") from error
    return values


def _features(cells: Cells) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which features are genes [features], and the positions of the others by type, as 10x names them."""
    genes = np.ones(len(cells.var_names), dtype=bool)
    kinds = _kinds(cells)
    are_genes = kinds.str.lower().isin(_GENES).to_numpy()
    if not are_genes.any():
        return genes, {}
    others = {kind: np.flatnonzero(kinds == kind) for kind in kinds[~are_genes].unique()}
    return are_genes, others


def _kinds(cells: Cells) -> pd.Series:
    """The type of each feature [features]; empty if the file does not tell."""
    column = next((name for name in ("feature_types", "feature_type", "modality") if name in cells.var), None)
    found = np.asarray([] if column is None else cells.var[column])
    return pd.Series(found, dtype=object).fillna("unnamed").astype(str).str.strip()


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


def _counts(values: sp.csr_matrix, where: str, cells: Cells, round_counts: bool) -> tuple[sp.csr_matrix, list[str]]:
    notes = []
    if values.dtype.kind == "f":
        values = values.copy()
        values.sum_duplicates()  # a count may be stored in parts
        if np.isfinite(values.data).all():
            notes = _round(values, where, cells, round_counts)
    counts = validate_counts(values, name=where).astype(np.int32)
    counts.eliminate_zeros()
    return counts, notes


def _round(values: sp.csr_matrix, where: str, cells: Cells, round_counts: bool) -> list[str]:
    """Round in place what is nearly whole, or what may be rounded; refuse other fractions."""
    whole = np.rint(values.data)
    off = _off(values.data)
    if not off.any():
        return []
    fractional = off > _noise(values.data)
    kind = _kind(values, fractional)
    if fractional.any() and not (round_counts and kind in _MAY_BE_ROUNDED):
        remedy = _elsewhere(cells) + (f", or, {_ROUND}" if kind in _MAY_BE_ROUNDED else "")
        raise InputError(
            f"{where} is {kind}, it seems: {_share(fractional)} of its non-zero values are fractional, "
            f"the largest {values.data.max():.4g}; {remedy}"
        )
    values.data = whole
    share = f"{_share(fractional)} of the values were fractional, " if fractional.any() else ""
    return [f"{where} was rounded to whole numbers: {share}by at most {off.max():.2g}"]


def _share(found: np.ndarray) -> str:
    """How many, in per cent, or in numbers where that rounds to none."""
    return f"{found.mean():.0%}" if found.mean() >= 0.005 else f"{found.sum()} in {len(found)}"


def _off(data: np.ndarray) -> np.ndarray:
    return np.abs(data - np.rint(data))


def _noise(data: np.ndarray) -> np.ndarray:
    return np.maximum(NOISE, RELATIVE_NOISE * np.abs(data))


def _kind(values: sp.csr_matrix, fractional: np.ndarray) -> str:
    """What a matrix with fractions is, in words."""
    if values.data.min() < 0:
        return "scaled"
    if _one_total(values, values.data):
        return f"normalised (every cell sums to {values.sum() / values.shape[0]:.4g})"
    if fractional.mean() < 0.5:
        return _ESTIMATED
    # log1p of 10,000 per cell stays below 9.3, of 1e6 below 13.9, log2 of 1e6 below 20; counts nearly always pass 20.
    if values.data.max() < 20:
        undone = (np.expm1(values.data), np.exp2(values.data) - 1)
        logged = any(_one_total(values, data) or not (_off(data) > _noise(data)).any() for data in undone)
        return "log-normalised" if logged else _LOGGED_OR_CORRECTED
    return _CORRECTED


def _one_total(values: sp.csr_matrix, data: np.ndarray, *, within: float = 1e-3) -> bool:
    """Whether all cells sum to the same, as cells that were normalised do."""
    totals = np.asarray(sp.csr_matrix((data, values.indices, values.indptr), shape=values.shape).sum(axis=1)).ravel()
    totals = totals[totals > 0]
    return len(totals) > 1 and bool(np.ptp(totals) < within * totals.mean())


def _elsewhere(cells: Cells) -> str:
    """Where the counts may be instead."""
    whole = [name for name in cells.layers if _is_whole(partial(cells.layers.__getitem__, name))]
    if whole:
        return f"give --layer {whole[0]} (layer={whole[0]!r} in Python), which holds whole numbers"
    if _is_whole(lambda: cells.raw.X if cells.raw is not None else None):
        return "raw.X holds whole numbers: save adata.raw.to_adata() with obs and obsm as a file of its own"
    return "give the raw counts, in X or in a layer named with --layer"


def _is_whole(read: Callable[[], Any]) -> bool:
    try:
        values = read()
    except InputError:  # what cannot be read is no way out
        return False
    data = values.data if sp.issparse(values) else np.asarray(values)
    return data.dtype.kind in "iu" or (data.dtype.kind == "f" and bool(np.all(data == np.rint(data))))
