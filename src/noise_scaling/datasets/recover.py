"""Integer counts out of sources that keep them scaled, and files that older programs wrote."""

from __future__ import annotations

import warnings
from decimal import Decimal
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp

from ..errors import InputError


def log1p(counts: np.ndarray) -> np.ndarray:
    """log(1 + count), rounded right: numpy's last digit depends on the processor, and `data_sha256` sees it."""
    values, where = np.unique(counts, return_inverse=True)
    logarithms = np.array([float(Decimal(int(value) + 1).ln()) for value in values])
    return logarithms[where].reshape(counts.shape)


def integers(values: sp.spmatrix, *, name: str, tolerance: float) -> tuple[sp.csr_matrix, float]:
    """Round counts that a source kept as scaled floats, and say how far they were from integers.

    Parameters
    ----------
    values
        Counts as floats [cells, genes].
    name
        The data set, for the message.
    tolerance
        Largest deviation from an integer that is taken for rounding error of the source.

    Returns
    -------
    counts int32 CSR [cells, genes], and the largest deviation found.
    """
    csr = sp.csr_matrix(values, dtype=np.float64)
    csr.sum_duplicates()
    rounded = np.rint(csr.data)
    deviation = float(np.abs(csr.data - rounded).max(initial=0.0))
    # Also true for NaN, which compares false with everything.
    if not (deviation <= tolerance and rounded.min(initial=0) >= 0):
        raise InputError(
            f"{name}: counts are up to {deviation:.3g} away from non-negative integers (at most {tolerance:g} is "
            "rounding): the file is not the one this loader was written for; fetch it anew"
        )
    counts = sp.csr_matrix((rounded.astype(np.int32), csr.indices, csr.indptr), shape=csr.shape)
    counts.eliminate_zeros()
    return counts, deviation


def unscale_rows(values: sp.spmatrix) -> sp.csr_matrix:
    """Each row over its smallest non-zero value: undoes a scaling per cell where the cell has a count of 1."""
    csr = sp.csr_matrix(values, dtype=np.float64)
    csr.eliminate_zeros()
    filled = np.diff(csr.indptr) > 0
    smallest = np.ones(csr.shape[0])
    if csr.nnz:
        smallest[filled] = np.minimum.reduceat(csr.data, csr.indptr[:-1][filled])
    return sp.csr_matrix(sp.diags_array(1 / smallest) @ csr)


def read_h5ad(path: Path) -> anndata.AnnData:
    """An .h5ad of any age, whole in memory; AnnData's remarks on old formats are not the reader's concern."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return anndata.read_h5ad(path)
