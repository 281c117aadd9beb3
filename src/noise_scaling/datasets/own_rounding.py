"""Make stored values whole counts: round small deviations and, on request, estimates; refuse other fractions."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from ..counts import validate_counts
from ..errors import InputError
from .formats import Cells

NOISE = 1e-3
"""Floats this close to whole numbers are whole numbers: exp(log(1 + x)) - 1 in single precision is off by so much."""
RELATIVE_NOISE = 2e-6
"""The same tolerance relative to the count: single precision has 7 digits."""

_ESTIMATED = "made of estimated counts (EM, or corrected for ambient molecules)"
_CORRECTED = "normalised, or corrected for ambient molecules"
_LOGGED_OR_CORRECTED = "log-normalised, or corrected for ambient molecules"
_MAY_BE_ROUNDED = (_ESTIMATED, _CORRECTED, _LOGGED_OR_CORRECTED)
_ROUND = "if they are counts, round them with --round (round_counts=True in Python)"


class Rounding(NamedTuple):
    """How many values were not whole numbers, and how far they were off at most."""

    values: int = 0
    fractional: int = 0
    most: float = 0.0

    def __add__(self, other: Self) -> Self:  # type: ignore[override]
        values, fractional = self.values + other.values, self.fractional + other.fractional
        return type(self)(values, fractional, max(self.most, other.most))

    @property
    def share(self) -> str:
        """The share of the values that were fractional, as text."""
        share = self.fractional / max(self.values, 1)
        return f"{share:.0%}" if share >= 0.005 else f"{self.fractional} in {self.values}"

    def notes(self, where: str) -> list[str]:
        """Return a note on the rounding; no note if nothing was rounded."""
        if not self.most:
            return []
        share = f"{self.share} of the values were fractional, " if self.fractional else ""
        return [f"{where} was rounded to whole numbers: {share}by at most {self.most:.2g}"]


def whole_counts(
    values: sp.csr_matrix, where: str, cells: Cells | None, round_counts: bool
) -> tuple[sp.csr_matrix, Rounding]:
    """Return int32 counts without stored zeros from stored values [cells, genes], and how the values were rounded."""
    rounding = Rounding()
    if values.dtype.kind == "f":
        values = values.copy()
        values.sum_duplicates()  # a count may be stored as several entries
        if np.isfinite(values.data).all():
            rounding = _round(values, where, cells, round_counts)
    counts = validate_counts(values, name=where).astype(np.int32)
    counts.eliminate_zeros()
    return counts, rounding


def _round(values: sp.csr_matrix, where: str, cells: Cells | None, round_counts: bool) -> Rounding:
    """Round in place values that are nearly whole or may be rounded; refuse other fractions."""
    off = np.abs(values.data - np.rint(values.data))
    if not off.any():
        return Rounding(len(off))
    fractional = _fractional(values.data)
    found = Rounding(len(off), int(fractional.sum()), float(off.max()))
    kind = _kind(values, fractional)
    if fractional.any() and not (round_counts and kind in _MAY_BE_ROUNDED):
        remedy = elsewhere(cells) + (f", or, {_ROUND}" if kind in _MAY_BE_ROUNDED else "")
        raise InputError(
            f"{where} is {kind}, it seems: {found.share} of its non-zero values are fractional, "
            f"the largest {values.data.max():.4g}; {remedy}"
        )
    values.data = np.rint(values.data)
    return found


def _fractional(data: np.ndarray) -> np.ndarray:
    """Return which values are not whole numbers, apart from rounding errors in the last digits of floats."""
    return np.abs(data - np.rint(data)) > np.maximum(NOISE, RELATIVE_NOISE * np.abs(data))


def _kind(values: sp.csr_matrix, fractional: np.ndarray) -> str:
    """Describe a matrix with fractional values, in words for an error message."""
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


def _one_total(values: sp.csr_matrix) -> bool:
    """Whether all cells have the same sum, as normalised cells do."""
    return _alike(np.asarray(values.sum(axis=1)).ravel(), within=1e-3)


def _alike(totals: np.ndarray, *, within: float) -> bool:
    totals = totals[totals > 0]
    return len(totals) > 1 and bool(np.ptp(totals) < within * totals.mean())


def normalised(umis: np.ndarray, where: str) -> list[str]:
    """Return a note if all cells have about the same number of molecules, `umis` [cells]."""
    if not _alike(umis, within=0.01):
        return []
    return [f"{where}: every cell has about {umis.mean():.0f} counts, as if normalised"]


def elsewhere(cells: Cells | None) -> str:
    """Suggest, for an error message, where else the raw counts may be."""
    if cells is None:
        return "give the raw counts, in X or in a layer named with --layer"
    whole = [name for name in cells.layers if _is_whole(partial(cells.layers.__getitem__, name))]
    if whole:
        return f"give --layer {whole[0]} (layer={whole[0]!r} in Python), which holds whole numbers"
    if _is_whole(lambda: cells.raw.X if cells.raw is not None else None):
        return "raw.X holds whole numbers: save adata.raw.to_adata() with obs and obsm as a file of its own"
    return "give the raw counts, in X or in a layer named with --layer"


def _is_whole(read: Callable[[], Any]) -> bool:
    try:
        values = read()
    except InputError:  # an element that cannot be read is not suggested
        return False
    data = values.data if sp.issparse(values) else np.asarray(values)
    return data.dtype.kind in "iu" or (data.dtype.kind == "f" and bool(np.all(data == np.rint(data))))
