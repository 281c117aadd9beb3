"""PBMC of two donors by 10x Genomics: 6,855 with 14 surface proteins, and 3,994 without proteins for training."""

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ...errors import InputError
from ..reading import log1p, of_form
from . import Card, Dataset, Files, Signal, assemble, register

_GENES_AT_ONCE = 500
"""Rows of a dense table that are parsed at a time and made sparse: 27 MB for 6,855 cells."""


@register("pbmc10k")
def pbmc10k(card: Card, files: Files, signal: str) -> Dataset:
    """Load 6,855 PBMC with 14 surface proteins, two tables of [genes or proteins, cells]; integers written as floats.

    The signal is log1p of the protein counts, because they span 1 to 10,000 and a few cells dominate the raw scale.
    """
    values, cells, genes = _read(files["pbmc10k_harmo_rna.csv.gz"])
    proteins = pd.read_csv(files["pbmc10k_harmo_pro.csv.gz"], index_col=0).T.loc[cells]
    found = Signal(signal, "vector", log1p(proteins.to_numpy()))
    return assemble(card, values, proteins, genes, found, tolerance=0)


@register("pbmc5k_extra")
def pbmc5k_extra(card: Card, files: Files, signal: str) -> Dataset:
    """Load the cells of `pbmc10k` and 3,994 cells of another donor, "5k_" before their names, in the same genes.

    The added cells have no proteins, so they are only trained on, never tested. Splits and thinning use the random
    stream of `pbmc10k`: for the same seed and `n_test` the test cells and their molecules are the same. InputError if
    the two tables differ in their genes.
    """
    by_name = {path.name: path for path in files.values()}  # two of the files lie in the folder of `pbmc10k`
    measured, path = pbmc10k(card, by_name, signal), by_name["pbmc5k_harmo_rna.csv.gz"]
    values, cells, genes = _read(path)
    if genes.tolist() != measured.gene_ids.tolist():
        raise InputError(f"{path.name} has other genes than pbmc10k_harmo_rna.csv.gz: fetch both files anew")
    obs = pd.DataFrame(index=np.r_[measured.cell_ids, np.char.add("5k_", cells)])
    proteins = np.full((len(cells), measured.signal.values.shape[1]), np.nan)
    found = Signal(signal, "vector", np.r_[measured.signal.values, proteins])
    counts = sp.vstack([measured.counts, values], format="csr")
    return assemble(card, counts, obs, genes, found, tolerance=0, stream="pbmc10k")


def _read(path: Path) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    """Read a table of [genes, cells] as counts [cells, genes], the cells' names and the genes' names."""
    blocks, genes, cells = [], [], pd.Index([])
    with of_form(path), pd.read_csv(path, index_col=0, chunksize=_GENES_AT_ONCE) as reader:
        for block in reader:
            blocks.append(sp.csr_matrix(block.to_numpy(dtype=np.float32)))
            genes.extend(block.index)
            cells = block.columns
    return sp.vstack(blocks).T, cells.to_numpy(dtype=str), np.array(genes, dtype=str)
