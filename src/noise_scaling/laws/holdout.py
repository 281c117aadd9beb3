"""How well laws predict hidden cells of a grid: whole depths, whole cell numbers, and extrapolation along both axes."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from .grids import Grid
from .law import NOISE_LAW, fit_many, predict
from .surface import SETTINGS, law_surfaces, smooth_residuals

DEPTHS, CELLS, MOST_CELLS, DEEPEST = "each depth", "each cell number", "most cells", "deepest"
DESIGNS = (DEPTHS, CELLS, MOST_CELLS, DEEPEST)
"""What is hidden: each depth in turn, each cell number in turn, the three largest cell numbers, the three deepest."""

LAW, STRETCHED, CHOSEN = "noise budget", "noise budget, depth to a power", "noise budget and residuals"
CARRY, LINE, LOW_RANK, SEPARATE = "carry forward", "log-linear", "low rank", "Eq. 1 at each cell number"
YARDSTICKS = (CARRY, LINE, LOW_RANK)
MIXED_WITH = {DEPTHS: None, CELLS: None, MOST_CELLS: CARRY, DEEPEST: LINE}
"""The yardstick that the candidates are mixed with where a design needs extrapolation; None elsewhere."""
_SHARES = (0.25, 0.5, 0.75, 1.0)
_DEEP = (0.0, 1.0, 2.0)
_LEAST_LEFT = 4  # depths, and cell numbers, that a forecast needs to see


def hidden(grid: Grid, design: str) -> Iterator[np.ndarray]:
    """Yield masks [depths, cell numbers] of the grid cells that a design hides; none if too few would be left to fit.

    The block hidden at the end of an axis is 30 % of it: three of ten.
    """
    rows, columns = grid.bits.shape
    axis, count = (0, rows) if design in (DEPTHS, DEEPEST) else (1, columns)
    block = round(0.3 * count) if design in (MOST_CELLS, DEEPEST) else 1
    left = [rows, columns]
    left[axis] -= block
    if min(left) < _LEAST_LEFT:
        return
    for first in range(count) if design in (DEPTHS, CELLS) else [count - block]:
        mask = np.zeros(grid.bits.shape, bool)
        mask[(slice(None),) * axis + (slice(first, first + block),)] = True
        yield mask


def carry_forward(grid: Grid, axis: int) -> np.ndarray:
    """Return at each grid cell the last value seen before it along the axis (the first one after it, at the start)."""
    return pd.DataFrame(grid.bits).ffill(axis=axis).bfill(axis=axis).to_numpy()


def log_linear(grid: Grid, axis: int) -> np.ndarray:
    """Return a straight line in the logarithm of the axis, fitted to all seen values of each row or column."""
    lines = grid.bits if axis == 1 else grid.bits.T
    x = np.log(grid.n if axis == 1 else grid.u)
    out = np.full_like(lines, np.nan)
    for i, line in enumerate(lines):
        seen = np.isfinite(line)
        if seen.sum() > 1:
            out[i] = np.polyval(np.polyfit(x[seen], line[seen], 1), x)
    return out if axis == 1 else out.T


def low_rank(grid: Grid) -> np.ndarray:
    """Return a factor of depth times a factor of cell number; hidden factors are interpolated or extrapolated."""
    seen = [np.asarray(grid.measured.any(axis=axis)) for axis in (1, 0)]
    block = grid.bits[np.ix_(*seen)]
    block = np.where(np.isfinite(block), block, np.nanmean(block, axis=0))
    left, size, right = np.linalg.svd(block, full_matrices=False)
    factors = left[:, 0] * size[0], right[0]
    depths, cells = (_along(np.log(x), s, f) for x, s, f in zip((grid.u, grid.n), seen, factors, strict=True))
    return depths[:, None] * cells


def _along(x: np.ndarray, seen: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate linearly; extrapolate on the line through the two nearest values."""
    out = np.interp(x, x[seen], values)
    for side, ends in ((x < x[seen][0], slice(0, 2)), (x > x[seen][-1], slice(-2, None))):
        out[side] = np.polyval(np.polyfit(x[seen][ends], values[ends], 1), x[side])
    return out


def eq1_at_each_cell_number(grid: Grid) -> np.ndarray:
    """Return the bits of Eq. 1 fitted to each column with at least 3 depths; NaN in the other columns."""
    enough = grid.measured.sum(axis=0) > 2
    out = np.full_like(grid.bits, np.nan)
    fit = fit_many(NOISE_LAW, grid.u, grid.bits.T[enough])
    out[:, enough] = predict(NOISE_LAW, fit.theta, grid.u).T
    return out


