"""One section of the mouse preoptic area by MERFISH (Moffitt et al. 2018)."""

import numpy as np
import pandas as pd

from ..reading import cells_by_genes, read_r, unscale_rows
from . import Card, Dataset, Files, Signal, assemble, register


@register("merfish_poa")
def merfish_poa(card: Card, files: Files, signal: str) -> Dataset:
    """Load one section of 6,509 cells. Values are counts over the cell's volume, except for the last 20 genes.

    Those 20 genes are left out: they were imaged one at a time, and their values are fluorescence. For the other genes
    the smallest value of a cell is one molecule; recovered counts are within 0.03 of integers.
    """
    source = read_r(files["merfish_mousePOA.rda"])["merfish_mousePOA"]
    values, cells, genes = cells_by_genes(source.assays.data.listData["volnorm"])
    single = unscale_rows(values[:, :-20])
    place = source.int_colData.listData["spatialCoords"]
    obs = pd.DataFrame({k: np.asarray(v) for k, v in source.colData.listData.items()}, index=cells)
    neighbours = Signal(signal, "pair", np.asarray(place, dtype=np.float64))
    return assemble(card, single, obs, genes[:-20], neighbours, tolerance=0.05)
