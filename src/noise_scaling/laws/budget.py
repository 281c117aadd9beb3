"""The noise budget: one law of information against training cells and depth together, with its uncertainty."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from ..errors import InputError
from .averaged import MEMBERS
from .formulas import AT_BOUND, CONVERGED, FAILED, NOT_IDENTIFIED, Values, noise_budget
from .law import vectors
from .least_squares import Solutions, jacobian, minimise
from .resample import wild_bootstrap

PARAMETERS = ("v0", "v1", "v2", "v3", "s", "a")

_S_STARTS = (0.1, 0.2, 0.35, 0.6, 1.0)
_S_BOUNDS, _A_BOUNDS = (0.02, 2.5), (0.3, 2.0)
_FAMILY = MEMBERS[MEMBERS[:, 2] == 1, :2]  # a channel's power of depth, and the number of channels
_NO_BETTER = 1e-5  # bits squared: smaller residuals do not make a member better


def budget_model(theta: np.ndarray, at: tuple[np.ndarray, ...]) -> np.ndarray:
    """`noise_budget` as a model for `minimise`: theta [B, 6] in the order of PARAMETERS, `at` is (n, u)."""
    n, u = at
    return noise_budget(n, u, *theta.T[:, :, None])


@dataclass(frozen=True)
class _Data:
    """The points of one fit, and the reference (n0, u0) that their coordinates are divided by."""

    n: np.ndarray
    u: np.ndarray
    bits: np.ndarray
    weights: np.ndarray
    groups: np.ndarray  # number of the depth of each point, from 0 on
    powers: tuple[float, float]  # bounds of the exponent of depth
    reference: tuple[float, float]

    @property
    def at(self) -> tuple[np.ndarray, np.ndarray]:
        n0, u0 = self.reference
        return (self.n / n0)[None], (self.u / u0)[None]

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return lower and upper bounds [6]: terms >= 0, the exponent of depth within `powers`."""
        least = 1e-3 * _nsr(self.bits[self.weights > 0]).min()  # 5 bits above the highest value seen
        low, high = zip((least, np.inf), *[(0.0, np.inf)] * 3, _S_BOUNDS, self.powers, strict=True)
        return np.array(low), np.array(high)


def _nsr(bits: np.ndarray) -> np.ndarray:
    """Return the noise-to-signal ratio of a Gaussian channel, 1 / (2^(2 bits) - 1), with bits clipped to 0.02 to 12."""
    return 1 / (2.0 ** (2 * np.clip(bits, 0.02, 12)) - 1)


def _starts(data: _Data, exponents: Sequence[float] = _S_STARTS) -> np.ndarray:
    """Return starts [starts, 6]: for each exponent of cells, terms of a non-negative linear fit to noise-to-signal."""
    n, u = (x[0] for x in data.at)
    nsr = _nsr(data.bits)
    scale = np.sqrt(data.weights) / (nsr * (1 + nsr))  # converts an error of the ratio to bits
    rows, shallow = [], u ** -np.clip(1.0, *data.powers)
    for s in exponents:
        columns = np.stack([np.ones_like(nsr), shallow, n**-s, n**-s * shallow], axis=1)
        terms = optimize.nnls(columns * scale[:, None], nsr * scale)[0]
        rows.append([*np.maximum(terms, 0.01 * nsr[data.weights > 0].min()), s, 1.0])
    return np.clip(np.array(rows), *data.bounds())


