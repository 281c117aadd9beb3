"""Counts that stay on disk: chosen cells of an .h5ad or .zarr store, read block by block."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from anndata.io import read_elem, sparse_dataset
from scipy.sparse import csr_matrix, vstack

from ..errors import InputError
from .blocks import blocks_of, read_ahead
from .thinning import validate_counts

BLOCK = 1 << 20
"""Non-zero counts read at a time, 8 MB; anndata takes 2.6 ms a slice, whatever its size."""


@contextmanager
def open_store(path: Path) -> Iterator[Any]:
    """The root group of an .h5ad or .zarr store, open for reading.

    Raises
    ------
    InputError
        If there is no such store, it is of another kind, or it cannot be read (cut short, say).
    """
    if not path.exists():
        raise InputError(f"no store at {path}: check the path")
    openers = {".h5ad": lambda: h5py.File(path, "r"), ".zarr": lambda: zarr.open_group(path, mode="r")}
    if path.suffix not in openers:
        raise InputError(f"{path} is neither .h5ad nor .zarr: convert it with anndata")
    try:
        root = openers[path.suffix]()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): it may be cut short; fetch or write it again") from None
    try:
        yield root
    finally:
        if isinstance(root, h5py.File):
            root.close()


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

    Raises
    ------
    InputError
        If the store cannot be opened, its counts are missing or no CSR matrix, or `cells` is no mask; while reading, if
        a block holds a value that is no count.
    """

    def __init__(self, path: str | Path, *, cells: np.ndarray | None = None, layer: str | None = None) -> None:
        self.path, self.where = Path(path), f"layers/{layer}" if layer else "X"
        with open_store(self.path) as root:
            counts = self._counts(root)
            self.indptr = np.asarray(read_elem(counts.group["indptr"]), dtype=np.int64)
            (n_cells, n_genes), self.dtype = counts.shape, counts.dtype
        self.rows = np.arange(n_cells) if cells is None else np.flatnonzero(check_mask(cells, n_cells))
        self.shape = (len(self.rows), n_genes)

    @property
    def lengths(self) -> np.ndarray:
        """Non-zero counts of each cell [cells]."""
        return self.indptr[self.rows + 1] - self.indptr[self.rows]

    def not_empty(self) -> CountStore:
        """The same store without its empty cells."""
        other = copy(self)
        other.rows = self.rows[self.lengths > 0]
        other.shape = (len(other.rows), self.shape[1])
        return other

    def blocks(self, size: int = BLOCK) -> list[tuple[int, int]]:
        """Runs of cells (start, stop) that span about `size` non-zero counts of the store each."""
        return blocks_of(np.append(self.indptr[self.rows], self.indptr[-1]), size)

    def read(self, blocks: list[tuple[int, int]]) -> Generator[csr_matrix]:
        """The counts of each run of cells, in turn, the next one read by a thread meanwhile."""
        with open_store(self.path) as root:
            counts = self._counts(root)
            yield from read_ahead(lambda block: self._read(counts, *block), blocks)

    def chunks(self) -> Generator[csr_matrix]:
        """All cells, block by block."""
        return self.read(self.blocks())

    def tocsr(self) -> csr_matrix:
        """All cells, in memory."""
        return vstack(list(self.chunks()) or [csr_matrix(self.shape, dtype=np.int32)], format="csr")

    def _counts(self, root: Any) -> Any:
        group = root.get(self.where)
        kind = "missing" if group is None else group.attrs.get("encoding-type", "unknown")
        if kind != "csr_matrix":
            raise InputError(f"{self.where} of {self.path} is {kind}, not csr_matrix: store the counts by cell, as CSR")
        return sparse_dataset(group)

    def _read(self, counts: Any, start: int, stop: int) -> csr_matrix:
        rows = self.rows[start:stop]
        span = validate_counts(counts[rows[0] : rows[-1] + 1], name=f"{self.where} of {self.path}")
        return span if span.shape[0] == len(rows) else span[rows - rows[0]]


def check_mask(cells: np.ndarray, n_cells: int) -> np.ndarray:
    """`cells` if it is a mask [cells of the store].

    Raises
    ------
    InputError
        If it is not boolean, or of another shape.
    """
    mask = np.asarray(cells)
    if mask.dtype != bool or mask.shape != (n_cells,):
        raise InputError(f"cells is {mask.dtype} {mask.shape} for a store of {n_cells} cells: give a mask of them all")
    return mask
