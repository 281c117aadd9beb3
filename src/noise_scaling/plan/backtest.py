"""Back-tests of plans: laws fitted to the cheap designs of a measured grid choose among its expensive designs.

The best expensive design is known, because these were measured; the regret of a choice is its shortfall in bits.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import pandas as pd

from ..errors import InputError
from ..laws import fit_noise_budget
from ..laws.curves import CURVE
from ..laws.grids import Grid, grids
from ..laws.surface import fit_grid
from ..measurements import protocol_rows
from .designs import Law, Range
from .library import imaged, library

PRICES = (0.001, 0.01, 0.1, 1.0)
"""Price of a cell divided by that of sequencing it to the grid's full depth: from split-pool barcoding to droplets."""
BUDGETS = (0.5, 0.7, 0.85, 0.95)
"""Budgets as quantiles of the costs of the grid's designs."""
PILOT = 0.25
"""Share of the budget that a design of the pilot may cost."""
SATURATION = 0.5
"""Sequencing saturation at the grid's full depth."""
RULES = ("law", "deepest", "most_cells")
_LEAST_POINTS, _DRAWS, _RESAMPLES = 8, 100, 2000


def choices(table: pd.DataFrame, *, prices: Sequence[float] = PRICES, saturation: float = SATURATION) -> pd.DataFrame:
    """Return the choices that a pilot leads to on every sequenced grid of a table, at every price and budget.

    The noise budget is fitted to the designs that cost at most PILOT of the budget. It then chooses among the designs
    that cost from half the budget to all of it, which it has not seen. With a saturation of 0, every read is a new
    molecule. One row per choice: the regret in bits of the law, of the deepest design and of the one with most cells;
    the bits promised by the law with the planner's 95 % interval, and the measured bits.
    """
    found = (grid for grid in grids(table) if not imaged(grid.dataset))
    return pd.DataFrame([row for grid in found for row in _of_grid(grid, prices, saturation)])


def _of_grid(grid: Grid, prices: Sequence[float], saturation: float) -> Iterator[dict[str, object]]:
    n, u = grid.mesh
    source = library(saturation, umis=grid.u.max())
    reads = source.reads(u) / source.reads(grid.u.max())
    for price in prices:
        cost = n * (price + reads)
        for budget in np.quantile(cost[grid.measured], BUDGETS):
            pilot = grid.measured & (cost <= PILOT * budget)
            dear = grid.measured & (cost > budget / 2) & (cost <= budget)
            law = _pilot_law(n[pilot], u[pilot], grid.bits[pilot]) if dear.sum() >= 3 else None
            if law is not None:
                head = {"grid": "/".join(grid.key), "price": price, "budget": budget}
                yield head | _choice(law, n[dear], u[dear], grid.bits[dear])


def _pilot_law(n: np.ndarray, u: np.ndarray, bits: np.ndarray) -> Law | None:
    """Return the pilot's law, or None if it has too few designs, depths or cell numbers to plan from."""
    with suppress(InputError):
        if len(bits) >= _LEAST_POINTS:
            fit = fit_noise_budget(n, u, bits).averaged(_DRAWS)
            return Law("", fit, Range((n.min(), n.max()), (u.min(), u.max())))
    return None


def _choice(law: Law, n: np.ndarray, u: np.ndarray, bits: np.ndarray) -> dict[str, float]:
    promised = law.fit.predict(n, u)
    pick = int(promised.argmax())
    low, high = law.interval(n[pick], u[pick])
    designs = dict(zip(RULES, (pick, np.lexsort((n, u))[-1], np.lexsort((u, n))[-1]), strict=True))
    regret = {f"regret_{name}": float(bits.max() - bits[i]) for name, i in designs.items()}
    return regret | {"promised": promised[pick], "low": low, "high": high, "measured": bits[pick]}


def summary(made: pd.DataFrame) -> pd.DataFrame:
    """Return mean regrets, the error of the promised bits and the coverage of their interval, by price and for all.

    The row "all" is last. `over_deepest` and `over_most_cells` are the bits that the law gains over these rules, with
    95 % intervals by a bootstrap of whole grids; an interval that contains 0 shows no difference.
    """
    off, held = made["promised"] - made["measured"], made["measured"].between(made["low"], made["high"])
    gains = {f"over_{rule}": made[f"regret_{rule}"] - made["regret_law"] for rule in RULES[1:]}
    rows = made.assign(off=off, held=held, **gains)
    by_price = {price: _scores(some) for price, some in [*rows.groupby("price"), ("all", rows)]}
    return pd.DataFrame(by_price).T.infer_objects()


def _scores(rows: pd.DataFrame) -> dict[str, float]:
    grids = rows["grid"].nunique()
    out: dict[str, float] = {"choices": len(rows), "grids": grids}
    out |= {f"regret_{rule}": rows[f"regret_{rule}"].mean() for rule in RULES}
    out |= {"off_mean": rows["off"].mean(), "off_rms": (rows["off"] ** 2).mean() ** 0.5, "held": rows["held"].mean()}
    drawn = np.random.default_rng(0).multinomial(grids, [1 / grids] * grids, _RESAMPLES)
    for rule in RULES[1:]:
        sums = rows.groupby("grid")[f"over_{rule}"].agg(["sum", "size"]).to_numpy(float)
        means = drawn @ sums
        out[f"over_{rule}"] = rows[f"over_{rule}"].mean()
        out[f"over_{rule}_low"], out[f"over_{rule}_high"] = np.quantile(means[:, 0] / means[:, 1], [0.025, 0.975])
    return out


def left_out_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Test whether intervals contain measurements on another split: each grid's last seed, with the law of its others.

    One row per measurement of these seeds: columns grid, held (the interval contains it), and without_split (it would
    without the split's own variance).
    """
    out = []
    for key, rows in protocol_rows(table, "umis_per_cell").groupby(CURVE):
        last = rows["seed"] == rows["seed"].max()
        for grid in grids(rows[~last]):
            anywhere = Range((0, np.inf), (0, np.inf))
            law = Law("", fit_grid(grid).averaged(_DRAWS), anywhere, rows[~last]["seed"].nunique())
            for n, u, bits in rows.loc[last, ["n_cells", "umis_per_cell", "mi_bits"]].to_numpy(float):
                ends = law.interval(n, u), law.fit.interval(n, u, measured=True)
                held, without = (bool(low <= bits <= high) for low, high in ends)
                out.append({"grid": "/".join(key), "held": held, "without_split": without})
    return pd.DataFrame(out, columns=["grid", "held", "without_split"])
