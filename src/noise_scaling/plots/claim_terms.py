"""Statistics behind the claims: functions of a measurements table whose terms sum to a share, a mean or an R².

Throughout, `table` is a measurements table of one estimator; `model`, `one`, `other` and `control` are names of models.
`where` (`largest`, `figure_1`, `deepest`, `shallowest`) selects the points that count, by default all of them;
`decided` is the number of standard errors beyond which a gap counts as a win or a loss.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from .. import datasets, laws
from ..laws import compare
from ..laws.grids import grids
from ..measurements import protocol_rows
from .figures import largest, without_controls

Rows = Callable[[pd.DataFrame], pd.DataFrame]
"""Function from a measurements table to the terms of a statistic: columns signal, block, num and den."""

DECIDED = 2.0
"""Standard errors by which two means must differ to count as a win or a loss; smaller gaps are ties."""
FLAT = 0.25
"""Bits by which a curve must rise from its shallowest to its deepest counts for its shape to be tested."""
FITS_WELL = 0.9
SIMILAR = 0.2
"""Bits by which two models may differ and still count as similar; a gain of this size is no longer a small one."""
FAR, SMALL = 0.1, 10.0
"""Bits off the asymptote that count as leaving it, and the multiple of 2^(-2 I_max) below which u / u_bar is small."""
_GRID = ["dataset", "signal", "n_cells", "fraction"]


def grid(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean bits over seeds and the variances of these means: one row per point of the grid, one column per model.

    The variance between seeds is pooled over all points of a signal and model; if none of these has two seeds, over the
    model, or else over the whole table. It is 0 if no point of the table has two seeds.
    """
    by = table.groupby([*_GRID, "model"])["mi_bits"].agg(["mean", "var", "count"]).reset_index()
    squares, freedom = by["var"].fillna(0) * (by["count"] - 1), by["count"] - 1
    pooled = pd.Series(np.nan, by.index)
    for keys in (["dataset", "signal", "model"], ["model"], []):
        groups = [by[key] for key in keys] or [pd.Series(0, by.index)]
        total = freedom.groupby(groups).transform("sum")
        pooled = pooled.fillna(squares.groupby(groups).transform("sum") / total.where(total > 0))
    by["var"] = pooled.fillna(0.0) / by["count"]
    bits, variance = (by.pivot(index=_GRID, columns="model", values=c) for c in ("mean", "var"))
    return bits, variance


def terms(found: pd.DataFrame | list[dict[str, object]]) -> pd.DataFrame:
    """Add the missing columns of signal, block, num and den: by default rows are of one signal and weigh 1 (`den`)."""
    rows = pd.DataFrame(found)
    defaults = {"signal": "all", "block": "", "num": 0.0, "den": 1.0}
    return rows.assign(**{name: value for name, value in defaults.items() if name not in rows})


def differences(values: pd.Series) -> pd.DataFrame:
    """Terms of `values` by (dataset, signal, ..., fraction), in blocks by depth, or by cells if there is one depth."""
    at = values.dropna().astype(float).rename("num").reset_index()
    if at.empty:
        return terms([])
    one_depth = at.groupby("dataset")["fraction"].nunique().max() == 1
    return _named(at, at["n_cells" if one_depth and "n_cells" in at else "fraction"], at["num"])


def _decided(gap: pd.Series, variance: pd.Series, decided: float = DECIDED) -> pd.DataFrame:
    """Terms of a gap's sign: 1 (above 0) or 0 where it exceeds `decided` standard errors; ties otherwise."""
    rows = differences(gap)
    error = np.sqrt(variance[gap.notna()].to_numpy(float))
    told = (np.abs(rows["num"]) > decided * error).astype(float)
    return rows.assign(num=(rows["num"] > 0) * told, den=told)


