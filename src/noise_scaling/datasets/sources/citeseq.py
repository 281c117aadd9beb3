"""Blood cells whose RNA and surface proteins were counted together, from three publications."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

from ...errors import InputError
from ..reading import cells_by_genes, log1p, of_form, read_r, read_table, rows_of, unique_genes
from . import Card, Dataset, Files, Signal, assemble, register

_MOUSE_GENES = 100
"""Number of mouse genes, the last genes of `citeseq_cbmc`: the most frequent genes of the added mouse cells."""


@register("citeseq_pbmc49")
def citeseq_pbmc49(card: Card, files: Files, signal: str) -> Dataset:
    """Load 3,762 cells with 49 proteins, standardised and clipped at 10. The file names neither cells nor genes."""
    values, proteins = _hdf5(files["CITE_PBMC_counts.h5"])
    return _unnamed(card, values, Signal(signal, "vector", proteins))


@register("citeseq_cbmc")
def citeseq_cbmc(card: Card, files: Files, signal: str) -> Dataset:
    """Load cord blood cells with 13 proteins; the signal is log1p of the protein counts.

    Mouse cells were added to the sample; they and the mouse genes are left out. A cell is taken for human if less than
    half of its molecules are from the mouse genes (most cells have 10 %, mouse cells 90 % and more).
    """
    values, _ = _hdf5(files["CITE_CBMC_counts_top2000.h5"])
    path = files["GSE100866_CBMC_8K_13AB_10X-ADT_umi.csv.gz"]
    proteins = read_table(path, index_col=0).T.to_numpy()
    if len(proteins) != values.shape[0]:
        raise InputError(f"{path.name} has {len(proteins)} cells for {values.shape[0]}: fetch both files anew")
    mouse = values[:, -_MOUSE_GENES:].sum(axis=1)
    human = np.asarray(mouse < 0.5 * values.sum(axis=1)).ravel()
    found = Signal(signal, "vector", log1p(proteins[human]))
    return _unnamed(card, values[human, :-_MOUSE_GENES], found, np.flatnonzero(human))


@register("citeseq_inhouse")
def citeseq_inhouse(card: Card, files: Files, signal: str) -> Dataset:
    """Load 1,372 PBMC with all genes and 10 proteins; the signal is log1p of the protein counts."""
    rna, adt = files["RNA.rds"], files["Protein.rds"]
    with of_form(rna):
        values, cells, genes = cells_by_genes(read_r(rna))
    with of_form(adt):
        proteins, protein_cells, _ = cells_by_genes(read_r(adt))
    proteins = proteins[rows_of(cells, protein_cells, adt)]
    found = Signal(signal, "vector", log1p(proteins.toarray()))
    obs = pd.DataFrame(index=cells)
    return assemble(card, values, obs, unique_genes(pd.Index(genes)), found, tolerance=0)


def _hdf5(path: Path) -> tuple[sp.csr_matrix, np.ndarray]:
    """Read counts [cells, genes] and standardised proteins [cells, proteins]."""
    with of_form(path), h5py.File(path) as file:
        return sp.csr_matrix(file["X"][:]), np.asarray(file["ADT_X"], dtype=np.float64)


def _unnamed(card: Card, values: sp.csr_matrix, signal: Signal, rows: np.ndarray | None = None) -> Dataset:
    """Build a data set from a file without names: cells and genes are named by their positions in the file."""
    cells = [f"cell{row}" for row in (np.arange(values.shape[0]) if rows is None else rows)]
    genes = np.array([f"gene{column}" for column in range(values.shape[1])])
    return assemble(card, values, pd.DataFrame(index=cells), genes, signal, tolerance=0)
