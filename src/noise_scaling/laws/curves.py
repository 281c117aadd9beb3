"""Eq. 1 and the cell-number law fitted to curves, with standard errors, intervals, bands and a status for each fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from ..errors import InputError
from ..measurements import protocol_rows
from .formulas import AT_BOUND, CONVERGED, FAILED, NO_ERROR_BAR, NOT_IDENTIFIED
from .law import CELL_NUMBER_LAW, NOISE_LAW, Law, fit_many, padded, predict, vectors
from .least_squares import covariance, jacobian

# An interval of a positive parameter (u_bar, n_sat) wider than this factor from end to end says nothing about it.
_IDENTIFIED_WITHIN = 1e4
# A parameter closer to a bound than this share of its range is at the bound.
_AT_BOUND = 1e-3
_UNBOUNDED = np.array(-np.inf), np.array(np.inf)
_COORDINATE = {NOISE_LAW.name: "depth (u)", CELL_NUMBER_LAW.name: "cell number (n)"}

_Points = tuple[np.ndarray, np.ndarray, np.ndarray]  # coordinate, bits, weights of one curve

CURVE = ["dataset", "signal", "model", "preset", "estimator"]
"""What names a curve (with its cell number or its fraction) and a grid."""


@dataclass(frozen=True)
class LawFit:
    """A fitted law. Each parameter is an attribute (`.u_bar`), with its `_stderr` and its `_interval` (95 %).

    Intervals use Student's t; those of positive parameters are taken on the log scale, so they stay positive.
    `covariance` [P, P] is of the parameters as fitted, logarithms for the positive ones; None where there is none.
    `residual_sd` is in bits. A fit that did not go well says so in `status` and `note`; nothing is dropped.

    Parameters
    ----------
    theta
        The parameters as fitted, [P].
    """

    law: Law
    theta: np.ndarray
    covariance: np.ndarray | None
    r_squared: float
    residual_sd: float
    n_points: int
    status: str
    note: str = ""

    @property
    def values(self) -> dict[str, float]:
        """The parameters by name, in bits, UMIs per cell or cells."""
        return {name: float(value[0]) for name, value in self.law.natural(self.theta[None]).items()}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            parameter, _, what = name.rpartition("_")
            if what in ("stderr", "interval") and parameter in self.law.parameters:
                return self.interval(parameter) if what == "interval" else self._stderr(parameter)
            if name in self.law.parameters:
                return self.values[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _fitted_sd(self, parameter: str) -> float:
        if self.covariance is None or self.status == AT_BOUND:  # there the curvature is the bound's, not the data's
            return np.nan
        i = self.law.parameters.index(parameter)
        return float(np.sqrt(self.covariance[i, i]))

    def _stderr(self, parameter: str) -> float:
        sd = self._fitted_sd(parameter)
        return sd * self.values[parameter] if parameter in self.law.positive else sd

    def interval(self, parameter: str, level: float = 0.95) -> tuple[float, float]:
        """Lower and upper end of a parameter's confidence interval by Student's t, in the parameter's unit.

        NaN where the fit has no covariance or is at a bound.
        """
        value, freedom = self.values[parameter], max(self.n_points - self.law.n_parameters, 1)
        half = stats.t.ppf(0.5 + level / 2, freedom) * self._fitted_sd(parameter)
        if parameter not in self.law.positive:
            return value - half, value + half
        with np.errstate(over="ignore"):
            return float(value * np.exp(-half)), float(value * np.exp(half))

    def predict(self, at: np.ndarray | float) -> np.ndarray:
        """The law's bits at these depths or cell numbers, any shape."""
        return self.law.formula(np.asarray(at, float), **self.values)

    def band(self, at: np.ndarray, sigmas: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bits, `sigmas` standard errors of the curve away; NaN without a covariance.

        Delta method: the variance of the curve is g' C g with g its gradient and C the parameters' covariance (Seber &
        Wild 1989, section 5.1). Figure 2 of the paper has bands of 2 sigma.

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

    def row(self) -> dict[str, object]:
        """The fit as one row of a table: parameters, standard errors, intervals, quality, status."""
        out: dict[str, object] = {}
        for name, value in self.values.items():
            low, high = self.interval(name)
            out |= {name: value, f"{name}_stderr": self._stderr(name), f"{name}_low": low, f"{name}_high": high}
        quality = {"r_squared": self.r_squared, "residual_sd": self.residual_sd, "n_points": self.n_points}
        return out | quality | {"status": self.status, "note": self.note}


def fit_noise_law(u: ArrayLike, bits: ArrayLike, *, sigma: ArrayLike | None = None) -> LawFit:
    """Fit Eq. 1 (Gowri et al., arXiv 2503.02726) to a curve of information against depth by least squares in bits.

    Parameters
    ----------
    u, bits
        Mean UMIs per cell, above 0, and bits: vectors of one length, with 3 different depths at least.
    sigma
        Standard errors of the bits up to a factor, which weight the points by 1 / sigma^2; all alike without.

    Returns
    -------
    A fit with `.u_bar` (UMIs per cell), `.i_max` (bits), their `_stderr` and `_interval`, `.r_squared` and `.status`.

    Raises
    ------
    InputError
        Where there are fewer than 3 different depths, or a value is not finite or not above 0.
    """
    return _fit(NOISE_LAW, u, bits, sigma)


def fit_cell_number_law(n: ArrayLike, bits: ArrayLike, *, sigma: ArrayLike | None = None) -> LawFit:
    """Fit I = i_inf - (n / n_sat)^(-s) to a curve of information against training cells, as `fit_noise_law`.

    Parameters
    ----------
    n, bits
        Training cells, above 0, and bits: vectors of one length, with 4 different cell numbers at least.
    sigma
        Standard errors of the bits up to a factor; all alike without.

    Returns
    -------
    A fit with `.n_sat` (cells), `.s`, `.i_inf` (bits), their `_stderr` and `_interval`, `.r_squared` and `.status`.

    Raises
    ------
    InputError
        Where there are fewer than 4 different cell numbers, or a value is not finite or not above 0.
    """
    return _fit(CELL_NUMBER_LAW, n, bits, sigma)


def _fit(law: Law, x: ArrayLike, bits: ArrayLike, sigma: ArrayLike | None) -> LawFit:
    return _fit_all(law, [_checked(law, x, bits, sigma)])[0]


def _checked(law: Law, x: ArrayLike, bits: ArrayLike, sigma: ArrayLike | None = None) -> _Points:
    what = _COORDINATE[law.name]
    given = {what: x, "bits": bits} | ({} if sigma is None else {"sigma": sigma})
    x, bits, *sigmas = vectors(given, positive=(what, *(["sigma"] if sigma is not None else [])))
    need, found = law.n_parameters + 1, len(np.unique(x))
    if found < need:
        raise InputError(f"{found} different values of {what} cannot fit {law.name}: give at least {need}")
    return x, bits, sigmas[0] ** -2.0 if sigmas else np.ones_like(bits)


def _fit_all(law: Law, points: Sequence[_Points]) -> list[LawFit]:
    """Fits of curves of different lengths, all at once."""
    x, bits, weights = (padded(column) for column in zip(*points, strict=True))
    found = fit_many(law, x, bits, np.nan_to_num(weights), tolerance=1e-14)
    return [_summary(law, *one) for one in zip(points, found.theta, found.converged, strict=True)]


def _summary(law: Law, points: _Points, theta: np.ndarray, converged: bool) -> LawFit:
    x, bits, weights = points
    left = bits - predict(law, theta[None], x)[0]
    spread = float(((bits - bits.mean()) ** 2).sum())
    r_squared = 1 - float((left**2).sum()) / spread if spread > 0 else np.nan
    freedom = max(len(bits) - law.n_parameters, 1)
    inverse = covariance(jacobian(law.bits, theta[None], (x[None],), *_UNBOUNDED)[0], weights)
    scaled = None if inverse is None else inverse * (weights * left**2).sum() / freedom
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
    return CONVERGED, ""


def fit_curves(table: pd.DataFrame, *, law: Law = NOISE_LAW) -> pd.DataFrame:
    """Fit every curve of a measurements table, one row each, sorted; a curve too short to fit is a row that says so.

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
    The columns of CURVE, n_cells or fraction, and those of `LawFit.row`.
    """
    x, fixed = ("umis_per_cell", "n_cells") if law is NOISE_LAW else ("n_cells", "fraction")
    return fit_groups(protocol_rows(table, x), [*CURVE, fixed], law=law)


def fit_groups(table: pd.DataFrame, by: list[str], *, law: Law = NOISE_LAW) -> pd.DataFrame:
    """Fit every group of rows that the columns `by` make, as `fit_curves`; no row is left out.

    Parameters
    ----------
    table
        Rows with `mi_bits`, and `umis_per_cell` or `n_cells` as the law needs.
    by
        Columns that name a curve.
    law
        NOISE_LAW or CELL_NUMBER_LAW.

    Returns
    -------
    The columns `by`, and those of `LawFit.row`; NaN where a curve was too short.
    """
    x = "umis_per_cell" if law is NOISE_LAW else "n_cells"
    rows: list[dict[str, object]] = []
    points: dict[int, _Points] = {}
    for key, curve in table.groupby(by, sort=True):
        rows.append(dict(zip(by, key, strict=True)))
        try:
            points[len(rows) - 1] = _checked(law, curve[x], curve["mi_bits"])
        except InputError as error:
            rows[-1] |= {"n_points": len(curve), "status": FAILED, "note": str(error)}
    if points:
        for i, fit in zip(points, _fit_all(law, list(points.values())), strict=True):
            rows[i] |= fit.row()
    values = [f"{name}{part}" for name in law.parameters for part in ("", "_stderr", "_low", "_high")]
    quality = ["r_squared", "residual_sd", "n_points", "status", "note"]
    return pd.DataFrame(rows, columns=[*by, *values, *quality])
