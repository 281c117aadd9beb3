"""Problems of known mutual information, shaped like the data: embeddings of 16 or 256 dimensions, much of them noise.

Every problem has four (proteins: five) shared latents. How hard a problem is was set from outside, before any
estimator was run on it: bits and dimensions are those in which the paper's data come, the curved map is the plain
random network written below, and nothing about a problem depends on how well any estimator does on it. A problem's
map, centres and loadings are drawn once and kept, so that its truth is one number; its pairs are drawn afresh for
each seed. Truths: `truth.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from noise_scaling.seeds import generator

Pairs = tuple[np.ndarray, np.ndarray]

SIGNAL = 4
NOISE_DIMS = 12
NOISE = 0.3
"""Deviation of the noise on each mapped dimension, whose signal has deviation 1 (10 dB a dimension)."""
GAIN = 2.0
"""Slope of the map's first layer. A straight line explains 86 % of the mapped variance at gain 1, 75 % at 2 and
74 % at 3 (tanh saturates): at 2 the map is as curved as this family gets while still smooth."""
NU = 3.0
"""Degrees of freedom of the heavy tails: the fewest whole number with a finite variance."""
CLASSES = 45
"""As many as the developmental time points of the mouse atlas."""
PROTEINS = 14


@dataclass(frozen=True)
class Problem:
    """A way to draw pairs, and what the truth is computed from.

    Attributes
    ----------
    name
        Kind and nominal bits, such as mapped256_2.
    kind
        Which family; `truth.py` knows each.
    value
        Bits shared by the latents; for mixtures the scale of the centres.
    draw
        ``draw(n, rng)`` gives x [n, dims] and y [n, dims] or labels [n].
    dims
        Dimensions of x.
    """

    name: str
    kind: str
    value: float
    draw: Callable[[int, np.random.Generator], Pairs]
    dims: int = 16


def rotation(d: int, rng: np.random.Generator) -> np.ndarray:
    """A random orthogonal matrix [d, d]: no axis of an embedding is special."""
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return q * np.sign(np.diag(r))


def correlation(bits: float, signal: int = SIGNAL) -> float:
    """The correlation at which `signal` pairs of Gaussian dimensions share `bits` in all."""
    return float(np.sqrt(1 - 2 ** (-2 * bits / signal)))


def latents(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """Two Gaussians [n, 4] that share `bits`, equally over dimensions."""
    rho = correlation(bits)
    x = rng.standard_normal((n, SIGNAL))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.standard_normal((n, SIGNAL))


def with_noise(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`z` [n, 4] beside 12 dimensions of unit noise, rotated: [n, 16]."""
    full = np.hstack([z, rng.standard_normal((len(z), NOISE_DIMS))])
    return full @ rotation(full.shape[1], rng)


@dataclass(frozen=True)
class Map:
    """A random smooth map of latents to `dims` dimensions: a hidden layer of tanh units, outputs of deviation 1."""

    first: np.ndarray
    bias: np.ndarray
    last: np.ndarray
    centre: np.ndarray

    def __call__(self, z: np.ndarray) -> np.ndarray:
        return np.tanh(z @ self.first + self.bias) @ self.last - self.centre

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        """Derivatives [n, dims, signal] at `z` [n, signal]."""
        slope = 1 - np.tanh(z @ self.first + self.bias) ** 2
        return np.einsum("nh,sh,hd->nds", slope, self.first, self.last, optimize=True)


@lru_cache
def smooth_map(dims: int, signal: int = SIGNAL, hidden: int = 64) -> Map:
    """The map of every mapped problem of these dimensions."""
    rng = generator(0, "suite", "map", dims, signal)
    first = GAIN * rng.standard_normal((signal, hidden)) / np.sqrt(signal)
    bias = 0.5 * rng.standard_normal(hidden)
    last = rng.standard_normal((hidden, dims)) / np.sqrt(hidden)
    values = np.tanh(rng.standard_normal((20_000, signal)) @ first + bias) @ last
    return Map(first, bias, last / values.std(0), values.mean(0) / values.std(0))


def mapped_latents(z: np.ndarray, dims: int, rng: np.random.Generator) -> np.ndarray:
    """An embedding [n, dims] of latents `z`: the smooth map, and noise on every dimension."""
    return smooth_map(dims, z.shape[1])(z) + NOISE * rng.standard_normal((len(z), dims))


