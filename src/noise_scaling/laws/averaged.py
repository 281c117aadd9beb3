"""Intervals of u_bar and I_max averaged over laws, with seeds and splits as random effects.

An interval of Eq. 1 alone is valid only if Eq. 1 holds, and a curve of ten depths seldom tells Eq. 1 from similar laws.
Here every member of a family (`channels_law`: power of depth, number of channels, one side counted or both) is fitted.
Each parameter's distribution is the mixture over the members, weighted by how well they fit (Buckland, Burnham &
Augustin 1997, doi:10.2307/2533961). benchmarks/law_coverage.py measures how often such intervals contain the truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import special

from .channels import log_half, parallel, ratio
from .law import padded
from .least_squares import jacobian, minimise

MEMBERS = np.array([
    *product((0.5, 0.65, 0.8, 1.0, 1.25, 1.6, 2.0), (1, 2, 4, 8), (1,)),
    *product((1.0,), (1, 2, 4, 8), (2,)),
])  # fmt: skip
"""Power, channels and sides of each member; before the data are seen, all members have equal weight."""
LARGEST_BITS = 20.0
"""An upper end above this many bits is reported as infinite."""
ONE_SEED = 0.05, 0.03
"""Standard deviations between seeds in bits, assumed for a curve of a single seed: of the whole curve, and for a
standard deviation of ln u. In the committed measurements they are 0.02 to 0.08 and 0.02 to 0.06."""
_ONE_DEPTH = 0.03
"""Points whose depths differ by less than this share count as one depth: seeds agree within 1 %."""
_NOTHING = 0.02
_STARTS = (1.02, 1.3, 2.0)
_TINY = 1e-9


@dataclass(frozen=True)
class Curve:
    """One curve as depths [D] and bits [seeds, D]; NaN where a seed lacks a depth."""

    u: np.ndarray
    bits: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean bits over seeds, [D]."""
        return np.nanmean(self.bits, axis=0)

    @property
    def between(self) -> np.ndarray:
        """Deviation of each seed from the mean, [seeds, D], 0 if not measured; for one seed, ONE_SEED's, [2, D]."""
        if len(self.bits) > 1:
            return np.nan_to_num(self.bits - self.mean)
        along = np.log(self.u) - np.log(self.u).mean()
        return np.outer(ONE_SEED, np.ones_like(along)) * [np.ones_like(along), along / along.std()]

    @property
    def noise(self) -> float:
        """Part of the means' sum of squares that comes from the noise of single points."""
        seeds, between = len(self.bits), self.between
        left = np.square(between - between.mean(1, keepdims=True)).sum()
        return float(left) / (seeds * (seeds - 1)) if seeds > 1 else 0.0


def curve(u: np.ndarray, bits: np.ndarray, seeds: np.ndarray | None) -> Curve:
    """Return points as a curve, from UMIs per cell, bits and the seed of each point, [points] each.

    Without seeds, the lowest point of every depth is given to one seed, the second lowest to the next, and so on,
    because no other order lets seeds differ by more.
    """
    order = np.argsort(u, kind="stable")
    depth = np.empty(len(u), int)
    depth[order] = np.cumsum(np.diff(np.log(u[order]), prepend=np.log(u[order[0]])) > _ONE_DEPTH)
    if seeds is None:
        seeds = np.empty(len(u), int)
        for at in range(depth.max() + 1):
            seeds[depth == at] = np.argsort(np.argsort(bits[depth == at]))
    seed = np.unique(seeds, return_inverse=True)[1]
    table = np.full((seed.max() + 1, depth.max() + 1), np.nan)
    table[seed, depth] = bits
    return Curve(np.bincount(depth, u) / np.bincount(depth), table)


