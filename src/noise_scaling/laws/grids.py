"""Measurements of one model on one signal as a grid over depth and training cells."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from ..measurements import protocol_rows
from .curves import CURVE

UNIMPROVABLE = ("random_projection", "untrained_geneformer")
"""Models that cells do not train, so the joint law does not apply; listed by name, as the registry loads torch."""


@dataclass(frozen=True)
class Grid:
    """Bits by depth (rows, rising) and number of training cells (columns, rising); NaN where nothing was measured.

    `bits` are means over seeds, `seeds` the numbers of seeds, and `seed_sd` the standard deviations between seeds (NaN
    where a grid cell has one seed). All three are [depths, cell numbers]; bits and standard deviations are in bits.
    """

    key: tuple[str, ...]  # data set, signal, model, preset and estimator
    n: np.ndarray  # training cells, [cell numbers]
    u: np.ndarray  # mean UMIs per cell, [depths]
    bits: np.ndarray
    seeds: np.ndarray
    seed_sd: np.ndarray

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.key[0]

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.key[2]

    @property
    def measured(self) -> np.ndarray:
        """Mask of the grid cells that have bits, [depths, cell numbers]."""
        return np.isfinite(self.bits)

    @property
    def mesh(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of training cells and depths of all grid cells, each [depths, cell numbers]."""
        return np.meshgrid(self.n, self.u)

    def noise(self) -> np.ndarray:
        """Return each mean's standard error, from the spread of seeds pooled over a depth (half) and the grid (half).

        NaN throughout if no grid cell has two seeds. [depths, cell numbers], in bits.
        """
        freedom = np.where(np.isfinite(self.seed_sd), self.seeds - 1, 0)
        squares = np.where(freedom > 0, freedom * np.nan_to_num(self.seed_sd) ** 2, 0.0)
        if not freedom.sum():
            return np.full_like(self.bits, np.nan)
        grid = squares.sum() / freedom.sum()
        row = (squares.sum(1) + grid) / (freedom.sum(1) + 1)
        return np.sqrt((0.5 * row + 0.5 * grid)[:, None] / np.maximum(self.seeds, 1))

    def weights(self) -> np.ndarray:
        """Return inverse variances of the means, from seed noise and misfit, [depths, cell numbers]; 0 if unmeasured.

        The misfit of 0.05 bits is the residual of Eq. 1 beyond seed noise in the median curve. Without it, the fit
        would follow grid cells whose seeds happen to agree more closely than the law can.
        """
        return np.where(self.measured, 1 / (0.05**2 + np.nan_to_num(self.noise()) ** 2), 0.0)

    def without(self, hidden: np.ndarray) -> Self:
        """Return the grid with the cells of a mask removed."""
        return replace(self, bits=np.where(hidden, np.nan, self.bits))

    def transposed(self) -> Self:
        """Return the grid with its axes exchanged, so that its columns are curves against training cells."""
        return replace(self, n=self.u, u=self.n, bits=self.bits.T, seeds=self.seeds.T, seed_sd=self.seed_sd.T)


def grids(table: pd.DataFrame, *, least: tuple[int, int] = (3, 3), all_models: bool = False) -> Iterator[Grid]:
    """Yield the grids of a measurements table with at least the `least` depths and cell numbers, sorted by key.

    Depth is the mean over seeds and cell numbers of the measured UMIs per cell at one fraction. Without `all_models`,
    random projection and untrained Geneformer are left out: cells do not train them. Controls are always left out.
    """
    table = protocol_rows(table, "umis_per_cell")
    if not all_models:
        table = table[~table["model"].isin(UNIMPROVABLE)]
    for key, rows in table.groupby(CURVE, sort=True):
        cells = rows.groupby(["fraction", "n_cells"])["mi_bits"].agg(["mean", "count", "std"]).unstack("n_cells")
        u = rows.groupby("fraction")["umis_per_cell"].mean().loc[cells.index].to_numpy(float)
        bits, seeds, sd = (cells[c].to_numpy(float) for c in ("mean", "count", "std"))
        n = cells["mean"].columns.to_numpy(float)
        if len(u) >= least[0] and len(n) >= least[1]:
            yield Grid(tuple(key), n, u, bits, np.nan_to_num(seeds), sd)
