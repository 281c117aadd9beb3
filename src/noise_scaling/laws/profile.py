"""Profile intervals: how far one parameter can go before the best fit of the others gets worse than chance allows."""

from __future__ import annotations

import numpy as np
from scipy import stats

from .least_squares import Model, minimise

_STEPS = 48
_REACH = 1e4
"""Beyond this many curvature standard errors from the minimum a side counts as open."""


def profile_interval(
    model: Model,
    theta: np.ndarray,
    at: tuple[np.ndarray, ...],
    bits: np.ndarray,
    weights: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    index: int,
    *,
    level: float = 0.95,
) -> tuple[float, float]:
    """Interval of one parameter of one fitted problem from the profile of its sum of squares.

    The sum may rise by the factor 1 + t^2 / (points - parameters), t being Student's (Bates & Watts 1988, section 6.1);
    the points count as independent. A side on which it never rises that far before the bound is infinite: the data do
    not say.

    Parameters
    ----------
    theta
        The minimum, [P]; `at`, `bits`, `weights` of that one problem, [1, M]; bounds [P].
    index
        Which parameter.
    """
    free = int((lower < upper).sum())
    points = int((weights > 0).sum())
    best = _costs(model, theta, at, bits, weights, lower, upper, index, theta[[index]])[0]
    allowed = (best + 1e-12) * (1 + stats.t.ppf(0.5 + level / 2, max(points - free, 1)) ** 2 / max(points - free, 1))
    problem = (model, theta, at, bits, weights, lower, upper, index)
    low = _side(problem, theta[index], lower[index], allowed)
    high = _side(problem, theta[index], upper[index], allowed)
    return (-np.inf if low is None else low), (np.inf if high is None else high)


def _side(problem: tuple, middle: float, bound: float, allowed: float) -> float | None:
    """Where the cost crosses `allowed` between the minimum and the bound; None where it does not."""
    direction = 1.0 if bound > middle else -1.0
    reach = min(abs(bound - middle), _REACH * max(abs(middle), 1.0))
    if reach <= 0:
        return None
    steps = reach * np.geomspace(1e-7, 1.0, _STEPS)
    for _ in range(2):  # once over the whole side, once within the step that crosses
        costs = _costs(*problem, middle + direction * steps)
        over = np.flatnonzero(costs > allowed)
        if not len(over):
            return None
        last = steps[over[0]]
        first = steps[over[0] - 1] if over[0] else 0.0
        steps = np.linspace(first, last, _STEPS + 1)[1:]
    return float(middle + direction * last)


def _costs(model, theta, at, bits, weights, lower, upper, index, values) -> np.ndarray:
    """The least cost with the parameter held at each of `values`, the others free."""
    start = np.tile(theta, (len(values), 1))
    start[:, index] = values
    low, high = (np.tile(x, (len(values), 1)) for x in (lower, upper))
    low[:, index] = high[:, index] = values
    return minimise(model, start, at, bits, weights, low, high, tolerance=1e-8).cost
