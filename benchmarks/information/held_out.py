"""Families that no estimator was tuned on: none is in the public benchmark's 40 tasks, the suite or the cell-like.

They and their truths were written without running our default on them, and are run once it is frozen. Each truth is a
closed form or a quadrature. The tests check it in a second way, against the average over draws of the log of
p(x, y) / p(x) p(y) of a pair; KSG on 50,000 pairs is a third way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.integrate import quad
from scipy.special import expit, gammaln, i0e, i1e, psi
from scipy.stats import expon, gumbel_r, laplace, ncx2, norm

from noise_scaling.seeds import generator

from .problems import Pairs, rotation

BITS = 1 / np.log(2)


@dataclass(frozen=True)
class Family:
    """A distribution of pairs.

    Attributes
    ----------
    draw
        ``draw(n, rng)`` gives x [n, d] and y [n, d] or labels [n].
    nats
        Computes the true information in nats.
    log_ratio
        ``log_ratio(x, y)``: log p(x, y) / p(x) p(y) of each pair [n], in nats.
    nuisance
        Dimensions of unit noise that are added to x and rotated into it: estimators see them, `log_ratio` does not.
    """

    draw: Callable[[int, np.random.Generator], Pairs]
    nats: Callable[[], float]
    log_ratio: Callable[[np.ndarray, np.ndarray], np.ndarray]
    nuisance: int = 0

    @cached_property
    def bits(self) -> float:
        """The true information in bits."""
        return float(self.nats()) * BITS


def pairs(name: str, n: int, seed: int) -> Pairs:
    """Return `n` pairs of a family at `seed`, as an estimator sees them."""
    family, rng = FAMILIES[name], generator(seed, "held out", name, n)
    x, y = family.draw(n, rng)
    if family.nuisance:
        x = np.hstack([x / x.std(0), rng.standard_normal((n, family.nuisance))])
        x = x @ rotation(x.shape[1], generator(0, "held out", name))
    return x, y


def column(values: np.ndarray) -> np.ndarray:
    """Reshape [n] to [n, 1]."""
    return values[:, None]


def grid(low: float, high: float, n: int = 2001) -> tuple[np.ndarray, float]:
    """Return points for the trapezoid rule and their spacing; the integrand must be near 0 at both ends."""
    points = np.linspace(low, high, n)
    return points, points[1] - points[0]


def plogp(p: np.ndarray) -> np.ndarray:
    """Return p log p, which is 0 at p = 0."""
    return p * np.log(np.where(p > 0, p, 1))


# Copulas: x and y are uniform up to their margins.


def clayton(u: np.ndarray, v: np.ndarray, theta: float = 2.0) -> np.ndarray:
    """Return the log density of the Clayton copula: dependence in the lower tail."""
    inner = np.logaddexp(-theta * np.log(u), np.log(np.expm1(-theta * np.log(v))))
    return np.log1p(theta) - (1 + theta) * (np.log(u) + np.log(v)) - (2 + 1 / theta) * inner


def draw_clayton(n: int, rng: np.random.Generator, theta: float = 2.0) -> Pairs:
    """Draw from the Clayton copula by a gamma frailty, with exponential margins."""
    frailty = rng.gamma(1 / theta, size=n)
    u, v = (1 + rng.exponential(size=(2, n)) / frailty) ** (-1 / theta)
    return column(expon.ppf(u)), column(expon.ppf(v))


def gumbel(u: np.ndarray, v: np.ndarray, theta: float = 1.8) -> np.ndarray:
    """Return the log density of the Gumbel copula: dependence in the upper tail."""
    a, b = -np.log(u), -np.log(v)
    total = np.exp(np.logaddexp(theta * np.log(a), theta * np.log(b)) / theta)
    powers = (theta - 1) * (np.log(a) + np.log(b)) + (1 - 2 * theta) * np.log(total)
    return -total + a + b + powers + np.log(total + theta - 1)


def draw_gumbel(n: int, rng: np.random.Generator, theta: float = 1.8) -> Pairs:
    """Draw from the Gumbel copula by a positive stable frailty (Chambers, Mallows and Stuck 1976), Gumbel margins."""
    alpha, angle, w = 1 / theta, rng.uniform(0, np.pi, n), rng.exponential(size=n)
    stable = np.sin(alpha * angle) / np.sin(angle) ** theta * (np.sin((1 - alpha) * angle) / w) ** (theta - 1)
    u, v = np.exp(-((rng.exponential(size=(2, n)) / stable) ** alpha))
    return column(gumbel_r.ppf(u)), column(gumbel_r.ppf(v))


def frank(u: np.ndarray, v: np.ndarray, theta: float = 8.0) -> np.ndarray:
    """Return the log density of the Frank copula: no dependence in the tails."""
    lost = -np.expm1(-theta) - np.expm1(-theta * u) * np.expm1(-theta * v)
    return np.log(-theta * np.expm1(-theta)) - theta * (u + v) - 2 * np.log(lost)


def draw_frank(n: int, rng: np.random.Generator, theta: float = 8.0) -> Pairs:
    """Draw from the Frank copula by inverting the conditional distribution, with uniform margins."""
    u, w = rng.random((2, n))
    v = -np.log1p(w * np.expm1(-theta) / (w + (1 - w) * np.exp(-theta * u))) / theta
    return column(u), column(v)


def of_copula(log_density: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> float:
    """Return the mean of a copula's log density, by the trapezoid rule in logits."""
    points, step = grid(-30, 30, 3001)
    u = expit(points)
    weights = u * expit(-points)
    log_c = log_density(u[:, None], u[None])
    return float((np.exp(log_c) * log_c * weights[:, None] * weights).sum() * step**2)


