"""Many small least-squares problems at once: Levenberg-Marquardt over a stack of problems, with numerical derivatives.

Levenberg 1944, doi:10.1090/qam/10666; Marquardt 1963, doi:10.1137/0111030. A parameter is held on its bound while the
step would push it outwards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

Model = Callable[[np.ndarray, tuple[np.ndarray, ...]], np.ndarray]
"""(parameters [B, P], coordinates that broadcast to [B, M]) -> bits [B, M]."""

_BLOCK = 4096
"""Number of problems solved together: an array of 30 points each then fits a core's cache (4096 x 30 x 8 B = 1 MB)."""
_MAX_STEPS = 500
_LEAST_DAMPING = 1e-9
"""Least damping, relative to a unit diagonal, so that a system with two redundant parameters can still be solved."""
_STEP, _LEAST_SIZE = 6e-6, 1e-5
"""The relative step of central differences is the cube root of the machine precision (Nocedal & Wright 2006, section
8.1); the least size lets a parameter of 0 move, and keeps the step far below a noise-to-signal ratio of 12 bits."""

_SINGULAR = 1e14
"""Condition number, at unit diagonal, from which a normal matrix counts as singular."""


@dataclass(frozen=True)
class Solutions:
    """B solved problems: parameters [B, P], weighted sums of squares [B], whether they converged [B]."""

    theta: np.ndarray
    cost: np.ndarray
    converged: np.ndarray

    def best_of(self, starts: int) -> Self:
        """Return the problem with the lowest cost from each run of `starts` consecutive problems."""
        cost = np.where(np.isfinite(self.cost), self.cost, np.inf).reshape(-1, starts)
        pick = cost.argmin(axis=1) + starts * np.arange(len(cost))
        return type(self)(self.theta[pick], self.cost[pick], self.converged[pick])


