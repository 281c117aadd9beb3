"""Time our rank-value tokens against Geneformer's tokenizer: the loop alone, and from a file to disk."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import anndata as ad
import numba
import numpy as np
import pandas as pd
from common import N_GENES, arguments, interleave, machine, peers_python, report, simulate_counts, table
from peers import geneformer_tokens
from scipy import sparse

from noise_scaling.counts import thin
from noise_scaling.counts.count_store import FileStore
from noise_scaling.counts.tokens import gene_medians, rank_tokens
from noise_scaling.models.geneformer_data import tokens_of

MAX_LENGTH = 512
STORED = "noise_scaling.models.geneformer_data.tokens_of"
OURS, ONE, PEER = "noise_scaling.counts.tokens.rank_tokens", "the same, one thread", "Geneformer's loop, written anew"


def loop(counts: sparse.csr_matrix, medians: np.ndarray, repeats: int) -> dict[str, float]:
    totals = np.asarray(counts.sum(1)).ravel()
    runs = {
        OURS: lambda: rank_tokens(counts, medians, max_length=MAX_LENGTH),
        ONE: lambda: rank_tokens(counts, medians, max_length=MAX_LENGTH, n_threads=1),
        PEER: lambda: geneformer_tokens.tokenize(counts, totals, medians),
    }
    return interleave(runs, repeats)


def share_of_equal_cells(counts: sparse.csr_matrix, medians: np.ndarray) -> tuple[float, float]:
    """Return the shares of cells with equal token lists: exactly, and up to the order of genes with equal values."""
    totals = np.asarray(counts.sum(1)).ravel()
    ids, offsets = rank_tokens(counts, medians, max_length=MAX_LENGTH)
    same, same_but_ties = 0, 0
    for i, theirs in enumerate(geneformer_tokens.tokenize(counts, totals, medians)):
        ours, theirs = ids[offsets[i] : offsets[i + 1]], theirs[:MAX_LENGTH]
        cell = counts[i].toarray().ravel()
        same += np.array_equal(ours, theirs)
        # Ignore the last digits of float64, which change if counts are divided by the total first.
        values = [cell[genes] / medians[genes] for genes in (ours, theirs)]
        same_but_ties += len(ours) == len(theirs) and np.allclose(*values, rtol=1e-12, atol=0)
    return same / counts.shape[0], same_but_ties / counts.shape[0]


def file_to_disk(counts: sparse.csr_matrix, medians: np.ndarray, repeats: int, folder: Path) -> dict[str, float]:
    """Return the median seconds from an uncompressed .h5ad to tokens on disk; both sides take turns."""
    n_cells, n_genes = counts.shape
    obs = pd.DataFrame({"n_counts": np.asarray(counts.sum(1)).ravel()}, index=[f"cell{i}" for i in range(n_cells)])
    var = pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)])
    ad.AnnData(counts, obs=obs, var=var).write_h5ad(folder / "cells.h5ad")
    np.save(folder / "medians.npy", medians)
    python, peer = peers_python(), Path(__file__).parent / "peers" / "geneformer_tokens.py"
    command = [python, peer, folder / "cells.h5ad", folder / "medians.npy", folder / "dataset", str(MAX_LENGTH)]
    seconds: dict[str, list[float]] = {STORED: []}
    for turn in range(repeats + 1):
        start = time.perf_counter()
        tokens_of(FileStore(folder / "cells.h5ad"), medians, MAX_LENGTH)
        if turn:
            seconds[STORED].append(time.perf_counter() - start)
        if python and turn:
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds.setdefault("Geneformer's path, written anew", []).append(float(done.stdout.split()[-1]))
    return {name: statistics.median(times) for name, times in seconds.items()}


def stages(path: Path, counts: sparse.csr_matrix, medians: np.ndarray, repeats: int) -> dict[str, float]:
    """Return the median seconds of the parts of `tokens_of`, each alone; in `tokens_of` they run concurrently."""
    seconds: dict[str, list[float]] = {"read and check the counts": [], "rank": []}
    read, rank = seconds.values()
    for _ in range(repeats):
        start = time.perf_counter()
        for _chunk in FileStore(path).chunks():
            pass
        read.append(time.perf_counter() - start)
        start = time.perf_counter()
        rank_tokens(counts, medians, max_length=MAX_LENGTH)
        rank.append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def rate_table(seconds: dict[str, float], n_cells: int) -> str:
    ours = next(iter(seconds.values()))
    rows = [[name, s, f"{n_cells / s:,.0f}", f"{s / ours:.1f} x"] for name, s in seconds.items()]
    return table(["", "seconds", "cells / s", "to ours"], rows)


def main() -> None:
    options = arguments(__doc__)
    n_cells, repeats = (1_000, 1) if options.quick else (20_000, 3)
    where = machine("scipy", "anndata")
    counts = simulate_counts(n_cells, N_GENES, seed=1)
    medians = gene_medians(counts)
    low = thin(counts, 0.05, seed=0)  # about 100 genes a cell
    low = low[np.diff(low.indptr) > 0]
    medians[np.isnan(medians)] = 1.0  # their loop cannot handle a gene without a median
    loops = {f"{x.nnz / x.shape[0]:,.0f} genes a cell": loop(x, medians, repeats) for x in (counts, low)}
    same, same_but_ties = share_of_equal_cells(counts[:2_000], medians)
    with tempfile.TemporaryDirectory() as folder:
        disk = file_to_disk(counts, medians, repeats, Path(folder))
        alone = stages(Path(folder) / "cells.h5ad", counts, medians, repeats)
    parts = [
        f"{n_cells:,} cells, {N_GENES:,} genes, at most {MAX_LENGTH} tokens a cell; medians of {repeats} interleaved "
        f"runs; ours on {numba.config.NUMBA_NUM_THREADS} threads. Geneformer's loop is timed as written anew here "
        "(benchmarks/peers): chunks of 512 cells, one argsort a cell; it runs on one thread.",
    ]
    for depth, seconds in loops.items():
        parts += [f"The loop alone, {depth}:", rate_table(seconds, n_cells)]
    parts += [
        f"Of {min(n_cells, 2_000):,} cells, {same:.1%} have the very same list, {same_but_ties:.1%} the same but for "
        "the order of equal values (ours: by gene index; theirs: as an unstable sort leaves them).",
        "From an uncompressed .h5ad to tokens on disk:",
        rate_table(disk, n_cells),
        "What bounds ours from file to disk, each stage alone (reading runs beside ranking, a chunk ahead):",
        table(["stage", "seconds"], [[name, s] for name, s in alone.items()]),
        "The loop is bound by the three passes of a radix sort over each cell's genes; from file to disk by reading "
        f"{counts.nnz * 8 / n_cells / 1e3:.1f} kB a cell into fresh memory. Theirs by one small array operation after "
        "another in Python, and by Python lists on the way to Arrow.",
    ]
    numbers = {
        "cells": n_cells,
        "loop_seconds": loops,
        "file_to_disk_seconds": disk,
        "stage_seconds": alone,
        "share_same": same,
        "share_same_but_ties": same_but_ties,
    }
    report(options.results, "tokens", "Tokens", where, parts, numbers)


if __name__ == "__main__":
    main()
