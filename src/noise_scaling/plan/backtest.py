"""Does a plan choose well? Laws fitted to the cheap part of a measured grid choose among the dear part.

The best choice there is known, for it was measured: what a choice falls short of it is its regret, in bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ..errors import InputError
from ..laws import BudgetFit, fit_noise_budget
from ..laws.grids import Grid, grids

PRICES = (0.001, 0.01, 0.1, 1.0)
"""A cell's price over the price of reading it to the grid's full depth: from split-pool barcoding to droplets."""
BUDGETS = (0.5, 0.7, 0.85, 0.95)
"""Budgets as quantiles of what the grid's designs cost."""
PILOT = 0.25
"""A pilot may cost this share of the budget."""
_LEAST_POINTS = 8
DRAWS = 100


def choices(table: pd.DataFrame, *, prices: Sequence[float] = PRICES, seed: int = 0) -> pd.DataFrame:
    """What a pilot would have had us choose on every grid of a measurements table, at every price and budget.

    Every read counts as a new molecule. The noise budget is fitted to the designs that cost at most PILOT of the
    budget, and chooses among those that cost from half the budget to all of it.

    Parameters
    ----------
    table
        A measurements table.
    prices
        A cell's price over the price of reading it to the grid's full depth.
    seed
        Of the bootstrap.

    Returns
    -------
    One row a choice: the regret in bits of the law, of the deepest design and of the one with most cells; the bits the
    law promised with their 95 % interval for one measurement, and the bits measured.
    """
    return pd.DataFrame([row for grid in grids(table) for row in _of_grid(grid, prices, seed)])


def _of_grid(grid: Grid, prices: Sequence[float], seed: int) -> Iterator[dict[str, object]]:
    n, u = grid.mesh
    for price in prices:
        cost = n * (price + u / grid.u.max())
        for budget in np.quantile(cost[grid.measured], BUDGETS):
            pilot = grid.measured & (cost <= PILOT * budget)
            dear = grid.measured & (cost > budget / 2) & (cost <= budget)
            fit = _pilot_fit(n[pilot], u[pilot], grid.bits[pilot], seed) if dear.sum() >= 3 else None
            if fit is not None:
                head = {"grid": "/".join(grid.key), "price": price, "budget": budget}
                yield head | _choice(fit, n[dear], u[dear], grid.bits[dear])


def _pilot_fit(n: np.ndarray, u: np.ndarray, bits: np.ndarray, seed: int) -> BudgetFit | None:
    """The pilot's law, or None where nobody would plan from it: too few designs, depths or cell numbers."""
    if len(bits) < _LEAST_POINTS:
        return None
    try:
        return fit_noise_budget(n, u, bits, groups=u).bootstrap(DRAWS, seed=seed)
    except InputError:
        return None


def _choice(fit: BudgetFit, n: np.ndarray, u: np.ndarray, bits: np.ndarray) -> dict[str, float]:
    promised = fit.predict(n, u)
    pick = int(promised.argmax())
    low, high = fit.interval(n[pick], u[pick], measured=True)
    designs = {"law": pick, "deepest": np.lexsort((n, u))[-1], "most_cells": np.lexsort((u, n))[-1]}
    regret = {f"regret_{name}": float(bits.max() - bits[i]) for name, i in designs.items()}
    return regret | {"promised": promised[pick], "low": float(low), "high": float(high), "measured": bits[pick]}


def summary(made: pd.DataFrame) -> pd.DataFrame:
    """By price and for all: choices, mean regrets, how far the promise is off, how often its interval holds.

    Indexed by price, "all" last.
    """
    off, held = made["promised"] - made["measured"], made["measured"].between(made["low"], made["high"])
    rows = made.assign(off=off, held=held)
    aggregates = {
        "choices": ("grid", "size"), "grids": ("grid", "nunique"), "regret_law": ("regret_law", "mean"),
        "regret_deepest": ("regret_deepest", "mean"), "regret_most_cells": ("regret_most_cells", "mean"),
        "off_mean": ("off", "mean"), "off_sd": ("off", "std"), "held": ("held", "mean"),
    }  # fmt: skip
    prices = rows.groupby("price").agg(**aggregates)
    return pd.concat([prices, rows.assign(price="all").groupby("price").agg(**aggregates)])
