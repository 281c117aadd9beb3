"""Measure peak memory and time to fit and embed each model from a count store on disk, at two numbers of cells.

Each run is a separate process; the memory that it uses before it opens the store (Python and libraries) is subtracted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anndata
import numpy as np
import torch
from common import arguments, machine, report, simulate_counts, table

from noise_scaling import models
from noise_scaling.counts import count_store
from noise_scaling.counts.count_store import FileStore

CELLS, GENES, UMIS, STEPS = (100_000, 300_000), 4_000, 500, 200
MODELS = ("random_projection", "pca", "scvi")


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


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(one(Path(sys.argv[2]), *sys.argv[3:])))
        return
    args = arguments(__doc__)
    where = machine("torch", "scvi-tools", "anndata", "h5py")
    sizes, n_genes = (CELLS, GENES) if not args.quick else ((3000, 6000), 300)
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
    report(args.results, "memory", "Memory of trainings on counts on disk", where, parts, {"runs": rows})


if __name__ == "__main__":
    main()
