"""Batches of counts for scVI, made from arrays in memory on the device that trains: no loader that it waits for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import lightning.pytorch as pl
import numba as nb
import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack
from scvi import REGISTRY_KEYS

from ..seeds import generator
from .scvi_loss import CELLS, Cells
from .streaming import BLOCK, CountStore, read_ahead

_EVALUATED = 512  # cells in a batch that is not trained on
_BLOCKS = 16  # of a store, whose cells are shuffled together: 130 MB


class Source(Protocol):
    """Training cells in shuffled batches, by the number of the step: a training can go on from any."""

    n_cells: int
    nonzeros: int
    batch_size: int
    steps_per_epoch: int

    def batches(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """The batches of steps `start` to `stop` of the training."""


class Counts:
    """CSR counts on a device, from which batches of any cells are made there."""

    def __init__(self, counts: csr_matrix, device: str) -> None:
        self.shape = counts.shape
        self.indptr = counts.indptr.astype(np.int64)
        self.arrays = [_int32(counts.indices, device), _int32(counts.data, device)]
        self.library = torch.from_numpy(np.asarray(counts.sum(1), np.float32).ravel()).to(device)
        self._dense = torch.zeros(0)

    def batch(self, cells: np.ndarray) -> dict[str, Any]:
        """What scvi-tools' modules take, for these cells; on a CPU it is overwritten by the next batch."""
        device = self.library.device
        take = self._copied if device.type == "cpu" else self._indexed
        dense, csr = take(cells)
        none = torch.zeros(len(cells), 1, dtype=torch.long, device=device)
        return {REGISTRY_KEYS.X_KEY: dense, REGISTRY_KEYS.BATCH_KEY: none, REGISTRY_KEYS.LABELS_KEY: none, CELLS: csr}

    def _bounds(self, cells: np.ndarray) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.indptr[cells + 1] - self.indptr[cells])])

    def _copied(self, cells: np.ndarray) -> tuple[torch.Tensor, Cells]:
        """On a CPU: rows copied one after another."""
        indptr, dense = self._bounds(cells), self._buffer(len(cells))
        genes, counts = (torch.empty(indptr[-1], dtype=torch.int32) for _ in range(2))
        _gather(self.indptr, *(a.numpy() for a in self.arrays), cells, dense.numpy(), genes.numpy(), counts.numpy())
        return dense, Cells(_int32(indptr, "cpu"), genes, counts, self.library[torch.from_numpy(cells)])

    def _indexed(self, cells: np.ndarray) -> tuple[torch.Tensor, Cells]:
        """On any device: only the bounds of the rows go there, the counts are there already."""
        indptr, device = self._bounds(cells), self.library.device
        chosen, bounds, starts = (torch.from_numpy(a).to(device) for a in (cells, indptr, self.indptr[cells]))
        n_counts = int(indptr[-1])  # known here: the device is not waited for
        row = torch.arange(len(cells), device=device).repeat_interleave(bounds.diff(), output_size=n_counts)
        places = torch.arange(n_counts, device=device) + (starts - bounds[:-1])[row]
        genes, counts = (a[places] for a in self.arrays)
        dense = torch.zeros(len(cells), self.shape[1], device=device)
        dense[row, genes.long()] = counts.float()
        return dense, Cells(bounds.int(), genes, counts, self.library[chosen])

    def _buffer(self, n_cells: int) -> torch.Tensor:
        """Reused: fresh memory costs more to touch first (0.8 GB/s) than the counts to write."""
        if len(self._dense) < n_cells:
            self._dense = torch.empty(n_cells, self.shape[1])
        return self._dense[:n_cells]

    def in_order(self) -> Iterator[dict[str, Any]]:
        """All cells, in batches."""
        for start in range(0, self.shape[0], _EVALUATED):
            yield self.batch(np.arange(start, min(start + _EVALUATED, self.shape[0])))


def _int32(values: np.ndarray, device: str | torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.int32)).to(device)


