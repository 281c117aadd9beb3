"""Embryonic cells of C. elegans (Packer et al. 2019)."""

import numpy as np
import pandas as pd

from ...signals import in_time
from ..reading import cells_by_genes, read_r
from . import Card, Dataset, Files, Signal, assemble, register


@register("worm_embryo")
def worm_embryo(card: Card, files: Files, signal: str) -> Dataset:
    """Load 1,805 embryonic cells of C. elegans. Cells of the "mixed" libraries have no time point.

    Counts are whole in the file. A signal other than "time.point" is a column of numbers.
    """
    values, cells, genes = cells_by_genes(read_r(files["worm_embryo_expression_matrix.rds"]))
    columns = read_r(files["worm_embryo_coldata.rds"]).listData
    obs = pd.DataFrame({k: np.asarray(v) for k, v in columns.items()}).set_index("cell").loc[cells]
    if signal == "time.point":
        label = obs[signal].astype(str).replace("mixed", "")
        times = label.to_numpy(dtype=str)
        found = Signal(signal, "label", times, levels=in_time(times))
    else:
        found = Signal(signal, "vector", obs[[signal]].to_numpy(dtype=np.float64))
    return assemble(card, values, obs, genes, found, tolerance=0)
