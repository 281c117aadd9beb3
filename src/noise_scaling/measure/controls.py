"""Two controls measured in every slice like a model: pairs that share nothing, and pairs that share 2 bits."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.special import entr, softmax

from ..information.core import is_labels
from ..measurements import KNOWN, SHUFFLED
from ..seeds import generator
from ..signals import Aligned

BITS = 2.0
"""Information of the positive control, in bits."""

_SIGNAL, _NOISE, _CLASSES, _APART = 4, 12, 8, 10.0
_DRAWS = 1000


@dataclass(frozen=True)
class Control:
    """Properties of a control.

    `learner` is the model that is trained for the control; `draw` makes the pair that the estimator sees from the
    learner's pair, a seed and a cell number.
    """

    name: str
    label: str
    colour: str
    marker: str
    order: int
    learner: str
    draw: Callable[[Aligned, int, int], Aligned]


def _shuffled(pair: Aligned, seed: int, n_cells: int) -> Aligned:
    """Permute the embeddings, so that each signal is paired with the embedding of a random cell."""
    return pair._replace(x=pair.x[generator(seed, "control", n_cells).permutation(len(pair.x))])


def _known(pair: Aligned, seed: int, n_cells: int) -> Aligned:
    """Draw as many pairs with known information: with labels if the signal has labels, else with vectors."""
    draw = known_labels if is_labels(pair.y) else known_vectors
    x, y = draw(len(pair.x), generator(seed, "control", KNOWN, n_cells))
    return pair._replace(x=x, y=y)


CONTROLS = {
    control.name: control
    for control in (
        Control(SHUFFLED, "shuffled (control)", "#ca9161", "x", 200, "pca", _shuffled),
        Control(KNOWN, "known 2 bits (control)", "#56b4e9", "*", 210, "random_projection", _known),
    )
}
"""Every control by name, in the order of legends and tables."""


def learner(model: str) -> str:
    """Return the model that is trained for a name in the column `model`: a control's learner, or the model itself."""
    return CONTROLS[model].learner if model in CONTROLS else model


def apply(model: str, pair: Aligned, *, seed: int, n_cells: int) -> Aligned:
    """Return the pair that the estimator sees: unchanged for a model, replaced by the draw of a control."""
    return CONTROLS[model].draw(pair, seed, n_cells) if model in CONTROLS else pair


def known_vectors(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw Gaussian x and y [n, 16] that share 2 bits over 4 dimensions; 12 are noise, and each side is rotated.

    Each correlated pair of dimensions holds -1/2 log2(1 - rho^2) = 1/2 bit (Cover & Thomas 2006, example 8.5.1).
    """
    rho = np.sqrt(1 - 2.0 ** (-2 * BITS / _SIGNAL))
    x, y = rng.standard_normal((2, n, _SIGNAL + _NOISE))
    y[:, :_SIGNAL] = rho * x[:, :_SIGNAL] + np.sqrt(1 - rho**2) * y[:, :_SIGNAL]
    return x @ _rotation(rng), y @ _rotation(rng)


def known_labels(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw vectors [n, 16] that tell one of 8 equally likely classes beyond doubt, and labels [n] that mostly name it.

    A label is wrong with probability p, and is then any of the other 7, so that it holds 3 - H(p) - p log2 7 = 2 bits
    (a symmetric channel: Cover & Thomas 2006, section 7.2).
    """

    def bits(p: float) -> float:
        return np.log2(_CLASSES) - (entr(p) + entr(1 - p)) / np.log(2) - p * np.log2(_CLASSES - 1)

    code = rng.integers(0, _CLASSES, n)
    wrong = rng.random(n) < brentq(lambda p: bits(p) - BITS, 1e-9, 0.5)
    label = np.where(wrong, (code + rng.integers(1, _CLASSES, n)) % _CLASSES, code)
    x = rng.standard_normal((n, _SIGNAL + _NOISE))
    x[np.arange(n), code] += _APART
    return x @ _rotation(rng), label


def from_embedding(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Draw a signal that shares 2 bits with the embedding `x`; return it and the bits that the draws share.

    Only the form of `y` is used: labels [n] or vectors [n, d]. The signal is made from up to 4 decorrelated random
    projections of `x`. A vector is these plus Gaussian noise, padded with dimensions of pure noise and rotated; a label
    is one of 8 classes, likelier the nearer its centre. The cells are treated as the population: a draw shares log2
    p(y | x) / p(y) with its cell, p(y) being the mean over cells (Cover & Thomas 2006, eq. 2.28). The mean over draws
    is less than 2 if `x` has too few distinct values.
    """
    k = min(_SIGNAL, x.shape[1], _SIGNAL if is_labels(y) else y.shape[1])
    u, s, _ = np.linalg.svd((x - x.mean(axis=0)) @ rng.standard_normal((x.shape[1], k)), full_matrices=False)
    z = u[:, s > 1e-6 * s[0]] * np.sqrt(len(x))
    return _classes_of(z, rng) if is_labels(y) else _channel_of(z, y.shape[1], rng)


def _classes_of(z: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    centres, _ = kmeans(z, z[rng.permutation(len(z))[:_CLASSES]])
    far = cdist(z, centres, "sqeuclidean")

    def bits(scale: float) -> float:
        p = softmax(-scale * far, axis=1)
        return (entr(p.mean(axis=0)).sum() - entr(p).sum(axis=1).mean()) / np.log(2)

    p = softmax(-_scale(bits, sharp=2.0**12, blunt=2.0**-20) * far, axis=1)
    label = (p.cumsum(axis=1) < rng.random((len(z), 1))).sum(axis=1).clip(max=len(centres) - 1)
    return label, float(np.log2(p[np.arange(len(z)), label] / p.mean(axis=0)[label]).mean())


def _channel_of(z: np.ndarray, dims: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    n, k = z.shape
    noise = rng.standard_normal((n, k))

    def bits(scale: float, cells: np.ndarray) -> np.ndarray:
        """For each cell, log2 p(y | x) / p(y): the density of its noise over the mean of that density over all x."""
        density = np.exp(-cdist(z[cells] / scale + noise[cells], z / scale, "sqeuclidean") / 2).mean(axis=1)
        return (-(noise[cells] ** 2).sum(axis=1) / 2 - np.log(density)) / np.log(2)

    some = rng.permutation(n)[:_DRAWS]
    scale = _scale(lambda scale: float(bits(scale, some).mean()), sharp=2.0**-12, blunt=2.0**12)
    y = np.hstack([z + scale * noise, rng.standard_normal((n, dims - k))])
    truth = np.concatenate([bits(scale, cells) for cells in np.array_split(np.arange(n), 1 + n // _DRAWS)])
    return y @ _rotation(rng, dims), float(truth.mean())


def _scale(bits: Callable[[float], float], *, sharp: float, blunt: float) -> float:
    """Find the scale that gives 2 bits, or 9/10 of the most possible if less, from `sharp` to `blunt` (all blurred)."""
    aim = min(BITS, 0.9 * bits(sharp))
    return float(np.exp2(brentq(lambda power: bits(2.0**power) - aim, *np.log2([sharp, blunt]), xtol=1e-3)))


def _rotation(rng: np.random.Generator, dims: int = _SIGNAL + _NOISE) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((dims, dims)))
    return q * np.sign(np.diag(r))
