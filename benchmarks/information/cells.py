"""Problems that look like cells: x is an embedding of real cells, y is read from it through a known channel.

Distribution of x. A new cell is a random real cell plus Gaussian noise, whose covariance is the mean outer product of
half the differences to its 20 nearest cells (a Parzen estimate along the manifold, Vincent and Bengio 2003). This is a
smooth distribution with the clusters, arcs and tails of the data, from which any number of cells can be drawn. If real
cells were drawn with replacement instead, the same x could be among the cells a critic is fitted to and those it is
scored on, which never happens with disjoint cells. So each problem's n cells are independent draws, none is a real
cell, and the truth is the information under this distribution.

Depth. In a problem with a depth u, a real cell is drawn, and its molecules are drawn anew from its profile over modules
of genes, as independent Poisson counts of u molecules in all; x is the logarithm of one plus these counts. y is read
from the real cell's embedding, so that it does not depend on u. The truth is computed for the counts, by a sum over all
real cells; the logarithm does not change it.

The channels were set by their true information alone, before any estimator was run on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

import numpy as np
from scipy.special import log_ndtr, log_softmax
from sklearn.kernel_ridge import KernelRidge
from sklearn.neighbors import NearestNeighbors

from noise_scaling import datasets, models
from noise_scaling.seeds import generator

from .problems import Pairs

SOURCES = {"pbmc": ("pbmc10k", 16), "merfish": ("merfish_poa", 50), "worm": ("worm_embryo", 16)}
"""Data set and number of principal components, by source."""
NEIGHBOURS, REACH = 20, 0.5
READ = 8
"""Number of leading axes, scaled to standard deviation 1, that channels read; the other axes are nuisance."""
DEPTHS = (10, 100, 1000)
CELLS = (500, 2400, 6000)
"""Numbers of cells that are scored in the paper's data sets."""


@dataclass(frozen=True)
class Source:
    """Real cells: embedding [cells, dims], steps of noise [cells, 20, dims], shares of modules [cells, modules]."""

    embedding: np.ndarray
    steps: np.ndarray
    profile: np.ndarray

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw new cells [n, dims]."""
        which = rng.integers(0, len(self.embedding), n)
        weights = rng.standard_normal((n, NEIGHBOURS))
        return self.embedding[which] + np.einsum("nk,nkd->nd", weights, self.steps[which])

    def read(self, x: np.ndarray) -> np.ndarray:
        """Return the leading axes of cells [n, 8], standardised so that the real cells have mean 0 and deviation 1."""
        leading = self.embedding[:, :READ]
        return (x[:, :READ] - leading.mean(0)) / leading.std(0)


@lru_cache
def source(name: str) -> Source:
    """Return the real cells of a source, embedded by PCA of their unthinned counts."""
    dataset, dims = SOURCES[name]
    counts = datasets.load(dataset).counts
    model = models.create("pca", dims=dims).fit(counts, counts)
    embedding = model.embed(counts).astype(np.float64)
    near = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(embedding).kneighbors(embedding)[1][:, 1:]
    steps = REACH * (embedding[near] - embedding[:, None]) / np.sqrt(NEIGHBOURS)
    return Source(embedding, steps, _profile(counts, model.genes, model.axes))


def _profile(counts, genes: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Return each module's share of a cell's molecules [cells, modules]; modules are genes of one top axis and sign."""
    largest = np.abs(axes).argmax(0)
    module = np.zeros(counts.shape[1], dtype=int)
    module[genes] = 1 + 2 * largest + (np.take_along_axis(axes, largest[None], 0)[0] > 0)
    codes = np.unique(module, return_inverse=True)[1]
    sums = counts @ np.eye(codes.max() + 1)[codes] + 0.5
    return sums / sums.sum(1, keepdims=True)


