"""Laws of information against depth that compete with Eq. 1, with their derivatives, fitted many curves at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .formulas import cell_number_law, noise_law, two_sided_law
from .least_squares import Solutions, minimise
from .resample import shake

_HALF_BIT = 0.5 / np.log(2)
_EXPONENTS = (0.5, 1.0, 2.0)

# bits [B, M] and d bits / d parameter [B, M, P] of parameters [B, P] at the logarithm of depth [B, M]
Slopes = Callable[[np.ndarray, tuple[np.ndarray, ...]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Rival:
    """A law of depth: its name in words, its slopes, and what its parameters are.

    `shape` says how the first parameters are started and bounded: "scale" is the logarithm of a depth, "exponent" a
    power; the last parameter, a level in bits, is then started where the other ones leave it.
    """

    name: str
    words: str
    slopes: Slopes
    parameters: tuple[str, ...]
    shape: tuple[str, ...]
    top: float = 20.0  # bits; no embedding comes near a million distinguishable states

    @property
    def n_parameters(self) -> int:
        return len(self.parameters)


def _stack(*columns: np.ndarray) -> np.ndarray:
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def _eq1(theta, at):
    scale, top = theta[:, 0, None], theta[:, 1, None]
    ratio, least = np.exp(at[0] - scale), 2.0 ** (-2 * top)
    near, far = ratio / (1 + ratio), ratio / (ratio + least)
    bits = top - _HALF_BIT * (np.log1p(ratio) - np.log(ratio + least))
    return bits, _stack(_HALF_BIT * (near - far), far)


def _stretched(theta, at):
    scale, power, top = (theta[:, i, None] for i in range(3))
    away = at[0] - scale
    ratio, least = np.exp(power * away), 2.0 ** (-2 * top)
    near, far = ratio / (1 + ratio), ratio / (ratio + least)
    bits = top - _HALF_BIT * (np.log1p(ratio) - np.log(ratio + least))
    return bits, _stack(_HALF_BIT * power * (near - far), _HALF_BIT * away * (far - near), far)


def _two_sided(theta, at):
    scale, top = theta[:, 0, None], theta[:, 1, None]
    kept = 1 / (1 + np.exp(scale - at[0]))
    ceiling = 1 - 2.0 ** (-2 * top)
    left = 1 - ceiling * kept**2
    by_scale = -2 * _HALF_BIT * ceiling * kept**2 * (1 - kept) / left
    return -_HALF_BIT * np.log(left), _stack(by_scale, (1 - ceiling) * kept**2 / left)


def _hill(theta, at):
    scale, top = theta[:, 0, None], theta[:, 1, None]
    kept = 1 / (1 + np.exp(scale - at[0]))
    return top * kept, _stack(-top * kept * (1 - kept), kept)


def _logistic(theta, at):
    scale, power, top = (theta[:, i, None] for i in range(3))
    kept = 1 / (1 + np.exp(power * (scale - at[0])))
    middle = top * kept * (1 - kept)
    return top * kept, _stack(-power * middle, (at[0] - scale) * middle, kept)


def _exponential(theta, at):
    scale, top = theta[:, 0, None], theta[:, 1, None]
    ratio = np.exp(np.minimum(at[0] - scale, 30))
    left = np.exp(-ratio)
    return top * (1 - left), _stack(-top * ratio * left, 1 - left)


def _power(theta, at):
    power, level = theta[:, 0, None], theta[:, 1, None]
    grown = np.exp(power * (at[0] - _LOG_100))
    return level * grown, _stack(level * (at[0] - _LOG_100) * grown, grown)


def _saturating_power(theta, at):
    scale, power, top = (theta[:, i, None] for i in range(3))
    lacking = np.exp(np.minimum(-power * (at[0] - scale), 50))
    return top - lacking, _stack(-power * lacking, (at[0] - scale) * lacking, np.ones_like(at[0]))


def _log_linear(theta, at):
    slope, level = theta[:, 0, None], theta[:, 1, None]
    away = at[0] - _LOG_100
    return level + slope * away, _stack(away, np.ones_like(away))


_LOG_100 = float(np.log(100.0))

EQ_1 = Rival("noise_law", "Eq. 1", _eq1, ("u_bar", "i_max"), ("scale", "level"))
TWO_SIDED = Rival("two_sided", "noise on both sides", _two_sided, ("half", "i_max"), ("scale", "level"))
RIVALS: dict[str, Rival] = {
    law.name: law
    for law in (
        EQ_1,
        Rival("stretched", "Eq. 1 in a power of depth", _stretched, ("u_bar", "a", "i_max"),
              ("scale", "exponent", "level")),
        TWO_SIDED,
        Rival("logistic", "logistic in log depth", _logistic, ("half", "a", "i_max"), ("scale", "exponent", "level")),
        Rival("hill", "Hill", _hill, ("half", "i_max"), ("scale", "level")),
        Rival("exponential", "exponential", _exponential, ("scale", "i_max"), ("scale", "level")),
        Rival("saturating_power", "power law below a ceiling", _saturating_power, ("u_sat", "s", "i_max"),
              ("scale", "exponent", "level")),
        Rival("power", "power law", _power, ("exponent", "bits_at_100"), ("exponent", "level")),
        Rival("log_linear", "straight line in log depth", _log_linear, ("slope", "bits_at_100"),
              ("line", "level"), 1e3),
    )
}  # fmt: skip
"""Every law by its name; two- and three-parameter ones."""


def bounds(law: Rival, log_u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of the parameters as fitted, [B, P], around the depths of each curve."""
    low, high = np.nanmin(log_u, axis=1), np.nanmax(log_u, axis=1)
    ends = {
        "scale": (low + np.log(1e-4), high + np.log(1e6)),  # those of the reference fit
        "exponent": (np.full_like(low, 0.01), np.full_like(low, 5.0)),
        "line": (np.full_like(low, -1e3), np.full_like(low, 1e3)),
        "level": (np.full_like(low, 0.0 if law.name != "log_linear" else -1e3), np.full_like(low, law.top)),
    }
    return tuple(np.stack([ends[kind][side] for kind in law.shape], axis=1) for side in (0, 1))