def _above(bits: pd.DataFrame, variance: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """Terms of whether column `one` is above column `other`, at each point that has both."""
    if not {one, other} <= set(bits):
        return terms([])
    return _decided(bits[one] - bits[other], variance[one] + variance[other])


def best(table: pd.DataFrame, model: str, *, where: Rows | None = None, decided: float = DECIDED) -> pd.DataFrame:
    """Terms of whether `model` is above the best other model (no controls), where it and two others were measured."""
    table = without_controls(table)
    bits, variance = grid(where(table) if where else table)
    if model not in bits:
        return terms([])
    here = bits[model].notna() & (bits.notna().sum(axis=1) >= 3)
    bits, variance = bits[here], variance[here]
    if bits.empty:
        return terms([])
    others = bits.drop(columns=model)
    first = np.nanargmax(others.to_numpy(), axis=1)[:, None]
    theirs = np.take_along_axis(variance[others.columns].to_numpy(), first, axis=1)
    return _decided(bits[model] - others.max(axis=1), variance[model] + theirs[:, 0], decided)


def of_development(table: pd.DataFrame) -> pd.Series:
    """Return for each row whether the card of its data set says that the signal is time in development."""
    return table["dataset"].isin([name for name in datasets.names() if datasets.card(name).development])


def above(table: pd.DataFrame, one: str, other: str, *, development: bool, where: Rows | None = None) -> pd.DataFrame:
    """Terms of whether `one` is above `other` at the chosen points, on data sets of development or on all others."""
    table = table[of_development(table) == development]
    return _above(*grid(where(table) if where else table), one, other)


def similar(table: pd.DataFrame, one: str, other: str, *, control: str) -> pd.DataFrame:
    """Terms of whether two models lie within `SIMILAR` bits of each other.

    A point is a tie if the control also is within `SIMILAR` bits of `one` (models cannot be told apart), if the gap
    is within `DECIDED` standard errors of `SIMILAR`, or if these errors reach `SIMILAR`: no gap could be shown inside.
    """
    bits, variance = grid(table)
    if not {one, other, control} <= set(bits):
        return terms([])
    gap = (bits[one] - bits[other])[bits[control].notna()].dropna()
    rows = differences(gap)
    error = DECIDED * np.sqrt((variance[one] + variance[other])[gap.index].to_numpy(float))
    asked = (bits[one] - bits[control]).abs()[gap.index].to_numpy(float) > SIMILAR
    told = asked & (np.abs(np.abs(rows["num"]) - SIMILAR) > error) & (error < SIMILAR)
    return rows.assign(num=(np.abs(rows["num"]) < SIMILAR) * told * 1.0, den=told * 1.0)


def figure_1(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the points that the paper's Figure 1 shows: full depth, and the largest cell number of each data set."""
    by = table.groupby("dataset")
    full = table["fraction"] == by["fraction"].transform("max")
    return table[full | (table["n_cells"] == by["n_cells"].transform("max"))]


def deepest(table: pd.DataFrame) -> pd.DataFrame:
    """Rows at the full depth of each data set."""
    return table[table["fraction"] == table.groupby("dataset")["fraction"].transform("max")]


def shallowest(table: pd.DataFrame) -> pd.DataFrame:
    """Rows at the shallowest third of the depths of each data set."""
    depths = table.groupby("dataset")["fraction"]
    return table[depths.rank(method="dense") <= np.maximum(depths.transform("nunique") // 3, 1)]


def gains(table: pd.DataFrame, *, start: int | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bits at the largest cell number minus bits at the smallest (or the one nearest to `start`), and their variances.

    By depth and model; NaN for a model that lacks one of the two measurements. Data sets are left out whose largest
    cell number is below twice the smaller one, or below twice `start`.
    """
    found: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    bits, variance = grid(table)
    for _, here in bits.groupby(level=["dataset", "signal"]):
        sizes = np.unique(here.index.get_level_values("n_cells"))
        first = sizes[0] if start is None else sizes[np.abs(np.log(sizes / start)).argmin()]
        if sizes[-1] < 2 * first or (start is not None and sizes[-1] < 2 * start):
            continue
        spread = variance.loc[here.index]
        ends = [part.xs(n, level="n_cells") for part in (here, spread) for n in (sizes[-1], first)]
        found[0].append(ends[0] - ends[1])
        found[1].append(ends[2] + ends[3])
    if not found[0]:
        return pd.DataFrame(), pd.DataFrame()
    return pd.concat(found[0]), pd.concat(found[1])


def gain(table: pd.DataFrame, model: str, *, start: int | None = None) -> pd.DataFrame:
    """Terms of one model's gain in bits, from its fewest cells or from about `start`, as in `gains`."""
    found = gains(table, start=start)[0]
    return differences(found[model]) if model in found else terms([])


def gains_more(table: pd.DataFrame, one: str, other: str) -> pd.DataFrame:
    """Terms of whether `one` gains more from cells than `other`, at each depth."""
    return _above(*gains(table), one, other)


def _rising(table: pd.DataFrame, flat: float = FLAT) -> compare.Curves:
    """Curves of at least 5 depths that rise by at least `flat` bits."""
    return _risen(compare.curves(grids(table, least=(compare.LEAST_DEPTHS, 1), all_models=True)), flat)


def _risen(found: compare.Curves, flat: float) -> compare.Curves:
    deepest = found.bits[np.arange(len(found.bits)), np.isfinite(found.bits).sum(1) - 1] if len(found.bits) else []
    rise = np.asarray(deepest) - (found.bits[:, 0] if len(found.bits) else [])
    kept = rise >= flat
    return compare.Curves(found.names[kept], found.u[kept], found.bits[kept], found.noise[kept])


def rising_fits(table: pd.DataFrame, *, flat: float = FLAT) -> pd.DataFrame:
    """How well Eq. 1 explains rising curves at the largest cell number: one row per curve that `law_fits` counts.

    Parameters
    ----------
    table
        A measurements table of one estimator.
    flat
        Bits by which a curve must rise.

    Returns
    -------
    Columns dataset, signal, model, n_cells, r_squared (of means over seeds) and residual_sd (bits).
    """
    return _explained(_rising(largest(without_controls(table)), flat), laws.NOISE_LAW)


def law_fits(table: pd.DataFrame, *, flat: float = FLAT) -> pd.DataFrame:
    """Terms by rising curve of whether Eq. 1 explains 90 % of its variance at the largest cell number."""
    return _well(rising_fits(table, flat=flat))


def cell_law_fits(table: pd.DataFrame) -> pd.DataFrame:
    """Terms by depth and model that cells train: whether Eq. 2 explains 90 % of a rise of `FLAT` bits with cells."""
    by_cells = (grid.transposed() for grid in grids(table, least=(1, compare.LEAST_DEPTHS)))
    return _well(_explained(_risen(compare.curves(by_cells), FLAT), laws.CELL_NUMBER_LAW))


def _explained(found: compare.Curves, law: laws.Law) -> pd.DataFrame:
    """Per curve, the share of the variance of its means over seeds that `law` explains, and the residual sd."""
    if found.names.empty:
        return found.names.assign(r_squared=[], residual_sd=[])
    left, spread = compare.residuals(found, law), np.square(found.bits - np.nanmean(found.bits, axis=1, keepdims=True))
    r_squared = 1 - np.nansum(left**2, axis=1) / np.nansum(spread, axis=1)
    return found.names.drop(columns="grid").assign(r_squared=r_squared, residual_sd=np.nanstd(left, axis=1))


def _well(found: pd.DataFrame) -> pd.DataFrame:
    return _named(found, found["model"], (found["r_squared"] >= FITS_WELL).to_numpy(float))


def _named(names: pd.DataFrame, block: pd.Series, num: Any, den: Any = 1.0) -> pd.DataFrame:
    """Terms with one row per curve or point; rows of one `block` are resampled together."""
    signals = names["dataset"] + ", " + names["signal"]
    return terms(pd.DataFrame({"signal": signals, "block": block.astype(str), "num": num, "den": den}))


def collapses(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Terms by curve: sum of squares that the universal curve explains at held-out depths, and the total.

    Each depth in turn is left out, u_bar and I_max are fitted to the others, and the depth is compared to the curve.
    """
    found = _rising(protocol_rows(table[table["model"] == model]))
    if found.names.empty:
        return terms([])
    away = compare.left_out(found, laws.NOISE_LAW, laws.fit_many(laws.NOISE_LAW, found.u, found.bits).theta)
    spread = np.square(found.bits - np.nanmean(found.bits, axis=1, keepdims=True))
    return _named(found.names, found.names["n_cells"], np.nansum(spread - away**2, axis=1), np.nansum(spread, axis=1))


def leaves_asymptote(table: pd.DataFrame) -> pd.DataFrame:
    """Terms by rising curve: of means over seeds `FAR` bits off the asymptote, those at small depth or saturation."""
    found = _rising(protocol_rows(without_controls(table)))
    if found.names.empty:
        return terms([])
    fit = laws.NOISE_LAW.natural(laws.fit_many(laws.NOISE_LAW, found.u, found.bits).theta)
    u_bar, i_max = (np.asarray(fit[name])[:, None] for name in ("u_bar", "i_max"))
    x = found.u / u_bar
    away = np.abs(i_max - found.bits - laws.collapse(x)) > FAR
    small = x < SMALL * 2.0 ** (-2 * i_max)
    block = found.names["model"] + " " + found.names["n_cells"].astype(str)
    out = _named(found.names, block, (away & small).sum(axis=1) * 1.0, away.sum(axis=1) * 1.0)
    return out[out["den"] > 0]
