"""The paper's haematopoiesis with clones (Weinreb et al. 2020)."""

import numpy as np
import pandas as pd
from anndata.utils import make_index_unique

from ...signals import Signal, single_clone
from ..reading import read_mtx, read_table, unique_genes, unscale_rows
from . import Card, Dataset, Files, assemble, register


@register("larry")
def larry(card: Card, files: Files, signal: str) -> Dataset:
    """Load Weinreb et al. 2020, in vitro: a matrix [cells, genes] scaled to one total, metadata, and a clone matrix.

    The smallest value of a cell is one molecule: counts are the values divided by it, rounded. A cell in more than one
    clone is treated like a cell in none. The signal "clone_later" has the time point of each cell as well as its clone.
    """
    meta = files["stateFate_inVitro_metadata.txt.gz"]
    names = files["stateFate_inVitro_gene_names.txt.gz"]
    text = {"Library": str, "Cell barcode": str}
    obs = read_table(meta, [*text, "Time point"], sep="\t", dtype=text)
    genes = read_table(names, sep="\t", header=None, dtype=str)[0]
    values = read_mtx(files["stateFate_inVitro_normed_counts.mtx.gz"], (len(obs), len(genes)))
    clones = read_mtx(files["stateFate_inVitro_clone_matrix.mtx.gz"], (len(obs), None))
    # A barcode is unique within its library only.
    obs.index = make_index_unique(pd.Index(obs["Library"] + "_" + obs["Cell barcode"]))
    times = obs["Time point"].to_numpy(dtype=np.float64) if signal == "clone_later" else None
    relatives = Signal(signal, "pair", single_clone(clones), times=times)
    return assemble(card, unscale_rows(values), obs, unique_genes(genes), relatives, tolerance=0.1)
