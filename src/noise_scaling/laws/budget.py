"""The noise budget: one law of information against training cells and depth together, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import optimize, stats

from ..errors import InputError, choose
from .formulas import AT_BOUND, CONVERGED, FAILED, NOT_IDENTIFIED, noise_budget
from .least_squares import Prior, Solutions, minimise
from .profile import profile_interval
from .resample import shake

PARAMETERS = ("v0", "v1", "v2", "v3", "s", "a")

_S_STARTS = (0.1, 0.2, 0.35, 0.6, 1.0)
_S_BOUNDS, _A_BOUNDS = (0.02, 2.5), (0.3, 2.0)
# 12 bits: no estimator here tells more apart, so a noise-to-signal ratio this small stands for none at all.
_LEAST_NSR = 2.0**-24
_HALF_BIT = 0.5 / np.log(2)


@dataclass(frozen=True)
class Family:
    """A member of the noise budget family: which terms it has, and whether the exponent of depth is free."""

    name: str
    terms: tuple[bool, bool, bool, bool] = (True, True, True, True)
    stretched: bool = False

    @property
    def n_parameters(self) -> int:
        return sum(self.terms) + any(self.terms[2:]) + self.stretched


NOISE_BUDGET = Family("noise_budget")
STRETCHED_BUDGET = Family("stretched_budget", stretched=True)


def budget_model(theta: np.ndarray, at: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Bits and their derivatives; theta is (v0, v1, v2, v3, s, a), `at` the logarithms of n and u over a reference."""
    log_n, log_u = at
    v, s, a = theta[:, :4, None], theta[:, 4, None], theta[:, 5, None]
    few, shallow = np.exp(-s * log_n), np.exp(-a * log_u)
    both = few * shallow
    slope = np.empty((*log_n.shape, 6))
    by_cells = v[:, 2] * few + v[:, 3] * both
    nsr = np.maximum(v[:, 0] + v[:, 1] * shallow + by_cells, _LEAST_NSR)
    outer = -_HALF_BIT / (nsr * (1 + nsr))
    slope[..., 0] = outer
    slope[..., 1] = outer * shallow
    slope[..., 2] = outer * few
    slope[..., 3] = outer * both
    slope[..., 4] = -outer * log_n * by_cells
    slope[..., 5] = -outer * log_u * (v[:, 1] * shallow + v[:, 3] * both)
    return _HALF_BIT * np.log1p(1 / nsr), slope