def _starts(law: Rival, log_u: np.ndarray, bits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[B, starts, P]: scales over the depths and beyond, three exponents, a level a little above the highest seen."""
    low, high = np.nanmin(log_u, axis=1), np.nanmax(log_u, axis=1)
    places = np.linspace(-0.2, 1.5, 5) if "scale" in law.shape else np.zeros(1)
    powers = _EXPONENTS if "exponent" in law.shape else (0.2,)
    top = np.maximum(np.where(weights > 0, bits, -np.inf).max(axis=1), 0.1)
    rows = []
    for place in places:
        for power in powers:
            values = {"scale": low + place * (high - low), "exponent": np.full_like(low, power)}
            values |= {"line": np.full_like(low, power), "level": 1.1 * top}
            rows.append(np.stack([values[kind] for kind in law.shape], axis=1))
    return np.stack(rows, axis=1)


def fit_rivals(
    law: Rival, u: np.ndarray, bits: np.ndarray, weights: np.ndarray | None = None, *, start: np.ndarray | None = None
) -> Solutions:
    """Fit one law to B curves at once by least squares, from several starts each (or from `start` [B, P] alone).

    Parameters
    ----------
    u, bits
        Depths in UMIs per cell and bits, [B, M]; NaN where a curve has no such point.
    weights
        Inverse variances up to a factor, [B, M]; 0 leaves a point out.

    Returns
    -------
    Solutions: parameters as fitted [B, P] (depths as logarithms; `natural` turns them back), sums of squares [B].
    """
    u, bits = np.broadcast_arrays(np.asarray(u, float), np.asarray(bits, float))
    weights = np.ones_like(bits) if weights is None else np.broadcast_to(np.asarray(weights, float), bits.shape)
    here = np.isfinite(u) & np.isfinite(bits)
    weights, log_u = np.where(here, weights, 0.0), np.log(np.where(here, u, np.nan))
    bits = np.where(here, bits, 0.0)
    low, high = bounds(law, log_u)
    filled = np.where(here, log_u, np.nanmean(log_u, axis=1, keepdims=True))
    if start is not None:
        return minimise(law.slopes, start, (filled,), bits, weights, low, high, tolerance=1e-6)
    starts = _starts(law, log_u, bits, weights)
    count = starts.shape[1]
    many = [np.repeat(x, count, axis=0) for x in (filled, bits, weights, low, high)]
    found = minimise(law.slopes, starts.reshape(-1, law.n_parameters), (many[0],), *many[1:])
    return found.best_of(count)


def natural(law: Rival, theta: np.ndarray) -> dict[str, np.ndarray]:
    """Parameters by name, [B] each, depths in UMIs per cell."""
    columns = {n: theta[:, i] for i, n in enumerate(law.parameters)}
    kinds = zip(law.parameters, law.shape, strict=True)
    return {name: np.exp(columns[name]) if kind == "scale" else columns[name] for name, kind in kinds}


def predict(law: Rival, theta: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Bits [B, M] of fitted parameters [B, P] at depths [B, M] or [M]."""
    log_u = np.broadcast_to(np.log(np.asarray(u, float)), (len(theta), np.shape(u)[-1]))
    return law.slopes(theta, (log_u,))[0]


FORMULAS = {"noise_law": noise_law, "two_sided": two_sided_law, "saturating_power": cell_number_law}
"""The definitions that the slopes above are held to, where the package has them."""


def bootstrap_rivals(
    law: Rival, u: np.ndarray, bits: np.ndarray, draws: int, *, seed: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Parameters of B curves refitted to resampled residuals, [draws, B, P], as fitted.

    Residuals of each curve are resampled as in `BudgetFit.bootstrap`, each of its depths on its own; all seeds of one
    depth, which share test cells, must have the same `u`, and then share a factor. Refits start from the fit.
    """
    u, bits = np.broadcast_arrays(np.asarray(u, float), np.asarray(bits, float))
    fit = fit_rivals(law, u, bits, weights)
    fitted = predict(law, fit.theta, np.where(np.isfinite(u), u, 1.0))
    here = np.isfinite(u) & np.isfinite(bits)
    full = here.astype(float) if weights is None else np.where(here, weights, 0.0)
    out = np.empty((draws, *fit.theta.shape))
    for i, curve in enumerate(here):
        left = np.zeros((draws, bits.shape[1]))
        groups = np.unique(u[i, curve], return_inverse=True)[1]
        log_u = np.log(u[i : i + 1, curve])
        slope = law.slopes(fit.theta[i : i + 1], (log_u,))[1][0]
        left[:, curve] = shake((bits - fitted)[i, curve], slope, full[i, curve], groups, draws, seed=[seed, i])
        start = np.tile(fit.theta[i], (draws, 1))
        out[:, i] = fit_rivals(law, np.tile(u[i], (draws, 1)), fitted[i] + left, full[i][None], start=start).theta
    return out
