"""A lung cancer cell line under dexamethasone, with RNA and chromatin of the same cells (Cao et al. 2018)."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from ...signals import in_time
from ..reading import cells_by_genes, of_form, read_r, rows_of, unscale_rows
from . import Card, Dataset, Files, Signal, assemble, register

_DIMENSIONS = 10


@register("a549_dex")
def a549_dex(card: Card, files: Files, signal: str) -> Dataset:
    """Load 2,641 cells, 0, 1 or 3 hours after the drug, pooled into one library. RNA is log1p of scaled counts.

    The smallest value of each cell is taken for one molecule.
    """
    path = files["data_A549.rda"]
    with of_form(path):
        source = read_r(path)["data_A549"]
        values, cells, genes = cells_by_genes(source["data"]["RNA"])
        values.data = np.expm1(values.data)
        obs = source["labels"].astype(str).loc[cells]
        hours = obs["Time"].to_numpy(dtype=str)
        peaks, peak_cells, _ = cells_by_genes(source["data"]["ATAC"])
    rows = rows_of(cells, peak_cells, path)
    if signal == "hours":
        found = Signal(signal, "label", hours, levels=in_time(hours))
    else:
        found = Signal(signal, "vector", _latent(peaks[rows]))
    return assemble(card, unscale_rows(values), obs, genes, found, tolerance=1e-3)


def _latent(peaks: sp.csr_matrix) -> np.ndarray:
    """Return latent semantic indexing of the open peaks (Cusanovich et al. 2015): [cells, dimensions].

    The first dimension, the number of open peaks, is left out. Rounded, because last digits depend on the processor.
    """
    open_ = (peaks > 0).astype(np.float64)
    rare = np.log1p(open_.shape[0] / np.maximum(1, np.asarray(open_.sum(axis=0)).ravel()))
    per_cell = np.asarray(open_.sum(axis=1)).ravel()
    weighted = sp.diags_array(1 / np.maximum(1, per_cell)) @ open_ @ sp.diags_array(rare)
    left, _, right = svds(weighted, k=_DIMENSIONS + 1, v0=np.ones(min(weighted.shape)))
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])
    return (left * signs * np.sqrt(len(left)))[:, ::-1][:, 1:].round(3)