@dataclass(frozen=True)
class _Data:
    """The points of one fit, with the reference that its coordinates are taken over."""

    n: np.ndarray
    u: np.ndarray
    bits: np.ndarray
    weights: np.ndarray
    groups: np.ndarray
    family: Family
    reference: tuple[float, float]

    @property
    def at(self) -> tuple[np.ndarray, np.ndarray]:
        n0, u0 = self.reference
        return np.log(self.n / n0)[None], np.log(self.u / u0)[None]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds [6]: terms >= 0, one that the family lacks held at 0, a held at 1 unless stretched."""
        least = 1e-3 * nsr_of(self.bits[self.weights > 0]).min()  # 5 bits above the highest value seen
        low = np.array([least, 0.0, 0.0, 0.0, _S_BOUNDS[0], _A_BOUNDS[0] if self.family.stretched else 1.0])
        high = np.array([np.inf] * 4 + [_S_BOUNDS[1], _A_BOUNDS[1] if self.family.stretched else 1.0])
        missing = [i for i, there in enumerate(self.family.terms) if not there]
        low[missing], high[missing] = 0.0, 0.0
        if not any(self.family.terms[2:]):
            low[4] = high[4] = 1.0
        return low, high


def nsr_of(bits: np.ndarray) -> np.ndarray:
    """Noise-to-signal ratio of a Gaussian channel of this information, 1 / (2^(2 bits) - 1); 0.02 to 12 bits."""
    return 1 / (2.0 ** (2 * np.clip(bits, 0.02, 12)) - 1)


def _starts(data: _Data) -> np.ndarray:
    """For some exponents of cells, the terms by a linear non-negative fit of the noise-to-signal ratio: [starts, 6]."""
    log_n, log_u = (x[0] for x in data.at)
    nsr = nsr_of(data.bits)
    scale = np.sqrt(data.weights) / (nsr * (1 + nsr))  # what an error of the ratio is in bits
    low, high = data.bounds()
    rows = []
    for s in _S_STARTS:
        columns = [np.ones_like(nsr), np.exp(-log_u), np.exp(-s * log_n), np.exp(-s * log_n - log_u)]
        terms = optimize.nnls(np.stack(columns, 1) * np.array(data.family.terms) * scale[:, None], nsr * scale)[0]
        rows.append([*np.maximum(terms, 0.01 * nsr[data.weights > 0].min()), s, 1.0])
    return np.clip(np.array(rows), low, high)


@dataclass(frozen=True)
class BudgetFit:
    """A fitted noise budget: noise-to-signal = v0 + v1 u^-a + v2 n^-s + v3 n^-s u^-a.

    `parameters` are those of `noise_budget`; `draws` [draws, 6] are the same parameters refitted by `bootstrap`, in
    the order of PARAMETERS. A fit that did not go well says so in `status` and `note`.
    """

    parameters: dict[str, float]
    residual_sd: float
    r_squared: float
    n_points: int
    status: str
    note: str = ""
    draws: np.ndarray | None = None
    theta: np.ndarray = field(default=None, repr=False)  # as fitted: over the reference of the data
    data: _Data | None = field(default=None, repr=False)

    def predict(self, n: np.ndarray | float, u: np.ndarray | float) -> np.ndarray:
        """Bits at `n` training cells and `u` UMIs per cell, of shapes that broadcast."""
        return noise_budget(n, u, **self.parameters)

    @property
    def ceiling(self) -> float:
        """Bits with cells and depth without end: 1/2 log2(1 + 1/v0)."""
        return float(0.5 * np.log2(1 + 1 / self.parameters["v0"]))

    def bootstrap(self, draws: int = 200, *, seed: int = 0) -> BudgetFit:
        """The same fit with `draws` refits to resampled residuals, from which `interval` reads.

        Residuals are resampled by depth (by `groups`, where the fit was given them): all points of one depth share
        their test cells' molecules, and get one random sign and size (`resample.shake`).
        """
        data, low, high = self.data, *self.data.bounds()
        fitted, slope = (x[0] for x in budget_model(self.theta[None], data.at))
        free = (self.theta > low) & (self.theta < high)
        shaken = fitted + shake(data.bits - fitted, slope[:, free], data.weights, data.groups, draws, seed=seed)
        start = np.broadcast_to(self.theta, (draws, 6))
        found = minimise(budget_model, start, data.at, shaken, data.weights[None], low, high, tolerance=1e-6)
        return replace(self, draws=np.array([_absolute(theta, data.reference) for theta in found.theta]))

    def interval(
        self, n: np.ndarray | float, u: np.ndarray | float, level: float = 0.95, *, measured: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bits of the curve there, from the bootstrap; `measured`: of one more measurement there.

        Raises InputError before `bootstrap`.
        """
        if self.draws is None:
            raise InputError("this fit has no bootstrap draws to read an interval from: call .bootstrap() on it first")
        n, u = np.broadcast_arrays(np.asarray(n, float), np.asarray(u, float))
        tail = (1 - level) / 2
        low, high = np.quantile(self._spread(n, u), [tail, 1 - tail], axis=0)
        if measured:
            middle, wide = self.predict(n, u), stats.norm.ppf(1 - tail) * self.residual_sd
            low, high = middle - np.hypot(middle - low, wide), middle + np.hypot(high - middle, wide)
        return low, high

    def _spread(self, n: np.ndarray, u: np.ndarray) -> np.ndarray:
        parameters = self.draws.T.reshape(6, -1, *[1] * n.ndim)
        return noise_budget(n, u, *parameters)

    def profile(self, name: str, *, level: float = 0.95) -> tuple[float, float]:
        """Profile interval of v0, s or a (`profile_interval`); an infinite end is one that the data leave open.

        Of v0 a lower end of -inf says that there may be no ceiling. Points count as independent: where depths share
        errors the bootstrap's intervals are the wider and truer ones. Raises InputError for another parameter.
        """
        index = PARAMETERS.index(choose("parameter with a profile", name, ("v0", "s", "a")))
        data, (low, high) = self.data, self.data.bounds()
        high[0] = nsr_of(data.bits).max()  # no more noise than the least informative point has
        problem = (budget_model, self.theta, data.at, data.bits[None], data.weights[None], low, high)
        return profile_interval(*problem, index, level=level)

    def to_dict(self) -> dict[str, object]:
        """For JSON: the law's name, its parameters, the draws (lists in the order of `parameters`), quality, status."""
        draws = [] if self.draws is None else self.draws.tolist()
        quality = {k: getattr(self, k) for k in ("residual_sd", "r_squared", "n_points", "status", "note")}
        return {"law": "noise_budget", "parameters": self.parameters, "draws": draws} | quality


def _absolute(theta: np.ndarray, reference: tuple[float, float]) -> np.ndarray:
    """Parameters for n and u in cells and UMIs, from those for n and u over a reference."""
    (n0, u0), (s, a) = reference, theta[4:]
    return np.array([theta[0], theta[1] * u0**a, theta[2] * n0**s, theta[3] * n0**s * u0**a, s, a])


def fit_noise_budget(
    n: Sequence[float],
    u: Sequence[float],
    bits: Sequence[float],
    weights: Sequence[float] | None = None,
    *,
    groups: Sequence[object] | None = None,
    family: Family = NOISE_BUDGET,
    prior: Prior | None = None,
) -> BudgetFit:
    """Fit the noise budget to measurements over a grid (or any set) of cells and depths by least squares in bits.

    Parameters
    ----------
    n, u, bits
        Training cells, mean UMIs per cell, and information, vectors of one length.
    weights
        Inverse variances of the bits up to a factor; all alike without.
    groups
        What shares its test cells, for the bootstrap: the depth `u` itself without.
    family
        NOISE_BUDGET (5 parameters), or STRETCHED_BUDGET (the exponent of depth is free too).
    prior
        A pull of the parameters as fitted (over the data's reference), for grids too small to stand alone.

    Returns
    -------
    BudgetFit with `.parameters`, `.predict`, `.status`, and after `.bootstrap()` `.interval`.

    Raises
    ------
    InputError
        Where there are fewer than 3 depths or 3 cell numbers, too few points, or a value that is not finite.
    """
    data = _checked(n, u, bits, weights, groups, family)
    low, high = data.bounds()
    start = _starts(data)
    found = minimise(budget_model, start, data.at, data.bits[None], data.weights[None], low, high, prior=prior).best_of(
        len(start)
    )
    return _fitted(data, found)