@dataclass(frozen=True)
class BudgetFit:
    """A fitted noise budget: noise-to-signal = v0 + v1 u^-a + v2 n^-s + v3 n^-s u^-a.

    `parameters` are those of `noise_budget`. `draws` [draws, 6] are the same parameters refitted by `bootstrap`, in the
    order of PARAMETERS, or [draws, 7] by `averaged`, with channels last. `residual_sd` is in bits. `status` and `note`
    describe a fit that did not go well.
    """

    parameters: dict[str, float]
    residual_sd: float
    r_squared: float
    n_points: int
    status: str
    note: str
    theta: np.ndarray = field(repr=False)  # as fitted: n and u divided by the data's reference
    data: _Data = field(repr=False)
    draws: np.ndarray | None = None

    def predict(self, n: Values, u: Values) -> np.ndarray:
        """Return bits at `n` training cells and `u` UMIs per cell, of shapes that broadcast."""
        return noise_budget(n, u, **self.parameters)

    def predict_draws(self, n: Values, u: Values) -> np.ndarray:
        """Return bits by every bootstrap draw, [draws, ...]. InputError before `bootstrap` or `averaged` was called."""
        if self.draws is None:
            raise InputError("this fit has no bootstrap draws to read an interval from: call .bootstrap() on it first")
        n, u = np.broadcast_arrays(np.asarray(n, float), np.asarray(u, float))
        return noise_budget(n, u, *self.draws.T.reshape(self.draws.shape[1], -1, *[1] * n.ndim))

    def bootstrap(self, draws: int = 200, *, seed: int = 0) -> Self:
        """Return the same fit with `draws` refits to resampled residuals, which `interval` uses.

        Residuals are resampled by depth: all points of one depth share the molecules of their test cells, and get one
        random sign and size (`resample.wild_bootstrap`).
        """
        return replace(self, draws=_refits([self.data], self.theta[None], np.zeros(draws, int), seed))

    def averaged(self, draws: int = 200, *, seed: int = 0) -> Self:
        """Return the same fit with `draws` from many laws, which `interval` uses: this law need not be the true one.

        The members of `averaged.MEMBERS` with noise on one side (a power of depth, a number of channels) are fitted to
        the points. Each contributes draws of its own bootstrap, more if it fits better (Buckland, Burnham & Augustin
        1997, doi:10.2307/2533961). Depths count as points there, because points of one depth share test cells.
        """
        data = self.data
        members = [replace(data, bits=data.bits / channels, powers=(a, a)) for a, channels in _FAMILY]
        found, channels = _fits(members, [self.theta[4]]), _FAMILY[:, 1]
        freedom = max(int(data.groups.max()) - 1, 1)
        left = found.cost * channels**2 / data.weights.sum() + _NO_BETTER
        share = np.cumsum((left / left.min()) ** (-0.5 * freedom))
        which = np.searchsorted(share / share[-1], (np.arange(draws) + 0.5) / draws)
        return replace(self, draws=np.column_stack([_refits(members, found.theta, which, seed), channels[which]]))

    def interval(self, n: Values, u: Values, *, measured: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return the 95 % interval of the curve in bits, lower and upper, as quantiles of the bootstrap draws.

        Parameters
        ----------
        n, u
            Training cells and UMIs per cell, of shapes that broadcast.
        measured
            Whether the interval is that of one more measurement, with the residuals' spread, not of the curve.

        Raises
        ------
        InputError
            Before `bootstrap` or `averaged` was called.
        """
        tail = (1 - 0.95) / 2  # 0.025 but for its last bit, which committed numbers rest on
        low, high = np.quantile(self.predict_draws(n, u), [tail, 1 - tail], axis=0)
        if measured:
            middle, wide = self.predict(n, u), stats.norm.ppf(1 - tail) * self.residual_sd
            low, high = middle - np.hypot(middle - low, wide), middle + np.hypot(high - middle, wide)
        return low, high


def _refits(data: Sequence[_Data], theta: np.ndarray, which: np.ndarray, seed: int) -> np.ndarray:
    """Return parameters [draws, 6] of refits to resampled residuals, draw i from data[which[i]] and theta[which[i]]."""
    again, bounds = np.empty((len(which), len(data[0].bits))), np.array([one.bounds() for one in data])
    for k in np.unique(which):
        one, (low, high) = data[k], bounds[k]
        fitted = budget_model(theta[k][None], one.at)[0]
        free = (theta[k] > low) & (theta[k] < high)
        derivatives = jacobian(budget_model, theta[k][None], one.at, low, high)[0][:, free]
        drawn = wild_bootstrap(one.bits - fitted, derivatives, one.weights, one.groups, len(which), seed=seed)
        again[which == k] = (fitted + drawn)[which == k]
    low, high = bounds[which].transpose(1, 0, 2)
    weights = data[0].weights[None]
    found = minimise(budget_model, theta[which], data[0].at, again, weights, low, high, tolerance=1e-6)
    return _absolute(found.theta, data[0].reference)


def _absolute(theta: np.ndarray, reference: tuple[float, float]) -> np.ndarray:
    """Convert parameters [..., 6] for n and u divided by a reference to parameters for n in cells and u in UMIs."""
    (n0, u0), s, a = reference, theta[..., 4], theta[..., 5]
    scale = np.stack([np.ones_like(s), u0**a, n0**s, n0**s * u0**a], axis=-1)
    return np.concatenate([theta[..., :4] * scale, theta[..., 4:]], axis=-1)


def fit_noise_budget(
    n: ArrayLike,
    u: ArrayLike,
    bits: ArrayLike,
    weights: ArrayLike | None = None,
) -> BudgetFit:
    """Fit the noise budget to measurements over a grid (or any set) of cells and depths by least squares in bits.

    Parameters
    ----------
    n, u, bits
        Training cells, mean UMIs per cell, and information, vectors of one length.
    weights
        Inverse variances of the bits up to a factor; equal by default.

    Returns
    -------
    BudgetFit with `.parameters`, `.predict`, `.status`, and after `.bootstrap()` `.interval`.

    Raises
    ------
    InputError
        Where there are fewer than 3 depths or 3 cell numbers, too few points, or a value that is not finite.
    """
    data = _checked(n, u, bits, weights)
    return _fitted(data, _fits([data]))


def _checked(n: ArrayLike, u: ArrayLike, bits: ArrayLike, weights: ArrayLike | None) -> _Data:
    given = {"n": n, "u": u, "bits": bits, "weights": np.ones_like(bits, float) if weights is None else weights}
    n, u, bits, weights = vectors(given, positive=("n", "u"))
    if (weights < 0).any():
        raise InputError("weights must not be below 0: drop or correct those measurements")
    for name, values in (("depths (u)", u), ("cell numbers (n)", n)):
        if len(np.unique(values)) < 3:
            raise InputError(f"{len(np.unique(values))} different {name} cannot fit a noise budget: give at least 3")
    if len(bits) <= 5:
        raise InputError(f"{len(bits)} measurements cannot fit 5 parameters: give more")
    return _Data(n, u, bits, weights, np.unique(u, return_inverse=True)[1], (1.0, 1.0), _reference(n, u))


def _reference(n: np.ndarray, u: np.ndarray) -> tuple[float, float]:
    return float(np.exp(np.log(n).mean())), float(np.exp(np.log(u).mean()))


def fit_budgets(
    n: np.ndarray, u: np.ndarray, bits: np.ndarray, weights: np.ndarray, *, stretched: bool = False
) -> np.ndarray:
    """Fit noise budgets to the same points under K different weights, where 0 leaves a point out: parameters [K, 6].

    For hold-outs: each fit is the minimum that `fit_noise_budget` finds for the points left in, many at once
    (Levenberg 1944; Marquardt 1963). The law is `noise_budget`, which this book introduces.

    Parameters
    ----------
    n, u, bits
        Training cells, UMIs per cell and bits of M points, [M].
    weights
        Inverse variances up to a factor, [K, M].
    stretched
        Whether the exponent of depth is free (6 parameters) or 1 as in Eq. 1 (5 parameters).
    """
    groups, powers, reference = np.zeros(len(n), int), _A_BOUNDS if stretched else (1.0, 1.0), _reference(n, u)
    each = [_Data(n, u, bits, w, groups, powers, reference) for w in weights]
    return _absolute(_fits(each, tolerance=1e-7).theta, reference)


def _fits(each: Sequence[_Data], exponents: Sequence[float] = _S_STARTS, tolerance: float = 1e-9) -> Solutions:
    """Fit the same points with different bits, weights or powers by least squares, all at once."""
    starts = np.array([_starts(data, exponents) for data in each])
    columns = zip(*((data.bits, data.weights, *data.bounds()) for data in each), strict=True)
    many = [np.repeat(np.array(column), starts.shape[1], axis=0) for column in columns]
    found = minimise(budget_model, starts.reshape(-1, 6), each[0].at, *many, tolerance=tolerance)
    return found.best_of(starts.shape[1])


def _fitted(data: _Data, found: Solutions) -> BudgetFit:
    theta = found.theta[0]
    left = data.bits - budget_model(theta[None], data.at)[0]
    mean = np.average(data.bits, weights=data.weights)
    spread = float((data.weights * (data.bits - mean) ** 2).sum())
    freedom = max(len(left) - 5, 1)
    status, note = _status(data, theta, bool(found.converged[0]))
    return BudgetFit(
        dict(zip(PARAMETERS, map(float, _absolute(theta, data.reference)), strict=True)),
        float(np.sqrt((left**2).sum() / freedom)),
        1 - float(found.cost[0]) / spread if spread > 0 else np.nan,
        len(left), status, note, theta, data,
    )  # fmt: skip


def _status(data: _Data, theta: np.ndarray, converged: bool) -> tuple[str, str]:
    if not converged:
        return FAILED, "no minimum found within 500 steps"
    low, high = data.bounds()
    if theta[0] <= low[0] * 1.001:
        return NOT_IDENTIFIED, "no ceiling: the data let v0 be nothing, so information at the far end is a guess"
    if min(theta[4] - low[4], high[4] - theta[4]) < 1e-3 * (high[4] - low[4]):
        return AT_BOUND, "s ran to its bound"
    by_cells = np.array([theta, theta * [1, 1, 0, 0, 1, 1]])
    if np.abs(np.diff(budget_model(by_cells, data.at), axis=0)).max() < 1e-3:
        return NOT_IDENTIFIED, "more cells change nothing here: s has no meaning"
    return CONVERGED, ""
