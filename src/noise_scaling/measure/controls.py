"""Two controls measured in every slice like a model: pairs that share nothing, and pairs that share 2 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import entr

from ..information.core import is_labels
from ..measurements import KNOWN, SHUFFLED
from ..seeds import generator
from ..signals import Aligned

BITS = 2.0
"""The positive control's information."""

_SIGNAL, _NOISE, _CLASSES, _APART = 4, 12, 8, 10.0


@dataclass(frozen=True)
class Control:
    """What the rest needs to know of a control.

    Attributes
    ----------
    name
        As it stands in the column `model`.
    label, colour, marker, order
        Of figures, as a model has them.
    learner
        The model that is trained for it.
    draw
        The pair that the estimator sees, from the learner's pair of embedding and signal, a seed and a cell number.
    """

    name: str
    label: str
    colour: str
    marker: str
    order: int
    learner: str
    draw: Callable[[Aligned, int, int], Aligned]


def _shuffled(pair: Aligned, seed: int, n_cells: int) -> Aligned:
    """The embeddings of other cells beside each signal."""
    return pair._replace(x=pair.x[generator(seed, "control", n_cells).permutation(len(pair.x))])


def _known(pair: Aligned, seed: int, n_cells: int) -> Aligned:
    """As many pairs of known information, of labels or vectors as the signal is."""
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
    """The model that is trained for a name in the column `model`: a control's learner, or the model itself."""
    return CONTROLS[model].learner if model in CONTROLS else model


def apply(model: str, pair: Aligned, *, seed: int, n_cells: int) -> Aligned:
    """The pair as the estimator sees it: as it is, or what a control puts in its place.

    Parameters
    ----------
    model
        A name in the column `model`.
    pair
        The learner's embedding of the test cells beside their signal.
    seed, n_cells
        The row's seed and number of training cells, which decide a control's draw.
    """
    return CONTROLS[model].draw(pair, seed, n_cells) if model in CONTROLS else pair


def known_vectors(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Gaussians [n, 16] that share 2 bits over 4 dimensions, among 12 of noise, each side rotated.

    Each correlated pair of dimensions holds -1/2 log2(1 - rho^2) = 1/2 bit (Cover & Thomas 2006, example 8.5.1).
    """
    rho = np.sqrt(1 - 2.0 ** (-2 * BITS / _SIGNAL))
    x, y = rng.standard_normal((2, n, _SIGNAL + _NOISE))
    y[:, :_SIGNAL] = rho * x[:, :_SIGNAL] + np.sqrt(1 - rho**2) * y[:, :_SIGNAL]
    return x @ _rotation(rng), y @ _rotation(rng)


def known_labels(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [n, 16] that tell one of 8 equal classes beyond doubt, and labels [n] that name it most of the time.

    A label is wrong with probability p, then any of the other 7: it holds 3 - H(p) - p log2 7 = 2 bits (a symmetric
    channel: Cover & Thomas 2006, section 7.2).
    """
    code = rng.integers(0, _CLASSES, n)
    wrong = rng.random(n) < wrong_labels()
    label = np.where(wrong, (code + rng.integers(1, _CLASSES, n)) % _CLASSES, code)
    x = rng.standard_normal((n, _SIGNAL + _NOISE))
    x[np.arange(n), code] += _APART
    return x @ _rotation(rng), label


def wrong_labels() -> float:
    """The share of wrong labels at which they hold 2 bits about the class."""

    def bits(p: float) -> float:
        return np.log2(_CLASSES) - (entr(p) + entr(1 - p)) / np.log(2) - p * np.log2(_CLASSES - 1)

    return brentq(lambda p: bits(p) - BITS, 1e-9, 0.5)


def _rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((_SIGNAL + _NOISE, _SIGNAL + _NOISE)))
    return q * np.sign(np.diag(r))
