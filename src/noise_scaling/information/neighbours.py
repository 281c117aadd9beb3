"""Nearest-neighbour estimators: Kraskov for vectors, Ross for labels. Exact, brute force."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from scipy.special import digamma

from ..errors import InputError
from ..seeds import generator
from .core import NATS_PER_BIT, Information, from_pointwise, is_constant, is_labels, prepare, zero

JITTER = 1e-10
"""Noise added to tied values, in standard deviations of their column (as Kraskov et al. advise)."""

_ROWS = 256  # rows a task: small enough to share evenly, large enough that starting one costs nothing
_TILE, _BLOCK, _STRIP = 8, 256, 64
"""Rows at a time against as many columns, so that a block of columns is read once from the first cache for all
rows (8 x 256 of float64; 128, 512 and 4 or 16 rows are within 4 %); distances looked at together."""


def ksg(x: object, y: object, *, k: int = 3) -> Information:
    """Mutual information of two vectors by the first estimator of Kraskov, Stögbauer and Grassberger (2004), Eq. 8.

    Chebyshev norm, distances taken in the units given: standardise columns first if they differ in scale.
    Brute force in numba over all pairs: no tree to be lost in many dimensions.
    Values that occur more than once in a column are moved apart by a seeded jitter of 1e-10 standard
    deviations, and the note says so. Pairs that occur twice look like information (1 bit is found in independent data
    that were resampled once): the note counts them. Never resample with replacement into this function. Labels become
    one-hot vectors, and both sides are then standardised (else the distance between labels, 1, is lost in that between
    cells); `mixed_ksg` is the better estimator for them.

    Parameters
    ----------
    x, y
        [cells, dims] floats; row i of both is the same cell. `y` may be labels [cells].
    k
        Number of neighbours.

    Returns
    -------
    Information
        Pointwise values and their standard error; not a bound. 0 bits where one side is constant.

    Raises
    ------
    InputError
        Lengths that differ, NaN, fewer than 30 pairs, `k` not in 1 .. cells - 1.
    """
    labelled = is_labels(y)
    x, y, _ = prepare(x, y, discrete=False)
    if is_constant(x, y):
        return zero(len(x), "ksg", "one side is constant")
    if labelled:
        x, y = (side / side.std(axis=0) for side in (x, y))
    _check_k(k, len(x))
    repeated = _repeated(x, y)
    (x, tied_x), (y, tied_y) = _untie(x, "x"), _untie(y, "y")
    near_x, near_y = _run(_ksg_rows, len(x), _by_dimension(x), _by_dimension(y), k)
    pointwise = digamma(k) + digamma(len(x)) - digamma(near_x + 1) - digamma(near_y + 1)
    note = "; ".join(filter(None, (tied_x, tied_y, repeated)))
    return from_pointwise(pointwise / NATS_PER_BIT, "ksg", lower_bound=False, note=note)


def mixed_ksg(x: object, labels: object, *, k: int = 3) -> Information:
    """Mutual information of a vector and a label by nearest neighbours, after Ross (2014), Eq. 2.

    Chebyshev norm. Cells that are alone in their class have no neighbour there and are left out (the note
    counts them, their pointwise value is NaN); a class smaller than k + 1 uses all its cells.

    Parameters
    ----------
    x
        [cells, dims] floats.
    labels
        [cells] integers, strings or categories.
    k
        Number of neighbours of the same class.

    Returns
    -------
    Information
        Pointwise values and their standard error; not a bound. 0 bits where one side is constant.

    Raises
    ------
    InputError
        As `ksg`; labels that are fractional or all different.
    """
    x, codes, _ = prepare(x, labels, discrete=True)
    if is_constant(x, codes):
        return zero(len(x), "mixed_ksg", "one side is constant")
    _check_k(k, len(x))
    x, note = _untie(x, "x")
    sizes = np.bincount(codes)[codes]
    kept = sizes > 1
    if not kept.all():
        note = "; ".join(filter(None, [note, f"{(~kept).sum()} cells alone in their class left out"]))
    near, used_k = _run(_ross_rows, kept.sum(), _by_dimension(x[kept]), codes[kept], k)
    pointwise = np.full(len(x), np.nan)
    nats = digamma(kept.sum()) + digamma(used_k) - digamma(sizes[kept]) - digamma(near + 1)
    pointwise[kept] = nats / NATS_PER_BIT
    return from_pointwise(pointwise, "mixed_ksg", lower_bound=False, note=note)


def _check_k(k: int, n: int) -> None:
    if not (isinstance(k, int | np.integer) and 1 <= k < n):
        raise InputError(f"k must be a whole number from 1 to {n - 1} (cells - 1), found {k!r}")


def _untie(x: np.ndarray, name: str) -> tuple[np.ndarray, str]:
    """`x` with a jitter where a column holds a value twice, and the note that says so."""
    ordered = np.sort(x, axis=0)
    tied = (ordered[1:] == ordered[:-1]).any(axis=0)
    if not tied.any():
        return x, ""
    noise = generator(0, "jitter", name).standard_normal(x.shape)
    moved = x + np.where(tied, JITTER * x.std(axis=0), 0.0) * noise
    return moved, f"ties in {tied.sum()} columns of {name} jittered by {JITTER:g} standard deviations"


def _run(kernel, n: int, a: np.ndarray, b: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The two counts that `kernel` writes for each of `n` rows, on all threads; same values on any number of them."""
    first, second = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    starts = range(0, n, _ROWS)
    # Not numba.get_num_threads(): it starts numba's own threads, and that sets torch's number of threads anew.
    with ThreadPoolExecutor(min(len(starts), numba.config.NUMBA_NUM_THREADS)) as pool:
        tasks = [pool.submit(kernel, a, b, k, s, min(s + _ROWS, n), first, second) for s in starts]
        for task in tasks:
            task.result()
    return first, second