def forecasts(grid: Grid, design: str, masks: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Return, for each mask, bits [depths, cell numbers] by every forecast that sees only the unmasked cells, by name.

    The forecasts are yardsticks, laws and candidates. The name of a candidate says how it is made; `choose` picks one.
    """
    axis = 0 if design in (DEPTHS, DEEPEST) else 1
    plain = law_surfaces(grid, masks)
    laws = {LAW: plain, STRETCHED: law_surfaces(grid, masks, stretched=True)}
    deep = {f"deep {d:g}": law_surfaces(grid, masks, deep=d) for d in _DEEP} if design == DEEPEST else {}
    out = []
    for i, mask in enumerate(masks):
        seen = grid.without(mask)
        here = {CARRY: carry_forward(seen, axis), LINE: log_linear(seen, axis), LOW_RANK: low_rank(seen)}
        if axis == 0:
            here[SEPARATE] = eq1_at_each_cell_number(seen)
        candidates = {name: bits[i] for name, bits in deep.items()} or {
            f"residuals {k}": plain[i] + smooth_residuals(seen, plain[i], s) for k, s in enumerate(SETTINGS)
        }
        if (yardstick := MIXED_WITH[design]) is None:
            mixed = {f"{name}, 100%": bits for name, bits in candidates.items()}
        else:
            mixed = {
                f"{name}, {share:.0%}": share * bits + (1 - share) * here[yardstick]
                for name, bits in candidates.items()
                for share in _SHARES
            }
        out.append(here | {name: bits[i] for name, bits in laws.items()} | mixed)
    return out


def score(grids: Iterable[Grid]) -> pd.DataFrame:
    """Return the root mean square and median absolute error in bits, one row per grid, design and forecast.

    Columns: grid (its key), dataset, model, design, forecast, rms, median, n_cells (number of grid cells scored). The
    forecast CHOSEN is, for each data set, the candidate that did best on the hold-outs of the *other* data sets.
    """
    rows = [row for grid in grids for design in DESIGNS for row in _scores(grid, design)]
    table = pd.DataFrame(rows, columns=["grid", "dataset", "model", "design", "forecast", "rms", "median", "n_cells"])
    return pd.concat([table, choose(table)], ignore_index=True)


def _scores(grid: Grid, design: str) -> list[tuple]:
    errors: dict[str, list[np.ndarray]] = {}
    masks = np.array(list(hidden(grid, design)))
    for mask, foretold in zip(masks, forecasts(grid, design, masks) if len(masks) else [], strict=True):
        scored = mask & grid.measured
        for name, bits in foretold.items():
            errors.setdefault(name, []).append((bits - grid.bits)[scored])
    head = (grid.key, grid.dataset, grid.model, design)
    joined = {name: np.concatenate(parts) for name, parts in errors.items()}
    return [(*head, n, np.sqrt((e**2).mean()), np.median(np.abs(e)), len(e)) for n, e in joined.items()]


def is_candidate(forecast: pd.Series) -> pd.Series:
    """Return a mask of the forecasts that are candidates for CHOSEN: their names end in a percentage."""
    return forecast.str.endswith("%")


def choose(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of CHOSEN: by design and data set, the candidate of least mean log RMS on other data sets' grids.

    With only one data set there are no others to choose by, and the first candidate is taken.
    """
    out = []
    candidates = table[is_candidate(table["forecast"])]
    for (design, dataset), own in candidates.groupby(["design", "dataset"], sort=False):
        others = candidates[(candidates["design"] == design) & (candidates["dataset"] != dataset)]
        means = np.log(others["rms"]).groupby(others["forecast"], sort=False).mean()
        best = means.idxmin() if len(means) else own["forecast"].iloc[0]
        out.append(own[own["forecast"] == best].assign(chosen=best, forecast=CHOSEN))
    return pd.concat(out, ignore_index=True) if out else candidates.assign(chosen="")


def wins(table: pd.DataFrame, design: str, forecast: str, over: str) -> tuple[int, int]:
    """Return on how many grids a forecast's RMS is below another's, and how many there are; 0, 0 if it was not made."""
    wide = table[table["design"] == design].pivot(index="grid", columns="forecast", values="rms")
    return (int((wide[forecast] < wide[over]).sum()), len(wide)) if forecast in wide else (0, 0)
