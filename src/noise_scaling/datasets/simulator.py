"""Simulated cells whose signal shares a known number of bits with their latent state, and the true I(u).

latent state z ~ N(0, I) [cells, latents] -> proportions p = softmax(log-means + W z) -> counts
~ Poisson(depth x p) or negative binomial. Total depth carries nothing about z, as after normalisation.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, softmax

from ..errors import InputError, choose
from ..seeds import generator
from ..signals import KINDS, Signal
from .dataset import Dataset, assemble
from .registry import card, default_grid

GENE_SIGMA = 1.5
"""Standard deviation of the genes' log means; it is 1.3 in pbmc68k, 1.5 in worm_embryo, 2.0 in pbmc10k."""

_AVERAGED_CELLS = 3000
"""Cells over which I(u) is averaged, because their depths differ; the standard error is then at most 0.005 bits."""


def simulate(
    n_cells: int = 3000,
    n_genes: int = 1000,
    *,
    n_latent: int = 4,
    bits: float = 3.0,
    mean_umis: float = 2000.0,
    signal: str = "vector",
    n_labels: int = 16,
    dispersion: float | None = None,
    depth_sigma: float = 0.35,
    loading: float = 0.3,
    informative: float = 0.3,
    gene_sigma: float = GENE_SIGMA,
    seed: int,
) -> Dataset:
    """Simulate cells and a signal that shares exactly `bits` bits with their latent state.

    Parameters
    ----------
    n_cells, n_genes, n_latent
        Numbers of cells, genes and latent dimensions.
    bits
        Mutual information of latent state and signal, which no embedding can exceed.
    mean_umis
        Mean UMI per cell; depths are lognormal with `depth_sigma` (0.30 in pbmc68k, 0.48 in worm_embryo).
    signal
        "vector": y_j = rho z_j + noise, bits = -1/2 sum log2(1 - rho^2). "label": `n_labels` equally frequent,
        ordered classes cut from a noisy mean of the latents (bits by quadrature). "pair": cells 2i and 2i + 1
        are relatives whose latents correlate with rho.
    dispersion
        None for Poisson; else theta of a negative binomial, variance mu + mu^2 / theta.
    loading, informative
        Standard deviation of the loadings W (log fold change per unit of z), and the share of genes with any loading.
    gene_sigma
        Standard deviation of the genes' log means: the larger, the fewer genes are seen in a cell.
    seed
        Determines all draws; latents, genes, depths, counts and signal have separate random streams.

    Returns
    -------
    Dataset with obsm["latent"], obs["depth"], varm["loadings"], var["log_mean"] and uns["simulation"], from which
    `true_information` computes I(u).

    Raises
    ------
    InputError
        If a parameter is out of range, or a label of `n_labels` classes cannot hold `bits`.
    """
    choose("kind of simulated signal", signal, KINDS)
    _check(locals())
    latent, values, rho = draw_cells(signal, n_cells, n_latent, bits, n_labels, seed)
    log_mean, loadings = draw_genes(n_genes, n_latent, loading, informative, gene_sigma, seed)
    depth = generator(seed, "depth").lognormal(math.log(mean_umis) - depth_sigma**2 / 2, depth_sigma, n_cells)
    proportions = softmax(log_mean + latent @ loadings.T, axis=1)
    mean, rng = depth[:, None] * proportions, generator(seed, "counts")
    if dispersion is not None:
        mean = mean * rng.gamma(dispersion, 1 / dispersion, mean.shape)
    counts = sp.csr_matrix(rng.poisson(mean).astype(np.int32))

    names = pd.Index([f"cell{i:07d}" for i in range(n_cells)])
    obs = pd.DataFrame({"depth": depth}, index=names)
    genes = np.array([f"gene{g:05d}" for g in range(n_genes)])
    found = Signal(signal, signal, values, levels=tuple(np.unique(values)) if signal == "label" else ())
    median = float(np.median(np.asarray(counts.sum(axis=1))))
    size = {"n_cells": n_cells, "n_genes": n_genes, "median_umis": median} | default_grid(n_cells, mean_umis)
    data = assemble(replace(card("simulated"), **size), counts, obs, genes, found)
    kept = names.isin(data.adata.obs_names)
    data.adata.obsm["latent"] = latent[kept]
    data.adata.varm["loadings"], data.adata.var["log_mean"] = loadings, log_mean
    data.adata.uns["simulation"] = {
        "bits": float(bits), "rho": rho, "mean_umis": float(mean_umis), "kind": signal,
        "n_labels": n_labels, "theta": math.inf if dispersion is None else float(dispersion), "seed": int(seed),
    }  # fmt: skip
    return data