def jacobian(
    model: Model, theta: np.ndarray, at: tuple[np.ndarray, ...], lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Return d bits / d parameter [B, M, P] by central differences; one-sided at a bound, 0 if a parameter cannot move.

    The model is taken at parameters [B, P] and coordinates that broadcast to [B, M]; the bounds broadcast to [B, P].
    """
    step = _STEP * np.maximum(np.abs(theta), _LEAST_SIZE)
    up, down = np.minimum(theta + step, upper), np.maximum(theta - step, lower)
    width = up - down
    derivatives = np.zeros((len(theta), np.broadcast_shapes(*(x.shape for x in at))[-1], theta.shape[1]))
    for i in np.flatnonzero(width.any(axis=0)):
        here = np.arange(theta.shape[1]) == i
        difference = model(np.where(here, up, theta), at) - model(np.where(here, down, theta), at)
        derivatives[..., i] = difference / np.where(width[:, i] > 0, width[:, i], 1)[:, None]
    return derivatives


def covariance(derivatives: np.ndarray) -> np.ndarray | None:
    """Return (J'J)^-1 [P, P] of J [M, P], the parameters' covariance over the residual variance; None if singular."""
    information = derivatives.T @ derivatives
    size = np.sqrt(np.diag(information))
    if not np.isfinite(information).all() or (size == 0).any():
        return None
    unit = information / np.outer(size, size)
    return np.linalg.inv(unit) / np.outer(size, size) if np.linalg.cond(unit) < _SINGULAR else None


def minimise(
    model: Model,
    start: np.ndarray,
    at: tuple[np.ndarray, ...],
    bits: np.ndarray,
    weights: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    tolerance: float = 1e-9,
) -> Solutions:
    """Minimise sum(weights (model - bits)^2) in each of B problems (Levenberg 1944; Marquardt 1963).

    The search starts at `start` [B, P], within bounds that broadcast to [B, P] (equal bounds hold a parameter). The
    coordinates `at`, bits and weights (inverse variances up to a factor; 0 leaves a point out) broadcast to [B, M]. A
    problem is solved when a step lowers its cost by less than the fraction `tolerance`.
    """
    low, high = (np.broadcast_to(x, start.shape) for x in (lower, upper))
    wide = [np.broadcast_to(x, (len(x) if x.ndim > 1 else 1, x.shape[-1])) for x in (bits, weights, *at)]
    whole = _Problem(model, wide[0], wide[1], tuple(wide[2:]), low, high)
    parts = []
    for first in range(0, len(start), _BLOCK):
        rows = np.arange(first, min(first + _BLOCK, len(start)))
        parts.append(_solve(whole.of(rows), np.clip(start[rows], low[rows], high[rows]), tolerance))
    return Solutions(*(np.concatenate(x) for x in zip(*parts, strict=True)))


@dataclass(frozen=True)
class _Problem:
    """A stack of problems; observations, weights and coordinates that have a single row are shared by all problems."""

    model: Model
    bits: np.ndarray
    weights: np.ndarray
    at: tuple[np.ndarray, ...]
    lower: np.ndarray
    upper: np.ndarray

    def of(self, rows: np.ndarray) -> Self:
        bits, weights, *at = (x if len(x) == 1 else x[rows] for x in (self.bits, self.weights, *self.at))
        return type(self)(self.model, bits, weights, tuple(at), self.lower[rows], self.upper[rows])

    def left(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return fitted minus observed bits [B, M], and the cost [B]."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            left = self.model(theta, self.at) - self.bits
            return left, (self.weights * left**2).sum(1)

    def normal(self, theta: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return half the gradient [B, P], and J'WJ [B, P, P], at these parameters."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            derivatives = jacobian(self.model, theta, self.at, self.lower, self.upper)
        weighted = derivatives * self.weights[..., None]
        return np.matmul(left[:, None, :], weighted)[:, 0], np.matmul(derivatives.transpose(0, 2, 1), weighted)


def _solve(problem: _Problem, theta: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    theta = theta.copy()
    left, cost = problem.left(theta)
    gradient, curvature = problem.normal(theta, left)
    damping, done = np.full(len(theta), 1e-3), np.zeros(len(theta), bool)
    active = np.arange(len(theta))
    for _ in range(_MAX_STEPS):
        here = problem if len(active) == len(theta) else problem.of(active)
        step = _step(theta[active], gradient[active], curvature[active], damping[active], here)
        tried = np.clip(theta[active] + step, here.lower, here.upper)
        left, new = here.left(tried)
        old = cost[active]
        better = np.isfinite(new) & (new <= old)
        damping[active] = np.where(better, np.maximum(damping[active] * 0.2, _LEAST_DAMPING), damping[active] * 5)
        still = np.abs(tried - theta[active]).max(1) < 1e-12  # no parameter moves any more
        finished = np.where(better, old - new <= tolerance * old + 1e-20, (damping[active] > 1e10) | still)
        theta[active[better]], cost[active[better]] = tried[better], new[better]
        done[active[finished]] = True
        moved, active = better & ~finished, active[~finished]
        if not len(active):
            break
        rows = active[moved[~finished]]
        if len(rows):
            gradient[rows], curvature[rows] = problem.of(rows).normal(theta[rows], left[moved])
    return theta, cost, done


def _step(
    theta: np.ndarray, gradient: np.ndarray, curvature: np.ndarray, damping: np.ndarray, problem: _Problem
) -> np.ndarray:
    """Return the damped Gauss-Newton step; parameters on a bound that the step would push outwards are held."""
    held = ((theta <= problem.lower) & (gradient > 0)) | ((theta >= problem.upper) & (gradient < 0))
    held |= problem.lower == problem.upper
    gradient = np.where(held, 0.0, gradient)
    free = ~held[:, :, None] & ~held[:, None, :]
    diagonal = np.einsum("bii->bi", curvature)
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-12 * diagonal.max(1, keepdims=True) + 1e-30))
    system = np.where(free, curvature * scale[:, :, None] * scale[:, None, :], 0.0)  # scaled to a unit diagonal
    system += np.where(held, 1.0, damping[:, None])[:, :, None] * np.eye(theta.shape[1])
    return -scale * np.linalg.solve(system, (scale * gradient)[..., None])[..., 0]
