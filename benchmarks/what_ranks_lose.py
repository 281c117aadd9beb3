"""Compare the signal information in a cell's gene ranks and in its counts, without a model, by one estimator, by depth.

    python benchmarks/what_ranks_lose.py

A representation gives each gene of a cell a number: its log-normalised count, its rank among the cell's Geneformer
tokens (1 for the first, falling evenly to 0), or its rank among the first 512 or 64 tokens only (0 for the rest). Two
linear readouts reduce each to 16 numbers: a Gaussian random projection, the same for all, and principal components of
the training cells. Nothing else is learned. Writes results/what_ranks_lose.md and .json.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from common import arguments, machine, report, table
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.random_projection import GaussianRandomProjection
from threadpoolctl import threadpool_limits

from noise_scaling import datasets, information, signals
from noise_scaling.counts import umis_per_cell
from noise_scaling.counts.tokens import gene_medians, rank_tokens
from noise_scaling.information.crossfit import one_thread
from noise_scaling.measure.slice import Grid, Slice
from noise_scaling.models.base import log_normalise
from noise_scaling.seeds import derive

DATASETS = ("pbmc10k", "citeseq_inhouse")
SEEDS, DEPTHS, DIMS = (0, 1), 6, 16
REPRESENTATIONS: dict[str, int | None] = {"counts": None, "ranks": 10**6, "first 512 ranks": 512, "first 64 ranks": 64}
READOUTS: dict[str, Callable[[int], Any]] = {
    "random projection": lambda seed: GaussianRandomProjection(DIMS, random_state=seed),
    "principal components": lambda seed: TruncatedSVD(DIMS, random_state=seed),
}


def represented(counts: csr_matrix, medians: np.ndarray, longest: int | None) -> csr_matrix:
    """Return a number per gene and cell: the log-normalised count, or the rank among the first `longest` tokens."""
    if longest is None:
        return log_normalise(counts)
    ids, offsets = rank_tokens(counts, medians, max_length=longest)
    lengths = np.diff(offsets)
    places = np.arange(len(ids)) - np.repeat(offsets[:-1], lengths)
    return csr_matrix((1 - places / np.repeat(lengths, lengths), ids.astype(np.int64), offsets), counts.shape)


def points(name: str, seed: int, depths: int) -> list[dict[str, Any]]:
    """Measure the bits in each representation and readout of the test cells, from full depth to the card's lowest."""
    data = datasets.load(name)
    every, n_cells = data.card.fractions, max(data.card.cell_numbers)
    fractions = [every[i] for i in np.linspace(0, len(every) - 1, depths).round().astype(int)]
    grid = Grid(
        data, ("pca",), (n_cells,), tuple(fractions), "small", ("default",), data.card.n_test, data.card.n_validation,
        "cpu",
    )  # fmt: skip
    split, found = grid.split(seed), []
    for fraction in fractions:
        pools = Slice(grid, split, seed, fraction).pools
        train, test = pools.train(n_cells), pools.test
        medians = gene_medians(train)
        for readout, make in READOUTS.items():
            point = {"dataset": name, "signal": data.signal.name, "readout": readout, "n_cells": n_cells, "seed": seed}
            point |= {"fraction": fraction, "umis_per_cell": round(float(umis_per_cell(test)), 2), "stderr": {}}
            for representation, longest in REPRESENTATIONS.items():
                draw = make(derive(seed, "readout", readout) % 2**32).fit(represented(train, medians, longest))
                x = draw.transform(represented(test, medians, longest)).astype(np.float32)
                pair = signals.align(data.signal, split.test, x, seed=derive(seed, "pairs"))
                bits = information.estimate(pair.x, pair.y, seed=derive(seed, "estimator"), groups=pair.groups)
                point[representation] = round(float(bits.bits), 4)
                point["stderr"][representation] = round(float(bits.stderr), 4)
            found.append(point)
            print(point, flush=True)
    return found


def main() -> None:
    options = arguments(__doc__ or "")
    names, seeds, depths = (("pbmc68k",), (0,), 2) if options.quick else (DATASETS, SEEDS, DEPTHS)
    where = machine("scipy", "scikit-learn", "pandas")
    with one_thread(), threadpool_limits(1):
        found = [point for name in names for seed in seeds for point in points(name, seed, depths)]
    means = pd.DataFrame(found).groupby(["dataset", "readout", "fraction"])[list(REPRESENTATIONS)].mean().reset_index()
    parts = [
        "Bits of the default estimator, means over seeds, at the largest number of training cells of each card.",
        table(["data set", "readout", "share of molecules", *REPRESENTATIONS], means.to_numpy().tolist()),
    ]
    report(options.results, "what_ranks_lose", "What ranks lose", where, parts, {"points": found})


if __name__ == "__main__":
    main()
