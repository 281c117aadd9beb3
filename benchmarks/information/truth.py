"""The true information of each problem, in bits: a closed form, or an average with its standard error.

`truth(problem)` returns (bits, standard error, how). Where an embedding is a map of latents z plus noise, the ratio
p(x, y) / p(x) p(y) is the mean of p(z | y) / p(z) over p(z | x), the latents given x. That mean is computed by
importance sampling around the mode, from a t distribution a little wider than the Gaussian fitted there. As a control
variate, the same ratio at the true latents, whose mean is known in closed form, is subtracted and its mean added: this
leaves a sixth of the variance at 2 bits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.special import gammaln, logsumexp, psi

from noise_scaling.seeds import generator

from .problems import (
    CLASSES,
    NOISE,
    NU,
    SIGNAL,
    Map,
    Problem,
    class_centres,
    correlation,
    latents,
    protein_loadings,
    protein_noise,
    smooth_map,
)  # fmt: skip

STORED = Path(__file__).with_name("truths.json")
"""Stored results of `truth` for every problem, because computing all takes minutes."""

Truth = tuple[float, float, str]


@lru_cache
def stored() -> dict[str, Truth]:
    """Return the committed `truth` of every problem, by name."""
    return {name: tuple(value) for name, value in json.loads(STORED.read_text()).items()}


def truth(problem: Problem, draws: int = 20_000) -> Truth:
    """Return bits, their standard error, and how they were computed; `draws` sets the pairs of an average."""
    if problem.value == 0:
        return 0.0, 0.0, "independent"
    if problem.kind == "gaussian":
        return problem.value, 0.0, "closed form"
    if problem.kind == "student":
        return float(student_bits(problem.value)), 0.0, "closed form"
    rng = generator(0, "suite", "truth", problem.name)
    pointwise = {
        "sign_flip": _sign_flip,
        "mixture": _mixture,
        "mapped": _mapped,
        "paired": _paired,
        "proteins": _proteins,
    }
    draws = 20 * draws if problem.kind in ("sign_flip", "mixture") else draws
    values = pointwise[problem.kind](problem, draws, rng) / np.log(2)
    return float(values.mean()), float(values.std() / np.sqrt(draws)), f"average over {draws:,} pairs"


def student_bits(bits: float) -> float:
    """Return the Gaussian part plus the common scale's information: entropies of the t in 4 and 8 dimensions."""

    def entropy(d: int) -> float:
        half = (NU + d) / 2
        log_norm = gammaln(NU / 2) - gammaln(half) + d / 2 * np.log(NU * np.pi)
        return log_norm + half * (psi(half) - psi(NU / 2))

    return bits + (2 * entropy(SIGNAL) - entropy(2 * SIGNAL)) / np.log(2)


def _log_normal(residual: np.ndarray, variance: float) -> np.ndarray:
    """Return the log density of `residual` [..., d] under an isotropic Gaussian."""
    d = residual.shape[-1]
    return -0.5 * (residual**2).sum(-1) / variance - d / 2 * np.log(2 * np.pi * variance)


