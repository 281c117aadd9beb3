"""Where a curve has reached a share of its best: the cells, or the depth, from which more bring little."""

import numpy as np

from .exchange import rising

SHARES = (0.9, 0.95)
LEAST_BITS = 0.1
"""Curves that never find as much have no best to reach."""


def reached(x: np.ndarray, bits: np.ndarray, noise: np.ndarray, share: float) -> tuple[float, float, float]:
    """The abscissa at which a share of the best measured bits is reached: value, low, high (95 %).

    Bits are made to rise (isotonic regression, Barlow et al. 1972), the best is where they end, and between measured
    points the logarithm of `x`, training cells or UMIs per cell that rise, is interpolated. No law is taken for true,
    and nothing lies beyond the measured range: the first point where it has the share already. The interval is that of
    the same of bits with fresh noise, of the means' standard errors (a parametric bootstrap, Efron & Tibshirani 1993,
    section 6.5), about the rising curve. All are [points]. NaN throughout where the best is below LEAST_BITS; NaN for
    the ends where the noise is not known.
    """
    curve = rising(bits[None], np.ones((1, len(x))))[0]
    if curve[-1] < LEAST_BITS:
        return np.nan, np.nan, np.nan
    value = _at(x, curve, share)
    if not np.isfinite(noise).all():
        return value, np.nan, np.nan
    fresh = curve + noise * np.random.default_rng(0).standard_normal((200, len(x)))
    low, high = np.quantile([_at(x, one, share) for one in rising(fresh, np.ones_like(fresh))], [0.025, 0.975])
    return value, min(float(low), value), max(float(high), value)


def _at(x: np.ndarray, curve: np.ndarray, share: float) -> float:
    first = np.flatnonzero(curve >= share * curve[-1])[0]
    if first == 0:
        return float(x[0])
    return float(np.exp(np.interp(share * curve[-1], curve[first - 1 : first + 1], np.log(x[first - 1 : first + 1]))))
