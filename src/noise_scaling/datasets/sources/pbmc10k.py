"""6,855 PBMC with 14 surface proteins, by 10x Genomics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..reading import integers, log1p
from . import Card, Dataset, Files, Signal, assemble, register

_GENES_AT_ONCE = 500
"""Rows of a dense table that are parsed before they are made sparse: 27 MB of 6,855 cells."""


@register("pbmc10k")
def pbmc10k(card: Card, files: Files, signal: str) -> Dataset:
    """6,855 PBMC with 14 surface proteins, two tables of [genes or proteins, cells]; integers written as floats.

    The signal is log1p of the protein counts: they span 1 to 10,000, and the raw scale is that of a few cells.
    """
    blocks, genes, cells = [], [], None
    with pd.read_csv(files["pbmc10k_harmo_rna.csv.gz"], index_col=0, chunksize=_GENES_AT_ONCE) as reader:
        for block in reader:
            blocks.append(sp.csr_matrix(block.to_numpy(dtype=np.float32)))
            genes.extend(block.index)
            cells = block.columns
    counts, deviation = integers(sp.vstack(blocks).T, name=card.name, tolerance=0)
    proteins = pd.read_csv(files["pbmc10k_harmo_pro.csv.gz"], index_col=0).T.loc[cells]
    values = Signal(signal, "vector", log1p(proteins.to_numpy()))
    return assemble(card, counts, proteins, np.array(genes), values, largest_deviation=deviation)