def _sign_flip(problem: Problem, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return log p(y | x) - log p(y): y given x is a fair mixture of Gaussians about +-rho x, y is standard normal."""
    x, y = latents(draws, problem.value, rng)
    y = y * rng.choice([-1.0, 1.0], draws)[:, None]
    rho = correlation(problem.value)
    sides = [_log_normal(y - sign * rho * x, 1 - rho**2) for sign in (1, -1)]
    return np.logaddexp(*sides) - np.log(2) - _log_normal(y, 1.0)


def _mixture(problem: Problem, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return log p(x | class) - log p(x), by a sum over classes."""
    centres = problem.value * class_centres()
    codes = rng.integers(0, CLASSES, draws)
    x = centres[codes] + rng.standard_normal((draws, SIGNAL))
    logs = x @ centres.T - 0.5 * (centres**2).sum(1)
    return logs[np.arange(draws), codes] - logsumexp(logs, axis=1) + np.log(CLASSES)


def _mapped(problem: Problem, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Return the log ratio for mapped x. y is a linear channel of the latents: p(z | y) is Gaussian about rho y."""
    z, y = latents(draws, problem.value, rng)
    rho = correlation(problem.value)
    covariance = (1 - rho**2) * np.eye(SIGNAL)
    return _one_sided(smooth_map(problem.dims), z, rho * y, covariance, rng) + problem.value * np.log(2)


def _proteins(problem: Problem, draws: int, rng: np.random.Generator) -> np.ndarray:
    """As `_mapped`; each protein is a monotone function of a linear mixture, which changes no information."""
    loadings, deviation = protein_loadings(), protein_noise(problem.value)
    z = rng.standard_normal((draws, 5))
    y = z @ loadings + deviation * rng.standard_normal((draws, loadings.shape[1]))
    covariance = np.linalg.inv(np.eye(5) + loadings @ loadings.T / deviation**2)
    mean = y @ loadings.T / deviation**2 @ covariance
    return _one_sided(smooth_map(16, 5), z, mean, covariance, rng) + problem.value * np.log(2)


def _one_sided(
    map_: Map, z: np.ndarray, mean: np.ndarray, covariance: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return log p(x, y) / p(x) p(y) minus log p(z, y) / p(z) p(y) of each pair, where x = map(z) + noise.

    z given y is Gaussian (`mean` [n, signal], `covariance`).
    """
    precision = np.linalg.inv(covariance)
    constant = 0.5 * np.linalg.slogdet(precision)[1]

    def log_ratio(candidates: np.ndarray, rows: slice) -> np.ndarray:
        off = candidates - mean[rows, None]
        inner = np.einsum("nsi,ij,nsj->ns", off, precision, off, optimize=True)
        return constant - 0.5 * inner + 0.5 * (candidates**2).sum(-1)

    def part(rows: slice) -> np.ndarray:
        candidates, log_weights = posterior(map_, z[rows], rng)
        return logsumexp(log_weights + log_ratio(candidates, rows), axis=1) - log_ratio(z[rows, None], rows)[:, 0]

    return _in_parts(len(z), part)


def _in_parts(n: int, work: Callable[[slice], np.ndarray], size: int = 250) -> np.ndarray:
    return np.concatenate([work(slice(start, start + size)) for start in range(0, n, size)])


def posterior(
    map_: Map, z: np.ndarray, rng: np.random.Generator, draws: int = 200, nu: float = 5.0, wider: float = 1.2
) -> tuple[np.ndarray, np.ndarray]:
    """Return latents [n, draws, signal] and normalised log weights [n, draws] to represent p(z | x), x drawn at `z`."""
    n, d = z.shape
    x = map_(z) + NOISE * rng.standard_normal((n, map_.last.shape[1]))
    mode, precision = _mode(map_, x, z)
    root = np.linalg.cholesky(np.linalg.inv(precision)) * wider
    normal = rng.standard_normal((n, draws, d))
    scaled = normal / np.sqrt(rng.chisquare(nu, (n, draws, 1)) / nu)
    candidates = mode[:, None] + np.einsum("nij,nsj->nsi", root, scaled)
    proposal = -(nu + d) / 2 * np.log1p((scaled**2).sum(-1) / nu)
    values = map_(candidates.reshape(-1, d)).reshape(n, draws, -1)
    target = -0.5 * ((x[:, None] - values) ** 2).sum(-1) / NOISE**2 - 0.5 * (candidates**2).sum(-1)
    log_weights = target - proposal
    return candidates, log_weights - logsumexp(log_weights, axis=1, keepdims=True)


def _mode(map_: Map, x: np.ndarray, z: np.ndarray, steps: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Return the latents that explain `x` best, by damped Gauss-Newton from `z`, and the precision matrix there."""
    for _ in range(steps):
        slope = map_.jacobian(z)
        precision = np.einsum("nda,ndb->nab", slope, slope) / NOISE**2 + np.eye(z.shape[1])
        pull = np.einsum("nda,nd->na", slope, x - map_(z)) / NOISE**2 - z
        z = z + 0.7 * np.linalg.solve(precision, pull[..., None])[..., 0]
    return z, precision


def _paired(problem: Problem, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Both sides are mapped: the mean of p(z1, z2) / p(z1) p(z2) over z1 given x and z2 given y."""
    z1, z2 = latents(draws, problem.value, rng)
    rho = correlation(problem.value)

    def log_ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return the log ratio [n, s, t] of all pairs of latents a [n, s, signal] and b [n, t, signal]."""
        squares = rho**2 * ((a**2).sum(-1)[:, :, None] + (b**2).sum(-1)[:, None])
        inner = (rho * a @ b.transpose(0, 2, 1) - 0.5 * squares) / (1 - rho**2)
        return inner - SIGNAL / 2 * np.log(1 - rho**2)

    def part(rows: slice) -> np.ndarray:
        (a, log_a), (b, log_b) = (posterior(smooth_map(16), z[rows], rng) for z in (z1, z2))
        ratio = logsumexp(log_ratio(a, b) + log_a[:, :, None] + log_b[:, None], axis=(1, 2))
        return ratio - log_ratio(z1[rows, None], z2[rows, None])[:, 0, 0]

    return _in_parts(draws, part) + problem.value * np.log(2)
