"""Reimplementation of Geneformer's tokenizer: 512 cells at a time, one argsort per cell, a `datasets` store.

The loop runs in any environment; the path from a file to disk needs `datasets` and runs in the peers' environment.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import numpy as np
from scipy import sparse

CHUNK, TARGET = 512, 10_000


def rank_genes(values: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    return tokens[np.argsort(-values)]


def tokenize_chunk(counts: sparse.csr_matrix, totals: np.ndarray, medians: np.ndarray, tokens: np.ndarray) -> list:
    normalised = sparse.csr_matrix(counts / totals[:, None] * TARGET / medians)
    return [rank_genes(normalised[i].data, tokens[normalised[i].indices]) for i in range(normalised.shape[0])]


def tokenize(counts: sparse.csr_matrix, totals: np.ndarray, medians: np.ndarray) -> list[np.ndarray]:
    tokens, cells = np.arange(medians.size), []
    for start in range(0, counts.shape[0], CHUNK):
        cells += tokenize_chunk(counts[start : start + CHUNK], totals[start : start + CHUNK], medians, tokens)
    return cells


def to_disk(source: str, medians: np.ndarray, target: str, max_length: int) -> None:
    import anndata as ad
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    adata = ad.read_h5ad(source, backed="r")
    tokens, known_genes, cells = np.arange(medians.size), np.arange(adata.n_vars), []
    for start in range(0, adata.n_obs, CHUNK):
        chosen = np.arange(start, min(start + CHUNK, adata.n_obs))  # by number, as in Geneformer's code
        totals, counts = adata[chosen].obs["n_counts"].to_numpy(), adata[chosen, known_genes].X
        cells += tokenize_chunk(counts, totals, medians, tokens)

    def shorten(example: dict) -> dict:
        example["input_ids"] = example["input_ids"][:max_length]
        example["length"] = len(example["input_ids"])
        return example

    Dataset.from_dict({"input_ids": cells}).map(shorten, num_proc=1).save_to_disk(target)


if __name__ == "__main__":
    source, medians_file, target, max_length = sys.argv[1:]
    shutil.rmtree(target, ignore_errors=True)
    medians = np.load(medians_file)
    import anndata  # noqa: F401 - imports are not timed
    import datasets  # noqa: F401

    start = time.perf_counter()
    to_disk(source, medians, target, int(max_length))
    print(time.perf_counter() - start)
    Path(target).exists() or sys.exit(1)
