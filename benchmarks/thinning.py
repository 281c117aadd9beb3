"""Time our thinning, scanpy's, the published kernel's and numpy's binomial, to one depth and to ten nested depths."""

from __future__ import annotations

import time

import anndata as ad
import numba
import numpy as np
import scanpy as sc
from common import N_GENES, arguments, both_clocks, interleave, machine, report, simulate_counts, table
from numba import njit, prange
from scipy import sparse

from noise_scaling.counts import thin, thinning_kernel
from noise_scaling.counts.thinning import name_keys

OURS, ONE = "noise_scaling.counts.thin", "the same, one thread"
SCANPY, PAPER = "scanpy.pp.downsample_counts(counts_per_cell)", "published kernel, written anew"
BINOMIAL, BINOMIAL_CLEAN = "numpy Generator.binomial on X.data", "the same, zeros removed"


def with_scanpy(adata: ad.AnnData, fraction: float) -> None:
    """Thin each cell to a fixed total by scanpy, in place: each run gets a fresh copy, made untimed."""
    totals = np.asarray(adata.X.sum(1)).ravel()
    sc.pp.downsample_counts(adata, counts_per_cell=np.floor(totals * fraction).astype(int), random_state=0)


def with_published_kernel(counts: sparse.csr_matrix, fraction: float) -> sparse.csr_matrix:
    """Thin each gene to floor(total x fraction) molecules, without replacement; converts to CSC and back."""
    by_gene = counts.tocsc()
    by_gene.data = _thin_columns(by_gene.indptr, by_gene.data, fraction)
    by_gene.eliminate_zeros()
    return by_gene.tocsr()


@njit(parallel=True, cache=True)
def _thin_columns(indptr, data, fraction):
    """Thin the genes in parallel: list a gene's molecules and choose among them by numba's `choice`, no replacement."""
    thinned = np.zeros_like(data)
    for gene in prange(indptr.size - 1):
        start, stop = indptr[gene], indptr[gene + 1]
        entries = np.repeat(np.arange(start, stop), data[start:stop])
        n_kept = int(entries.size * fraction)
        if n_kept > 0:
            for entry in np.random.choice(entries, n_kept, replace=False):  # noqa: NPY002 - numba's own
                thinned[entry] += 1
    return thinned


def with_binomial(counts: sparse.csr_matrix, fraction: float, *, clean: bool) -> sparse.csr_matrix:
    thinned = np.random.default_rng(0).binomial(counts.data, fraction).astype(counts.dtype)
    if not clean:
        return thinned
    result = sparse.csr_matrix((thinned, counts.indices.copy(), counts.indptr.copy()), shape=counts.shape)
    result.eliminate_zeros()
    return result


def one_depth(counts: sparse.csr_matrix, fraction: float, repeats: int) -> dict[str, float]:
    runs = {
        OURS: lambda: thin(counts, fraction, seed=0),
        ONE: lambda: thin(counts, fraction, seed=0, n_threads=1),
        SCANPY: (lambda: ad.AnnData(counts.copy()), lambda adata: with_scanpy(adata, fraction)),
        PAPER: lambda: with_published_kernel(counts, fraction),
        BINOMIAL: lambda: with_binomial(counts, fraction, clean=False),
        BINOMIAL_CLEAN: lambda: with_binomial(counts, fraction, clean=True),
    }
    return interleave(runs, repeats, both_clocks)


def ten_depths(counts: sparse.csr_matrix, repeats: int) -> dict[str, float]:
    fractions = np.geomspace(1, 0.004, 10)

    def ten_scanpy(copies: list[ad.AnnData]) -> None:
        for adata, fraction in zip(copies, fractions, strict=True):
            with_scanpy(adata, fraction)

    n_copies = (
        10 if counts.nnz < 1e7 else 1
    )  # ten copies of the full size do not fit in memory together: timed one by one
    runs = {
        "noise_scaling.counts.thin, ten times": lambda: [thin(counts, fraction, seed=0) for fraction in fractions],
    }
    seconds = interleave(runs, repeats)
    if n_copies == 10:
        ten = {"scanpy, ten times": (lambda: [ad.AnnData(counts.copy()) for _ in fractions], ten_scanpy)}
        return seconds | interleave(ten, repeats)
    each = {
        str(fraction): (lambda: ad.AnnData(counts.copy()), lambda adata, f=fraction: with_scanpy(adata, f))
        for fraction in fractions
    }
    return seconds | {"scanpy, ten times": sum(interleave(each, 1).values())}