def true_information(dataset: Dataset, umis_per_cell: float | np.ndarray) -> float | np.ndarray:
    """I(u): bits that the counts of a simulated cell hold about its signal, at mean depth u.

    The latent state is taken to be Gaussian given the counts, with precision I + P, where P is the Fisher information
    of the counts about z at unknown depth. Exact as u -> 0 and u -> infinity; for one latent with the default
    loadings, within 0.004 bits of the exact value in between (a test computes it). The formulas, over cells:

        vector: I = mean of -1/2 log2 det[(1 - rho^2) + rho^2 (1 + P)^-1]
        label:  the quadrature of `label_information` with rho^2 times the variance that the counts explain
        pair:   I = mean of -1/2 log2 det[1 - rho^2 S S'], S = P (1 + P)^-1, both partners being at depth u

    One latent, equal depths and P = u J give Eq. 1 of Gowri et al. 2025 with u_bar = 2^(2 I_max) / J.

    Parameters
    ----------
    dataset
        From `simulate`.
    umis_per_cell
        Mean UMI per cell, one value or an array; it may exceed the simulated depth.

    Returns
    -------
    Bits: a number for a single depth, else an array [depths].

    Raises
    ------
    InputError
        If the data set is not simulated, or a depth is negative or not finite.
    """
    if "simulation" not in dataset.adata.uns:
        raise InputError(f"{dataset.name!r} is not simulated: only `simulate` gives data of known information")
    depths = np.atleast_1d(np.asarray(umis_per_cell, dtype=float))
    if not (np.isfinite(depths).all() and (depths >= 0).all()):
        raise InputError(f"umis_per_cell must be finite and not negative, not {umis_per_cell!r}")
    known = dataset.adata.uns["simulation"]
    fisher = _fisher(dataset.adata[:_AVERAGED_CELLS], known)
    bits = np.array([_information(fisher(u / known["mean_umis"]), known) for u in depths])
    return float(bits[0]) if np.ndim(umis_per_cell) == 0 else bits


