"""Many small least-squares problems at once: Levenberg-Marquardt in numpy over a stack of problems.

Levenberg 1944, Marquardt 1963; bounds by projection: a parameter on its bound that is pushed outwards is held.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Model = Callable[[np.ndarray, tuple[np.ndarray, ...]], tuple[np.ndarray, np.ndarray]]
"""(parameters [B, P], coordinates, each [B, M]) -> (bits [B, M], d bits / d parameters [B, M, P])."""

_BLOCK = 4096
"""Problems solved together: at 30 points an array still fits a core's cache (4096 x 30 x 8 B = 1 MB)."""
_LEAST_DAMPING = 1e-9
"""Of the unit diagonal: a system of two parameters that say the same thing can then still be solved."""


@dataclass(frozen=True)
class Prior:
    """A quadratic pull of the parameters towards `mean` [P] with `precision` [P], added to the sum of squares."""

    mean: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True)
class Solutions:
    """B solved problems: parameters [B, P], weighted sums of squares [B] (without the prior), converged [B]."""

    theta: np.ndarray
    cost: np.ndarray
    converged: np.ndarray

    def best_of(self, starts: int) -> Solutions:
        """Of each run of `starts` consecutive problems the one with the lowest cost."""
        cost = np.where(np.isfinite(self.cost), self.cost, np.inf).reshape(-1, starts)
        pick = cost.argmin(axis=1) + starts * np.arange(len(cost))
        return Solutions(self.theta[pick], self.cost[pick], self.converged[pick])


def minimise(
    model: Model,
    start: np.ndarray,
    at: tuple[np.ndarray, ...],
    bits: np.ndarray,
    weights: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    *,
    prior: Prior | None = None,
    max_steps: int = 200,
    tolerance: float = 1e-9,
) -> Solutions:
    """Minimise sum(weights (model - bits)^2) in each of B problems.

    Parameters
    ----------
    start
        Parameters to start from, [B, P].
    at
        Coordinates, each broadcastable to [B, M].
    bits, weights
        Observations and weights (inverse variances up to a factor; 0 leaves a point out), broadcastable to [B, M].
    lower, upper
        Bounds, broadcastable to [B, P]; equal ones hold a parameter.
    tolerance
        A problem is solved where a step lowers its cost by less than this fraction of it.
    """
    start = np.asarray(start, float)
    shape = (len(start), np.broadcast_shapes(bits.shape, weights.shape, *(x.shape for x in at))[-1])
    wide = [np.broadcast_to(x, shape) for x in (bits, weights, *at)]
    low, high = (np.broadcast_to(x, start.shape) for x in (lower, upper))
    parts = []
    for first in range(0, len(start), _BLOCK):
        cut = slice(first, first + _BLOCK)
        problem = _Problem(model, *(x[cut] for x in wide[:2]), tuple(x[cut] for x in wide[2:]), low[cut], high[cut])
        parts.append(_solve(problem, np.clip(start[cut], low[cut], high[cut]), prior, max_steps, tolerance))
    return Solutions(*(np.concatenate(x) for x in zip(*parts, strict=True)))


@dataclass(frozen=True)
class _Problem:
    model: Model
    bits: np.ndarray
    weights: np.ndarray
    at: tuple[np.ndarray, ...]
    lower: np.ndarray
    upper: np.ndarray

    def of(self, rows: np.ndarray) -> _Problem:
        return _Problem(
            self.model, self.bits[rows], self.weights[rows], tuple(x[rows] for x in self.at), self.lower[rows],
            self.upper[rows],
        )  # fmt: skip

    def normal(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cost [B], gradient / 2 [B, P] and J'WJ [B, P, P] at these parameters."""
        value, slope = self.model(theta, self.at)
        left = value - self.bits
        weighted = slope * self.weights[..., None]
        gradient = np.matmul(left[:, None, :], weighted)[:, 0]
        return (self.weights * left**2).sum(1), gradient, np.matmul(slope.transpose(0, 2, 1), weighted)


def _pull(theta: np.ndarray, prior: Prior | None) -> tuple[np.ndarray | float, np.ndarray | float]:
    if prior is None:
        return 0.0, 0.0
    away = theta - prior.mean
    return (prior.precision * away**2).sum(1), prior.precision * away


def _solve(problem: _Problem, theta: np.ndarray, prior: Prior | None, max_steps: int, tolerance: float):
    theta = theta.copy()
    cost, gradient, curvature = problem.normal(theta)
    total = cost + _pull(theta, prior)[0]
    damping, done = np.full(len(theta), 1e-3), np.zeros(len(theta), bool)
    active = np.arange(len(theta))
    for _ in range(max_steps):
        here = problem if len(active) == len(theta) else problem.of(active)
        step = _step(theta[active], gradient[active], curvature[active], damping[active], here, prior)
        tried = np.clip(theta[active] + step, here.lower, here.upper)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            new_cost, new_gradient, new_curvature = here.normal(tried)
        new_total = new_cost + _pull(tried, prior)[0]
        old = total[active]
        better = np.isfinite(new_total) & (new_total <= old)
        gained = np.where(better, old - new_total, 0.0)
        won = active[better]
        theta[won], total[won], cost[won] = tried[better], new_total[better], new_cost[better]
        gradient[won], curvature[won] = new_gradient[better], new_curvature[better]
        damping[active] = np.where(better, np.maximum(damping[active] * 0.2, _LEAST_DAMPING), damping[active] * 5)
        small = np.abs(tried - theta[active]).max(1) < 1e-12  # held on every side: nothing left to move
        finished = (
            (better & (gained <= tolerance * old + 1e-30)) | (~better & (damping[active] > 1e10)) | (small & ~better)
        )
        done[active[finished]] = True
        active = active[~finished]
        if not len(active):
            break
    return theta, cost, done


def _step(theta, gradient, curvature, damping, problem: _Problem, prior: Prior | None) -> np.ndarray:
    """The damped Gauss-Newton step, with the parameters held that are on a bound and pushed outwards."""
    if prior is not None:
        gradient = gradient + _pull(theta, prior)[1]
        curvature = curvature + np.diag(prior.precision)
    held = ((theta <= problem.lower) & (gradient > 0)) | ((theta >= problem.upper) & (gradient < 0))
    held |= problem.lower == problem.upper
    gradient = np.where(held, 0.0, gradient)
    free = ~held[:, :, None] & ~held[:, None, :]
    diagonal = np.einsum("bii->bi", curvature)
    scale = 1 / np.sqrt(np.maximum(diagonal, 1e-12 * diagonal.max(1, keepdims=True) + 1e-30))
    system = np.where(free, curvature * scale[:, :, None] * scale[:, None, :], 0.0)  # of unit diagonal
    system += np.where(held, 1.0, damping[:, None])[:, :, None] * np.eye(theta.shape[1])
    return -scale * np.linalg.solve(system, (scale * gradient)[..., None])[..., 0]


def covariance(model: Model, theta: np.ndarray, at: tuple[np.ndarray, ...], weights: np.ndarray) -> np.ndarray:
    """(J'WJ)^-1 [B, P, P] at these parameters: times the residual variance it is their covariance. NaN if singular."""
    slope = model(theta, at)[1]
    information = np.matmul(slope.transpose(0, 2, 1), slope * np.broadcast_to(weights, slope.shape[:2])[..., None])
    out = np.full_like(information, np.nan)
    for i, one in enumerate(information):
        if np.isfinite(one).all() and np.linalg.cond(one) < 1e14:
            out[i] = np.linalg.inv(one)
    return out
