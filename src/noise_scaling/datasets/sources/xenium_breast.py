"""A breast tumour on one slide by Xenium (Janesick et al. 2023), four corners of it."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..reading import read_table
from . import Card, Dataset, Files, Signal, assemble, register

_PLACE = ["x_centroid", "y_centroid"]


@register("xenium_breast")
def xenium_breast(card: Card, files: Files, signal: str) -> Dataset:
    """Load 34,451 cells, integers. The four tables share one coordinate system, in micrometres, but no cell."""
    table = pd.concat([read_table(path, [*_PLACE, "area"], index_col=0) for path in files.values()])
    obs = table[[*_PLACE, "area"]].set_axis(table.index.astype(str))
    genes = table.columns.drop(obs.columns)
    counts = sp.csr_matrix(table[genes].to_numpy())
    neighbours = Signal(signal, "pair", obs[_PLACE].to_numpy(dtype=np.float64))
    return assemble(card, counts, obs, genes.to_numpy(dtype=str), neighbours, tolerance=0)
