"""Measure one reader of counts on disk, in its own process: one pass over all cells, or shuffled batches of 512.

Ours runs in our environment, the others in the environment of peers/readers.txt. Prints wall and processor seconds,
gigabytes on top of the libraries, and the numbers of cells and molecules seen, which must be those of the file.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix

BATCH = 512
WINDOW = 16_384  # cells held in memory for shuffling: 32 runs of 512 cells, annbatch's own choice
ALONE = 20  # batches read by a reader that fetches cells one by one, whose whole epoch takes minutes


def backed(path: str):
    import anndata

    return anndata.read_h5ad(path, backed="r").X


def pass_anndata(path: str):
    counts = backed(path)
    for start in range(0, counts.shape[0], 1000):
        yield counts[start : start + 1000]


def pass_dask(path: str):
    from anndata.experimental import read_lazy

    counts = read_lazy(path).X
    for start in range(0, counts.shape[0], 1000):
        yield counts[start : start + 1000].compute(scheduler="synchronous")


def pass_scdataset(path: str):
    from scdataset import Streaming

    return fetched(path, Streaming(), batch_size=1000, fetch_factor=1)


def pass_annbatch(path: str):
    return loaded(path, shuffle=False)


def pass_ours(path: str):
    from noise_scaling.counts.count_store import FileStore

    return FileStore(path).chunks()


def fetched(path: str, *how, **settings):
    import anndata
    from scdataset import scDataset

    cells = anndata.read_h5ad(path, backed="r")
    return iter(scDataset(cells, *how, fetch_callback=lambda cells, which: cells.X[which], **settings))


def loaded(path: str, *, shuffle: bool):
    from annbatch import DatasetCollection, Loader

    settings = {"chunk_size": 512, "preload_nchunks": WINDOW // 512, "batch_size": BATCH}
    rng = {"rng": np.random.default_rng(0)} if shuffle else {}
    loader = Loader(shuffle=shuffle, preload_to_gpu=False, **settings, **rng)
    loader.use_collection(DatasetCollection(path, mode="r"))
    return (batch["X"] for batch in loader)


def batches_anndata(path: str):
    counts = backed(path)
    order = np.random.default_rng(0).permutation(counts.shape[0])
    for start in range(0, ALONE * BATCH, BATCH):
        yield dense(counts[np.sort(order[start : start + BATCH])])


def batches_scdataset(path: str):
    from scdataset import BlockShuffling

    return map(dense, fetched(path, BlockShuffling(512), batch_size=BATCH, fetch_factor=WINDOW // BATCH, seed=0))


def batches_annbatch(path: str):
    return map(dense, loaded(path, shuffle=True))


def batches_ours(path: str):
    from noise_scaling.counts.thinned_store import ThinnedStore
    from noise_scaling.models.scvi_data import Streamed

    source = Streamed(ThinnedStore(Path(path)), BATCH, seed=0, device="cpu")
    return (batch.dense for batch in islice(source.batches(0), source.steps_per_epoch))


def batches_memory(path: str):
    from noise_scaling.counts.thinned_store import ThinnedStore
    from noise_scaling.models.scvi_data import InMemory

    source = InMemory(ThinnedStore(Path(path)).tocsr(), BATCH, seed=0, device="cpu")
    return (batch.dense for batch in islice(source.batches(0), source.steps_per_epoch))


def dense(cells: csr_matrix) -> torch.Tensor:
    """Make scVI's inputs: float32 [cells, genes], which is returned, places of non-zero counts, molecules per cell."""
    lengths = torch.from_numpy(np.diff(cells.indptr).astype(np.int64))
    rows = torch.arange(len(lengths)).repeat_interleave(lengths)
    genes, counts = torch.from_numpy(cells.indices).long(), torch.from_numpy(cells.data).float()
    library = torch.from_numpy(np.asarray(cells.sum(1), np.float32).ravel())
    found = torch.zeros(cells.shape)
    found[rows, genes] = counts
    assert len(library) == len(found)
    return found


def convert(source: str, target: str) -> list:
    """Write the Zarr collection that annbatch needs, in the file's order."""
    from annbatch import DatasetCollection

    DatasetCollection(target).add_adatas([source], shuffle=False)
    return []


def kilobytes(what: str) -> int:
    """Return this process's memory from Linux: VmRSS is the current one, VmHWM the peak since its reset."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1])


def main(task: str, reader: str, warm: str, *paths: str) -> None:
    work = globals()[task if task == "convert" else f"{task}_{reader}"]
    if task != "convert":  # warm up: imports and compilation do not count
        next(iter(work(warm)))
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    held, start, processor = kilobytes("VmRSS"), time.perf_counter(), time.process_time()
    cells, molecules = 0, 0.0
    for block in work(*paths):
        cells += block.shape[0]
        molecules += float(block.sum(1).sum(dtype=torch.float64 if task == "batches" else np.int64))
    seconds = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
    print(
        json.dumps(
            seconds | {"memory_gb": (kilobytes("VmHWM") - held) * 1024 / 1e9, "cells": cells, "molecules": molecules}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
