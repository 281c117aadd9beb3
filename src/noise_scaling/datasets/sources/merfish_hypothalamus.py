"""Five sections of the mouse preoptic area by MERFISH (Moffitt et al. 2018), from two packages."""

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..reading import cells_by_genes, of_form, read_r, unscale_rows
from . import Card, Dataset, Files, Signal, assemble, register

_OFF = 0.05
"""Cells with a count further than this from an integer are left out: 3 of 29,080, which are off by 0.2 and more."""


@register("merfish_hypothalamus")
def merfish_hypothalamus(card: Card, files: Files, signal: str) -> Dataset:
    """Load 29,080 cells of two animals. Values are counts over the cell's volume, or log2(1 + counts over volume).

    The smallest value of a cell is one molecule, as in `merfish_poa`, with which no cell is shared. Coordinates of
    sections overlap, so neighbours are of the same section, and no section has both test cells and other cells.
    """
    parts = [_clust_signal(files["mousePH_subset.rda"])]
    parts.append(_banksy(files["hypothalamus_banksy.rda"], parts[0][1]))
    values = unscale_rows(sp.vstack([values for values, _, _ in parts]))
    off = abs(values - values.rint()).max(axis=1).toarray().ravel() > _OFF
    obs = pd.concat([obs for _, _, obs in parts])[~off]
    section = obs["section"].to_numpy(dtype=str)
    neighbours = Signal(signal, "pair", obs[["x", "y"]].to_numpy(dtype=np.float64), sections=section)
    blocks = np.unique(section, return_inverse=True)[1]
    return assemble(card, values[~off], obs, parts[0][1], neighbours, tolerance=_OFF, blocks=blocks)


def _clust_signal(path: Path) -> tuple[sp.csr_matrix, np.ndarray, pd.DataFrame]:
    """Read counts over volume [cells, genes], genes, and cells' places and sections: three sections of two animals."""
    with of_form(path):
        source = read_r(path)["spe2"]
        values, cells, genes = cells_by_genes(source.assays.data.listData["logcounts"])
        values.data = np.exp2(values.data) - 1
        place = np.asarray(source.int_colData.listData["spatialCoords"])
        obs = pd.DataFrame(place, index=cells, columns=["x", "y"])
        return values, genes, obs.assign(section=np.asarray(source.colData.listData["samples"]).astype(str))


def _banksy(path: Path, genes: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray, pd.DataFrame]:
    """Read the same as `_clust_signal`, for the given genes, of two sections of the first animal."""
    with of_form(path):
        source = read_r(path)["hypothalamus"]
        table = source["expression"].to_pandas().loc[genes]
        obs = source["locations"].set_axis(["x", "y", "section"], axis=1).loc[table.columns]
        return sp.csr_matrix(table.T.to_numpy()), genes, obs.assign(section="1." + obs["section"].astype(str))
