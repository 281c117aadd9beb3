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

    Parameters
    ----------
    cells
        From `formats.open_cells`.
    layer
        Which layer holds the raw counts; None: X.
    name
        The file's name, for messages and notes.
    round_counts
        Round estimated counts to whole ones, rather than refuse them.

    Raises
    ------
    InputError
        If there is no such matrix, it is broken, it does not hold counts, names repeat, or a cell has no count.
    """
    shape = (len(cells.obs_names), len(cells.var_names))
    if min(shape) == 0:
        raise InputError(f"{name} is empty, {shape[0]} cells x {shape[1]} genes: give at least one of each")
    where = f"layer {layer!r} of {name}" if layer else f"X of {name}"
    values = _as_csr(_chosen(cells, layer, name), where, shape)
    genes, others, feature_notes = _features(cells, name)
    _names_unique(cells, genes, name)
    counts, notes = _counts(values[:, genes], where, cells, round_counts)
    notes += feature_notes
    if _one_total(counts, within=0.01):
        notes.append(f"{where}: every cell has about {counts.sum() / shape[0]:.0f} counts, as if normalised")
    empty = int((np.diff(counts.indptr) == 0).sum())
    if empty == shape[0]:
        raise InputError(f"{where} holds no count but 0: give the raw counts, in X or in a layer named with --layer")
    if empty:
        raise InputError(
            f"{where} has {empty} of {shape[0]} cells without a single count: "
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


def _as_csr(values: Any, where: str, shape: tuple[int, int]) -> sp.csr_matrix:
    """`values` as CSR; checked before it is converted, for scipy converts without looking."""
    if getattr(values, "ndim", 0) != 2 or getattr(values, "dtype", np.dtype(object)).kind not in "iuf":
        found = getattr(values, "dtype", type(values).__name__)
        raise InputError(f"{where} has dtype {found}: give a matrix of integers, or of floats that hold integers")
    if values.shape != shape:
        raise InputError(f"{where} has shape {values.shape} for {shape[0]} cells and {shape[1]} genes: {ANEW}")
    return sp.csr_matrix(check_arrays(values, where) if sp.issparse(values) else values)


def check_arrays(values: sp.spmatrix, where: str) -> sp.spmatrix:
    """`values` as they are; `where` says in the message what they are.

    Raises
    ------
    InputError
        If the arrays do not fit together and into the shape.
    """
    try:
        values.check_format(full_check=True)
    except ValueError as error:
        raise InputError(f"{where} is a broken sparse matrix ({error}): {ANEW}") from error
    return values


def _features(cells: Cells, name: str) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    """Which features are genes [features], the positions of the others by type, as 10x names them, and notes."""
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
    off = np.abs(values.data - np.rint(values.data))
    if not off.any():
        return []
    fractional = _fractional(values.data)
    some = f"{fractional.mean():.0%}" if fractional.mean() >= 0.005 else f"{fractional.sum()} in {len(fractional)}"
    kind = _kind(values, fractional)
    if fractional.any() and not (round_counts and kind in _MAY_BE_ROUNDED):
        remedy = _elsewhere(cells) + (f", or, {_ROUND}" if kind in _MAY_BE_ROUNDED else "")
        raise InputError(
            f"{where} is {kind}, it seems: {some} of its non-zero values are fractional, "
            f"the largest {values.data.max():.4g}; {remedy}"
        )
    values.data = np.rint(values.data)
    share = f"{some} of the values were fractional, " if fractional.any() else ""
    return [f"{where} was rounded to whole numbers: {share}by at most {off.max():.2g}"]


def _fractional(data: np.ndarray) -> np.ndarray:
    """Which values are not whole, but for what a float's last digits do."""
    return np.abs(data - np.rint(data)) > np.maximum(NOISE, RELATIVE_NOISE * np.abs(data))


def _kind(values: sp.csr_matrix, fractional: np.ndarray) -> str:
    """What a matrix with fractions is, for a sentence."""
    if values.data.min() < 0:
        return "scaled"
    if _one_total(values):
        return f"normalised (every cell sums to {values.sum() / values.shape[0]:.4g})"
    if fractional.mean() < 0.5:
        return _ESTIMATED
    # log1p of 10,000 per cell stays below 9.3, of 1e6 below 13.9, log2 of 1e6 below 20; counts nearly always pass 20.
    if values.data.max() >= 20:
        return _CORRECTED
    undone = (values.expm1(), (values * np.log(2)).expm1())
    logged = any(_one_total(counts) or not _fractional(counts.data).any() for counts in undone)
    return "log-normalised" if logged else _LOGGED_OR_CORRECTED


def _one_total(values: sp.csr_matrix, *, within: float = 1e-3) -> bool:
    """Whether all cells sum to the same, as cells that were normalised do."""
    totals = np.asarray(values.sum(axis=1)).ravel()
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
