"""Measure seconds and peak memory of loading, thinning, medians and tokens on files of 10^4 to 10^6 cells."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import zarr
from anndata.io import sparse_dataset, write_elem
from common import N_GENES, arguments, machine, report, simulate_counts, table

from noise_scaling import datasets
from noise_scaling.counts import count_store, thin
from noise_scaling.counts.thinned_store import Pool, ThinnedStore, thin_to_disk
from noise_scaling.counts.tokens import MedianSketch, rank_tokens
from noise_scaling.models.geneformer_data import medians_of, tokens_of

FRACTION = 0.1
TASKS = ("load", "thin", "medians", "tokens")
BLOCK = 10_000  # cells simulated; larger stores repeat them under other cell names, which thins them differently
PATIENCE = 900  # a store is left out if its runs, projected from the next smaller store, take more seconds


def write_store(path: Path, n_cells: int) -> float:
    """Write an uncompressed store of simulated cells, chunk by chunk; return the bytes of its counts."""
    block = simulate_counts(min(BLOCK, n_cells), N_GENES)
    is_h5 = path.suffix == ".h5ad"
    root = h5py.File(path, "w") if is_h5 else zarr.open_group(path, mode="w", zarr_format=2)
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    days = pd.Categorical.from_codes(np.arange(n_cells) % 45, [f"E{8 + k / 4}" for k in range(45)])
    write_elem(root, "obs", pd.DataFrame({"day": days}, index=[f"cell{i}" for i in range(n_cells)]))
    write_elem(root, "var", pd.DataFrame(index=[f"gene{i}" for i in range(N_GENES)]))
    layout = {"indptr_dtype": np.int64, "chunks": (1 << 18,)}
    write_elem(root, "X", block, dataset_kwargs=layout if is_h5 else layout | {"compressors": None, "shards": None})
    counts = sparse_dataset(root["X"])
    for start in range(BLOCK, n_cells, BLOCK):
        counts.append(block[: min(BLOCK, n_cells - start)])
    if is_h5:
        root.close()
    return block.nnz * 8.0 * n_cells / block.shape[0]


def measure(task: str, source: Path, target: Path) -> dict[str, float]:
    """Run one task in a new process; return its seconds without imports, and its peak memory in GB with them."""
    command = [sys.executable, __file__, "--task", task, str(source), str(target)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_task(task: str, source: str, target: str) -> None:
    tiny = simulate_counts(10, 100, umis=50)  # loads the compiled functions: a third of a second, once per process
    thinned = thin(tiny, FRACTION, seed=0)
    rank_tokens(thinned, np.ones(100))
    MedianSketch(100).add(thinned)
    start = time.perf_counter()
    count_store.IN_MEMORY_BELOW = 0  # streams small files as if they were large
    if task in ("load", "thin"):
        data = datasets.load(source, signal="obs:day")
    if task == "thin":
        start = time.perf_counter()  # loading the data set is not part of this task
        cells, rest = np.split(np.random.default_rng(0).permutation(data.n_cells), [-1000])
        names = {"cell_ids": data.cell_ids, "gene_ids": data.gene_ids, "umis": data.umis}
        held = {"test": Pool(rest, FRACTION)}
        thin_to_disk(data.counts, Pool(cells, FRACTION), held, Path(target), seed=0, largest=1000, **names)
    elif task == "medians":
        np.save(Path(source).parent / "medians.npy", medians_of(ThinnedStore(Path(target))))
    elif task == "tokens":
        tokens_of(ThinnedStore(Path(target)), np.load(Path(source).parent / "medians.npy"), 512)
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"seconds": seconds, "memory_gb": memory}))


def measure_size(suffix: str, n_cells: int, folder: Path, repeats: int) -> list[dict]:
    source, os.environ["NOISE_SCALING_CACHE"] = folder / f"cells{suffix}", str(folder / "cache")
    size = write_store(source, n_cells)
    runs: dict[str, list[dict]] = {task: [] for task in TASKS}
    for _ in range(repeats):
        for task in TASKS:
            os.sync()  # so that this task does not wait for earlier writes
            runs[task].append(measure(task, source, folder / "thinned"))
        for made in ("thinned", "cache"):
            shutil.rmtree(folder / made)
    rows = []
    for task, found in runs.items():
        medians = {key: statistics.median(run[key] for run in found) for key in ("seconds", "memory_gb")}
        rows.append({"store": suffix, "cells": n_cells, "task": task, "gb": size / 1e9, **medians})
        print(rows[-1], file=sys.stderr)
    return rows


def measure_all(sizes: list[int], repeats: int) -> tuple[list[dict], list[str]]:
    rows, notes = [], []
    for suffix in (".h5ad", ".zarr"):
        for n_cells in sizes:
            before = [row["seconds"] for row in rows if row["store"] == suffix and row["cells"] == n_cells // 10]
            if sum(before) * 10 * repeats > PATIENCE:
                notes.append(f"{n_cells:,} cells of {suffix} left out: projected to {sum(before) * 10:,.0f} s a run.")
                continue
            with tempfile.TemporaryDirectory() as folder:
                rows += measure_size(suffix, n_cells, Path(folder), repeats)
    return rows, notes


def linearity(rows: list[dict]) -> list[list[object]]:
    """Return, per store and task, seconds a cell relative to a tenth of the cells; time and memory at 10^7 cells."""
    lines = []
    for suffix, task in dict.fromkeys((row["store"], row["task"]) for row in rows):
        mine = [row for row in rows if row["store"] == suffix and row["task"] == task]
        small, large = mine[-2:]
        ratio = large["seconds"] / small["seconds"] / (large["cells"] / small["cells"])
        slope = (large["seconds"] - small["seconds"]) / (large["cells"] - small["cells"])
        growth = (large["memory_gb"] - small["memory_gb"]) / (large["cells"] - small["cells"])
        ahead = 1e7 - large["cells"]
        hours = (large["seconds"] + slope * ahead) / 3600
        lines.append([suffix, task, ratio, f"{hours:.2f} h", f"{large['memory_gb'] + max(growth, 0) * ahead:.1f} GB"])
    return lines


def main() -> None:
    options = arguments(__doc__)
    sizes, repeats = ([1_000, 10_000], 1) if options.quick else ([10_000, 100_000, 1_000_000], 3)
    where = machine("anndata", "h5py", "zarr")
    rows, notes = measure_all(sizes, repeats)
    header = ["store", "cells", "task", "GB read", "seconds", "cells / s", "peak memory, GB"]
    lines = [
        [
            r["store"],
            f"{r['cells']:,}",
            r["task"],
            r["gb"],
            r["seconds"],
            f"{r['cells'] / r['seconds']:,.0f}",
            r["memory_gb"],
        ]
        for r in rows
    ]
    lead = (
        f"Simulated cells of {N_GENES:,} genes, 2,500 UMI and about 1,030 genes each, uncompressed, thinned to "
        f"{FRACTION}. Load: what one data set needs, with the first look at all counts and their sha256, of which the "
        "cache keeps the result; thin: all cells but 1,000 in nested order, on disk; medians and tokens: of those. "
        f"Medians of {repeats} runs, each in a process of its own; files just written, so in the page cache as far as "
        "memory goes."
    )
    last = (
        "Reading bounds it: anndata copies each chunk out of the store into fresh memory. Compressed stores wait for "
        "decompression, and those larger than memory for the disk. Memory holds a block or two, a bucket that is "
        "sorted, some tens of bytes a cell (names, row pointers, keys), and for medians one histogram a gene."
    )
    parts = [lead, table(header, lines), *notes]
    if not options.quick:  # small stores mostly take the time to open them
        parts += ["Seconds a cell against a tenth of the cells, and 10^7 cells projected:"]
        parts += [table(["store", "task", "seconds a cell, relative", "time", "peak memory"], linearity(rows))]
    parts += [last]
    report(options.results, "streaming", "Streaming", where, parts, {"fraction": FRACTION, "runs": rows})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        run_task(*sys.argv[2:])
    else:
        main()
