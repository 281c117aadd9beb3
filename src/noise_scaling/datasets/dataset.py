"""What a loader gives: integer counts of named cells and genes, one signal, and the card."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..errors import InputError
from ..signals import Signal
from .registry import Card


@dataclass(frozen=True, eq=False)
class Dataset:
    """Cells with integer UMI counts, the signal they are scored against, and their card.

    Attributes
    ----------
    name
        Registered name, or a file's stem.
    adata
        AnnData whose X is CSR of integer counts [cells, genes]; uns["largest_deviation"] is how far the source's
        values were from integers where counts had to be recovered (0 where the source holds integers). Of a file of
        your own it holds no annotation: only what was asked for is read.
    signal
        The signal, over the same cells in the same order.
    card
        Source, licence, limits and default grid.
    data_sha256
        sha256 of counts, cell and gene names and signal: the same wherever they were loaded from.
    stream
        Names the random draws of split and thinning: the name of a registered data set, one word for all files, so
        that a file's name does not matter.
    notes
        What the user of a file should know: what was taken for what, how many cells lack the signal, what was rounded.
    """

    name: str
    adata: anndata.AnnData
    signal: Signal
    card: Card
    data_sha256: str
    stream: str
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> sp.csr_matrix:
        """Integer UMI counts [cells, genes], CSR."""
        return self.adata.X

    @property
    def cell_ids(self) -> np.ndarray:
        """Names of the cells [cells]."""
        return self.adata.obs_names.to_numpy(dtype=str)

    @property
    def gene_ids(self) -> np.ndarray:
        """Names of the genes [genes]."""
        return self.adata.var_names.to_numpy(dtype=str)

    @property
    def n_cells(self) -> int:
        return self.adata.n_obs

    @property
    def n_genes(self) -> int:
        return self.adata.n_vars


def assemble(
    card: Card,
    counts: sp.csr_matrix,
    obs: pd.DataFrame,
    gene_ids: np.ndarray,
    signal: Signal,
    *,
    largest_deviation: float = 0.0,
    stream: str | None = None,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """Put the parts together: cells without a single count are dropped, by name.

    Parameters
    ----------
    card
        Of this data set; the name is taken from it.
    counts
        Integer counts [cells, genes].
    obs
        Annotation of the same cells; its index holds their names.
    gene_ids
        Names [genes].
    signal
        Over the same cells.
    largest_deviation
        How far the source's values were from integers, in molecules; 0 if it holds integers.
    stream, notes
        As in `Dataset`; the card's name if no stream is given.

    Raises
    ------
    InputError
        If two cells or two genes have one name.
    """
    kept = np.diff(counts.indptr) > 0
    adata = anndata.AnnData(X=counts[kept], obs=obs.loc[kept], var=pd.DataFrame(index=pd.Index(gene_ids.astype(str))))
    for what, index in (("cell", adata.obs_names), ("gene", adata.var_names)):
        if not index.is_unique:
            twice = index[index.duplicated()][0]
            raise InputError(f"{card.name} has two {what}s named {twice!r}: give each {what} a name of its own")
    adata.uns["largest_deviation"] = largest_deviation
    adata.uns["dropped_cells"] = obs.index[~kept].to_list()
    signal = signal.of(kept)
    sha256 = content_sha256(adata, signal)
    return Dataset(card.name, adata, signal, card, sha256, stream or card.name, notes)


def content_sha256(adata: anndata.AnnData, signal: Signal) -> str:
    """sha256 of what is measured: counts, names and signal, independent of file format and integer width."""
    digest = hashlib.sha256()
    counts = adata.X
    for array in (counts.indptr, counts.indices, counts.data):
        digest.update(np.ascontiguousarray(array, dtype="<i8").data)
    for array in (adata.obs_names, adata.var_names, signal.values, signal.times, signal.sections):
        digest.update(_bytes(array))
    digest.update(f"{signal.kind} {signal.name}".encode())
    if list(signal.levels) != sorted(signal.levels):  # an order that the names themselves do not have
        digest.update(" ".join(signal.levels).encode())
    return digest.hexdigest()


def _bytes(array: Any) -> bytes:
    if array is None:
        return b"-"
    array = np.asarray(array)
    if array.dtype.kind in "biuf":
        return np.ascontiguousarray(array, dtype="<f8").tobytes()
    return "\0".join(map(str, array)).encode()