@njit(nogil=True, cache=True)
def _stages(n_stages, indptr, indices, data, cell_keys, gene_keys, threshold):
    """Run the first `n_stages` stages of the kernel's inner loop, on one thread, reusing one output buffer."""
    words, small = np.empty(2048, np.uint64), np.empty(2048, np.uint8)
    kept = np.empty(2048, np.int32)
    out_indices, out_data = np.empty(2048, indices.dtype), np.empty(2048, data.dtype)
    for row in range(indptr.size - 1):
        for start in range(indptr[row], indptr[row + 1], 2048):
            genes = indices[start : min(start + 2048, indptr[row + 1])]
            counts = data[start : start + genes.size]
            thinning_kernel._row_is_valid(genes, counts, gene_keys.size)
            if n_stages > 1:
                thinning_kernel._hash_strip(genes, counts, cell_keys[row], gene_keys, words, small)
            if n_stages > 2:
                thinning_kernel._keep_strip(words, small, genes.size, threshold, kept)
            if n_stages > 3:
                for j in range(genes.size):
                    if kept[j] < 0:
                        kept[j] = thinning_kernel._keep_one(words[j], np.int64(counts[j]), threshold)
            if n_stages > 4:
                thinning_kernel._write(genes, kept, out_indices, out_data, np.uint64(0))


def profile(counts: sparse.csr_matrix, repeats: int) -> dict[str, float]:
    """Return the processor nanoseconds per count of each stage on one thread, as differences of medians."""
    keys = [name_keys(None, n, seed=0, axis=axis) for n, axis in zip(counts.shape, ("cell", "gene"), strict=True)]
    inputs = (counts.indptr, counts.indices, counts.data, *keys, np.uint64(2**64 // 10))
    names = ("check", "hash", "compare 8 molecules at once", "ties, and counts above 8", "close the gaps")
    runs = {name: lambda i=i: _stages(i + 1, *inputs) for i, name in enumerate(names)}
    upto = interleave(runs, repeats, time.process_time)
    ends = np.r_[0, list(upto.values())] / counts.nnz * 1e9
    return dict(zip(names, np.diff(ends).tolist(), strict=True))


def depth_table(seconds: dict[str, list[float]], n_umis: float) -> str:
    ours = np.array([*seconds[OURS], seconds[ONE][0]])
    rows = []
    for name, (wall, processor) in seconds.items():
        ratios = (f"{ratio:.1f} x" for ratio in [wall, processor, wall] / ours)
        rows.append([name, wall, processor, n_umis / wall / 1e6, *ratios])
    header = ["", "seconds", "processor seconds", "million UMI / s"]
    return table([*header, "seconds to ours", "processor to ours", "to ours on one thread"], rows)


def main() -> None:
    options = arguments(__doc__)
    n_cells, repeats = (2_000, 2) if options.quick else (50_000, 5)
    where = machine("scanpy", "scipy")
    counts = simulate_counts(n_cells, N_GENES)
    n_umis = float(counts.sum())
    by_fraction = {fraction: one_depth(counts, fraction, repeats) for fraction in (0.1, 0.5, 0.01)}
    many = ten_depths(counts, 1 if options.quick else 3)
    stages = profile(counts, repeats)
    size = f"{n_cells:,} cells x {N_GENES:,} genes, {counts.nnz:,} counts, {n_umis / n_cells:,.0f} UMI a cell"
    parts = [f"{size}; medians of {repeats} interleaved runs; ours on {numba.config.NUMBA_NUM_THREADS} threads."]
    for fraction, seconds in by_fraction.items():
        parts += [f"Fraction {fraction}:", depth_table(seconds, n_umis)]
    ours = next(iter(many.values()))
    parts += [
        "Ten nested depths, 1 to 0.004:",
        table(["", "seconds", "to ours"], [[name, s, f"{s / ours:.1f} x"] for name, s in many.items()]),
        "What bounds it, one thread, fraction 0.1:",
        table(["stage", "processor ns a count"], [[name, ns] for name, ns in stages.items()]),
        "The hash and the scattered reads of gene keys come first, then the 4 % of counts above 8 molecules, which are "
        "drawn bit by bit; reading and checking the input is a small part. "
        "scanpy thins each cell, the published kernel each gene, to a fixed total: not the binomial law, and neither "
        "is nested over depths. Processor seconds are of all threads together, and what else the machine does does not "
        "stretch them. Copies that scanpy needs, as it works in place, are not timed.",
    ]
    numbers = {
        "cells": n_cells,
        "genes": N_GENES,
        "counts": int(counts.nnz),
        "umis": n_umis,
        "repeats": repeats,
        "seconds": {str(fraction): seconds for fraction, seconds in by_fraction.items()},
        "ten_depths_seconds": many,
        "ns_per_count": stages,
    }
    report(options.results, "thinning", "Thinning", where, parts, numbers)


if __name__ == "__main__":
    main()
