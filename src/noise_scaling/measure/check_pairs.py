"""The pairs that a check estimates: unchanged, in parts, shuffled, with known information, processed on one side."""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..information.core import is_labels
from ..seeds import generator
from ..signals import Aligned
from . import controls

ALL, PARTS, SHUFFLED, KNOWN = "all cells", "parts of the cells", "shuffled pairs", "known signal"
NOISE_X, NOISE_Y = "noise on the embedding", "noise on the signal"
PROJECTED, LEADING = "a random projection", "fewer components"


class Case(NamedTuple):
    """What was done to the pairs, how strongly, the number of the repeat, the pairs, and their true bits if known."""

    setting: str
    level: float
    repeat: int
    pair: Aligned
    true: float = np.nan


def cases(pair: Aligned, seed: int) -> Iterator[Case]:
    """Yield all 28 cases, or 24 for an embedding of one dimension."""
    draw = partial(generator, seed, "check")
    for i in range(3):
        yield Case(ALL, 1, i, pair)
        yield from (Case(PARTS, 2, i, half) for half in _parts(pair, 2, draw(PARTS, i)))
        y, true = controls.from_embedding(pair.x, pair.y, draw(KNOWN, i))
        yield Case(KNOWN, 1, i, pair._replace(y=y), true)
    yield from (Case(PARTS, 4, 0, quarter) for quarter in _parts(pair, 4, draw(PARTS, "four")))
    yield from (Case(SHUFFLED, 0, i, _shuffled(pair, draw(SHUFFLED, i))) for i in range(4))
    for level in (0.5, 1):
        yield Case(NOISE_X, level, 0, pair._replace(x=_noisy(pair.x, level, draw(NOISE_X, level))))
        yield Case(NOISE_Y, level, 0, pair._replace(y=_noisy(pair.y, level, draw(NOISE_Y, level))))
    if pair.x.shape[1] > 1:
        yield from (Case(PROJECTED, 0.5, i, _projected(pair, 0.5, draw(PROJECTED, i))) for i in range(2))
        yield from (Case(LEADING, share, 0, _leading(pair, share)) for share in (0.5, 0.25))


def of(pair: Aligned, cells: np.ndarray) -> Aligned:
    """Select some of the pairs by a mask or positions."""
    return Aligned(pair.x[cells], pair.y[cells], None if pair.groups is None else pair.groups[cells])


def copies(pair: Aligned) -> np.ndarray:
    """Return a number for each pair [n], the same for equal pairs; the order of two embeddings does not matter."""
    x, y = pair.x, codes(pair.y)
    if x.shape == y.shape and not is_labels(pair.y):
        return _numbered(np.sort(_numbered(np.concatenate([x, y])).reshape(2, -1), axis=0).T)
    return _numbered(np.stack([_numbered(x), _numbered(y)], axis=1))


def codes(y: np.ndarray) -> np.ndarray:
    """Return `y` as numbers [n, d]; labels become one column of codes."""
    return pd.factorize(np.asarray(y).ravel(), sort=True)[0][:, None] if is_labels(y) else y


def _numbered(rows: np.ndarray) -> np.ndarray:
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel()


def _parts(pair: Aligned, n: int, rng: np.random.Generator) -> list[Aligned]:
    """Deal the pairs into `n` disjoint parts; all pairs of a group are in the same part."""
    unit = np.arange(len(pair.x)) if pair.groups is None else pair.groups
    part = (rng.permutation(unit.max() + 1) % n)[unit]
    return [of(pair, part == i) for i in range(n)]


def _shuffled(pair: Aligned, rng: np.random.Generator) -> Aligned:
    """Shuffle the signals. Equal pairs remain equal, so that the effect of copies on an estimate shows."""
    number = copies(pair)
    first = np.unique(number, return_index=True)[1]
    return pair._replace(y=pair.y[rng.permutation(first)[number]])


def _noisy(values: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise of `level` standard deviations; of labels, shuffle a share: 1/5 at level 1/2, 1/2 at level 1."""
    if not is_labels(values):
        return values + level * values.std(axis=0) * rng.standard_normal(values.shape)
    dealt, some = values.copy(), np.flatnonzero(rng.random(len(values)) < level**2 / (1 + level**2))
    dealt[some] = values[rng.permutation(some)]
    return dealt


def _projected(pair: Aligned, share: float, rng: np.random.Generator) -> Aligned:
    """Scale dimensions to unit deviation and project them at random onto a share of their number."""
    d, scale = pair.x.shape[1], np.maximum(pair.x.std(axis=0), np.finfo(float).tiny)
    return pair._replace(x=pair.x / scale @ np.linalg.qr(rng.standard_normal((d, round(share * d))))[0])


def _leading(pair: Aligned, share: float) -> Aligned:
    """Keep a share of the principal components, the leading ones."""
    u, s, _ = np.linalg.svd(pair.x - pair.x.mean(axis=0), full_matrices=False)
    k = max(1, round(share * len(s)))
    return pair._replace(x=u[:, :k] * s[:k])