def intervals(curves: Sequence[Curve]) -> dict[str, np.ndarray]:
    """Return lower and upper 95 % ends [curves, 2] of u_bar and i_max; infinite where there is no end.

    NaN for a curve with fewer than 4 depths, or with no more than 0.02 bits anywhere.

    A member's error has two parts: residuals of its fit to the means, and differences between seeds (each with its
    split, training and thinning), by one Gauss-Newton step for each seed. Together they have Satterthwaite's degrees of
    freedom (1946, doi:10.2307/3002019). Ends are quantiles of the mixture of Student's t distributions.
    """
    out = {name: np.full((len(curves), 2), np.nan) for name in ("u_bar", "i_max")}
    told = [i for i, one in enumerate(curves) if len(one.u) > 3 and one.mean.max() > _NOTHING]
    if not told:
        return out
    fit = _fitted([curves[i] for i in told])
    tails = np.array([1 - 0.95, 1 + 0.95]) / 2
    out["u_bar"][told], out["i_max"][told] = fit.u_bar_ends(tails), fit.bits_ends(tails)
    return out


@dataclass(frozen=True)
class _Fits:
    """Every member fitted to every curve; theta is ln K, and a channel's noise-to-signal ratio at infinite depth."""

    theta: np.ndarray  # [curves, members, 2]
    weights: np.ndarray  # weights of the members, [curves, members]
    misfit: np.ndarray  # covariance of theta from the residuals of the fit, [curves, members, 2, 2]
    seeds: np.ndarray  # Gauss-Newton steps of theta for each seed, [curves, members, seeds, 2]
    n_seeds: np.ndarray  # [curves, 1]
    freedom: np.ndarray  # depths - 2, [curves, 1]
    depths: np.ndarray  # ln of the shallowest and deepest depth, [curves, 2]

    def distribution(self, of) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return estimate, standard error and degrees of freedom [curves, members] of a function `of` theta."""
        value, step = of(self.theta), 1e-4 * np.stack([np.ones_like(self.theta[..., 0]), self.theta[..., 1]], axis=-1)
        moved = [(of(self.theta + step * axis) - value) / step[..., i] for i, axis in enumerate(np.eye(2))]
        derivatives = np.stack(moved, -1)
        left = np.einsum("cmi,cmij,cmj->cm", derivatives, self.misfit, derivatives)
        spread = np.square(np.einsum("cmi,cmsi->cms", derivatives, self.seeds)).sum(-1)
        others = np.where(self.n_seeds > 1, self.n_seeds - 1, np.inf)  # one seed's spread is ONE_SEED, not an estimate
        spread = spread / (self.n_seeds * np.maximum(self.n_seeds - 1, 1))
        freedom = (left + spread) ** 2 / (left**2 / self.freedom + spread**2 / others + 1e-300)
        return value, np.sqrt(left + spread) + 1e-12, np.maximum(freedom, 1.0)

    def quantiles(self, below, low: np.ndarray, high: np.ndarray, tails: np.ndarray) -> np.ndarray:
        """Find by bisection where the mixture of `below` (x [curves, 1] to [curves, members]) reaches the `tails`."""
        out = []
        for tail in tails:
            least, most = low.copy(), high.copy()
            for _ in range(40):
                middle = (least + most) / 2
                under = (self.weights * below(middle[:, None])).sum(1) < tail
                least, most = np.where(under, middle, least), np.where(under, most, middle)
            out.append(np.where(most >= high, np.inf, most))
        return np.stack(out, axis=1)

    def u_bar_ends(self, tails: np.ndarray) -> np.ndarray:
        """Return the ends of u_bar from the distribution of 1 / u_bar; no upper end (infinite) if it may be 0."""
        value, error, freedom = self.distribution(
            lambda theta: np.exp(-theta[..., 0] - log_half(np.maximum(theta[..., 1], _TINY), *MEMBERS.T))
        )
        low, high = self.depths[:, 0] - np.log(1e4), self.depths[:, 1] + np.log(1e6)
        return np.exp(self.quantiles(lambda x: special.stdtr(freedom, (value - np.exp(-x)) / error), low, high, tails))

    def bits_ends(self, tails: np.ndarray) -> np.ndarray:
        """Return ends of I_max from the distribution of a channel's noise at infinite depth; no end if it may be 0."""
        value, error, freedom = self.distribution(lambda theta: theta[..., 1])
        low, high = np.zeros(len(value)), np.full(len(value), LARGEST_BITS)
        return self.quantiles(
            lambda x: special.stdtr(freedom, (value - ratio(x, MEMBERS[:, 1])) / error), low, high, tails
        )