def _information(precision: np.ndarray, known: dict) -> float:
    """Mean over cells of the formulas of `true_information`; `precision` is P [cells, latents, latents]."""
    rho2, eye = known["rho"] ** 2, np.eye(precision.shape[1])
    left = np.linalg.inv(eye + precision)  # covariance of z given the counts
    if known["kind"] == "pair":
        explained = (eye - left)[: len(left) // 2 * 2]
        return _half_log_det(eye - rho2 * explained[::2] @ explained[1::2])
    if known["kind"] == "vector":
        return _half_log_det((1 - rho2) * eye + rho2 * left)
    explained = 1 - left.sum(axis=(1, 2)) / len(eye)  # share of the mean latent's variance
    shares, curve = _label_curve(known["rho"], known["n_labels"])
    return float(np.interp(explained, shares, curve).mean())


def _half_log_det(matrices: np.ndarray) -> float:
    return max(0.0, float(-0.5 * np.linalg.slogdet(matrices)[1].mean() / math.log(2)))


def _fisher(adata: anndata.AnnData, known: dict) -> Callable[[float], np.ndarray]:
    """Map a thinning fraction to Fisher information about z [cells, latents, latents] of counts, depth unknown."""
    loadings = adata.varm["loadings"]
    n_genes, n_latent = loadings.shape
    squares = (loadings[:, :, None] * loadings[:, None, :]).reshape(n_genes, -1)
    full = softmax(adata.var["log_mean"].to_numpy() + adata.obsm["latent"] @ loadings.T, axis=1)
    full *= adata.obs["depth"].to_numpy()[:, None]

    def at(fraction: float) -> np.ndarray:
        weight = fraction * full / (1 + fraction * full / known["theta"])  # thinning a negative binomial keeps theta
        total = np.maximum(weight.sum(axis=1), np.finfo(float).tiny)
        centre = weight @ loadings
        square = (weight @ squares).reshape(-1, n_latent, n_latent)
        return square - centre[:, :, None] * centre[:, None, :] / total[:, None, None]

    return at


@cache
def _label_curve(rho: float, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return known shares of the latent's variance, and the bits about the label at each share."""
    shares = np.linspace(0, 1, 101)
    return shares, np.array([label_information(rho * math.sqrt(share), n_labels) for share in shares])


def label_information(rho: float, n_labels: int) -> float:
    """Return the bits between z ~ N(0, 1) and the `n_labels` equally frequent bins of rho z + sqrt(1 - rho^2) noise.

    Integrated by trapezoids of width 0.0045 to 9 standard deviations: within 1e-6 of twice as many if rho <= 0.9999.
    """
    noise = math.sqrt(max(1 - rho**2, 1e-12))
    z = np.linspace(-9, 9, 4001)
    edges = ndtri(np.arange(n_labels + 1) / n_labels)
    chance = np.diff(ndtr((edges - rho * z[:, None]) / noise), axis=1)
    entropy = -(chance * np.log2(np.maximum(chance, 1e-300))).sum(axis=1)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return float(math.log2(n_labels) - np.trapezoid(entropy * density, z))


def draw_cells(
    kind: str, n_cells: int, n_latent: int, bits: float, n_labels: int, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw latents [cells, latents] and the signal's values; return them and the rho that gives `bits`."""
    latent = generator(seed, "latent").standard_normal((n_cells, n_latent))
    rho = math.sqrt(-math.expm1(-2 * bits / n_latent * math.log(2)))
    rng = generator(seed, "signal", kind)
    if kind == "label":
        rho = brentq(lambda r: label_information(r, n_labels) - bits, 0, 0.9999) if bits > 0 else 0.0
        noisy = rho * latent.mean(axis=1) * math.sqrt(n_latent)
        noisy += math.sqrt(1 - rho**2) * rng.standard_normal(n_cells)
        label = np.minimum((ndtr(noisy) * n_labels).astype(int), n_labels - 1)
        return latent, np.char.zfill(label.astype(str), len(str(n_labels - 1))), rho
    noise = math.sqrt(1 - rho**2) * rng.standard_normal((n_cells, n_latent))
    if kind == "vector":
        return latent, rho * latent + noise, rho
    later = np.arange(1, n_cells, 2)
    latent[later] = rho * latent[later - 1] + noise[later]
    clone = np.arange(n_cells) // 2
    return latent, clone, rho


def draw_genes(
    n_genes: int, n_latent: int, loading: float, informative: float, gene_sigma: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw log means [genes] and loadings [genes, latents]."""
    rng = generator(seed, "genes")
    log_mean = rng.normal(0, gene_sigma, n_genes)
    loadings = rng.normal(0, loading, (n_genes, n_latent))
    return log_mean, loadings * (rng.random((n_genes, 1)) < informative)


_LEAST = {"n_cells": 2, "n_genes": 2, "n_latent": 1, "n_labels": 2}
_RANGES = {
    "bits": (0, 30), "mean_umis": (0, 1e7), "depth_sigma": (0, 3), "loading": (0, 5), "informative": (0, 1),
    "gene_sigma": (0, 5),
}  # fmt: skip


def _check(given: dict) -> None:
    for name, least in _LEAST.items():
        if not isinstance(given[name], int | np.integer) or given[name] < least:
            raise InputError(f"{name} must be a whole number of at least {least}, not {given[name]!r}")
    for name, (low, high) in _RANGES.items():
        if not isinstance(given[name], int | float | np.number) or not low <= given[name] <= high:
            raise InputError(f"{name} must be a number from {low:g} to {high:g}, not {given[name]!r}")
    dispersion = given["dispersion"]
    if dispersion is not None and not dispersion > 0:
        raise InputError(f"dispersion must be positive, or None for Poisson counts, not {dispersion!r}")
    if given["mean_umis"] == 0:
        raise InputError("mean_umis must be more than 0: cells without counts hold no information")
    if given["signal"] == "label" and given["bits"] > 0.98 * math.log2(given["n_labels"]):
        raise InputError(
            f"{given['n_labels']} labels hold at most {math.log2(given['n_labels']):.2f} bits and "
            f"{given['bits']:g} were asked for: ask for fewer bits or more labels"
        )
