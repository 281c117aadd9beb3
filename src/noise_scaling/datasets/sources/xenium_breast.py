"""A breast tumour on one slide by Xenium (Janesick et al. 2023), four corners of it."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..reading import need_columns, of_form
from . import Card, Dataset, Files, Signal, assemble, register

_PLACE = ["x_centroid", "y_centroid"]


@register("xenium_breast")
def xenium_breast(card: Card, files: Files, signal: str) -> Dataset:
    """Load 34,451 cells, integers. The four tables share one coordinate system, in micrometres, but no cell."""
    tables = []
    for path in files.values():
        with of_form(path):
            tables.append(pd.read_csv(path, index_col=0))
        need_columns(tables[-1], [*_PLACE, "area"], path)
    table = pd.concat(tables)
    obs = table[[*_PLACE, "area"]].set_axis(table.index.astype(str))
    genes = table.columns.drop(obs.columns)
    counts = sp.csr_matrix(table[genes].to_numpy())
    neighbours = Signal(signal, "pair", obs[_PLACE].to_numpy(dtype=np.float64))
    return assemble(card, counts, obs, genes.to_numpy(dtype=str), neighbours, tolerance=0)
