"""Disjoint test, validation and training cells, with nested training subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .seeds import derive


@dataclass(frozen=True)
class Split:
    """Positions of cells in their data set; `train` is in nested order: its first N are the N training cells.

    Parameters
    ----------
    test, validation, train
        Positions, each a vector of its own length; no cell is in two of them.
    """

    test: np.ndarray
    validation: np.ndarray
    train: np.ndarray

    def training_cells(self, n_cells: int) -> np.ndarray:
        """The N training cells, which contain those of every smaller N: positions, [N].

        Raises
        ------
        InputError
            If there are fewer, or N is below 1.
        """
        if not 0 < n_cells <= len(self.train):
            raise InputError(
                f"{n_cells} training cells asked for, {len(self.train)} left beside "
                f"{len(self.test)} test and {len(self.validation)} validation cells: ask for fewer cells"
            )
        return self.train[:n_cells]


def split(
    cell_ids: Sequence[str] | np.ndarray,
    *,
    seed: int,
    n_test: int,
    n_validation: int,
    eligible: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> Split:
    """Deal cells into test, validation and a nested training order, by name: row order and company do not matter.

    The published code draws validation and test cells from one pool independently, and each number of training cells
    afresh (the book's page on deviations); here pools are disjoint and training sets nested.

    Parameters
    ----------
    cell_ids
        Unique names, [cells].
    n_test, n_validation
        Cells wanted; whole groups are taken, so that the last group may overshoot.
    seed
        Decides the order in which cells are dealt.
    eligible
        Boolean, [cells]: who may be tested (a cell without a signal cannot). All by default.
    groups
        Integers, [cells]: cells that share a non-negative number share a pool (clones). Each alone by default.

    Raises
    ------
    InputError
        If names repeat, or the cells do not suffice.
    """
    eligible = np.ones(len(cell_ids), bool) if eligible is None else np.asarray(eligible, bool)
    order = _shuffled(cell_ids, seed)
    unit = np.arange(len(order)) if groups is None else _units(order, np.asarray(groups))
    order = order[np.argsort(unit, kind="stable")]
    unit = np.sort(unit)
    test, left = _take(unit, n_test, eligible[order], "test")
    validation, left = _take(unit, n_validation, left, "validation", among=left)
    rest = order[left]
    if len(rest) == 0:
        raise InputError(
            f"no cells are left to train on: {len(order)} cells, {test.sum()} for test, {validation.sum()} for "
            "validation"
        )
    tested = order[test]
    return Split(tested[eligible[tested]], order[validation], rest)


def _shuffled(names: Sequence[str] | np.ndarray, seed: int) -> np.ndarray:
    """Positions ordered by a hash of (seed, name): a cell's rank among others does not depend on the row order.

    Names are hashed one by one and compared only where two hashes are alike, so that ten million fit in memory.
    """
    keys = np.fromiter((derive(seed, "split", name) for name in names), np.int64, len(names))
    order = np.argsort(keys, kind="stable")
    alike = np.flatnonzero(np.diff(keys[order]) == 0)
    if len(alike):  # of 1e7 different names two have one hash with a chance of 1e-5
        if any(str(names[order[i]]) == str(names[order[i + 1]]) for i in alike):
            raise InputError("cell names repeat: make them unique (AnnData.obs_names_make_unique)")
        return np.lexsort((np.asarray(names, dtype=str), keys))
    return order


def _units(order: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """For each cell in `order` the number of what it is dealt with: groups in the order of their first cells."""
    keys = np.where(groups[order] >= 0, groups[order], -1 - order)
    _, first, code = np.unique(keys, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[code]


def _take(
    unit: np.ndarray, wanted: int, may: np.ndarray, pool: str, *, among: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Whole units from the first on until `wanted` cells are taken.

    Parameters
    ----------
    unit
        Of each cell in the order of dealing, rising.
    wanted
        Cells.
    may
        Cells of which one must be in a unit that is taken.
    pool
        For the message.
    among
        Cells that are not taken yet; all by default.

    Returns
    -------
    Masks [cells]: who is taken, and who is left.
    """
    there = np.ones(len(unit), bool) if among is None else among
    sizes = np.bincount(unit, weights=there, minlength=1)
    sizes[np.bincount(unit, weights=may & there, minlength=1) == 0] = 0
    chosen = (np.cumsum(sizes) - sizes < wanted) & (sizes > 0)
    if sizes[chosen].sum() < wanted:
        raise InputError(f"{wanted} {pool} cells asked for, {int(sizes[chosen].sum())} found: ask for fewer")
    taken = chosen[unit] & there
    return taken, there & ~taken
