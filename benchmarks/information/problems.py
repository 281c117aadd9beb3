"""Problems of known mutual information, shaped like the data: embeddings of 16 or 256 dimensions, much of them noise.

Every problem has four (proteins: five) shared latents. The difficulty of each problem was set before any estimator was
run on it: bits and dimensions are those of the paper's data, the curved map is the plain random network below, and
nothing about a problem depends on how well any estimator does on it. A problem's map, centres and loadings are drawn
once and kept, so that its truth is one number; its pairs are drawn anew for each seed. `truth.py` computes the truths.
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
"""Standard deviation of the noise on each mapped dimension, where the signal has 1 (10 dB per dimension)."""
GAIN = 2.0
"""Slope of the map's first layer. A linear fit explains 86 % of the mapped variance at gain 1, 75 % at 2 and
74 % at 3 (tanh saturates): at 2 the map is as curved as this family gets while still smooth."""
NU = 3.0
"""Degrees of freedom of the heavy tails: the smallest integer with a finite variance."""
CLASSES = 45
"""Number of classes: as many as the mouse atlas has developmental time points."""
PROTEINS = 14


@dataclass(frozen=True)
class Problem:
    """How to draw the pairs of a problem, and the numbers that its truth is computed from.

    Attributes
    ----------
    name
        Kind and nominal bits, such as mapped256_2.
    kind
        Family of the problem; `truth.py` has a truth for each.
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
    """Return a random orthogonal matrix [d, d], which makes no axis of an embedding special."""
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return q * np.sign(np.diag(r))


def correlation(bits: float, signal: int = SIGNAL) -> float:
    """Return the correlation at which `signal` pairs of Gaussian dimensions share `bits` in total."""
    return float(np.sqrt(1 - 2 ** (-2 * bits / signal)))


def latents(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """Draw two Gaussians [n, 4] that share `bits`, equally over dimensions."""
    rho = correlation(bits)
    x = rng.standard_normal((n, SIGNAL))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.standard_normal((n, SIGNAL))


def with_noise(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Append 12 dimensions of unit noise to `z` [n, 4] and rotate: [n, 16]."""
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
        """Return the derivatives [n, dims, signal] at `z` [n, signal]."""
        slope = 1 - np.tanh(z @ self.first + self.bias) ** 2
        return np.einsum("nh,sh,hd->nds", slope, self.first, self.last, optimize=True)


@lru_cache
def smooth_map(dims: int, signal: int = SIGNAL, hidden: int = 64) -> Map:
    """Return the map that all mapped problems of these dimensions use."""
    rng = generator(0, "suite", "map", dims, signal)
    first = GAIN * rng.standard_normal((signal, hidden)) / np.sqrt(signal)
    bias = 0.5 * rng.standard_normal(hidden)
    last = rng.standard_normal((hidden, dims)) / np.sqrt(hidden)
    values = np.tanh(rng.standard_normal((20_000, signal)) @ first + bias) @ last
    return Map(first, bias, last / values.std(0), values.mean(0) / values.std(0))


def mapped_latents(z: np.ndarray, dims: int, rng: np.random.Generator) -> np.ndarray:
    """Return an embedding [n, dims] of latents `z`: the smooth map plus noise on every dimension."""
    return smooth_map(dims, z.shape[1])(z) + NOISE * rng.standard_normal((len(z), dims))


def gaussian(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """Draw pairs of 4 correlated and 12 noise dimensions per side, rotated."""
    x, y = latents(n, bits, rng)
    return with_noise(x, rng), with_noise(y, rng)


def mapped(n: int, bits: float, rng: np.random.Generator, dims: int) -> Pairs:
    """Draw the Gaussian problem with x mapped: an embedding is a smooth function of the cell's state plus noise."""
    x, y = latents(n, bits, rng)
    return mapped_latents(x, dims, rng), with_noise(y, rng)


def paired(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """Draw embeddings of two related cells by one model: the same map on both sides, each with its own noise."""
    x, y = latents(n, bits, rng)
    return mapped_latents(x, 16, rng), mapped_latents(y, 16, rng)


def sign_flip(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """Draw correlated dimensions whose common sign is lost: y -> s y, s = +-1 fair. No linear dependence is left."""
    x, y = latents(n, bits, rng)
    return with_noise(x, rng), with_noise(y * rng.choice([-1.0, 1.0], n)[:, None], rng)


def student(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """Draw the 4 + 4 correlated dimensions divided by one common chi: a t distribution, 3 degrees of freedom."""
    x, y = latents(n, bits, rng)
    scale = np.sqrt(rng.chisquare(NU, n) / NU)[:, None]
    return with_noise(x / scale, rng), with_noise(y / scale, rng)


@lru_cache
def class_centres() -> np.ndarray:
    """Return 45 centres [45, 4] along a bent line, like the time points of a development; `mixture` scales them."""
    rng = generator(0, "suite", "classes")
    t = np.linspace(0, 1, CLASSES)[:, None]
    return np.hstack([6 * t, np.sin(4 * t), np.cos(7 * t), 0.3 * rng.standard_normal((CLASSES, 1))])


def mixture(n: int, scale: float, rng: np.random.Generator) -> Pairs:
    """Draw from 45 equally likely classes with unit Gaussian noise in 16 dimensions, rotated; y is labels [n]."""
    codes = rng.integers(0, CLASSES, n)
    return with_noise(scale * class_centres()[codes] + rng.standard_normal((n, SIGNAL)), rng), codes


@lru_cache
def protein_loadings() -> np.ndarray:
    """Return the loadings [5, 14] of proteins: unit columns, positive on average (proteins of a cell rise together)."""
    loadings = 0.5 + generator(0, "suite", "proteins").standard_normal((5, PROTEINS))
    return loadings / np.linalg.norm(loadings, axis=0)


@lru_cache
def protein_noise(bits: float) -> float:
    """Return the noise deviation s per protein for which the information 1/2 log2 det(1 + L L' / s^2) is `bits`."""

    def surplus(deviation: float) -> float:
        loadings = protein_loadings()
        return 0.5 * np.linalg.slogdet(np.eye(5) + loadings @ loadings.T / deviation**2)[1] / np.log(2) - bits

    return float(brentq(surplus, 1e-2, 1e2))


def proteins(n: int, bits: float, rng: np.random.Generator) -> Pairs:
    """Draw an embedding of 5 latents in 16 dimensions, and 14 proteins: noisy latent mixtures, skewed like counts."""
    z = rng.standard_normal((n, 5))
    linear = z @ protein_loadings() + protein_noise(bits) * rng.standard_normal((n, PROTEINS))
    return mapped_latents(z, 16, rng), np.log1p(np.exp(1.5 * linear / linear.std(0)))


MIXTURES = {"1": 0.771, "3.5": 3.65, "5.1": 10.06}
"""Scale of the centres, by the nominal bits that it gives (found from the truth alone)."""


def problems() -> dict[str, Problem]:
    """Return every problem by name."""
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
    """Draw the suite's `n` pairs of `problem` at `seed`, the same for every estimator and every peer."""
    return problem.draw(n, generator(seed, "suite", problem.name, n))