def _repeated(x: np.ndarray, y: np.ndarray) -> str:
    """A note that counts the cells whose values, x and y, another cell has too; empty if there are none."""
    if len(np.unique(x[:, 0])) == len(x):
        return ""
    counts = np.unique(np.hstack([x, y]), axis=0, return_counts=True)[1]
    twice = int(counts[counts > 1].sum())
    return f"{twice} cells have the x and y of another: such pairs look like information" if twice else ""


def _by_dimension(x: np.ndarray) -> np.ndarray:
    """`x` [cells, dims] as [dims, cells], filled up to a multiple of 4 dimensions with zeros: they add no distance."""
    return np.ascontiguousarray(np.pad(x, ((0, 0), (0, -x.shape[1] % 4))).T)


@numba.njit(nogil=True, inline="always")
def _max(a: float, b: float) -> float:
    return a if a > b else b  # the built-in keeps the loop from being vectorised


@numba.njit(nogil=True, cache=True)
def _distances(xt: np.ndarray, i: int, start: int, stop: int, out: np.ndarray) -> None:
    """Chebyshev distances of cell `i` to cells start .. stop - 1, into `out` there; `xt` as `_by_dimension` gives it.

    Four dimensions at a time: `out` is read and written a quarter as often.
    """
    near = out[start:stop]
    near[:] = 0.0
    for d in range(0, xt.shape[0], 4):
        a, b, c, e = xt[d, start:stop], xt[d + 1, start:stop], xt[d + 2, start:stop], xt[d + 3, start:stop]
        own_a, own_b, own_c, own_e = xt[d, i], xt[d + 1, i], xt[d + 2, i], xt[d + 3, i]
        for j in range(near.size):
            step = _max(_max(abs(a[j] - own_a), abs(b[j] - own_b)), _max(abs(c[j] - own_c), abs(e[j] - own_e)))
            near[j] = _max(near[j], step)
    if start <= i < stop:
        out[i] = np.inf  # never its own neighbour


@numba.njit(nogil=True, cache=True)
def _insert(nearest: np.ndarray, value: float) -> None:
    """Put `value` into the ascending `nearest`, dropping the last."""
    place = nearest.size - 1
    while place > 0 and nearest[place - 1] > value:
        nearest[place] = nearest[place - 1]
        place -= 1
    nearest[place] = value


@numba.njit(nogil=True, cache=True)
def _count(distances: np.ndarray, radius: float) -> int:
    inside = 0
    for j in range(distances.size):
        inside += distances[j] < radius
    return inside


@numba.njit(nogil=True, cache=True)
def _collect(dx: np.ndarray, dy: np.ndarray, start: int, stop: int, nearest: np.ndarray) -> None:
    """Bring `nearest`, ascending, up to date with cells start .. stop - 1; strips without a nearer one are left out."""
    for first in range(start, stop, _STRIP):
        last = min(first + _STRIP, stop)
        x, y, radius, nearer = dx[first:last], dy[first:last], nearest[-1], 0
        for j in range(x.size):
            nearer += (x[j] < radius) & (y[j] < radius)
        if nearer:
            for j in range(x.size):
                both = _max(x[j], y[j])
                if both < nearest[-1]:
                    _insert(nearest, both)


@numba.njit(nogil=True, cache=True)
def _ksg_rows(xt, yt, k, start, stop, near_x, near_y) -> None:
    """For each cell: how many are nearer in x, and in y, than its k-th neighbour in both."""
    n = xt.shape[1]
    dx, dy, nearest = np.empty((_TILE, n)), np.empty((_TILE, n)), np.empty((_TILE, k))
    for first in range(start, stop, _TILE):
        rows = min(_TILE, stop - first)
        nearest[:] = np.inf
        for left in range(0, n, _BLOCK):
            right = min(left + _BLOCK, n)
            for t in range(rows):
                _distances(xt, first + t, left, right, dx[t])
                _distances(yt, first + t, left, right, dy[t])
                _collect(dx[t], dy[t], left, right, nearest[t])
        for t in range(rows):
            near_x[first + t], near_y[first + t] = _count(dx[t], nearest[t, -1]), _count(dy[t], nearest[t, -1])


@numba.njit(nogil=True, cache=True)
def _ross_rows(xt, codes, k, start, stop, near, used_k) -> None:
    """For each cell: how many of all classes are as near as its k-th neighbour of the same class."""
    n = xt.shape[1]
    dx, nearest = np.empty(n), np.empty(k)
    for i in range(start, stop):
        _distances(xt, i, 0, n, dx)
        nearest[:] = np.inf
        same = 0
        for j in range(n):
            if codes[j] == codes[i] and j != i:
                same += 1
                if dx[j] < nearest[k - 1]:
                    _insert(nearest, dx[j])
        used = min(k, same)
        near[i], used_k[i] = _count(dx, nearest[used - 1]), used