class Channel(Protocol):
    """A law of y given features [n, 8]: `draw` y, and the log likelihood [n, m] of n values of y in m cells."""

    def draw(self, z: np.ndarray, rng: np.random.Generator) -> np.ndarray: ...
    def log_likelihood(self, y: np.ndarray, z: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Labels:
    """y is one of K classes with log probabilities `log_p` [n, K], as integer codes or as the same codes in floats."""

    log_p: Callable[[np.ndarray], np.ndarray]
    floats: bool = False

    def draw(self, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        chances = np.exp(self.log_p(z)).cumsum(1)
        codes = (chances < rng.random((len(z), 1)) * chances[:, -1:]).sum(1)
        return codes.astype(np.float64)[:, None] if self.floats else codes

    def log_likelihood(self, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return self.log_p(z).T[y.ravel().astype(int)]


@dataclass(frozen=True)
class Gaussian:
    """y is the `mean` of the features plus independent Gaussian noise on each number."""

    mean: Callable[[np.ndarray], np.ndarray]
    noise: float

    def draw(self, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        mean = self.mean(z)
        return mean + self.noise * rng.standard_normal(mean.shape)

    def log_likelihood(self, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        mean = self.mean(z)
        return (y @ mean.T - 0.5 * (mean**2).sum(1) - 0.5 * (y**2).sum(1)[:, None]) / self.noise**2


@dataclass(frozen=True)
class Poisson:
    """y is log1p of Poisson counts with rates exp(`log_rate` + the shift of the cell's batch). The batches, with shifts
    `batches` [batches, molecules], are equally likely and hidden."""

    log_rate: Callable[[np.ndarray], np.ndarray]
    batches: np.ndarray

    def draw(self, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        log_rate = self.log_rate(z)
        return np.log1p(rng.poisson(np.exp(log_rate + self.batches[rng.integers(0, len(self.batches), len(z))])))

    def log_likelihood(self, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        counts, log_rate = np.rint(np.expm1(y)), self.log_rate(z)
        each = [counts @ (log_rate + shift).T - np.exp(log_rate + shift).sum(1) for shift in self.batches]
        return np.logaddexp.reduce(each)


def net(z: np.ndarray, stream: str, outputs: int, scale: float) -> np.ndarray:
    """Apply a random smooth function of 24 tanh units to the features; [n, outputs] of deviation about `scale`."""
    rng = generator(0, "cells", stream)
    first = 1.5 * rng.standard_normal((READ, 24)) / np.sqrt(READ)
    bias, last = rng.standard_normal(24), rng.standard_normal((24, outputs)) / np.sqrt(24)
    return scale * np.tanh(z @ first + bias) @ last


def softmax(z: np.ndarray, classes: int, scale: float, rarity: float = 0.0) -> np.ndarray:
    """Return log probabilities of classes; `rarity` multiplies the odds of class k by k^-rarity."""
    return log_softmax(
        net(z, f"classes {classes}", classes, scale) - rarity * np.log(np.arange(1, classes + 1)), axis=1
    )


def parity(z: np.ndarray) -> np.ndarray:
    """Return log probabilities of two classes, which depend on the sign of a product of two axes."""
    odds = 4 * np.tanh(3 * z[:, 1] * z[:, 2])
    return log_softmax(np.stack([np.zeros_like(odds), odds], axis=1), axis=1)


def ordinal(
    z: np.ndarray, time: Callable[[np.ndarray], np.ndarray], thresholds: np.ndarray, noise: float
) -> np.ndarray:
    """Return log probabilities of time points: a cell's time plus Gaussian noise, cut at `thresholds`."""
    cuts = (thresholds - time(z)[:, None]) / noise
    full = np.ones((len(z), 1))
    low, high = np.hstack([-np.inf * full, cuts]), np.hstack([cuts, np.inf * full])
    upper = low > 0  # use the tail that keeps its digits
    a, b = np.where(upper, -high, low), np.where(upper, -low, high)
    return log_ndtr(b) + np.log1p(-np.exp(np.minimum(log_ndtr(a) - log_ndtr(b), -1e-12)))


@lru_cache
def time_of(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from features to time: for worms a smooth fit of the real time, else random and smooth."""
    if name != "worm":
        return lambda z: net(z, "time", 1, 1.0)[:, 0]
    real = datasets.load("worm_embryo", signal="embryo.time").signal.values[:, 0]
    features = source(name).read(source(name).embedding)
    fit = KernelRidge(kernel="rbf", gamma=0.05, alpha=1.0).fit(features, (real - real.mean()) / real.std())
    return fit.predict


def timed(name: str, classes: int, noise: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return log probabilities of time points, as a function; equally many real cells in each; noise in deviations."""
    here = source(name)
    times = time_of(name)(here.read(here.embedding))
    cuts = np.quantile(times, np.arange(1, classes) / classes)
    return partial(ordinal, time=time_of(name), thresholds=cuts, noise=noise * times.std())


@lru_cache
def protein_rates() -> tuple[np.ndarray, np.ndarray]:
    """Fit the 14 real proteins' log1p counts to the features by least squares; return slopes [8, 14] and means [14]."""
    here = source("pbmc")
    levels = datasets.load("pbmc10k").signal.values
    slopes = np.linalg.lstsq(here.read(here.embedding), levels - levels.mean(0), rcond=None)[0]
    return slopes, levels.mean(0)


def proteins(z: np.ndarray) -> np.ndarray:
    """Return log rates of the 14 proteins, with a third of the real contrast and a hundredth of the real depth."""
    slopes, means = protein_rates()
    return z @ slopes / 3 + means - np.log(100)


def sparse(z: np.ndarray) -> np.ndarray:
    """Return log rates of 30 genes, 0.3 molecules on average."""
    return net(z, "sparse", 30, 1.2) - 1.9


def log_norm(z: np.ndarray) -> np.ndarray:
    """Return the logarithm of the length of the feature vector."""
    return np.log(np.linalg.norm(z, axis=1, keepdims=True))


def slopes(z: np.ndarray) -> np.ndarray:
    """Return two numbers per cell; each of eight clusters around random points has its own means and slopes."""
    rng = generator(0, "cells", "clusters")
    points, means = rng.standard_normal((8, READ)), rng.standard_normal((8, 2))
    tilt = rng.standard_normal((8, READ, 2)) / np.sqrt(READ)
    which = (z @ points.T - 0.5 * (points**2).sum(1)).argmax(1)
    return means[which] + np.einsum("nd,ndo->no", z - points[which], tilt[which])


def _batches(stream: str, molecules: int) -> np.ndarray:
    return generator(0, "cells", stream).standard_normal((4, molecules))


def channels(name: str) -> dict[str, Channel]:
    """Return the channels of a source by family."""
    timed45 = partial(timed, name, 45, 0.12)
    found: dict[str, Callable[[], Channel]] = {
        "labels12": lambda: Labels(partial(softmax, classes=12, scale=6.0)),
        "parity": lambda: Labels(parity),
        "time45": lambda: Labels(timed45()),
        "time45_float": lambda: Labels(timed45(), floats=True),
        "sparse": lambda: Poisson(sparse, np.zeros((1, 30))),
        "norm": lambda: Gaussian(log_norm, 0.1),
        "slopes": lambda: Gaussian(slopes, 0.6),
    }
    if name == "pbmc":
        found["labels3"] = lambda: Labels(partial(softmax, classes=3, scale=6.0))
        found["labels45"] = lambda: Labels(partial(softmax, classes=45, scale=6.0))
        found["rare45"] = lambda: Labels(partial(softmax, classes=45, scale=6.0, rarity=1.5))
        found["proteins"] = lambda: Poisson(proteins, _batches("protein batches", 14))
    if name == "worm":
        found["time12"] = lambda: Labels(timed(name, 12, 0.25))
        found["time12_float"] = lambda: Labels(timed(name, 12, 0.25), floats=True)
        for family in ("labels12", "parity", "sparse", "norm", "slopes"):
            del found[family]
    return {family: make() for family, make in found.items()}


FAMILIES_AT_DEPTH = ("labels12", "time45", "proteins")
SHUFFLED = ("labels45", "proteins")
Law = tuple[str, str, int]
"""Source, family, and depth (0: the embedding itself)."""


@lru_cache
def problems() -> dict[str, Law]:
    """Return every problem by name, except the shuffled ones."""
    plain = {f"{name}_{family}": (name, family, 0) for name in SOURCES for family in channels(name)}
    return plain | {f"depth{u}_{family}": ("pbmc", family, u) for u in DEPTHS for family in FAMILIES_AT_DEPTH}


def shuffled() -> dict[str, Law]:
    """Return the problems whose y is permuted at random, so that x and y share nothing."""
    return {f"shuffled_{family}": ("pbmc", family, 0) for family in SHUFFLED}


def draw(name: str, n: int, seed: int) -> Pairs:
    """Draw `n` pairs of a problem at `seed`; different `n` give independent draws."""
    rng = generator(seed, "cells", name, n)
    here, channel, depth = of(name)
    if depth:
        which = rng.integers(0, len(here.embedding), n)
        x, z = np.log1p(rng.poisson(depth * here.profile[which])), here.read(here.embedding[which])
    else:
        x = here.draw(n, rng)
        z = here.read(x)
    y = channel.draw(z, rng)
    return x, rng.permutation(y) if name in shuffled() else y


@lru_cache
def of(name: str) -> tuple[Source, Channel, int]:
    """Return the source, channel and depth of a problem."""
    where, family, depth = (problems() | shuffled())[name]
    return source(where), channels(where)[family], depth
