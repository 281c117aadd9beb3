"""Blood cells sorted by beads into ten populations (Zheng et al. 2017)."""

import numpy as np

from ..reading import cells_by_genes, of_form, read_r
from . import Card, Dataset, Files, Signal, assemble, register


@register("pbmc_facs")
def pbmc_facs(card: Card, files: Files, signal: str) -> Dataset:
    """Load 3,774 cells of ten libraries, one per gate; integers, all genes. The file's 100 test cells are left out."""
    path = files["pbmc_facs.RData"]
    with of_form(path):
        source = read_r(path)["pbmc_facs"]
        values, genes, cells = cells_by_genes(source["counts"])  # [cells, genes] in the file
        obs = source["samples"].set_axis(cells)
    gates = Signal(signal, "label", obs["celltype" if signal == "gate" else "subpop"].to_numpy(dtype=str))
    return assemble(card, values.T, obs, genes.astype(np.str_), gates, tolerance=0)
