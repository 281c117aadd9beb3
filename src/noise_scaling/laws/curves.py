"""Eq. 1 and the cell-number law fitted a curve at a time by lmfit: the reference that the batched fits are held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import lmfit
import numpy as np
import pandas as pd
from scipy import stats

from ..errors import InputError, choose
from ..measurements import CONTROLS
from .formulas import AT_BOUND, CONVERGED, FAILED, NO_ERROR_BAR, NOT_IDENTIFIED, cell_number_law, noise_law

# An interval of a positive parameter (u_bar, n_sat) wider than this factor from end to end says nothing about it.
_IDENTIFIED_WITHIN = 1e4


@dataclass(frozen=True)
class Law:
    """A law with its parameters, the positive ones fitted on a logarithmic scale."""

    name: str
    formula: Callable[..., np.ndarray]
    parameters: tuple[str, ...]
    positive: tuple[str, ...]
    starts: Callable[[np.ndarray, np.ndarray], list[dict[str, float]]]
    bounds: Callable[[np.ndarray, np.ndarray], dict[str, tuple[float, float]]]


def _noise_starts(u: np.ndarray, bits: np.ndarray) -> list[dict[str, float]]:
    top = max(float(bits.max()), 0.1)
    return [{"u_bar": float(q), "i_max": top * 1.1} for q in np.quantile(u, (0.25, 0.5, 0.9))]


def _noise_bounds(u: np.ndarray, bits: np.ndarray) -> dict[str, tuple[float, float]]:
    # 20 bits is a million distinguishable states: no embedding here comes near.
    return {"u_bar": (u.min() * 1e-4, u.max() * 1e6), "i_max": (0.0, 20.0)}


def _cell_starts(n: np.ndarray, bits: np.ndarray) -> list[dict[str, float]]:
    top, span = float(bits.max()), float(np.ptp(bits)) + 0.01
    low = float(n.min())
    return [{"n_sat": low * span ** (1 / s), "s": s, "i_inf": top + 0.2 * span} for s in (0.2, 0.5, 1.0)]


def _cell_bounds(n: np.ndarray, bits: np.ndarray) -> dict[str, tuple[float, float]]:
    return {"n_sat": (n.min() * 1e-12, n.max() * 1e6), "s": (0.01, 5.0), "i_inf": (float(bits.min()) - 1, 20.0)}


NOISE_LAW = Law("noise_law", noise_law, ("u_bar", "i_max"), ("u_bar",), _noise_starts, _noise_bounds)
CELL_NUMBER_LAW = Law(
    "cell_number_law", cell_number_law, ("n_sat", "s", "i_inf"), ("n_sat",), _cell_starts, _cell_bounds
)


@dataclass(frozen=True)
class LawFit:
    """A fitted law. Each parameter is an attribute (`.u_bar`), with its `_stderr` and its `_interval` (95 %).

    Intervals use Student's t; those of positive parameters are taken on the log scale, so they stay positive.
    A fit that did not go well says so in `status` and `note`; nothing is dropped.
    """

    law: Law
    values: dict[str, float]
    covariance: np.ndarray | None  # of the parameters as fitted: logarithms for the positive ones
    r_squared: float
    residual_sd: float
    n_points: int
    status: str
    note: str = ""

    def __getattr__(self, name: str) -> float | tuple[float, float]:
        for suffix, getter in (("_stderr", self._stderr), ("_interval", self._interval), ("", self._value)):
            parameter = name.removesuffix(suffix) if suffix else name
            if name.endswith(suffix) and parameter in self.__dict__.get("values", {}):
                return getter(parameter)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def _value(self, parameter: str) -> float:
        return self.values[parameter]

    def _fitted_sd(self, parameter: str) -> float:
        if self.covariance is None or self.status == AT_BOUND:  # there the curvature is the bound's, not the data's
            return np.nan
        i = self.law.parameters.index(parameter)
        return float(np.sqrt(self.covariance[i, i]))

    def _stderr(self, parameter: str) -> float:
        sd = self._fitted_sd(parameter)
        return sd * self.values[parameter] if parameter in self.law.positive else sd

    def _interval(self, parameter: str, level: float = 0.95) -> tuple[float, float]:
        value, sd = self.values[parameter], self._fitted_sd(parameter)
        freedom = max(self.n_points - len(self.values), 1)
        half = stats.t.ppf(0.5 + level / 2, freedom) * sd
        if parameter not in self.law.positive:
            return value - half, value + half
        with np.errstate(over="ignore"):
            return float(value * np.exp(-half)), float(value * np.exp(half))

    def predict(self, at: np.ndarray | float) -> np.ndarray:
        """The law's bits at these depths or cell numbers."""
        return self.law.formula(at, **self.values)

    def band(self, at: np.ndarray, sigmas: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bits, `sigmas` standard errors of the curve away (delta method); NaN without a covariance."""
        at = np.asarray(at, float)
        middle = self.predict(at)
        if self.covariance is None:
            return np.full_like(middle, np.nan), np.full_like(middle, np.nan)
        gradient = _jacobian(self.law, self.values, at)
        half = sigmas * np.sqrt(np.einsum("ni,ij,nj->n", gradient, self.covariance, gradient))
        return middle - half, middle + half

    def row(self) -> dict[str, object]:
        """The fit as one row of a table: parameters, standard errors, intervals, quality, status."""
        out: dict[str, object] = {}
        for name in self.law.parameters:
            low, high = self._interval(name)
            out |= {name: self.values[name], f"{name}_stderr": self._stderr(name)}
            out |= {f"{name}_low": low, f"{name}_high": high}
        quality = {"r_squared": self.r_squared, "residual_sd": self.residual_sd, "n_points": self.n_points}
        return out | quality | {"status": self.status, "note": self.note}


def _jacobian(law: Law, values: dict[str, float], at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """d bits / d fitted parameter by central differences, [points, parameters] (log scale for the positive ones)."""
    columns = []
    for name in law.parameters:
        width = step if name in law.positive else step * max(1.0, abs(values[name]))
        shift = np.exp(width) if name in law.positive else width
        up, down = dict(values), dict(values)
        up[name] = values[name] * shift if name in law.positive else values[name] + shift
        down[name] = values[name] / shift if name in law.positive else values[name] - shift
        columns.append((law.formula(at, **up) - law.formula(at, **down)) / (2 * width))
    return np.stack(columns, axis=1)


def fit_noise_law(u: Sequence[float], bits: Sequence[float], *, sigma: Sequence[float] | None = None) -> LawFit:
    """Fit Eq. 1 by least squares (lmfit), `u` in UMIs per cell; `sigma`, in bits, weights the points.

    Returns a fit with `.u_bar`, `.i_max`, their `_stderr` and `_interval`, `.r_squared` and `.status`.
    Raises InputError where there are fewer than 3 different depths or a value is not finite.
    """
    return _fit(NOISE_LAW, u, bits, sigma, "depth (u)")


def fit_cell_number_law(n: Sequence[float], bits: Sequence[float], *, sigma: Sequence[float] | None = None) -> LawFit:
    """Fit I = i_inf - (n / n_sat)^(-s) by least squares; as `fit_noise_law`, with 4 different cell numbers at least."""
    return _fit(CELL_NUMBER_LAW, n, bits, sigma, "cell number (n)")


def _check(law: Law, x: Sequence[float], bits: Sequence[float], what: str) -> tuple[np.ndarray, np.ndarray]:
    x, bits = np.asarray(x, float), np.asarray(bits, float)
    if x.shape != bits.shape or x.ndim != 1:
        raise InputError(f"{what} and bits must be vectors of one length: found {x.shape} and {bits.shape}")
    if not (np.isfinite(x).all() and np.isfinite(bits).all()):
        raise InputError(f"{what} or bits hold NaN or infinite values: drop those measurements before the fit")
    if (x <= 0).any():
        raise InputError(f"{what} must be above 0: found {x.min():g}")
    need = len(law.parameters) + 1
    if len(np.unique(x)) < need:
        raise InputError(f"{len(np.unique(x))} different values of {what} cannot fit {law.name}: give at least {need}")
    return x, bits


def _fit(law: Law, x: Sequence[float], bits: Sequence[float], sigma: Sequence[float] | None, what: str) -> LawFit:
    x, bits = _check(law, x, bits, what)
    weights = np.ones_like(bits) if sigma is None else 1 / np.asarray(sigma, float)

    def residual(parameters: lmfit.Parameters) -> np.ndarray:
        values = {k: v if k not in law.positive else np.exp(v) for k, v in parameters.valuesdict().items()}
        return (law.formula(x, **values) - bits) * weights

    bounds = law.bounds(x, bits)
    # relative step 1e-6: the default (machine epsilon) loses half the digits of the covariance through the bounds' sine
    runs = [
        lmfit.minimize(residual, _parameters(law, start, bounds), method="leastsq", epsfcn=1e-12)
        for start in law.starts(x, bits)
    ]
    return _summary(law, min(runs, key=lambda run: run.chisqr), x, bits, bounds)


def _parameters(law: Law, start: dict[str, float], bounds: dict[str, tuple[float, float]]) -> lmfit.Parameters:
    out = lmfit.Parameters()
    for name in law.parameters:
        low, high = bounds[name]
        value = float(np.clip(start[name], low + 1e-9 * (high - low), high - 1e-9 * (high - low)))
        scale = np.log if name in law.positive else float
        out.add(name, value=scale(value), min=scale(low), max=scale(high))
    return out


def _summary(law: Law, run: lmfit.minimizer.MinimizerResult, x: np.ndarray, bits: np.ndarray, bounds: dict) -> LawFit:
    fitted = run.params.valuesdict()
    values = {k: float(np.exp(v)) if k in law.positive else float(v) for k, v in fitted.items()}
    left = bits - law.formula(x, **values)
    spread = float(((bits - bits.mean()) ** 2).sum())
    r_squared = 1 - float((left**2).sum()) / spread if spread > 0 else np.nan
    freedom = max(len(bits) - len(values), 1)
    covariance = _covariance(run)
    fit = LawFit(law, values, covariance, r_squared, float(np.sqrt((left**2).sum() / freedom)), len(bits), CONVERGED)
    status, note = _status(fit, run, bounds)
    return LawFit(law, values, covariance, r_squared, fit.residual_sd, len(bits), status, note)


def _covariance(run: lmfit.minimizer.MinimizerResult) -> np.ndarray | None:
    covariance = getattr(run, "covar", None)
    if covariance is None or not np.isfinite(covariance).all() or (np.diag(covariance) < 0).any():
        return None
    return np.asarray(covariance)


def _status(fit: LawFit, run: lmfit.minimizer.MinimizerResult, bounds: dict) -> tuple[str, str]:
    if not run.success:
        return FAILED, str(run.message)
    for name, (low, high) in bounds.items():
        value, positive = fit.values[name], name in fit.law.positive
        low, high, value = (np.log(v) if positive else v for v in (low, high, value))
        if min(value - low, high - value) < 1e-3 * (high - low):
            return AT_BOUND, f"{name} ran to its bound"
    if fit.covariance is None:
        return NO_ERROR_BAR, "the curvature at the minimum gives no covariance"
    for name in fit.law.positive:
        low, high = fit._interval(name)
        if not np.isfinite(high) or high > _IDENTIFIED_WITHIN * low:
            return NOT_IDENTIFIED, f"the 95 % interval of {name} spans more than a factor {_IDENTIFIED_WITHIN:.0e}"
    return CONVERGED, ""


LAWS = {law.name: law for law in (NOISE_LAW, CELL_NUMBER_LAW)}


def named(name: str) -> Law:
    """The law of that name; InputError lists the known ones."""
    return LAWS[choose("law", name, LAWS)]


CURVE = ["dataset", "signal", "model", "preset", "estimator"]


def fit_curves(table: pd.DataFrame, *, law: Law = NOISE_LAW) -> pd.DataFrame:
    """Fit every curve of a measurements table, one row each, sorted; a curve too short to fit is a row that says so.

    Rows without a measurement are left out, and so is the negative control, which has no information to follow a law.

    Eq. 1 is fitted against `umis_per_cell` at each cell number, the cell-number law against `n_cells` at each fraction.
    """
    x, fixed = ("umis_per_cell", "n_cells") if law is NOISE_LAW else ("n_cells", "fraction")
    fit = fit_noise_law if law is NOISE_LAW else fit_cell_number_law
    rows = []
    measured = table[~table["model"].isin(CONTROLS)].dropna(subset=["mi_bits", x])
    for key, curve in measured.groupby([*CURVE, fixed], sort=True):
        head = dict(zip([*CURVE, fixed], key, strict=True))
        try:
            rows.append(head | fit(curve[x], curve["mi_bits"]).row())
        except InputError as error:
            rows.append(head | {"n_points": len(curve), "status": FAILED, "note": str(error)})
    values = [f"{name}{part}" for name in law.parameters for part in ("", "_stderr", "_low", "_high")]
    quality = ["r_squared", "residual_sd", "n_points", "status", "note"]
    return pd.DataFrame(rows, columns=[*CURVE, fixed, *values, *quality])
