"""Eq. 1 and the cell-number law fitted to curves, with standard errors, intervals, bands and a status for each fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from ..errors import InputError
from ..measurements import protocol_rows
from ..measurements.published import shared_splits
from . import averaged
from .formulas import AT_BOUND, BEYOND, CONVERGED, FAILED, NO_ERROR_BAR, NOT_IDENTIFIED
from .law import CELL_NUMBER_LAW, NOISE_LAW, Law, fit_many, padded, predict, vectors
from .least_squares import covariance, jacobian

# A positive parameter (u_bar, n_sat) is not identified if its interval spans more than this factor.
_IDENTIFIED_WITHIN = 1e4
# A parameter closer to a bound than this share of its range is at the bound.
_AT_BOUND = 1e-3
_UNBOUNDED = np.array(-np.inf), np.array(np.inf)
_QUALITY = ["r_squared", "residual_sd", "n_points", "status", "note"]
_COORDINATE = {NOISE_LAW.name: "depth (u)", CELL_NUMBER_LAW.name: "cell number (n)"}

_Points = tuple[np.ndarray, np.ndarray]  # coordinate and bits of one curve

CURVE = ["dataset", "signal", "model", "preset", "estimator"]
"""Columns that identify a grid and, with the cell number or the fraction, a curve."""


@dataclass(frozen=True)
class LawFit:
    """A fitted law. Each parameter is an attribute (`.u_bar`), with its `_stderr` and its `_interval` (95 %).

    `.u_bar_interval` and `.i_max_interval` of Eq. 1 are averaged over laws (`averaged.intervals`), contain the interval
    of Eq. 1 alone, and are infinite where there is no end. The method `interval` is of the fitted law alone, and valid
    only if that law holds. It uses Student's t, on the log scale for positive parameters, so that they stay positive.
    `covariance` [P, P] is of the parameters as fitted, logarithms for the positive ones; None where there is none.
    `residual_sd` is in bits. `status` and `note` describe a fit that did not go well; no fit is dropped.
    """

    law: Law
    theta: np.ndarray
    covariance: np.ndarray | None
    r_squared: float
    residual_sd: float
    n_points: int
    status: str
    note: str = ""
    averaged: dict[str, tuple[float, float]] | None = None

    @property
    def values(self) -> dict[str, float]:
        """The parameters by name, in bits, UMIs per cell or cells."""
        return {name: float(value[0]) for name, value in self.law.natural(self.theta[None]).items()}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            parameter, _, what = name.rpartition("_")
            if what in ("stderr", "interval") and parameter in self.law.parameters:
                return self._stderr(parameter) if what == "stderr" else self._interval(parameter)
            if name in self.law.parameters:
                return self.values[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _fitted_sd(self, parameter: str) -> float:
        if self.covariance is None or self.status == AT_BOUND:  # at a bound, curvature says nothing of the data
            return np.nan
        i = self.law.parameters.index(parameter)
        return float(np.sqrt(self.covariance[i, i]))

    def _stderr(self, parameter: str) -> float:
        sd = self._fitted_sd(parameter)
        return sd * self.values[parameter] if parameter in self.law.positive else sd

    def _interval(self, parameter: str) -> tuple[float, float]:
        own = self.interval(parameter)
        if self.averaged is None:
            return own
        low, high = self.averaged[parameter]
        return (min(low, own[0]), max(high, own[1])) if np.isfinite(own[0]) else (low, high)

    def interval(self, parameter: str) -> tuple[float, float]:
        """Return lower and upper end of a parameter's 95 % interval under this law, by Student's t, in its unit.

        NaN if the fit has no covariance or is at a bound. A level is cut at the law's lower bound: 0 bits for I_max.
        """
        value, freedom = self.values[parameter], max(self.n_points - self.law.n_parameters, 1)
        half = stats.t.ppf(0.975, freedom) * self._fitted_sd(parameter)
        if parameter not in self.law.positive:
            is_level = self.law.kinds[self.law.parameters.index(parameter)] == "level"
            return max(value - half, self.law.levels[0] if is_level else -np.inf), value + half
        with np.errstate(over="ignore"):
            return float(value * np.exp(-half)), float(value * np.exp(half))

    def predict(self, at: np.ndarray | float) -> np.ndarray:
        """Return the law's bits at these depths or cell numbers, any shape."""
        return self.law.formula(np.asarray(at, float), **self.values)

    def band(self, at: np.ndarray, sigmas: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
        """Return lower and upper bits, `sigmas` standard errors away from the curve; NaN without a covariance.

        Delta method: the variance of the curve is g' C g, where g is its gradient and C the parameters' covariance
        (Seber & Wild 1989, section 5.1). Figure 2 of the paper has bands of 2 sigma.

        Parameters
        ----------
        at
            Depths or cell numbers, [M].
        sigmas
            Half the width, in standard errors.
        """
        at = np.asarray(at, float)
        middle = self.predict(at)
        if self.covariance is None:
            return np.full_like(middle, np.nan), np.full_like(middle, np.nan)
        gradient = jacobian(self.law.bits, self.theta[None], (at[None],), *_UNBOUNDED)[0]
        half = sigmas * np.sqrt(np.einsum("ni,ij,nj->n", gradient, self.covariance, gradient))
        return middle - half, middle + half


def _parts(law: Law, parameter: str) -> list[str]:
    ends = ("", "_stderr", "_low", "_high") + (("_if_eq1_low", "_if_eq1_high") if law is NOISE_LAW else ())
    return [f"{parameter}{end}" for end in ends]


def columns(law: Law) -> list[str]:
    """Return the columns of a fit's row: each parameter with its standard error and interval, quality and status.

    For Eq. 1 the interval is averaged over laws; a second interval, `_if_eq1`, is valid only if Eq. 1 holds.
    """
    return [part for name in law.parameters for part in _parts(law, name)] + _QUALITY


def fit_noise_law(u: ArrayLike, bits: ArrayLike, *, seeds: ArrayLike | None = None) -> LawFit:
    """Fit Eq. 1 (Gowri et al., arXiv 2503.02726) to a curve of information against depth by least squares in bits.

    Parameters
    ----------
    u, bits
        Mean UMIs per cell, above 0, and bits: vectors of one length, with at least 3 different depths.
    seeds
        Seed (with its split of the cells) of each point; without them, seeds are assumed to differ by as much as the
        spread at each depth allows. Depths that differ by less than 3 % count as one.

    Returns
    -------
    A fit with `.u_bar` (UMIs per cell), `.i_max` (bits), `.r_squared`, `.status`; their `_stderr`, valid if Eq. 1
    holds, and their 95 % `_interval`, averaged over laws (NaN for fewer than 4 depths).

    Raises
    ------
    InputError
        Where there are fewer than 3 different depths, or a value is not finite or not above 0.
    """
    return _fit_all(NOISE_LAW, [_checked(NOISE_LAW, u, bits)], [seeds])[0]


def fit_cell_number_law(n: ArrayLike, bits: ArrayLike) -> LawFit:
    """Fit I = i_inf - (n / n_sat)^(-s) to a curve of information against training cells, like `fit_noise_law`.

    Parameters
    ----------
    n, bits
        Training cells, above 0, and bits: vectors of one length, with at least 4 different cell numbers.

    Returns
    -------
    A fit with `.n_sat` (cells), `.s`, `.i_inf` (bits), their `_stderr` and `_interval`, `.r_squared` and `.status`.

    Raises
    ------
    InputError
        Where there are fewer than 4 different cell numbers, or a value is not finite or not above 0.
    """
    return _fit_all(CELL_NUMBER_LAW, [_checked(CELL_NUMBER_LAW, n, bits)])[0]


def _checked(law: Law, x: ArrayLike, bits: ArrayLike) -> _Points:
    what = _COORDINATE[law.name]
    x, bits = vectors({what: x, "bits": bits}, positive=(what,))
    need, found = law.n_parameters + 1, len(np.unique(x))
    if found < need:
        raise InputError(f"{found} different values of {what} cannot fit {law.name}: give at least {need}")
    return x, bits


def _fit_all(law: Law, points: Sequence[_Points], seeds: Sequence[ArrayLike | None] = ()) -> list[LawFit]:
    """Fit curves of different lengths, all at once; fits of Eq. 1 also get intervals averaged over laws."""
    x, bits = (padded(column) for column in zip(*points, strict=True))
    found = fit_many(law, x, bits, tolerance=1e-14)
    fits = [_summary(law, *one) for one in zip(points, found.theta, found.converged, strict=True)]
    if law is not NOISE_LAW:
        return fits
    curves = [averaged.curve(*one, None if s is None else np.asarray(s)) for one, s in zip(points, seeds, strict=True)]
    ends = averaged.intervals(curves)
    pairs = zip(*(map(tuple, values.tolist()) for values in ends.values()), strict=True)
    return [replace(fit, averaged=dict(zip(ends, pair, strict=True))) for fit, pair in zip(fits, pairs, strict=True)]


def _summary(law: Law, points: _Points, theta: np.ndarray, converged: bool) -> LawFit:
    x, bits = points
    left = bits - predict(law, theta[None], x)[0]
    spread = float(((bits - bits.mean()) ** 2).sum())
    r_squared = 1 - float((left**2).sum()) / spread if spread > 0 else np.nan
    freedom = max(len(bits) - law.n_parameters, 1)
    inverse = covariance(jacobian(law.bits, theta[None], (x[None],), *_UNBOUNDED)[0])
    scaled = None if inverse is None else inverse * (left**2).sum() / freedom
    fit = LawFit(law, theta, scaled, r_squared, float(np.sqrt((left**2).sum() / freedom)), len(bits), CONVERGED)
    status, note = _status(fit, x, converged)
    return replace(fit, status=status, note=note)


def _status(fit: LawFit, x: np.ndarray, converged: bool) -> tuple[str, str]:
    if not converged:
        return FAILED, "no minimum found within 500 steps"
    lower, upper = (bound[0] for bound in fit.law.bounds(np.array([x.min()]), np.array([x.max()])))
    near = np.minimum(fit.theta - lower, upper - fit.theta) < _AT_BOUND * (upper - lower)
    if near.any():
        return AT_BOUND, f"{fit.law.parameters[int(near.argmax())]} ran to its bound"
    if fit.covariance is None:
        return NO_ERROR_BAR, "the curvature at the minimum gives no covariance"
    for name in fit.law.positive:
        low, high = fit.interval(name)
        if not np.isfinite(high) or high > _IDENTIFIED_WITHIN * low:
            return NOT_IDENTIFIED, f"the 95 % interval of {name} spans more than a factor {_IDENTIFIED_WITHIN:.0e}"
    if fit.law is NOISE_LAW and fit.values["u_bar"] > x.max():
        return BEYOND, f"u_bar lies beyond the deepest counts, {x.max():,.0f} UMIs per cell"
    return CONVERGED, ""


def fit_curves(table: pd.DataFrame, *, law: Law = NOISE_LAW) -> pd.DataFrame:
    """Fit every curve of a measurements table, one row each, sorted; a curve too short to fit gets a row that says so.

    Eq. 1 is fitted against `umis_per_cell` at each cell number, the cell-number law against `n_cells` at each fraction.
    Rows without a measurement, variants of the protocol and controls are left out (`protocol_rows`).

    Parameters
    ----------
    table
        A measurements table.
    law
        NOISE_LAW or CELL_NUMBER_LAW.

    Returns
    -------
    The columns of CURVE, n_cells or fraction, and the columns of `columns`.
    """
    x, fixed = ("umis_per_cell", "n_cells") if law is NOISE_LAW else ("n_cells", "fraction")
    return fit_groups(protocol_rows(table, x), [*CURVE, fixed], law=law)


def fit_groups(table: pd.DataFrame, by: list[str], *, law: Law = NOISE_LAW) -> pd.DataFrame:
    """Fit every group of rows with equal columns `by`, as in `fits_of`; return `by` and the columns of `columns`.

    No row of the table is left out. Values are NaN where a curve was too short.
    """
    rows = [dict(zip(by, key, strict=True)) | row(fit) for key, fit in fits_of(table, by, law=law).items()]
    points = table.groupby(by, sort=True).size()
    return pd.DataFrame(rows, columns=[*by, *columns(law)]).assign(n_points=points.to_numpy(int))


def row(fit: LawFit | InputError) -> dict[str, object]:
    """Return a fit as a row of a table with `columns`; for an InputError, a row with failed status and the reason."""
    if isinstance(fit, InputError):
        return {"status": FAILED, "note": str(fit)}
    out: dict[str, object] = {}
    for name, value in fit.values.items():
        ends = *fit._interval(name), *fit.interval(name)
        out |= dict(zip(_parts(fit.law, name), (value, fit._stderr(name), *ends), strict=False))
    return out | {name: getattr(fit, name) for name in _QUALITY}


def fits_of(table: pd.DataFrame, by: list[str], *, law: Law = NOISE_LAW) -> dict[tuple, LawFit | InputError]:
    """Return the fit of every group of rows by its key, sorted; for a curve too short to fit, the InputError instead.

    Rows have `mi_bits`, `umis_per_cell` or `n_cells` as the law needs, and `seed` if they have one.
    """
    x = "umis_per_cell" if law is NOISE_LAW else "n_cells"
    out: dict[tuple, LawFit | InputError] = {}
    points, seeds = {}, []
    for key, curve in table.groupby(by, sort=True):
        try:
            points[key] = _checked(law, curve[x], curve["mi_bits"])
            seeds.append(shared_splits(curve))
        except InputError as error:
            out[key] = error
    if points:
        out |= zip(points, _fit_all(law, list(points.values()), seeds), strict=True)
    return dict(sorted(out.items(), key=lambda pair: pair[0]))
