"""Counts that stay on disk and are read block by block: the base class of all stores, and a store of AnnData files."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import zarr
from anndata.io import read_elem, sparse_dataset
from scipy.sparse import csr_matrix
from tqdm import tqdm

from ..errors import InputError
from .blocks import blocks_of, read_ahead
from .thinning import validate_counts

BLOCK = 1 << 20
"""Number of non-zero counts read at a time (8 MB); anndata takes 2.6 ms per slice, whatever its size."""
IN_MEMORY_BELOW = int(os.environ.get("NOISE_SCALING_IN_MEMORY_BELOW", 1 << 28))
"""Size in bytes below which counts are held in memory, as CSR with 8 bytes per non-zero count. The default is 3.4e7
non-zero counts, that is 34,000 cells of 1,000 genes each."""


@contextmanager
def open_store(path: Path) -> Iterator[Any]:
    """Open the root group of an .h5ad or .zarr store for reading.

    InputError if the store does not exist, has another format, or cannot be read (e.g. because it is truncated).
    """
    if not path.exists():
        raise InputError(f"no store at {path}: check the path")
    is_hdf5 = path.is_file() and h5py.is_hdf5(path)
    if not (is_hdf5 or path.is_dir() or path.suffix == ".h5ad"):
        raise InputError(f"{path} is neither .h5ad nor .zarr: convert it with anndata")
    try:
        root = zarr.open_group(path, mode="r") if path.is_dir() else h5py.File(path, "r")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): it may be cut short; fetch or write it again") from None
    try:
        yield root
    finally:
        if isinstance(root, h5py.File):
            root.close()


def is_small(n_counts: int) -> bool:
    """Whether `n_counts` non-zero counts are few enough to be held in memory."""
    return 8 * n_counts < IN_MEMORY_BELOW


class CountStore(ABC):
    """UMI counts [cells, genes] on disk, which models take in place of a matrix when the cells do not fit in memory.

    The object holds the row pointers (8 bytes per row) and the chosen rows (8 bytes per chosen cell). Files are opened
    anew for each pass, so that a store can be handed to another thread or process.

    Parameters
    ----------
    indptr
        Row pointers, int64 [rows + 1]: the start of each row among the stored counts, and the end of the last row.
    n_genes
        Number of columns.

    Attributes
    ----------
    shape
        Number of chosen cells, and number of genes.
    rows
        Row numbers of the chosen cells, rising [cells].
    folder
        Folder in which files made from the counts may be written; None: the system's folder for temporary files.
    """

    folder: Path | None = None

    def __init__(self, indptr: np.ndarray, n_genes: int) -> None:
        self.indptr, self.rows = indptr, np.arange(len(indptr) - 1)
        self.shape = (len(self.rows), n_genes)

    @abstractmethod
    def _open(self) -> AbstractContextManager[Any]:
        """Context manager for the opened files that `_span` reads from."""

    @abstractmethod
    def _span(self, opened: Any, first: int, stop: int) -> csr_matrix:
        """Return the consecutive rows from `first` to `stop` - 1."""

    def take(self, cells: np.ndarray | slice) -> Self:
        """Return the same store restricted to some of its cells: a mask, rising positions, or a slice."""
        other = copy(self)
        other.rows = self.rows[cells]
        other.shape = (len(other.rows), self.shape[1])
        return other

    @property
    def lengths(self) -> np.ndarray:
        """Number of stored counts of each cell [cells]."""
        return self.indptr[self.rows + 1] - self.indptr[self.rows]

    def not_empty(self) -> Self:
        """Return the same store without its empty cells."""
        return self.take(self.lengths > 0)

    def blocks(self, size: int = BLOCK) -> list[tuple[int, int]]:
        """Split the cells into blocks (start, stop) that span about `size` stored counts each."""
        return blocks_of(np.append(self.indptr[self.rows], self.indptr[-1]), size)

    def read(self, blocks: list[tuple[int, int]]) -> Generator[csr_matrix]:
        """Yield the counts of each block of cells in turn, while a thread already reads the next block."""
        with self._open() as opened:
            yield from read_ahead(lambda block: self._block(opened, *block), blocks)

    def _block(self, opened: Any, start: int, stop: int) -> csr_matrix:
        rows = self.rows[start:stop]
        span = self._span(opened, int(rows[0]), int(rows[-1]) + 1)
        return span if span.shape[0] == len(rows) else span[rows - rows[0]]

    def chunks(self) -> Generator[csr_matrix]:
        """Yield the counts of all cells, block by block."""
        return self.read(self.blocks())

    def watched(self, desc: str, blocks: list[tuple[int, int]], **bar: Any) -> Generator[tuple[slice, csr_matrix]]:
        """Yield position and counts of each block of cells, with a progress bar; `bar` are options of `tqdm`."""
        with tqdm(total=self.shape[0], unit=" cells", desc=desc, **bar) as shown:
            for (start, stop), chunk in zip(blocks, self.read(blocks), strict=True):
                yield slice(start, stop), chunk
                shown.update(stop - start)

    def held(self) -> csr_matrix | Self:
        """Return the counts of all cells in memory if they take less than `IN_MEMORY_BELOW` bytes, else this store."""
        return self.tocsr() if is_small(int(self.lengths.sum())) else self

    def tocsr(self) -> csr_matrix:
        """Return the counts of all cells in memory, filled block by block: joined blocks would be held twice."""
        values, genes = np.empty(size := int(self.lengths.sum()), np.bool_), np.empty(size, np.int32)
        starts = np.zeros(self.shape[0] + 1, np.int64)
        for (first, stop), block in zip(blocks := self.blocks(), self.read(blocks), strict=True):
            starts[first + 1 : stop + 1] = starts[first] + block.indptr[1:]
            values = values.astype(np.promote_types(values.dtype, block.dtype), copy=False)
            values[starts[first] : starts[stop]], genes[starts[first] : starts[stop]] = block.data, block.indices
        values = values if self.shape[0] else values.astype(np.int32)
        return csr_matrix((values[: starts[-1]], genes[: starts[-1]], starts), shape=self.shape)


class FileStore(CountStore):
    """The cells of AnnData files (.h5ad or .zarr, CSR), in the files' order.

    Parameters
    ----------
    paths
        One file, or several files with the same genes, whose cells are joined in this order.
    layer
        Layer that holds the counts, if X does not.
    convert
        Turns a block [cells, genes of the files], and its `name` for messages, into counts.
    n_genes
        Number of genes that `convert` keeps; None: all.

    Raises
    ------
    InputError
        If a file cannot be opened, or its counts are missing or not a CSR matrix; while reading, if a part of a file
        cannot be read, or if `convert` raises it.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[Path],
        *,
        layer: str | None = None,
        convert: Callable[..., csr_matrix] = validate_counts,
        n_genes: int | None = None,
    ) -> None:
        self.paths = [Path(paths)] if isinstance(paths, str | Path) else list(paths)
        self.where, self.convert = f"layers/{layer}" if layer else "X", convert
        starts, first, width = [np.zeros(1, np.int64)], [0], 0
        for path in self.paths:
            with open_store(path) as root:
                counts = self._counts(root, path)
                starts.append(starts[-1][-1] + np.asarray(read_elem(counts.group["indptr"]), dtype=np.int64)[1:])
                first.append(first[-1] + counts.shape[0])
                width = counts.shape[1]
        self.first = np.array(first)  # first row of each file, and the number of all rows
        super().__init__(np.concatenate(starts), width if n_genes is None else n_genes)

    def blocks(self, size: int = BLOCK) -> list[tuple[int, int]]:
        """See `CountStore.blocks`; no block spans two files."""
        files = np.searchsorted(self.rows, self.first)
        return list(pairwise(np.unique(np.append(files, super().blocks(size))).tolist()))

    @contextmanager
    def _open(self) -> Iterator[list[Any]]:
        with ExitStack() as files:
            yield [self._counts(files.enter_context(open_store(path)), path) for path in self.paths]

    def _counts(self, root: Any, path: Path) -> Any:
        group = root.get(self.where)
        kind = "missing" if group is None else group.attrs.get("encoding-type", "unknown")
        if kind != "csr_matrix":
            raise InputError(f"{self.where} of {path} is {kind}, not csr_matrix: store the counts by cell, as CSR")
        return sparse_dataset(group)

    def _span(self, opened: list[Any], first: int, stop: int) -> csr_matrix:
        which = int(np.searchsorted(self.first, first, side="right")) - 1
        name, start = f"{self.where} of {self.paths[which]}", self.first[which]
        try:
            span = opened[which][first - start : stop - start]
        except (OSError, ValueError, RuntimeError) as error:  # a chunk that cannot be decompressed, a truncated file
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"{name} cannot be read from cell {first - start} on ({reason}): fetch or write it again"
            ) from error
        return self.convert(span, name=name)