def _model(theta: np.ndarray, at: tuple[np.ndarray, ...]) -> np.ndarray:
    log_u, *member = at
    return parallel(log_u, theta[:, :1], theta[:, 1:], *member)


def _fitted(curves: Sequence[Curve]) -> _Fits:
    log_u = padded([np.log(one.u) for one in curves])
    weights = np.isfinite(log_u).astype(float)  # 0 in the padding of shorter curves
    bits, log_u = np.nan_to_num(padded([one.mean for one in curves])), np.where(weights > 0, log_u, log_u[:, :1])
    count, size = len(curves), len(MEMBERS)
    many = [np.repeat(x, size, axis=0) for x in (log_u, bits, weights)]
    members = [np.tile(column, count)[:, None] for column in MEMBERS.T]
    at = (many[0], *members)
    lower = np.stack([log_u.min(1) - 12, np.full(count, _TINY)], axis=1).repeat(size, axis=0)
    upper = np.stack([log_u.max(1) + 12, np.full(count, 1e5)], axis=1).repeat(size, axis=0)
    found = [
        minimise(_model, start, at, many[1], many[2], lower, upper, tolerance=1e-7)
        for start in _starts(many[0], many[1], many[2], members)
    ]
    cost = np.stack([one.cost for one in found])
    pick = np.where(np.isfinite(cost), cost, np.inf).argmin(0)
    theta = np.stack([one.theta for one in found])[pick, np.arange(count * size)]
    derivatives = jacobian(_model, theta, at, lower, upper).reshape(count, size, -1, 2)
    return _summed(curves, theta.reshape(count, size, 2), cost.min(0).reshape(count, size), derivatives, weights, log_u)


def _starts(
    log_u: np.ndarray, bits: np.ndarray, weights: np.ndarray, members: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return starts through the point nearest to half of the highest bits, with a ceiling a little or far above."""
    power, channels, sides = (column[:, 0] for column in members)
    top = np.maximum(np.where(weights > 0, bits, -np.inf).max(1), 0.05)
    near = np.where(weights > 0, np.abs(bits - top[:, None] / 2), np.inf).argmin(1)[:, None]
    there = ratio(np.maximum(np.take_along_axis(bits, near, 1)[:, 0], 0.02), channels)
    out = []
    for above in _STARTS:
        floor = ratio(above * top, channels)
        kept = np.maximum(np.expm1((np.log1p(there) - np.log1p(floor)) / sides), 1e-6)
        out.append(np.stack([np.take_along_axis(log_u, near, 1)[:, 0] + np.log(kept) / power, floor], axis=1))
    return out


def _summed(
    curves: Sequence[Curve], theta: np.ndarray, cost: np.ndarray, derivatives: np.ndarray, weights: np.ndarray,
    log_u: np.ndarray,
) -> _Fits:  # fmt: skip
    n_seeds = np.array([[len(one.bits)] for one in curves])
    freedom = np.array([[len(one.u) - 2] for one in curves])
    between = np.zeros((len(curves), max(n_seeds.max(), len(ONE_SEED)), weights.shape[1]))
    for row, one in zip(between, curves, strict=True):
        rows = one.between
        row[: len(rows), : len(one.u)] = rows
    weighted = derivatives * weights[:, None, :, None]
    inverse = np.linalg.pinv(np.einsum("cmdi,cmdj->cmij", derivatives, weighted), hermitian=True)
    # a member whose residuals are smaller than the noise is no better for it
    noise = np.array([[one.noise] for one in curves])
    likelihood = -0.5 * freedom * np.log(cost + noise + 1e-5 * (freedom + 2))
    likelihood = np.exp(likelihood - likelihood.max(1, keepdims=True))
    return _Fits(
        theta, likelihood / likelihood.sum(1, keepdims=True), inverse * (cost / freedom)[..., None, None],
        np.einsum("cmij,cmdj,csd->cmsi", inverse, weighted, between), n_seeds, freedom,
        np.stack([log_u.min(1), log_u.max(1)], axis=1),
    )  # fmt: skip
