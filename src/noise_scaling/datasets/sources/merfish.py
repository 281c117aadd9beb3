"""The paper's mouse brain by MERFISH (Vizgen 2021)."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ...errors import InputError
from ..reading import of_form, read_table, rows_of
from . import Card, Dataset, Files, Signal, assemble, register

_CELLS_AT_ONCE = 20_000
"""Number of cells of the table that are read at a time."""


@register("merfish")
def merfish(card: Card, files: Files, signal: str) -> Dataset:
    """Load Vizgen S1R1: counts of genes (blank barcodes are left out), and the cells' centres in micrometres.

    Counts are whole in the file. Cell names are whole numbers of 39 digits, read as text because no integer or float
    holds them. InputError if the table holds no cell or no gene, or the metadata lack a cell of the table.
    """
    table, meta = files["cell_by_gene_S1R1.csv"], files["cell_metadata_S1R1.csv"]
    blocks, cells = [], []
    with of_form(table):
        first = pd.read_csv(table, nrows=0).columns
        genes = [name for name in first[1:] if "blank" not in name.lower()]
        with pd.read_csv(table, index_col=0, dtype={first[0]: str}, chunksize=_CELLS_AT_ONCE) as reader:
            for block in reader:
                blocks.append(sp.csr_matrix(block[genes].to_numpy(dtype=np.float32)))
                cells.extend(block.index)
    names = read_table(meta, nrows=0).columns[0]
    obs = read_table(meta, ["center_x", "center_y"], index_col=0, dtype={names: str})
    obs = obs.iloc[rows_of(cells, obs.index, meta)]
    if not genes or not blocks:
        raise InputError(f"{table.name} has {len(cells)} cells and {len(genes)} genes: fetch the file anew")
    neighbours = Signal(signal, "pair", obs[["center_x", "center_y"]].to_numpy(dtype=np.float64))
    return assemble(card, sp.vstack(blocks), obs, np.array(genes), neighbours, tolerance=0)
