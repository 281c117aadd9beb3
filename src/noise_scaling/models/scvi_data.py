"""Shuffled batches of counts for scVI, from arrays in memory or blocks on disk, moved to the device that trains."""

import math
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import count
from typing import NamedTuple, Protocol

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack
from torch import Tensor

from ..counts.blocks import read_ahead
from ..counts.count_store import CountStore
from ..seeds import generator

_EVALUATED = 512  # cells per batch outside of training
_BLOCKS = 16  # blocks of a store whose cells are shuffled together: 80 to 130 MB


class Batch(NamedTuple):
    """The counts of some cells: the non-zero ones with their positions."""

    rows: Tensor  # int64 [non-zero counts], ascending
    genes: Tensor  # int64 [non-zero counts]
    counts: Tensor  # float32 [non-zero counts]
    library: Tensor  # float32 [cells], molecules of each cell
    n_genes: int

    @property
    def dense(self) -> Tensor:
        """The counts, float32 [cells, genes]."""
        return self._filled(self.counts)

    @property
    def logs(self) -> Tensor:
        """Logarithms of 1 + count, float32 [cells, genes]."""
        return self._filled(self.counts.log1p())

    def _filled(self, values: Tensor) -> Tensor:
        matrix = torch.zeros(len(self.library), self.n_genes, device=values.device)
        matrix[self.rows, self.genes] = values
        return matrix

    def split(self, size: int) -> Iterator["Batch"]:
        """Yield the cells in batches of `size`."""
        for first, library in enumerate(self.library.split(size)):
            here = self.rows // size == first
            yield Batch(self.rows[here] - first * size, self.genes[here], self.counts[here], library, self.n_genes)


class Source(Protocol):
    """Training cells in shuffled batches, which depend on the number of the step: a training can resume at any step."""

    n_cells: int
    nonzeros: int
    batch_size: int
    steps_per_epoch: int

    def batches(self, first: int) -> Generator[Batch]:
        """Yield the batches of the steps from `first` on, without end."""


class Counts:
    """CSR counts in memory, from which batches of any cells are built on a device; a GPU holds nothing but batches.

    A batch goes to a GPU as its non-zero counts, 5 to 8 bytes each, from page-locked memory: an asynchronous copy.
    """

    def __init__(self, counts: csr_matrix, device: str) -> None:
        self.shape, self.device = counts.shape, device
        self.indptr = counts.indptr.astype(np.int64)
        self.genes, self.counts = torch.from_numpy(counts.indices), torch.from_numpy(counts.data)
        self.library = torch.from_numpy(np.asarray(counts.sum(1), np.float32).ravel())

    def batch(self, cells: np.ndarray) -> Batch:
        """Return the counts of these cells."""
        starts, lengths = self.indptr[cells], self.indptr[cells + 1] - self.indptr[cells]
        n_counts = int(lengths.sum())
        shift = starts - np.cumsum(lengths) + lengths  # from a count's position in the batch to that in all counts
        places = torch.from_numpy(np.arange(n_counts) + np.repeat(shift, lengths))
        parts = (
            self.genes[places],
            self.counts[places],
            self.library[torch.from_numpy(cells)],
            torch.from_numpy(lengths),
        )
        genes, counts, library, lengths_there = map(self._there, parts)
        rows = torch.arange(len(cells), device=self.device).repeat_interleave(lengths_there, output_size=n_counts)
        return Batch(rows, genes.long(), counts.float(), library, self.shape[1])

    def _there(self, values: Tensor) -> Tensor:
        return values if self.device == "cpu" else values.pin_memory().to(self.device, non_blocking=True)

    def in_order(self) -> Iterator[Batch]:
        """Yield all cells, in batches."""
        for start in range(0, self.shape[0], _EVALUATED):
            yield self.batch(np.arange(start, min(start + _EVALUATED, self.shape[0])))


class InMemory:
    """Training cells in memory; each epoch has its own permutation, drawn from the seed and the epoch's number."""

    def __init__(self, counts: csr_matrix, batch_size: int, *, seed: int, device: str) -> None:
        self.counts, self.batch_size, self.seed = Counts(counts, device), batch_size, seed
        self.n_cells, self.nonzeros = counts.shape[0], counts.nnz
        self.steps_per_epoch = math.ceil(self.n_cells / batch_size)

    def batches(self, first: int) -> Generator[Batch]:
        epoch, order = -1, np.empty(0, np.int64)
        for step in count(first):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = generator(self.seed, "batches", epoch).permutation(self.n_cells)
            start = step % self.steps_per_epoch * self.batch_size
            yield self.counts.batch(order[start : start + self.batch_size])


class Streamed:
    """Training cells on disk: blocks are read in shuffled order, and the cells of some blocks at a time are shuffled.

    A batch mixes the cells of a window of `_BLOCKS` blocks from anywhere in the store, 1.7e7 non-zero counts. A thread
    reads and shuffles the next window meanwhile. The order depends only on the seed and the epoch's number.
    """

    def __init__(self, store: CountStore, batch_size: int, *, seed: int, device: str) -> None:
        self.store, self.batch_size, self.seed, self.device = store, batch_size, seed, device
        self.blocks = store.blocks()
        self.n_cells, self.nonzeros = store.shape[0], int(store.lengths.sum())
        self.steps_per_epoch = math.ceil(self.n_cells / batch_size)

    def batches(self, first: int) -> Generator[Batch]:
        epoch, first = divmod(first, self.steps_per_epoch)
        while True:
            yield from self._epoch(epoch, first)
            epoch, first = epoch + 1, 0

    def _epoch(self, epoch: int, first: int) -> Generator[Batch]:
        """Yield an epoch's batches from `first` on; cells that do not fill a batch are added to the next window."""
        size = self.batch_size
        windows, at = self._windows(epoch, first * size)
        skip, last = first * size - at, windows[-1][0]
        left = csr_matrix((0, self.store.shape[1]), dtype=np.int32)
        with closing(read_ahead(lambda window: (window[0], self._shuffled(epoch, *window)), windows)) as ahead:
            for number, cells in ahead:
                left, skip = vstack([left, cells[skip:]], format="csr"), 0
                whole = left.shape[0] if number == last else left.shape[0] // size * size
                counts, left = Counts(left[:whole], self.device), left[whole:]
                for start in range(0, whole, size):
                    yield counts.batch(np.arange(start, min(start + size, whole)))

    def _windows(self, epoch: int, cell: int) -> tuple[list[tuple[int, list[tuple[int, int]]]], int]:
        """Return the windows (number, blocks) from the one that holds position `cell` on, and its first position."""
        order = generator(self.seed, "blocks", epoch).permutation(len(self.blocks))
        windows = [[self.blocks[i] for i in order[k : k + _BLOCKS]] for k in range(0, len(order), _BLOCKS)]
        stops = np.cumsum([sum(stop - start for start, stop in window) for window in windows])
        skipped = int(np.searchsorted(stops, cell, side="right"))
        return list(enumerate(windows))[skipped:], int(stops[skipped - 1]) if skipped else 0

    def _shuffled(self, epoch: int, number: int, blocks: list[tuple[int, int]]) -> csr_matrix:
        cells = vstack(list(self.store.read(blocks)), format="csr")
        return cells[generator(self.seed, "cells", epoch, number).permutation(cells.shape[0])]


def whole_batches(n_cells: int, batch_size: int) -> int:
    """Return the least size >= `batch_size` that leaves no last batch of one cell, which batch norm cannot take."""
    while n_cells % batch_size == 1:
        batch_size += 1
    return batch_size
