"""Bits over a whole grid: the noise budget, and what it misses, spread smoothly from cell to cell (kriging)."""

from dataclasses import dataclass

import numpy as np

from .budget import BudgetFit, fit_budgets, fit_noise_budget
from .formulas import noise_budget
from .grids import Grid


@dataclass(frozen=True)
class Smoothness:
    """How residuals of a law hang together, by Matern's covariance (3/2) in the logarithms of cells and depth.

    `share` is their variance over that of the noise in one cell of the grid; the lengths are natural logarithms (2.3
    is a factor of ten); `row` is the variance, over the same noise, of what all cells of one depth share.
    """

    share: float
    cells: float
    depth: float
    row: float = 0.0


SMOOTH = Smoothness(10, 4, 2)
SETTINGS = (Smoothness(3, 4, 1), SMOOTH, Smoothness(10, 8, 2, 2), Smoothness(30, 8, 3))
"""What cross-validation may choose from: stiff to supple, without and with a part common to a depth."""


def _matern(distance: np.ndarray, length: float) -> np.ndarray:
    scaled = np.sqrt(3) * np.abs(distance) / length
    return (1 + scaled) * np.exp(-scaled)


def _covariance(n: np.ndarray, u: np.ndarray, smooth: Smoothness) -> np.ndarray:
    along_n, along_u = (np.log(x)[:, None] - np.log(x) for x in (n, u))
    common = smooth.share * _matern(along_n, smooth.cells) * _matern(along_u, smooth.depth)
    return common + smooth.row * (along_u == 0) * _matern(along_n, 3 * smooth.cells)


def smooth_residuals(grid: Grid, law: np.ndarray, smooth: Smoothness = SMOOTH) -> np.ndarray:
    """What to add to the law's bits at every cell of the grid, the unmeasured ones too: [depths, cell numbers].

    Simple kriging, the mean of a Gaussian process (Rasmussen & Williams 2006, Eq. 2.23).
    """
    cells, depths = (x.ravel() for x in grid.mesh)
    covariance, here = _covariance(cells, depths, smooth), grid.measured.ravel()
    left = (grid.bits - law).ravel()[here]
    weights = np.linalg.solve(covariance[np.ix_(here, here)] + np.eye(here.sum()), left)
    return (covariance[:, here] @ weights).reshape(grid.bits.shape)


def fit_grid(grid: Grid, *, deep: float = 0.0) -> BudgetFit:
    """The noise budget of a grid, weighted by seed noise; rows of one depth are one group of the bootstrap.

    Parameters
    ----------
    grid
        The grid.
    deep
        Weights a depth by (u / deepest)^deep besides, for reading beyond the deepest.
    """
    here = grid.measured
    n, u = (x[here] for x in grid.mesh)
    weights = grid.weights()[here] * (u / u.max()) ** deep
    return fit_noise_budget(n, u, grid.bits[here], weights, groups=u)


def law_surfaces(grid: Grid, hidden: np.ndarray, *, stretched: bool = False, deep: float = 0.0) -> np.ndarray:
    """Bits at every cell by the noise budget fitted without the cells of each mask: [masks, depths, cell numbers].

    As `fit_grid` of the grid without them, many at once.
    """
    here = grid.measured
    n, u = (x[here] for x in grid.mesh)
    weights = np.stack([grid.without(mask).weights()[here] * (u / u[~mask[here]].max()) ** deep for mask in hidden])
    found = fit_budgets(n, u, grid.bits[here], weights, stretched=stretched)
    return noise_budget(*grid.mesh, *found.T[:, :, None, None])


def surface(grid: Grid) -> np.ndarray:
    """Bits at every cell of the grid, the unmeasured ones too: law and smooth residuals, [depths, cell numbers]."""
    law = fit_grid(grid).predict(*grid.mesh)
    return law + smooth_residuals(grid, law)
