"""Compare our reader of counts on disk with those of other packages: one pass over all cells, and batches for scVI."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import anndata
import numpy as np
from common import N_GENES, PEERS, arguments, machine, report, table
from streaming import FRACTION, write_store

from noise_scaling import datasets
from noise_scaling.counts import count_store
from noise_scaling.counts.thinned_store import Pool, thin_to_disk

FILES = Path(__file__).parent / "peers"
PASSES = {
    "ours": "ours, `FileStore`",
    "anndata": "anndata, backed",
    "dask": "anndata `read_lazy`, by dask",
    "scdataset": "scDataset, streaming",
    "annbatch": "annbatch, sequential, from Zarr",
}
BATCHES = {
    "memory": "ours, all cells in memory",
    "ours": "ours, `Streamed`",
    "anndata": "anndata, backed, each cell drawn from all",
    "scdataset": "scDataset, runs of 512 cells",
    "annbatch": "annbatch, runs of 512 cells, from Zarr",
}
RUNS = {"pass": PASSES, "batches": BATCHES}


def peers_python() -> Path:
    """Return Python of build/readers, created on first use by the newest Python found, as annbatch needs 3.12."""
    home = PEERS.with_name("readers")
    if not (python := home / "bin/python").exists():
        newest = next(filter(None, map(shutil.which, ("python3.14", "python3.13", "python3.12"))), sys.executable)
        subprocess.run([newest, "-m", "venv", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", FILES / "readers.txt"], check=True)
    return python


def run(python: Path | str, *arguments: object) -> dict[str, float]:
    """Run peers/readers.py in a separate process and return its measurements."""
    command = [str(python), str(FILES / "readers.py"), *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def prepare(folder: Path, n_cells: int) -> float:
    """Write cells.h5ad, and its thinned cells as thinned/ (nested order) and thinned.h5ad; return GB of cells.h5ad."""
    size = write_store(folder / "cells.h5ad", n_cells)
    count_store.IN_MEMORY_BELOW = 0
    data = datasets.load(folder / "cells.h5ad", signal="obs:day")
    cells, rest = np.split(np.random.default_rng(0).permutation(n_cells), [-100])
    names = {"cell_ids": data.cell_ids, "gene_ids": data.gene_ids, "umis": data.umis}
    train, held = Pool(cells, FRACTION), {"test": Pool(rest, FRACTION)}
    made = thin_to_disk(data.counts, train, held, folder / "thinned", seed=0, largest=1000, **names)
    anndata.AnnData(made.train.tocsr()).write_h5ad(folder / "thinned.h5ad")
    return size / 1e9


def measure(folder: Path, repeats: int) -> tuple[list[dict], dict[str, float]]:
    """Return medians of every reader, which take turns, and processor seconds of the conversions for annbatch."""
    python, warm = peers_python(), folder / "warm"
    warm.mkdir()
    prepare(warm, 1000)
    converted = {
        name: run(python, "convert", "annbatch", "", folder / f"{name}.h5ad", folder / f"{name}.zarr")["processor"]
        for folder in (warm, folder)
        for name in ("cells", "thinned")
    }
    found: dict[tuple[str, str], list[dict]] = {}
    for _ in range(repeats):
        for task, reader in ((task, reader) for task, readers in RUNS.items() for reader in readers):
            ours, name = reader in ("ours", "memory"), "cells" if task == "pass" else "thinned"
            form = ".zarr" if reader == "annbatch" else "" if ours and task == "batches" else ".h5ad"
            places = [place / f"{name}{form}" for place in (warm, folder)]
            found.setdefault((task, reader), []).append(run(sys.executable if ours else python, task, reader, *places))
    rows = []
    for (task, reader), runs in found.items():
        row = {"task": task, "reader": reader} | {key: statistics.median(r[key] for r in runs) for key in runs[0]}
        rows.append(row)
        print(row, file=sys.stderr)
    for task in RUNS:  # a reader of all cells must see each cell once
        whole = [row for row in rows if row["task"] == task and (task, row["reader"]) != ("batches", "anndata")]
        assert len({(row["cells"], row["molecules"]) for row in whole}) == 1, whole
    return rows, converted


def lines(rows: list[dict], task: str) -> str:
    """Return the table of one task."""
    header = ["reader", "cells / s", "processor, s for 100,000 cells", "against ours", "memory, GB"]
    mine = {row["reader"]: row for row in rows if row["task"] == task}
    each = {reader: row["processor"] / row["cells"] * 1e5 for reader, row in mine.items()}
    shown = [
        [
            RUNS[task][reader], f"{row['cells'] / row['seconds']:,.0f}", each[reader], each[reader] / each["ours"],
            row["memory_gb"],
        ]
        for reader, row in mine.items()
    ]  # fmt: skip
    return table(header, shown)


def main() -> None:
    options = arguments(__doc__)
    n_cells, repeats = (5_000, 1) if options.quick else (100_000, 3)
    where = machine("anndata", "h5py", "scipy", "torch")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["NOISE_SCALING_CACHE"] = str(folder / "cache")
        size = prepare(folder, n_cells)
        rows, converted = measure(folder, repeats)
    listed = subprocess.run([peers_python(), "-m", "pip", "list", "--format=json"], capture_output=True, check=True)
    theirs = {one["name"].lower(): one["version"] for one in json.loads(listed.stdout)}
    peers = ", ".join(f"{one} {theirs[one]}" for one in ("anndata", "annbatch", "dask", "scdataset", "zarr"))
    lead = (
        f"{n_cells:,} simulated cells of {N_GENES:,} genes and about 1,030 non-zero counts ({size:.2g} GB in a CSR "
        f".h5ad, uncompressed, in the page cache), read by {peers}. Medians of {repeats} runs that take turns, each in "
        "a process of its own on one thread; annbatch reads in threads of its own. Processor seconds are those to "
        "compare: what others do on the machine stretches the wall clock. Memory comes on top of the libraries."
    )
    first = "One pass over all cells as CSR, which thinning needs:"
    second = (
        f"Shuffled batches of 512 of the cells thinned to {FRACTION}, as scVI takes them (dense, and their non-zero "
        "counts), a whole epoch. Ours shuffles windows of 16 runs of 2^20 non-zero counts each; scDataset and annbatch "
        "windows of 32 runs of 512 cells."
    )
    last = (
        f"annbatch reads no .h5ad (its `Loader` raises a TypeError): the conversion to Zarr took "
        f"{converted['cells']:.0f} processor seconds before the first pass, and {converted['thinned']:.0f} for the "
        "thinned cells."
    )
    parts = [lead, first, lines(rows, "pass"), second, lines(rows, "batches"), last]
    numbers = {"cells": n_cells, "gb": size, "peers": theirs, "converted": converted, "runs": rows}
    report(options.results, "readers", "Readers of counts on disk", where, parts, numbers)


if __name__ == "__main__":
    main()
