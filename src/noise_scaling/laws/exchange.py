"""Exchange rates between depth and cells, by the law and read off the grid, and curves of equal information."""

import numpy as np
import pandas as pd
from scipy.optimize import isotonic_regression

from .budget import BudgetFit
from .formulas import Values
from .grids import Grid
from .surface import fit_grid, surface

_AT_RISK = 0.05
FACTOR = 2.0
"""Two exchange rates agree if they are within this factor of each other."""


def cells_needed(bits: Values, u: Values, parameters: np.ndarray) -> np.ndarray:
    """Return the training cells at which the noise budget gives `bits` at depth `u`; infinite if none do, 0 for 0 bits.

    This is `noise_budget`, which this book introduces, solved for `n`, with one channel:
    n = ((v2 + v3 u^-a) / (1 / (2^(2 bits) - 1) - v0 - v1 u^-a))^(1/s).

    Parameters
    ----------
    bits, u
        Bits, >= 0, and UMIs per cell, of shapes that broadcast.
    parameters
        (v0, v1, v2, v3, s, a), each of a shape that broadcasts with them: [6, ...].
    """
    v0, v1, v2, v3, s, a = parameters
    shallow = np.asarray(u, float) ** -a
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        left = 1 / (2.0 ** (2 * np.asarray(bits, float)) - 1) - v0 - v1 * shallow
        return np.where(left > 0, ((v2 + v3 * shallow) / np.where(left > 0, left, 1)) ** (1 / s), np.inf)


