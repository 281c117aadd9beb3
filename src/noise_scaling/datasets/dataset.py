"""The data set that a loader returns: integer counts of named cells and genes, one signal, and the card."""

import hashlib
from dataclasses import dataclass
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..counts.count_store import CountStore
from ..errors import InputError
from ..signals import Signal
from .reading import integers
from .registry import Card

_TEXTS = 1 << 20  # names hashed at a time


@dataclass(frozen=True, eq=False)
class Dataset:
    """Cells with integer UMI counts, the signal they are scored against, and their card.

    Attributes
    ----------
    name
        Registered name, or a file's stem.
    counts
        Integer UMI counts [cells, genes]: CSR, or a store where they do not fit in memory and stay on disk.
    cell_ids, gene_ids
        Names of the cells [cells] and of the genes [genes].
    umis
        Molecules of each cell at full depth, int64 [cells].
    largest
        The largest count.
    signal
        The signal, over the same cells in the same order.
    card
        Source, licence, limits and default grid.
    data_sha256
        sha256 of counts, cell and gene names and signal; independent of the files they were loaded from.
    counts_sha256
        The same without the signal: equal for all signals of the same cells.
    stream
        Name of the random stream of split and thinning: the name of a registered data set, and the same word for all
        files of users, so that a file's name does not change the draws.
    notes
        Notes for the user of a file: how values were interpreted, how many cells lack the signal, what was rounded.
    blocks
        Block of each cell, integers [cells], if test cells come in whole blocks (tissue sections): see `splits.split`.
    adata
        AnnData whose X is the counts, or None where they stay on disk;
        uns["largest_deviation"] is how far the source's values were from integers where counts had to be recovered
        (0 where the source holds integers). For a file of your own it holds no annotation.
    """

    name: str
    counts: sp.csr_matrix | CountStore
    cell_ids: np.ndarray
    gene_ids: np.ndarray
    umis: np.ndarray
    largest: int
    signal: Signal
    card: Card
    data_sha256: str
    counts_sha256: str
    stream: str
    notes: tuple[str, ...] = ()
    blocks: np.ndarray | None = None
    adata: Any = None

    @property
    def on_disk(self) -> bool:
        """Whether the counts stay on disk."""
        return isinstance(self.counts, CountStore)

    @property
    def n_cells(self) -> int:
        return self.counts.shape[0]

    @property
    def n_genes(self) -> int:
        return self.counts.shape[1]

    def take(self, cells: np.ndarray) -> sp.csr_matrix:
        """Return the counts of some cells in memory, given by their positions, in the order given."""
        if not isinstance(self.counts, CountStore):
            return self.counts[cells]
        order = np.argsort(cells)
        return self.counts.take(np.asarray(cells)[order]).tocsr()[np.argsort(order)]


def assemble(
    card: Card,
    counts: sp.spmatrix,
    obs: pd.DataFrame,
    gene_ids: np.ndarray,
    signal: Signal,
    *,
    tolerance: float | None = None,
    stream: str | None = None,
    notes: tuple[str, ...] = (),
    blocks: np.ndarray | None = None,
) -> Dataset:
    """Build a `Dataset` from its parts; cells without a single count are dropped, and uns["dropped_cells"] names them.

    Parameters
    ----------
    card, signal, notes, blocks
        As in `Dataset`; `signal` and `blocks` are over the cells of `counts`.
    counts
        UMI counts [cells, genes], CSR.
    obs
        Table of the cells, whose index holds their names.
    gene_ids
        Names of the genes [genes].
    tolerance
        If given, counts are rounded to integers first, from which none may lie farther (`reading.integers`).
    stream
        As in `Dataset`; by default the card's name.

    Raises
    ------
    InputError
        If two cells or two genes have the same name, or a count is no integer within `tolerance`.
    """
    largest_deviation = 0.0
    if tolerance is not None:
        counts, largest_deviation = integers(counts, name=card.name, tolerance=tolerance)
    kept = np.diff(counts.indptr) > 0
    adata = anndata.AnnData(X=counts[kept], obs=obs.loc[kept], var=pd.DataFrame(index=pd.Index(gene_ids.astype(str))))
    for what, index in (("cell", adata.obs_names), ("gene", adata.var_names)):
        if not index.is_unique:
            twice = index[index.duplicated()][0]
            raise InputError(f"{card.name} has two {what}s named {twice!r}: give each {what} a name of its own")
    adata.uns["largest_deviation"] = largest_deviation
    adata.uns["dropped_cells"] = obs.index[~kept].to_list()
    signal = signal.of(kept)
    counted = CountsHash()
    counted.add(adata.X)
    sha256 = content_sha256(counted.hexdigest(), adata.obs_names, adata.var_names, signal)
    cell_ids, gene_ids = (names.to_numpy(dtype=str) for names in (adata.obs_names, adata.var_names))
    umis, largest = np.asarray(adata.X.sum(axis=1, dtype=np.int64)).ravel(), int(adata.X.data.max(initial=0))
    facts = cell_ids, gene_ids, umis, largest
    blocks = None if blocks is None else blocks[kept]
    return Dataset(card.name, adata.X, *facts, signal, card, *sha256, stream or card.name, notes, blocks, adata)


class CountsHash:
    """sha256 of counts, which are added in blocks of cells; row lengths, columns and values are hashed separately.

    The hash does not depend on empty cells, on the width of the integers or on the division into blocks.
    """

    def __init__(self) -> None:
        self._parts = [hashlib.sha256() for _ in range(3)]

    def add(self, block: sp.csr_matrix) -> None:
        """Add the next cells."""
        lengths = np.diff(block.indptr)
        for part, numbers in zip(self._parts, (lengths[lengths > 0], block.indices, block.data), strict=True):
            part.update(np.ascontiguousarray(numbers, dtype="<i8").data)

    def hexdigest(self) -> str:
        """Return the hash of all cells added so far."""
        return hashlib.sha256(b"".join(part.digest() for part in self._parts)).hexdigest()


def content_sha256(counts: str, cell_ids: Any, gene_ids: Any, signal: Signal) -> tuple[str, str]:
    """Return two sha256, which do not depend on the file's format.

    The first is of counts (their `CountsHash`), names and signal, the second of counts and names.
    """
    digest = hashlib.sha256(counts.encode())
    _add(digest, cell_ids, gene_ids)
    without_signal = digest.hexdigest()
    _add(digest, signal.values, signal.times, signal.sections)
    digest.update(f"{signal.kind} {signal.name}".encode())
    if list(signal.levels) != sorted(signal.levels):  # levels that are not in alphabetical order
        digest.update(" ".join(signal.levels).encode())
    return digest.hexdigest(), without_signal


def _add(digest: Any, *arrays: Any) -> None:
    for values in arrays:
        array = np.asarray(values)
        if values is None:
            digest.update(b"-")
        elif array.dtype.kind in "biuf":
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        else:
            for start in range(0, len(array), _TEXTS):
                digest.update((b"\0" if start else b"") + "\0".join(map(str, array[start : start + _TEXTS])).encode())