def gaussian(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """4 correlated and 12 noise dimensions a side, rotated."""
    x, y = latents(n, bits, rng)
    return with_noise(x, rng), with_noise(y, rng)


def mapped(n: int, bits: float, rng: np.random.Generator, dims: int) -> Pairs:
    """The Gaussian problem with its x mapped: an embedding is a smooth function of the cell's state, and noise."""
    x, y = latents(n, bits, rng)
    return mapped_latents(x, dims, rng), with_noise(y, rng)


def paired(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """Embeddings of two related cells by one model: both sides through the same map, each with its own noise."""
    x, y = latents(n, bits, rng)
    return mapped_latents(x, 16, rng), mapped_latents(y, 16, rng)


def sign_flip(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """Correlated dimensions whose common sign is lost: y -> s y, s = +-1 fair. No linear dependence is left."""
    x, y = latents(n, bits, rng)
    return with_noise(x, rng), with_noise(y * rng.choice([-1.0, 1.0], n)[:, None], rng)


def student(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """The 4 + 4 correlated dimensions divided by one common chi: a t with 3 degrees of freedom."""
    x, y = latents(n, bits, rng)
    scale = np.sqrt(rng.chisquare(NU, n) / NU)[:, None]
    return with_noise(x / scale, rng), with_noise(y / scale, rng)


@lru_cache
def class_centres() -> np.ndarray:
    """45 centres [45, 4] along a bent line, as time points of a development are; `mixture` scales them."""
    rng = generator(0, "suite", "classes")
    t = np.linspace(0, 1, CLASSES)[:, None]
    return np.hstack([6 * t, np.sin(4 * t), np.cos(7 * t), 0.3 * rng.standard_normal((CLASSES, 1))])


def mixture(n: int, scale: float, rng: np.random.Generator) -> Pairs:
    """45 classes of equal chance, unit Gaussian noise in 16 dimensions, rotated; labels [n]."""
    codes = rng.integers(0, CLASSES, n)
    return with_noise(scale * class_centres()[codes] + rng.standard_normal((n, SIGNAL)), rng), codes


@lru_cache
def protein_loadings() -> np.ndarray:
    """How 5 latents make 14 proteins [5, 14]: unit columns, positive on average (proteins of a cell rise together)."""
    loadings = 0.5 + generator(0, "suite", "proteins").standard_normal((5, PROTEINS))
    return loadings / np.linalg.norm(loadings, axis=0)


@lru_cache
def protein_noise(bits: float) -> float:
    """Deviation s of the noise on each protein at which 1/2 log2 det(1 + L L' / s^2), what the 14 tell, is `bits`."""

    def surplus(deviation: float) -> float:
        loadings = protein_loadings()
        return 0.5 * np.linalg.slogdet(np.eye(5) + loadings @ loadings.T / deviation**2)[1] / np.log(2) - bits

    return float(brentq(surplus, 1e-2, 1e2))


def proteins(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """An embedding of 5 latents in 16 dimensions, and 14 proteins: noisy mixtures of them, skewed as counts are."""
    z = rng.standard_normal((n, 5))
    linear = z @ protein_loadings() + protein_noise(bits) * rng.standard_normal((n, PROTEINS))
    return mapped_latents(z, 16, rng), np.log1p(np.exp(1.5 * linear / linear.std(0)))


MIXTURES = {"1": 0.771, "3.5": 3.65, "5.1": 10.06}
"""Nominal bits and the scale of the centres that gives them (found from the truth alone)."""


def problems() -> dict[str, Problem]:
    """Every problem by name."""
    suite: list[tuple[str, str, float, Callable, dict[str, int]]] = []
    for bits in (0.0, 0.5, 1.0, 2.0, 4.0):
        suite.append((f"gaussian_{bits:g}", "gaussian", bits, gaussian, {}))
        suite.append((f"mapped16_{bits:g}", "mapped", bits, mapped, {"dims": 16}))
        suite.append((f"mapped256_{bits:g}", "mapped", bits, mapped, {"dims": 256}))
    for bits in (2.0, 3.0):
        suite.append((f"sign_flip_{bits:g}", "sign_flip", bits, sign_flip, {}))
    for bits in (2.0, 4.0):
        suite.append((f"paired_{bits:g}", "paired", bits, paired, {}))
        suite.append((f"proteins_{bits:g}", "proteins", bits, proteins, {}))
    for bits in (1.0, 2.0):
        suite.append((f"student_{bits:g}", "student", bits, student, {}))
    for nominal, scale in MIXTURES.items():
        suite.append((f"mixture_{nominal}", "mixture", scale, mixture, {}))
    return {name: _problem(name, kind, value, draw, extra) for name, kind, value, draw, extra in suite}


def _problem(name: str, kind: str, value: float, draw: Callable, extra: dict[str, int]) -> Problem:
    return Problem(name, kind, value, lambda n, rng: draw(n, value, rng, **extra), extra.get("dims", 16))


def pairs(problem: Problem, n: int, seed: int) -> Pairs:
    """The suite's `n` pairs of `problem` at `seed`: the same for every estimator and every peer."""
    return problem.draw(n, generator(seed, "suite", problem.name, n))
