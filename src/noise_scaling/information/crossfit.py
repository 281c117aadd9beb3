"""Splits of cells into those that fit, choose and score; batches of cells; one thread for small networks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import InputError
from ..seeds import generator

MOST_COPIES = 10  # copies of a pair on average; with more, values are discrete rather than cells given twice


@dataclass(frozen=True)
class Fold:
    """Disjoint cell indices: `fit` trains, `stop` chooses (epoch, regularisation), `score` gives the bits."""

    fit: np.ndarray
    stop: np.ndarray
    score: np.ndarray


def folds(
    n: int, n_folds: int, *, seed: int, groups: np.ndarray | None = None, strata: np.ndarray | None = None
) -> list[Fold]:
    """Split `n` cells three ways, once per fold: each cell is scored once, and a fifth of the others is for choosing.

    `groups` and `strata` are codes [n], or None. A group is never split. Classes (strata) are dealt evenly, so that a
    rare class is in as many folds as it has cells. InputError if there are fewer than 2 x `n_folds` groups, or cells
    where there are no groups.
    """
    units = _units(n, groups, 2 * n_folds, f"for {n_folds} folds: give more, or none")
    rng = generator(seed, "folds")
    part = _deal(units, n_folds, rng, strata)
    result = []
    for held_out in range(n_folds):
        rest = np.flatnonzero(part != held_out)
        inner = _deal(units[rest], 5, rng, None if strata is None else strata[rest])
        result.append(Fold(rest[inner > 0], rest[inner == 0], np.flatnonzero(part == held_out)))
    return result


def repeats(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, int]:
    """Return codes int64 [n] that cells with the same x and y share, and the number of cells that share theirs."""
    if len(np.unique(x[:, 0])) == len(x):
        return np.arange(len(x)), 0
    _, codes, counts = np.unique(np.column_stack([x, y]), axis=0, return_inverse=True, return_counts=True)
    return codes.ravel(), int(counts[counts > 1].sum())


def fold_repeats(x: np.ndarray, y: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray | None, str]:
    """Return groups, codes [n], that also hold together cells with the same x and y; and a note, empty without repeats.

    A cell that is both fitted on and scored produces false information. Without repeats `groups` is returned as it is.
    """
    codes, twice = repeats(x, y)
    units = int(codes.max()) + 1
    if not twice or units * MOST_COPIES < len(x):
        return groups, ""
    if groups is not None:
        links = coo_array((np.ones(len(x)), (codes, units + groups)), shape=(units + groups.max() + 1,) * 2)
        codes = connected_components(links, directed=False)[1][codes]
    return codes, f"{twice} cells have the x and y of another: they are kept together in every split"


def deal(n: int, n_parts: int, *, seed: int, groups: np.ndarray | None = None) -> list[np.ndarray]:
    """Deal cells to parts of even size, in random order; a group (codes [n]) is never split.

    InputError if there are fewer than 2 x `n_parts` groups, or cells where there are no groups.
    """
    units = _units(n, groups, 2 * n_parts, f"for {n_parts} folds: give more, or none")
    rng = generator(seed, "folds")
    part = _deal(units, n_parts, rng)
    return [rng.permutation(np.flatnonzero(part == k)) for k in range(n_parts)]


def three_way(n: int, *, seed: int, groups: np.ndarray | None = None) -> Fold:
    """Split cells into four tenths to fit, a tenth to stop and half to score; a group is never split.

    InputError if there are fewer than 10 groups, or cells where there are no groups.
    """
    units = _units(n, groups, 10, "to split three ways: give 10 or more, or none")
    part = _deal(units, 10, generator(seed, "three-way"))
    return Fold(np.flatnonzero(part < 4), np.flatnonzero(part == 4), np.flatnonzero(part > 4))


def _units(n: int, groups: np.ndarray | None, fewest: int, remedy: str) -> np.ndarray:
    """Return what is dealt as a whole: each cell's group, or the cell itself. InputError if there are too few."""
    units = np.arange(n) if groups is None else groups
    found = len(np.unique(units))
    if found < fewest:
        raise InputError(f"{found} groups are too few {remedy}")
    return units


def _deal(units: np.ndarray, n_parts: int, rng: np.random.Generator, strata: np.ndarray | None = None) -> np.ndarray:
    """Return a part 0 .. n_parts - 1 for each cell: whole units, largest first, each to the part with fewest cells."""
    names, first, code, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    if strata is not None:
        order = order[np.argsort(strata[first[order]], kind="stable")]
    if (sizes == 1).all():
        part = np.empty(len(names), dtype=np.int64)
        part[order] = (np.arange(len(names)) + rng.integers(n_parts)) % n_parts
        return part[code]
    order = order[np.argsort(-sizes[order], kind="stable")]
    part, load = np.empty(len(names), dtype=np.int64), np.zeros(n_parts)
    for unit in order:
        part[unit] = load.argmin()
        load[part[unit]] += sizes[unit]
    return part[code]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: the bits are the same on any number of cores, and small matrices are fastest.

    Set in torch itself: under OMP_NUM_THREADS=1 alone a small network still took 10 times as long on a busy machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def batches(cells: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield batches of exactly `size` cells, without end, from shuffled passes over `cells` joined end to end."""
    left = np.empty(0, dtype=cells.dtype)
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(cells)])
        yield left[:size]
        left = left[size:]
