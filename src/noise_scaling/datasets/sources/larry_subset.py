"""781 cells of LARRY (Weinreb et al. 2020) in 339 clones."""

import anndata
import numpy as np

from ..reading import quietly, unscale_rows
from . import Card, Dataset, Files, Signal, assemble, register


@register("larry_subset")
def larry_subset(card: Card, files: Files, signal: str) -> Dataset:
    """Load 781 cells in 339 clones. X is scaled per cell; every cell has a gene with one molecule, its smallest value.

    The signal "clone_later" has the time point of each cell as well as its clone.
    """
    source = quietly(anndata.read_h5ad, files["test_adata_preprocessed.h5ad"])
    clone = np.asarray(source.obsm["X_clone"].argmax(axis=1)).ravel()  # each cell is in exactly one clone
    times = source.obs["time_info"].astype(float).to_numpy() if signal == "clone_later" else None
    relatives = Signal(signal, "pair", clone, times=times)
    genes = source.var_names.to_numpy(dtype=str)
    return assemble(card, unscale_rows(source.X), source.obs, genes, relatives, tolerance=1e-3)
