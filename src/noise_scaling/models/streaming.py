"""Counts that stay on disk: what `fit` and `embed` take in place of arrays when the cells are too many for memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from anndata.io import read_elem, sparse_dataset
from scipy.sparse import csr_matrix, vstack

from ..counts import validate_counts
from ..errors import InputError

IN_MEMORY_BELOW = 2 << 30
"""Bytes of CSR counts (8 a non-zero count) below which `open_counts` reads them into memory: 2.1e8 non-zero counts,
that is 2e5 cells of 1,000 genes each."""
BLOCK = 1 << 20
"""Non-zero counts read at a time, 8 MB; anndata takes 2.6 ms a slice, whatever its size."""
_PART = 1 << 24


class CountStore:
    """Chosen cells of a count store on disk (.h5ad or .zarr, CSR), in the store's order.

    Holds the row pointers, 8 bytes a cell of the store, and 8 more a chosen cell; counts are read block by block.
    The file is opened for each pass, so that a store can be handed to another thread or process.

    Parameters
    ----------
    path
        As written by `stores.thin_store`, or any AnnData file of integer counts.
    cells
        Mask [cells of the store] of those to take; None takes all.
    layer
        Where the counts are, if not in X.
    """

    def __init__(self, path: str | Path, *, cells: np.ndarray | None = None, layer: str | None = None) -> None:
        self.path, self.where = Path(path), f"layers/{layer}" if layer else "X"
        counts, close = self._open()
        self.indptr = np.asarray(read_elem(counts.group["indptr"]), dtype=np.int64)
        n_cells, n_genes = counts.shape
        close()
        taken = np.ones(n_cells, bool) if cells is None else np.asarray(cells)
        if taken.dtype != bool or taken.shape != (n_cells,):
            raise InputError(
                f"cells is {taken.dtype} {taken.shape} for a store of {n_cells} cells: give a mask of them all"
            )
        self.rows = np.flatnonzero(taken)
        self.shape = (len(self.rows), n_genes)

    @property
    def lengths(self) -> np.ndarray:
        """Non-zero counts of each cell [cells]."""
        return self.indptr[self.rows + 1] - self.indptr[self.rows]

    def not_empty(self) -> CountStore:
        """The same store without its empty cells."""
        return self._with(self.rows[self.lengths > 0])

    def _with(self, rows: np.ndarray) -> CountStore:
        other = object.__new__(CountStore)
        other.__dict__.update(self.__dict__, rows=rows, shape=(len(rows), self.shape[1]))
        return other

    def blocks(self, size: int = BLOCK) -> list[tuple[int, int]]:
        """Runs of cells (start, stop) that span about `size` non-zero counts of the store each."""
        starts = self.indptr[self.rows]
        edges = np.searchsorted(starts, np.arange(0, self.indptr[-1], size))
        return list(pairwise(np.unique(np.r_[0, edges, self.shape[0]]).tolist()))

    def read(self, blocks: list[tuple[int, int]]) -> Iterator[csr_matrix]:
        """The counts of each run of cells, in turn, the next one read by a thread meanwhile."""
        counts, close = self._open()
        try:
            yield from read_ahead(lambda block: self._read(counts, *block), blocks)
        finally:
            close()

    def chunks(self) -> Iterator[csr_matrix]:
        """All cells, block by block."""
        return self.read(self.blocks())

    def tocsr(self) -> csr_matrix:
        """All cells, in memory."""
        return vstack(list(self.chunks()) or [csr_matrix(self.shape, dtype=np.int32)], format="csr")

    def _read(self, counts: Any, start: int, stop: int) -> csr_matrix:
        rows = self.rows[start:stop]
        span = validate_counts(counts[rows[0] : rows[-1] + 1], name=f"{self.where} of {self.path}")
        return span if span.shape[0] == len(rows) else span[rows - rows[0]]

    def _open(self) -> tuple[Any, Callable[[], None]]:
        if not self.path.exists():
            raise InputError(f"no store at {self.path}: check the path")
        try:
            h5 = self.path.suffix == ".h5ad"
            root: Any = h5py.File(self.path, "r") if h5 else zarr.open_group(self.path, mode="r")
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path} cannot be read ({error}): fetch or write it again") from None
        close = root.close if h5 else lambda: None
        group = root.get(self.where)
        if group is None or group.attrs.get("encoding-type") != "csr_matrix":
            close()
            raise InputError(f"{self.where} of {self.path} is no csr_matrix: store the counts by cell, as CSR")
        return sparse_dataset(group), close


def open_counts(
    path: str | Path,
    *,
    cells: np.ndarray | None = None,
    layer: str | None = None,
    in_memory_below: int = IN_MEMORY_BELOW,
) -> csr_matrix | CountStore:
    """The counts of a store's cells as `fit` and `embed` take them: in memory if they fit below a size, else on disk.

    Parameters
    ----------
    path, cells, layer
        See `CountStore`.
    in_memory_below
        Bytes of CSR arrays, 8 a non-zero count.
    """
    store = CountStore(path, cells=cells, layer=layer)
    return store.tocsr() if 8 * int(store.lengths.sum()) < in_memory_below else store


def chunks_of(counts: csr_matrix | CountStore) -> Iterator[csr_matrix]:
    """Counts on disk block by block, those in memory as they are or, above 134 MB, in parts."""
    if isinstance(counts, CountStore):
        return counts.chunks()
    if counts.nnz <= _PART:
        return iter([counts])
    edges = np.searchsorted(counts.indptr, np.arange(0, counts.nnz, _PART))
    return (counts[a:b] for a, b in pairwise(np.unique(np.r_[0, edges, counts.shape[0]]).tolist()))


def usable(counts: csr_matrix | CountStore, *, at_least: int, what: str = "training") -> csr_matrix | CountStore:
    """`counts` without the empty cells, which no model can learn from; InputError if fewer than `at_least` are left."""
    if isinstance(counts, CountStore):
        kept = counts.not_empty()
    else:
        held = np.diff(counts.indptr) > 0
        kept = counts if held.all() else counts[held]  # the second is a copy
    if kept.shape[0] < at_least:
        raise InputError(
            f"{kept.shape[0]} of {counts.shape[0]} {what} cells hold any molecule and at least {at_least} are needed: "
            "use more cells or a larger fraction"
        )
    return kept


def read_ahead(read: Callable[[Any], Any], blocks: list[Any]) -> Generator[Any]:
    """`read` of each block in turn, called in a thread one block ahead of who takes them."""
    with ThreadPoolExecutor(1) as thread:
        ahead = deque(thread.submit(read, block) for block in blocks[:1])
        for following in [*blocks[1:], None]:
            if not ahead:
                return
            found = ahead.popleft().result()
            if following is not None:
                ahead.append(thread.submit(read, following))
            yield found
