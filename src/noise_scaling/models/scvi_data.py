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

_EVALUATED = 512  # cells in a batch that is not trained on
_BLOCKS = 16  # of a store, whose cells are shuffled together: 130 MB


class Batch(NamedTuple):
    """The counts of some cells, all of them and the non-zero ones again by their place."""

    dense: Tensor  # float32 [cells, genes]
    rows: Tensor  # int64 [non-zero counts]
    genes: Tensor  # int64 [non-zero counts]
    counts: Tensor  # float32 [non-zero counts]
    library: Tensor  # float32 [cells], molecules


class Source(Protocol):
    """Training cells in shuffled batches, by the number of the step: a training can go on from any."""

    n_cells: int
    nonzeros: int
    batch_size: int
    steps_per_epoch: int

    def batches(self, first: int) -> Generator[Batch]:
        """The batches of the steps from `first` on, without end."""


class Counts:
    """CSR counts in memory, from which batches of any cells are made on a device: the card never holds more than those.

    A batch goes there as its non-zero counts, 8 bytes each, from page-locked memory: the copy does not wait.
    """

    def __init__(self, counts: csr_matrix, device: str) -> None:
        self.shape, self.device = counts.shape, device
        self.indptr = counts.indptr.astype(np.int64)
        self.genes, self.counts = torch.from_numpy(counts.indices), torch.from_numpy(counts.data)
        self.library = torch.from_numpy(np.asarray(counts.sum(1), np.float32).ravel())

    def batch(self, cells: np.ndarray) -> Batch:
        """The counts of these cells."""
        starts, lengths = self.indptr[cells], self.indptr[cells + 1] - self.indptr[cells]
        n_counts = int(lengths.sum())
        shift = starts - np.cumsum(lengths) + lengths  # from a count's place in the batch to that in all counts
        places = torch.from_numpy(np.arange(n_counts) + np.repeat(shift, lengths))
        parts = (
            self.genes[places],
            self.counts[places],
            self.library[torch.from_numpy(cells)],
            torch.from_numpy(lengths),
        )
        genes, counts, library, lengths_there = map(self._there, parts)
        rows = torch.arange(len(cells), device=self.device).repeat_interleave(lengths_there, output_size=n_counts)
        genes, counts = genes.long(), counts.float()
        dense = torch.zeros(len(cells), self.shape[1], device=self.device)
        dense[rows, genes] = counts
        return Batch(dense, rows, genes, counts, library)

    def _there(self, values: Tensor) -> Tensor:
        return values if self.device == "cpu" else values.pin_memory().to(self.device, non_blocking=True)

    def in_order(self) -> Iterator[Batch]:
        """All cells, in batches."""
        for start in range(0, self.shape[0], _EVALUATED):
            yield self.batch(np.arange(start, min(start + _EVALUATED, self.shape[0])))


class InMemory:
    """Training cells in memory; each epoch is its own permutation, drawn from the seed and the epoch's number."""

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
    """Training cells on disk: blocks in shuffled order, some at a time in memory, where their cells are shuffled.

    A batch mixes the cells of `_BLOCKS` blocks that lie anywhere in the store, 1.7e7 non-zero counts. A thread reads
    and shuffles the next ones meanwhile. The order depends on the seed and the epoch's number alone.
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
        """An epoch from batch `first` on; the cells that fill no batch go with those of the next window."""
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
        """The numbers and blocks of an epoch's windows from that with the position `cell`, and where it starts."""
        order = generator(self.seed, "blocks", epoch).permutation(len(self.blocks))
        windows = [[self.blocks[i] for i in order[k : k + _BLOCKS]] for k in range(0, len(order), _BLOCKS)]
        stops = np.cumsum([sum(stop - start for start, stop in window) for window in windows])
        skipped = int(np.searchsorted(stops, cell, side="right"))
        return list(enumerate(windows))[skipped:], int(stops[skipped - 1]) if skipped else 0

    def _shuffled(self, epoch: int, number: int, blocks: list[tuple[int, int]]) -> csr_matrix:
        cells = vstack(list(self.store.read(blocks)), format="csr")
        return cells[generator(self.seed, "cells", epoch, number).permutation(cells.shape[0])]


def whole_batches(n_cells: int, batch_size: int) -> int:
    """The batch size at or above `batch_size` that leaves no last batch of one cell: batch norm cannot take it."""
    while n_cells % batch_size == 1:
        batch_size += 1
    return batch_size