def _checked(n, u, bits, weights, groups, family: Family) -> _Data:
    n, u, bits = (np.asarray(x, float) for x in (n, u, bits))
    weights = np.ones_like(bits) if weights is None else np.asarray(weights, float)
    if not n.shape == u.shape == bits.shape == weights.shape or n.ndim != 1:
        shapes = ", ".join(str(x.shape) for x in (n, u, bits, weights))
        raise InputError(f"n, u, bits and weights must be vectors of one length: found shapes {shapes}")
    if not all(np.isfinite(x).all() for x in (n, u, bits, weights)):
        raise InputError("n, u, bits or weights hold NaN or infinite values: drop those measurements before the fit")
    if (n <= 0).any() or (u <= 0).any() or (weights < 0).any():
        raise InputError("n and u must be above 0 and weights not below: drop or correct those measurements")
    for name, values, least in (("depths (u)", u, 3), ("cell numbers (n)", n, 3 if any(family.terms[2:]) else 1)):
        if len(np.unique(values)) < least:
            raise InputError(
                f"{len(np.unique(values))} different {name} cannot fit a noise budget: give at least {least}"
            )
    if len(bits) <= family.n_parameters:
        raise InputError(f"{len(bits)} measurements cannot fit {family.n_parameters} parameters: give more")
    groups = np.unique(u if groups is None else np.asarray(groups), return_inverse=True)[1]
    return _Data(n, u, bits, weights, groups, family, _reference(n, u))


def _reference(n: np.ndarray, u: np.ndarray) -> tuple[float, float]:
    return float(np.exp(np.log(n).mean())), float(np.exp(np.log(u).mean()))


def fit_budgets(
    n: np.ndarray, u: np.ndarray, bits: np.ndarray, weights: np.ndarray, *, family: Family = NOISE_BUDGET
) -> np.ndarray:
    """Noise budgets of the same points under K different weights, 0 leaving a point out: parameters [K, 6].

    n, u and bits are vectors of M points, weights is [K, M]. For hold-outs: the same minimum as `fit_noise_budget`
    of the points left in, many at once.
    """
    reference, groups = _reference(n, u), np.zeros(len(n), int)
    each = [_Data(n, u, bits, w, groups, family, reference) for w in weights]
    starts = np.array([_starts(data) for data in each])
    low, high = (np.array(x) for x in zip(*(data.bounds() for data in each), strict=True))
    count = starts.shape[1]
    many = [np.repeat(x, count, axis=0) for x in (weights, low, high)]
    found = minimise(budget_model, starts.reshape(-1, 6), each[0].at, bits[None], *many, tolerance=1e-7)
    return np.array([_absolute(theta, reference) for theta in found.best_of(count).theta])


def _fitted(data: _Data, found: Solutions) -> BudgetFit:
    theta = found.theta[0]
    left = data.bits - budget_model(theta[None], data.at)[0][0]
    mean = np.average(data.bits, weights=data.weights)
    spread = float((data.weights * (data.bits - mean) ** 2).sum())
    freedom = max(len(left) - data.family.n_parameters, 1)
    status, note = _status(data, theta, bool(found.converged[0]))
    return BudgetFit(
        dict(zip(PARAMETERS, map(float, _absolute(theta, data.reference)), strict=True)),
        float(np.sqrt((left**2).sum() / freedom)),
        1 - float(found.cost[0]) / spread if spread > 0 else np.nan,
        len(left), status, note, None, theta, data,
    )  # fmt: skip


def _status(data: _Data, theta: np.ndarray, converged: bool) -> tuple[str, str]:
    if not converged:
        return FAILED, "no minimum found within 200 steps"
    low, high = data.bounds()
    if theta[0] <= low[0] * 1.001:
        return NOT_IDENTIFIED, "no ceiling: the data let v0 be nothing, so information at the far end is a guess"
    for i in (4, 5):
        if low[i] < high[i] and min(theta[i] - low[i], high[i] - theta[i]) < 1e-3 * (high[i] - low[i]):
            return AT_BOUND, f"{PARAMETERS[i]} ran to its bound"
    few = budget_model(np.array([[theta[0], theta[1], 0, 0, *theta[4:]]]), data.at)[0][0]
    if np.abs(few - budget_model(theta[None], data.at)[0][0]).max() < 1e-3:
        return NOT_IDENTIFIED, "more cells change nothing here: s has no meaning"
    return CONVERGED, ""
