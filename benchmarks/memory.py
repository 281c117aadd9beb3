"""Measure peak memory and time to fit and embed each model from a count store on disk, at two numbers of cells.

Each run is a separate process; the memory that it uses before it opens the store (Python and libraries) is subtracted.
Then the peak of `noise-scaling measure` as a whole, for files of 150,000 cells, up to 0.5 GB, at two numbers of cells.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch
from common import arguments, machine, report, simulate_counts, table

from noise_scaling import models
from noise_scaling.counts import count_store
from noise_scaling.counts.count_store import FileStore

CELLS, GENES, UMIS, STEPS = (100_000, 300_000), 4_000, 500, 200
MODELS = ("random_projection", "pca", "scvi")
FILE_CELLS, FILE_GENES, FILE_UMIS, FILE_N = 150_000, (20_000, 4_000), 700, (100, 100_000)
MEASURE = """
import sys
from noise_scaling.cli import main
assert main(sys.argv[1:]) == 0
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
"""`noise-scaling` and its own peak: what wait4 returns begins at the peak of the process that started it."""
RUNS = (("random_projection", "pca"), ()), (("scvi", "geneformer"), ("--variant", "fixed_steps_100"))


def held_mb(which: str) -> float:
    """Return this process's resident memory in MB: "VmRSS" is the current one, "VmHWM" the peak since `forget_peak`."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(which))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def one(path: Path, name: str, held: str) -> dict:
    """Fit and embed one model in this process; return seconds, and megabytes added since the store was opened."""
    torch.set_num_threads(1)
    options = {"fixed_steps": STEPS, "check_every": STEPS, "batch_size": 512} if name == "scvi" else {}
    toy = simulate_counts(600, 50, umis=100)  # imports and compiles what the model needs
    models.create(name, device="cpu", **(options | {"fixed_steps": 2} if options else {})).fit(toy[:500], toy[500:])
    forget_peak()
    before = held_mb("VmRSS")
    store = FileStore(path)
    n_cells = store.shape[0]
    few = np.arange(n_cells) < 2000
    count_store.IN_MEMORY_BELOW = 0 if held == "on disk" else 1 << 60
    train, validation = store.take(~few).held(), store.take(few).tocsr()
    start = time.perf_counter()
    model = models.create(name, device="cpu", **options).fit(train, validation)
    fitted = time.perf_counter()
    after_fit = held_mb("VmHWM")
    embedding = model.embed(train)
    return {
        "model": name, "counts": held, "cells": n_cells, "megabytes_fit": after_fit - before,
        "megabytes": held_mb("VmHWM") - before, "fit_seconds": fitted - start,
        "embed_seconds": time.perf_counter() - fitted, "embedding_megabytes": embedding.nbytes / 2**20,
    }  # fmt: skip


def slices(folder: Path, n_cells: int, n_genes: int, numbers: tuple[int, ...]) -> tuple[str, list[list]]:
    """Return what a file of cells is, in words, and for models and N the peak memory and seconds of `measure`."""
    counts = simulate_counts(n_cells, n_genes, umis=FILE_UMIS)
    kind = pd.Categorical(np.array(["a", "b", "c"])[np.arange(n_cells) % 3])
    obs = pd.DataFrame({"kind": kind}, index=[f"c{i}" for i in range(n_cells)])
    cells = anndata.AnnData(counts.astype(np.float32), obs)
    cells.write_h5ad(path := folder / "own.h5ad")
    said = f"{n_genes:,} genes, {counts.nnz / n_cells:.0f} non-zero counts a cell, {path.stat().st_size / 1e9:.2f} GB"
    del counts, cells
    rows = []
    for (models_, more), n in ((run, n) for run in RUNS for n in numbers):
        command = [sys.executable, "-c", MEASURE, "measure", "--dataset", str(path), "--signal", "obs:kind"]
        command += ["--models", *models_, "--cell-numbers", str(n), "--fractions", "0.5", "--seeds", "0", *more]
        command += ["--output", str(folder / f"rows{len(rows)}.csv"), "--results", str(folder / f"units{len(rows)}")]
        start = time.perf_counter()
        own = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=own, check=True, capture_output=True, text=True)
        peak = int(done.stdout.splitlines()[-1]) * 1024 / 1e9
        rows.append([f"{n_genes:,}", ", ".join(models_), f"{n:,}", peak, time.perf_counter() - start])
    return said, rows


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(one(Path(sys.argv[2]), *sys.argv[3:])))
        return
    args = arguments(__doc__, slices="only the peak of `noise-scaling measure` as a whole")
    where = machine("torch", "scvi-tools", "anndata", "h5py")
    n_cells, numbers = (20_000, (100, 5_000)) if args.quick else (FILE_CELLS, FILE_N)
    files, whole = [], []
    for n_genes in FILE_GENES:
        with tempfile.TemporaryDirectory() as folder:
            said, rows = slices(Path(folder), n_cells, n_genes, numbers)
        files.append(said)
        whole += rows
    about = (
        f"`noise-scaling measure` as a whole, Python and all, on files of {n_cells:,} cells: {'; '.join(files)}. One "
        "depth and seed, networks for 100 steps."
    )
    parts = [about, table(["genes", "models", "N", "peak memory, GB", "seconds"], whole)]
    report(args.results, "memory_slice", "Memory of a slice whose counts stay on disk", where, parts, {"slices": whole})
    if not args.slices:
        trainings(args.results, where, *((CELLS, GENES) if not args.quick else ((3000, 6000), 300)))


def trainings(results: Path, where: dict, sizes: tuple[int, ...], n_genes: int) -> None:
    """Write the table of single models."""
    rows, nonzeros = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for n_cells in sizes:
            path = Path(folder) / f"{n_cells}.h5ad"
            counts = simulate_counts(n_cells, n_genes, umis=UMIS)
            nonzeros[n_cells] = counts.nnz
            anndata.AnnData(counts).write_h5ad(path)
            del counts
            for name in MODELS:
                for held in ("on disk", "in memory"):
                    command = [sys.executable, __file__, "one", str(path), name, held]
                    done = subprocess.run(command, check=True, capture_output=True, text=True)
                    rows.append(json.loads(done.stdout.splitlines()[-1]))
    columns = ["model", "counts", "cells", "megabytes_fit", "megabytes", "fit_seconds", "embed_seconds"]
    header = ["model", "counts", "cells", "MB to fit", "MB in all", "seconds to fit", "seconds to embed"]
    sizes_text = "; ".join(
        f"{n:,} cells: {nnz / n:.0f} non-zero counts a cell, {8 * nnz / 2**20:.0f} MB as CSR"
        for n, nnz in nonzeros.items()
    )
    parts = [
        f"{n_genes:,} genes, {UMIS} molecules a cell. {sizes_text}. Megabytes (2^20 bytes) above what Python and the "
        f"libraries hold; scVI, preset small, {STEPS} steps of 512 cells. One thread.",
        table(header, [[r[c] for c in columns] for r in rows]),
    ]
    report(results, "memory", "Memory of trainings on counts on disk", where, parts, {"runs": rows})


if __name__ == "__main__":
    main()
