"""A mouse embryo at E8.5 by seqFISH (Lohoff et al. 2022)."""

import numpy as np
import pandas as pd

from ..reading import cells_by_genes, of_form, read_r, unscale_rows
from . import Card, Dataset, Files, Signal, assemble, register


@register("seqfish_embryo")
def seqfish_embryo(card: Card, files: Files, signal: str) -> Dataset:
    """Load embryo 2: two planes 12 micrometres apart, given by the end of a cell's name. Values are log2(1 + scaled).

    The smallest value of a cell is one molecule. Neighbours are of the same plane; a tile holds cells of both planes.
    """
    path = files["mouseEmbryo2.rda"]
    with of_form(path):
        source = read_r(path)["spe"]
        values, cells, genes = cells_by_genes(source.assays.data.listData["logcounts"])
        values.data = np.exp2(values.data) - 1
        place = np.asarray(source.int_colData.listData["spatialCoords"], dtype=np.float64)
        columns = {name: np.asarray(values).astype(str) for name, values in source.colData.listData.items()}
    obs = pd.DataFrame(columns, index=cells)
    if signal == "cell_type":
        found = Signal(signal, "label", obs["celltype_mapped_refined"].to_numpy(dtype=str))
    else:
        found = Signal(signal, "pair", place, sections=np.array([cell.rsplit("_", 1)[1] for cell in cells]))
    return assemble(card, unscale_rows(values), obs, genes, found, tolerance=1e-3)
