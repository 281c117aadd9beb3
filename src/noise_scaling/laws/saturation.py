"""The number of cells, or the depth, at which a curve reaches a share of its best bits, so that more add little."""

import numpy as np

from .exchange import rising

SHARES = (0.9, 0.95)
LEAST_BITS = 0.1
"""A curve whose best is below this number of bits has no saturation point."""


def reached(x: np.ndarray, bits: np.ndarray, noise: np.ndarray, share: float) -> tuple[float, float, float]:
    """Return the abscissa at which a curve reaches a share of its best measured bits: value, low, high (95 %).

    The bits are first made non-decreasing (isotonic regression, Barlow et al. 1972); the best is the last of them.
    Between measured points, the logarithm of `x` (training cells or UMIs per cell, in rising order) is interpolated. No
    law is assumed, and the result is never outside the measured range: it is the first point if that has the share
    already. The interval comes from a parametric bootstrap (Efron & Tibshirani 1993, section 6.5), which adds noise
    with the means' standard errors `noise` to the non-decreasing curve. All arrays are [points]. All three results are
    NaN if the best is below LEAST_BITS; low and high are NaN if the noise is not known.
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
