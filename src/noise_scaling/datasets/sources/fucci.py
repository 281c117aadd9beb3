"""Stem cells with two fluorescent markers of the cell cycle (Hsiao et al. 2020)."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..reading import need_columns, of_form, read_r
from . import Card, Dataset, Files, Signal, assemble, register

_MARKS = ["rfp.median.log10sum.adjust", "gfp.median.log10sum.adjust"]


@register("fucci")
def fucci(card: Card, files: Files, signal: str) -> Dataset:
    """Load 888 cells of six donors, 100 genes, integers. The signal is both markers, or their angle as (cos, sin).

    Donors are blocks of the split: no donor has both test cells and other cells.
    """
    path = files["eset_final_sub.rda"]
    with of_form(path):
        source = read_r(path)["eset_final_sub"]
        table, obs = source.assayData.maps[0]["exprs"].to_pandas(), source.phenoData.data
        obs = obs.loc[table.columns]
    need_columns(obs, [*_MARKS, "theta", "chip_id"], path)
    counts = sp.csr_matrix(table.T.to_numpy())
    marks = obs[_MARKS].to_numpy(dtype=np.float64)
    theta = obs["theta"].to_numpy(dtype=np.float64)
    values = np.c_[np.cos(theta), np.sin(theta)] if signal == "angle" else marks
    donors = pd.factorize(obs["chip_id"].astype(str), sort=True)[0]
    found = Signal(signal, "vector", values)
    genes = table.index.to_numpy(dtype=str)
    return assemble(card, counts, obs, genes, found, tolerance=0, blocks=donors)