def margins(cdf: Callable[[np.ndarray], np.ndarray], log_density: Callable) -> Callable:
    """Return the log ratio of x and y that have margins `cdf` and a copula of `log_density`."""
    return lambda x, y: log_density(cdf(x[:, 0]), cdf(y[:, 0]))


# Laws with a closed form.


THETA_GAMMA, THETA_WEINMAN = 0.5, 0.2


def draw_gamma_exponential(n: int, rng: np.random.Generator) -> Pairs:
    """Draw a gamma x, and y exponential with rate x, so that y has no mean (Darbellay and Vajda 1999)."""
    x = rng.gamma(THETA_GAMMA, size=n)
    return column(x), column(rng.exponential(size=n) / x)


def ratio_gamma_exponential(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x[:, 0], y[:, 0]
    return np.log(x) - x * y - np.log(THETA_GAMMA) + (1 + THETA_GAMMA) * np.log1p(y)


def draw_weinman(n: int, rng: np.random.Generator) -> Pairs:
    """Draw two ordered exponential times (Darbellay and Vajda 1999): y is never below x."""
    x = rng.exponential(0.5, n)
    return column(x), column(x + rng.exponential(THETA_WEINMAN, n))


def ratio_weinman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y, rate = x[:, 0], y[:, 0], 1 / THETA_WEINMAN
    return np.log(rate) - rate * (y - x) - np.log(2 * rate / (rate - 2)) - np.log(np.exp(-2 * y) - np.exp(-rate * y))


def nats_weinman() -> float:
    left = 1 - 2 * THETA_WEINMAN
    return np.log(left / (1 - left)) + psi(1 / left) - psi(1)


KAPPA = 4.0


def draw_von_mises(n: int, rng: np.random.Generator) -> Pairs:
    """Draw an angle, and the angle plus von Mises noise, both as points on the circle."""
    angle = rng.uniform(-np.pi, np.pi, n)
    other = angle + rng.vonmises(0, KAPPA, n)
    return tuple(np.stack([np.cos(a), np.sin(a)], axis=1) for a in (angle, other))


STAIRS = 5


def draw_stairs(n: int, rng: np.random.Generator) -> Pairs:
    """Draw a label k, and a number uniform between k and k + 2 (Gao et al. 2017)."""
    k = rng.integers(0, STAIRS, n)
    return column(k + 2 * rng.random(n)), k


def ratio_stairs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    ends = (x[:, 0] < 1) | (x[:, 0] > STAIRS)
    return np.log(STAIRS) - np.where(ends, 0, np.log(2))


def draw_checkerboard(n: int, rng: np.random.Generator) -> Pairs:
    """Draw points uniform on the 8 black fields of a 4 x 4 board."""
    i, half = rng.integers(0, 4, n), rng.integers(0, 2, n)
    x, y = np.stack([i, 2 * half + i % 2]) + rng.random((2, n))
    return column(x), column(y)


# Noise that is not Gaussian.


RADIUS = 1.5


def disk_density(y: np.ndarray) -> np.ndarray:
    """Return the density, at squared distance `y` from 0, of a planar standard normal plus a point of a disk."""
    return ncx2.cdf(RADIUS**2, 2, y) / (np.pi * RADIUS**2)


def draw_disk(n: int, rng: np.random.Generator) -> Pairs:
    """Draw a planar normal x, and x plus noise uniform on a disk."""
    x, angle = rng.standard_normal((n, 2)), rng.uniform(0, 2 * np.pi, n)
    away = RADIUS * np.sqrt(rng.random(n))
    return x, x + np.stack([away * np.cos(angle), away * np.sin(angle)], axis=1)


def nats_disk() -> float:
    entropy = quad(lambda r: -2 * np.pi * r * plogp(disk_density(r * r)), 0, 12, limit=200)[0]
    return entropy - np.log(np.pi * RADIUS**2)


LAPLACE, LAPLACE_DIMS = 0.7, 3


def laplace_density(y: np.ndarray) -> np.ndarray:
    """Return the density of a standard normal plus Laplace noise."""
    a, b = (norm.logcdf(sign * y - 1 / LAPLACE) - sign * y / LAPLACE for sign in (1, -1))
    return np.exp(np.logaddexp(a, b) + 0.5 / LAPLACE**2) / (2 * LAPLACE)


def draw_laplace(n: int, rng: np.random.Generator) -> Pairs:
    """Draw three normal numbers, and each of them plus Laplace noise."""
    x = rng.standard_normal((n, LAPLACE_DIMS))
    return x, x + rng.laplace(0, LAPLACE, x.shape)


def nats_laplace() -> float:
    points, step = grid(-25, 25)
    return LAPLACE_DIMS * (-plogp(laplace_density(points)).sum() * step - 1 - np.log(2 * LAPLACE))


GAMMA, SIGMA = 2.0, 0.5


def log_noise_density(t: np.ndarray) -> np.ndarray:
    """Return the density of log y [n], the logarithm of a gamma number plus normal noise."""
    points, step = grid(-14, 4, 1001)
    of_log_x = np.exp(GAMMA * points - np.exp(points) - gammaln(GAMMA))
    return norm.pdf(np.asarray(t)[:, None], points, SIGMA) @ of_log_x * step


def draw_log_noise(n: int, rng: np.random.Generator) -> Pairs:
    """Draw a gamma number x, and x times log-normal noise."""
    x = rng.gamma(GAMMA, size=n)
    return column(x), column(x * np.exp(SIGMA * rng.standard_normal(n)))


def ratio_log_noise(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    t = np.log(y[:, 0])
    return norm.logpdf(t, np.log(x[:, 0]), SIGMA) - np.log(log_noise_density(t))


def nats_log_noise() -> float:
    points, step = grid(-16, 7)
    return -plogp(log_noise_density(points)).sum() * step - norm.entropy(scale=SIGMA)


# Counts, dropout, waves.


def dropout(x: np.ndarray) -> np.ndarray:
    """Return the probability that nothing is seen."""
    return expit(-1.5 * x)


def seen_density(t: np.ndarray) -> np.ndarray:
    """Return the density of seeing log y = t [n]; its integral is the probability that something is seen."""
    points, step = grid(-8, 8, 1001)
    return norm.pdf(np.asarray(t)[:, None], 0.8 * points, 0.5) @ (norm.pdf(points) * (1 - dropout(points))) * step


def draw_zero_inflated(n: int, rng: np.random.Generator) -> Pairs:
    """Draw x, and a level that is log-normal given x and often not seen, more often for lower x."""
    x = rng.standard_normal(n)
    level = np.exp(0.8 * x + 0.5 * rng.standard_normal(n))
    return column(x), column(np.where(rng.random(n) < dropout(x), 0, level))


def ratio_zero_inflated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y, t = x[:, 0], y[:, 0], np.log(np.where(y > 0, y, 1))[:, 0]
    nothing = np.log(dropout(x)) - np.log(0.5)  # x and -x are equally likely
    something = np.log1p(-dropout(x)) + norm.logpdf(t, 0.8 * x, 0.5) - np.log(seen_density(t))
    return np.where(y > 0, something, nothing)


def nats_zero_inflated() -> float:
    points, step = grid(-8, 8)
    weights, missed = norm.pdf(points) * step, dropout(points)
    conditional = (weights * (plogp(missed) + plogp(1 - missed) - (1 - missed) * norm.entropy(scale=0.5))).sum()
    t, step = grid(-10, 10)
    return conditional - np.log(0.5) * 0.5 - plogp(seen_density(t)).sum() * step


RATE, ABSENT = 4.0, 0.15


def count_chances(x: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the probabilities [n, counts] of `counts` in cells of expression x [n]."""
    log_poisson = counts * np.log(RATE * x)[:, None] - RATE * x[:, None] - gammaln(counts + 1)
    return (1 - ABSENT) * np.exp(log_poisson) + ABSENT * (counts == 0)


def draw_counts(n: int, rng: np.random.Generator) -> Pairs:
    """Draw an exponential expression and its Poisson counts; a share of cells has no molecules."""
    x = rng.exponential(size=n)
    return column(x), column(np.where(rng.random(n) < ABSENT, 0, rng.poisson(RATE * x)).astype(float))


def all_counts(counts: np.ndarray) -> np.ndarray:
    """Return the probabilities of counts over all cells: a geometric law, and zeros for the share ABSENT."""
    return (1 - ABSENT) / (1 + RATE) * (RATE / (1 + RATE)) ** counts + ABSENT * (counts == 0)


def ratio_counts(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x[:, 0], y[:, 0]
    log_poisson = y * np.log(RATE * x) - RATE * x - gammaln(y + 1)
    return np.log((1 - ABSENT) * np.exp(log_poisson) + ABSENT * (y == 0)) - np.log(all_counts(y))


def nats_counts() -> float:
    points, step = grid(-18, 4)  # log x
    x, counts = np.exp(points), np.arange(400)
    weights = np.exp(points - x) * step
    return weights @ plogp(count_chances(x, counts)).sum(1) - plogp(all_counts(counts)).sum()


def wave(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of y given x."""
    return np.sin(4 * np.pi * x), 0.15 + 0.35 * x


def wave_density(y: np.ndarray) -> np.ndarray:
    """Return the density of y [n]: the mean over x at the midpoints of 2,000 intervals."""
    return norm.pdf(np.asarray(y)[:, None], *wave((np.arange(2000) + 0.5) / 2000)).mean(1)


def draw_wave(n: int, rng: np.random.Generator) -> Pairs:
    """Draw x, and two periods of a sine of x plus noise that grows with x."""
    x = rng.random(n)
    mean, deviation = wave(x)
    return column(x), column(mean + deviation * rng.standard_normal(n))


def ratio_wave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return norm.logpdf(y[:, 0], *wave(x[:, 0])) - np.log(wave_density(y[:, 0]))


def nats_wave() -> float:
    points, step = grid(-5, 5)
    entropy_of_noise = quad(lambda x: norm.entropy(scale=wave(x)[1]), 0, 1)[0]
    return -plogp(wave_density(points)).sum() * step - entropy_of_noise


# Shapes and classes.


SCALES, SCALE_DIMS = np.array([1.0, 1.8, 3.2]), 4


def scale_chances(square: np.ndarray) -> np.ndarray:
    """Return the class probabilities [n, classes] given the squared length of x."""
    logs = -0.5 * square[:, None] / SCALES**2 - SCALE_DIMS * np.log(SCALES)
    return np.exp(logs - np.logaddexp.reduce(logs, axis=1)[:, None])


def draw_scales(n: int, rng: np.random.Generator) -> Pairs:
    """Draw classes that differ only in their spread."""
    codes = rng.integers(0, len(SCALES), n)
    return SCALES[codes, None] * rng.standard_normal((n, SCALE_DIMS)), codes


def ratio_scales(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.log(len(SCALES) * scale_chances((x**2).sum(1))[np.arange(len(y)), y])


def nats_scales() -> float:
    radius, step = grid(0, 40, 8001)
    shell = [r for r in (radius**3 / 2 * np.exp(-0.5 * (radius / s) ** 2) / s**4 for s in SCALES)]
    return np.log(len(SCALES)) + np.mean(shell, axis=0) @ plogp(scale_chances(radius**2)).sum(1) * step


WIDTH = 0.35


def moon(points: np.ndarray, which: int) -> np.ndarray:
    """Return the density of a moon at `points` [n, 2]: the mean over 200 places on its arc."""
    angle = np.pi * (np.arange(200) + 0.5) / 200
    places = (
        np.stack([np.cos(angle), np.sin(angle)]) if which == 0 else np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)])
    )
    x, y = (norm.pdf(points[:, i, None], places[i], WIDTH) for i in (0, 1))
    return (x * y).mean(1)


def draw_moons(n: int, rng: np.random.Generator) -> Pairs:
    """Draw points of the plane, and which of two moons each belongs to."""
    codes, angle = rng.integers(0, 2, n), rng.uniform(0, np.pi, n)
    x = np.stack(
        [np.where(codes, 1 - np.cos(angle), np.cos(angle)), np.where(codes, 0.5 - np.sin(angle), np.sin(angle))]
    )
    return x.T + WIDTH * rng.standard_normal((n, 2)), codes


def ratio_moons(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    a, b = moon(x, 0), moon(x, 1)
    return np.log(2 * np.where(y == 0, a, b) / (a + b))


def nats_moons() -> float:
    points, step = grid(-3, 4, 101)
    plane = np.stack(np.meshgrid(points, points, indexing="ij"), axis=-1).reshape(-1, 2)
    a, b = moon(plane, 0), moon(plane, 1)
    return 0.5 * (plogp(a) + plogp(b) - plogp(a + b)).sum() * step**2 + np.log(2)


RING = 0.15


def ring_density(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the density of a ring of radius 1 plus Gaussian noise."""
    radius = np.hypot(x, y)
    return np.exp(-0.5 * ((radius - 1) / RING) ** 2) * i0e(radius / RING**2) / (2 * np.pi * RING**2)


def ring_margin(x: np.ndarray) -> np.ndarray:
    """Return the density of one coordinate [n] of the noisy ring."""
    angle = np.pi * (np.arange(1000) + 0.5) / 1000
    return norm.pdf(np.asarray(x)[:, None], np.cos(angle), RING).mean(1)


def draw_ring(n: int, rng: np.random.Generator) -> Pairs:
    """Draw the two coordinates of points on a noisy ring."""
    angle = rng.uniform(0, 2 * np.pi, n)
    noise = RING * rng.standard_normal((2, n))
    return column(np.cos(angle) + noise[0]), column(np.sin(angle) + noise[1])


def ratio_ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x[:, 0], y[:, 0]
    return np.log(ring_density(x, y)) - np.log(ring_margin(x)) - np.log(ring_margin(y))


def nats_ring() -> float:
    points, step = grid(-2.5, 2.5, 1001)
    of_one = -plogp(ring_margin(points)).sum() * step
    return 2 * of_one + plogp(ring_density(points[:, None], points)).sum() * step**2


SHARE, RHO = 0.5, 0.97


def draw_contaminated(n: int, rng: np.random.Generator) -> Pairs:
    """Draw pairs of which half are closely correlated and the others not at all."""
    x, noise = rng.standard_normal((2, n))
    rho = np.where(rng.random(n) < SHARE, RHO, 0)
    return column(x), column(rho * x + np.sqrt(1 - rho**2) * noise)


def ratio_contaminated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = (values.reshape(len(values), -1)[:, 0] for values in (x, y))
    return _contaminated(x, y)


def _contaminated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    log_ratio = (RHO * x * y - 0.5 * RHO**2 * (x**2 + y**2)) / (1 - RHO**2) - 0.5 * np.log(1 - RHO**2)
    return np.logaddexp(np.log(SHARE) + log_ratio, np.log(1 - SHARE))


def nats_contaminated() -> float:
    points, step = grid(-8, 8)
    log_ratio = _contaminated(points[:, None], points)
    return (np.exp(log_ratio) * log_ratio * norm.pdf(points)[:, None] * norm.pdf(points)).sum() * step**2


FAMILIES = {
    "clayton": Family(draw_clayton, lambda: of_copula(clayton), margins(expon.cdf, clayton)),
    "gumbel": Family(draw_gumbel, lambda: of_copula(gumbel), margins(gumbel_r.cdf, gumbel), nuisance=3),
    "frank": Family(draw_frank, lambda: of_copula(frank), margins(lambda u: u, frank)),
    "gamma_exponential": Family(
        draw_gamma_exponential, lambda: psi(THETA_GAMMA + 1) - np.log(THETA_GAMMA), ratio_gamma_exponential
    ),
    "weinman": Family(draw_weinman, nats_weinman, ratio_weinman),
    "von_mises": Family(
        draw_von_mises,
        lambda: KAPPA * i1e(KAPPA) / i0e(KAPPA) - np.log(i0e(KAPPA)) - KAPPA,
        lambda x, y: KAPPA * (x * y).sum(1) - np.log(i0e(KAPPA)) - KAPPA,
        nuisance=6,
    ),
    "stairs": Family(draw_stairs, lambda: np.log(STAIRS) - (STAIRS - 1) / STAIRS * np.log(2), ratio_stairs),
    "checkerboard": Family(draw_checkerboard, lambda: np.log(2), lambda x, y: np.full(len(x), np.log(2))),
    "disk_noise": Family(
        draw_disk, nats_disk, lambda x, y: -np.log(np.pi * RADIUS**2) - np.log(disk_density((y**2).sum(1)))
    ),
    "laplace_noise": Family(
        draw_laplace,
        nats_laplace,
        lambda x, y: (laplace.logpdf(y - x, scale=LAPLACE) - np.log(laplace_density(y))).sum(1),
        nuisance=5,
    ),
    "log_noise": Family(draw_log_noise, nats_log_noise, ratio_log_noise),
    "zero_inflated": Family(draw_zero_inflated, nats_zero_inflated, ratio_zero_inflated, nuisance=4),
    "counts": Family(draw_counts, nats_counts, ratio_counts),
    "wave": Family(draw_wave, nats_wave, ratio_wave),
    "scales": Family(draw_scales, nats_scales, ratio_scales, nuisance=4),
    "two_moons": Family(draw_moons, nats_moons, ratio_moons, nuisance=6),
    "ring": Family(draw_ring, nats_ring, ratio_ring),
    "contaminated": Family(draw_contaminated, nats_contaminated, ratio_contaminated),
}
"""Families by name; their settings give 0.3 to 2 bits and were chosen from the truths alone."""