def exchange_rate(
    fit: BudgetFit, n: Values, u: Values, *, deeper: Values = 2.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the factor in cells that, at depth `u`, gains as much as `deeper` times the depth: value, low, high.

    This book introduces it, for the paper leaves open how cells and depth trade: `cells_needed` at depth `u` for the
    bits of `noise_budget` at (n, deeper u), over n. Test cells have the depth of the training cells, as in the
    measurements. Infinite if no number of cells suffices.

    Parameters
    ----------
    fit
        The law; the interval holds 95 % of its bootstrap draws, and is NaN without them.
    n, u
        Training cells and UMIs per cell to start from, of shapes that broadcast; results have the broadcast shape.
    deeper
        The factor in depth.
    """
    n, u = np.broadcast_arrays(np.asarray(n, float), np.asarray(u, float))
    value = cells_needed(fit.predict(n, deeper * u), u, np.array(list(fit.parameters.values()))) / n
    if fit.draws is None:
        return value, np.full_like(value, np.nan), np.full_like(value, np.nan)
    draws = fit.draws.T.reshape(6, -1, *[1] * n.ndim)
    rates = np.sort(cells_needed(fit.predict_draws(n, deeper * u), u, draws) / n, axis=0)
    low, high = (rates[round(q * (len(rates) - 1))] for q in (0.025, 0.975))  # not interpolated: some are infinite
    return value, low, high


def rising(bits: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Make bits [depths, cell numbers] rise with cells: isotonic regression, weights `seeds` (Barlow et al. 1972)."""
    weights = np.maximum(seeds, 1.0)
    return np.array([isotonic_regression(row, weights=w).x for row, w in zip(bits, weights, strict=True)])


def _cells_at(n: np.ndarray, curve: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the cells, log-interpolated, where a rising curve reaches the targets; a plateau's middle, NaN outside."""
    levels, which = np.unique(curve, return_inverse=True)
    middles = np.bincount(which, np.log(n)) / np.bincount(which)
    return np.exp(np.interp(targets, levels, middles, left=np.nan, right=np.nan))


def grid_rates(grid: Grid, bits: np.ndarray | None = None) -> np.ndarray:
    """Return exchange rates of one step of the grid in depth, without a law: [depths - 1, cell numbers].

    This book introduces it. The rate at depth j is the factor in cells that gives the bits of depth j + 1, after bits
    are made to rise with cells by isotonic regression (Barlow et al. 1972), log-interpolated between cell numbers. NaN
    if the answer lies outside the measured cell numbers, or a grid cell of either depth was not measured.

    Parameters
    ----------
    grid
        The grid.
    bits
        Bits to use in place of the grid's own, [depths, cell numbers].
    """
    bits = grid.bits if bits is None else bits
    out = np.full((len(grid.u) - 1, len(grid.n)), np.nan)
    whole = np.isfinite(bits).all(axis=1)
    curves = np.full_like(bits, np.nan)
    curves[whole] = rising(bits[whole], grid.seeds[whole])
    for j in np.flatnonzero(whole[:-1] & whole[1:]):
        out[j] = _cells_at(grid.n, curves[j], curves[j + 1]) / grid.n
    return out


def starts(grid: Grid) -> pd.DataFrame:
    """Return, for every starting point of the grid, the factor in cells that twice the depth is worth or a lower bound.

    Columns: grid, model, n, u, rate, known, most. `most` is the rate if the answer were the grid's most cells. Where
    even these do not suffice, `rate` is `most` and `known` is false: the true rate is higher. Steps in depth are
    converted to a doubling by rate^(ln 2 / ln step). An answer below the fewest cells is set to the fewest cells.
    """
    whole = np.isfinite(grid.bits).all(axis=1)
    steps = np.flatnonzero(whole[:-1] & whole[1:])
    rates, curves = grid_rates(grid)[steps], rising(grid.bits[whole], grid.seeds[whole])
    by_depth = dict(zip(np.flatnonzero(whole), curves, strict=True))
    highest = np.array([by_depth[j].max() for j in steps])
    more = np.array([by_depth[j + 1] for j in steps]).reshape(rates.shape) > highest[:, None]
    ends = np.where(more, grid.n[-1], grid.n[0]) / grid.n
    power = np.log(2) / np.log(grid.u[steps + 1] / grid.u[steps])[:, None]
    n, u = np.meshgrid(grid.n, grid.u[steps])
    columns = {"n": n, "u": u, "rate": np.where(np.isfinite(rates), rates, ends) ** power, "known": ~more}
    columns |= {"most": (grid.n[-1] / grid.n) ** power}
    table = pd.DataFrame({k: np.broadcast_to(v, n.shape).ravel() for k, v in columns.items()})
    return table.assign(grid=[grid.key] * n.size, model=grid.model)


def median_rate(rates: np.ndarray, known: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Return the median of rates, some of them lower bounds only: value, low, high (95 %); infinite if not reached.

    This is the product-limit estimate (Kaplan & Meier 1958, doi:10.1080/01621459.1958.10501452). It assumes that starts
    with a lower bound do not differ from those still at risk there, and is not read where fewer than a twentieth of the
    starts are at risk. The interval resamples `groups` (numbers) with replacement (Efron 1981,
    doi:10.1080/01621459.1981.10477650). Whatever the true rates, their median is at least that of rates and bounds
    alike. All arguments are [starts]; a rate that is not `known` is a lower bound.
    """
    order = np.lexsort([~known, rates])  # of equal rates, known ones first
    rates, known, groups = rates[order], known[order], groups[order]
    count = int(groups.max()) + 1
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=500)
    weights = np.concatenate([np.ones((1, count)), drawn])[:, groups]
    at_risk = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]
    left = np.cumprod(1 - np.where(known, weights / np.maximum(at_risk, 1), 0), axis=1)
    reached = (left <= 0.5 + 1e-12) & (at_risk >= _AT_RISK * weights.sum(1, keepdims=True))
    medians = np.where(reached.any(1), rates[reached.argmax(1)], np.inf)
    low, high = np.quantile(medians[1:], [0.025, 0.975], method="inverted_cdf")
    return float(medians[0]), float(low), float(high)


def law_rates(grid: Grid, fit: BudgetFit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `exchange_rate` by the law at the steps of `grid_rates`: value, low, high [depths - 1, cell numbers]."""
    return exchange_rate(fit, grid.n, grid.u[:-1, None], deeper=(grid.u[1:] / grid.u[:-1])[:, None])


def agree(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return whether two rates are within FACTOR of each other; false if one is infinite or missing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(np.log(one / other)) < np.log(FACTOR)


def compare_rates(grid: Grid) -> pd.DataFrame:
    """Return a row for every start where the grid itself gives a rate, with the rates of the law and of the surface.

    Columns: grid, model, n, u, deeper, free (the grid's), law, law_low, law_high (95 %), surface (law + residuals).
    """
    free = grid_rates(grid)
    law = law_rates(grid, fit_grid(grid).bootstrap(100))
    n, u = np.meshgrid(grid.n, grid.u[:-1])
    columns = {"n": n, "u": u, "deeper": (grid.u[1:] / grid.u[:-1])[:, None] + 0 * n, "free": free}
    columns |= {"surface": grid_rates(grid, surface(grid))} | dict(
        zip(("law", "law_low", "law_high"), law, strict=True)
    )
    table = pd.DataFrame({k: v[np.isfinite(free)] for k, v in columns.items()})
    table.insert(0, "grid", [grid.key] * len(table))
    table.insert(1, "model", grid.model)
    return table


def across_seeds(one: Grid, other: Grid) -> dict[str, np.ndarray]:
    """Return rates from one seed's grid next to those of another seed's, to see how far noise alone limits agreement.

    Keys: free (rates of `other`), law and surface (fitted to `one`), grid (read off `one`), where `other` gives a rate.
    """
    theirs = grid_rates(other)
    here = np.isfinite(theirs)
    law, smooth = law_rates(one, fit_grid(one))[0], grid_rates(one, surface(one))
    return {"free": theirs[here], "grid": grid_rates(one)[here], "law": law[here], "surface": smooth[here]}