@nb.njit(cache=True)
def _gather(indptr, indices, data, cells, dense, genes, counts):
    """Copy the rows `cells` of a CSR matrix, densely and as CSR."""
    dense[:] = 0
    end = 0
    for i in range(cells.size):
        for k in range(indptr[cells[i]], indptr[cells[i] + 1]):
            dense[i, indices[k]] = data[k]
            genes[end], counts[end] = indices[k], data[k]
            end += 1


class InMemory:
    """Training cells in memory; each epoch is its own permutation, drawn from the seed and the epoch's number."""

    def __init__(self, counts: csr_matrix, batch_size: int, *, seed: int, device: str) -> None:
        self.counts, self.batch_size, self.seed = Counts(counts, device), batch_size, seed
        self.n_cells, self.nonzeros = counts.shape[0], counts.nnz
        self.steps_per_epoch = math.ceil(self.n_cells / batch_size)

    def batches(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """See `Source`."""
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(start, stop):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = generator(self.seed, "batches", epoch).permutation(self.n_cells)
            first = step % self.steps_per_epoch * self.batch_size
            yield self.counts.batch(order[first : first + self.batch_size])


class Streamed:
    """Training cells on disk: blocks in shuffled order, some at a time in memory, where their cells are shuffled.

    A batch mixes the cells of `_BLOCKS` blocks that lie anywhere in the store, 1.7e7 non-zero counts. A thread reads
    and shuffles the next ones meanwhile. The order depends on the seed and the epoch's number alone.
    """

    def __init__(self, store: CountStore, batch_size: int, *, seed: int, device: str, block: int = BLOCK) -> None:
        self.store, self.batch_size, self.seed, self.device = store, batch_size, seed, device
        self.blocks = store.blocks(block)
        self.n_cells, self.nonzeros = store.shape[0], int(store.lengths.sum())
        self.steps_per_epoch = math.ceil(self.n_cells / batch_size)

    def batches(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        """See `Source`."""
        while start < stop:
            epoch, first = divmod(start, self.steps_per_epoch)
            last = min(stop - epoch * self.steps_per_epoch, self.steps_per_epoch)
            yield from self._epoch(epoch, first, last)
            start = epoch * self.steps_per_epoch + last

    def _epoch(self, epoch: int, first: int, last: int) -> Iterator[dict[str, Any]]:
        """Batches `first` to `last` of an epoch; the cells that fill no batch go with those of the next window."""
        batch, end = self.batch_size, min(last * self.batch_size, self.n_cells)
        windows, at = self._windows(epoch, first * batch)
        cells, skip = None, first * batch - at
        at += skip
        for window in read_ahead(lambda window: self._shuffled(epoch, *window), windows):
            cells, skip = window[skip:] if cells is None else vstack([cells, window], format="csr"), 0
            whole = cells.shape[0] if at + cells.shape[0] >= end else cells.shape[0] // batch * batch
            counts = Counts(cells[: min(whole, end - at)], self.device)
            for start in range(0, counts.shape[0], batch):
                yield counts.batch(np.arange(start, min(start + batch, counts.shape[0])))
            cells, at = cells[whole:], at + whole
            if at >= end:
                return

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


class Intervals(pl.LightningDataModule):
    """What Lightning takes for an epoch here is all that happens between two checks of the validation loss.

    Its own work around a batch and around an epoch costs as much as the training of a small batch: it is done once an
    interval, or once for each of the `parts` of a long one. An item is an iterator over batches.
    """

    def __init__(self, source: Source, validation: Counts, interval: int, total: int, parts: int) -> None:
        super().__init__()
        self.source, self.validation, self.total = source, validation, total
        self.interval, self.part = interval, math.ceil(interval / parts)

    def train_dataloader(self) -> _One:
        return _One(self._next)

    def _next(self) -> Iterator[dict[str, Any]]:
        done = self.trainer.lightning_module.steps_done
        checked = done // self.interval * self.interval
        part_end = checked + ((done - checked) // self.part + 1) * self.part
        return self.source.batches(done, min(part_end, checked + self.interval, self.total))

    def val_dataloader(self) -> _One:
        return _One(self.validation.in_order)


class _One:
    """An iterable of one item, made anew each time."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        yield self.make()
