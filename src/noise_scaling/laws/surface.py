"""Bits over a whole grid: the noise budget plus its residuals, smoothed from grid cell to grid cell by kriging."""

from dataclasses import dataclass

import numpy as np

from .budget import BudgetFit, fit_budgets, fit_noise_budget
from .formulas import noise_budget
from .grids import Grid


@dataclass(frozen=True)
class Smoothness:
    """Covariance of a law's residuals: Matern (3/2) in the logarithms of cells and depth.

    `share` is their variance over that of the noise of one grid cell; the lengths `cells` and `depth` are natural
    logarithms (2.3 is a factor of ten); `row` is the variance, over the same noise, of a part common to a depth.
    """

    share: float
    cells: float
    depth: float
    row: float = 0.0


SMOOTH = Smoothness(10, 4, 2)
SETTINGS = (Smoothness(3, 4, 1), SMOOTH, Smoothness(10, 8, 2, 2), Smoothness(30, 8, 3))
"""Settings that cross-validation chooses from: stiff to flexible, without and with a part common to each depth."""


def _matern(distance: np.ndarray, length: float) -> np.ndarray:
    scaled = np.sqrt(3) * np.abs(distance) / length
    return (1 + scaled) * np.exp(-scaled)


def _covariance(n: np.ndarray, u: np.ndarray, smooth: Smoothness) -> np.ndarray:
    along_n, along_u = (np.log(x)[:, None] - np.log(x) for x in (n, u))
    common = smooth.share * _matern(along_n, smooth.cells) * _matern(along_u, smooth.depth)
    return common + smooth.row * (along_u == 0) * _matern(along_n, 3 * smooth.cells)


def smooth_residuals(grid: Grid, law: np.ndarray, smooth: Smoothness = SMOOTH) -> np.ndarray:
    """Return the correction to add to the law's bits at every grid cell, measured or not: [depths, cell numbers].

    The method is simple kriging, the mean of a Gaussian process (Rasmussen & Williams 2006, Eq. 2.23).
    """
    cells, depths = (x.ravel() for x in grid.mesh)
    covariance, here = _covariance(cells, depths, smooth), grid.measured.ravel()
    left = (grid.bits - law).ravel()[here]
    weights = np.linalg.solve(covariance[np.ix_(here, here)] + np.eye(here.sum()), left)
    return (covariance[:, here] @ weights).reshape(grid.bits.shape)


def fit_grid(grid: Grid) -> BudgetFit:
    """Fit the noise budget to a grid, weighted by seed noise; grid cells of one depth are one group of the bootstrap.

    The law is `noise_budget`, which this book introduces; the bootstrap is that of Wu 1986 (`resample`).
    """
    here = grid.measured
    n, u = (x[here] for x in grid.mesh)
    return fit_noise_budget(n, u, grid.bits[here], grid.weights()[here])


def law_surfaces(grid: Grid, hidden: np.ndarray, *, stretched: bool = False, deep: float = 0.0) -> np.ndarray:
    """Return bits at every grid cell by noise budgets fitted without each mask's cells: [masks, depths, cell numbers].

    The fits are those of `fit_grid` on the grid without each mask, many at once. `deep` also weights each depth by
    (u / deepest)^deep, for extrapolation beyond the deepest; `stretched` is as in `fit_budgets`.
    """
    here = grid.measured
    n, u = (x[here] for x in grid.mesh)
    weights = np.stack([grid.without(mask).weights()[here] * (u / u[~mask[here]].max()) ** deep for mask in hidden])
    found = fit_budgets(n, u, grid.bits[here], weights, stretched=stretched)
    return noise_budget(*grid.mesh, *found.T[:, :, None, None])


def surface(grid: Grid) -> np.ndarray:
    """Return bits at every grid cell, measured or not: law plus smoothed residuals, [depths, cell numbers]."""
    law = fit_grid(grid).predict(*grid.mesh)
    return law + smooth_residuals(grid, law)
