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
    names = np.asarray(cell_ids, dtype=str)
    if len(np.unique(names)) != len(names):
        raise InputError("cell names repeat: make them unique (AnnData.obs_names_make_unique)")
    eligible = np.ones(len(names), bool) if eligible is None else np.asarray(eligible, bool)
    order = _shuffled(names, seed)
    units = _units(order, groups)
    test, units = _take(units, n_test, lambda unit: eligible[unit].any(), "test")
    validation, units = _take(units, n_validation, lambda unit: True, "validation")
    keep = eligible[test]
    rest = np.concatenate([np.asarray(u) for u in units]) if units else np.empty(0, int)
    if len(rest) == 0:
        raise InputError(
            f"no cells are left to train on: {len(names)} cells, {len(test)} for test, {len(validation)} for validation"
        )
    return Split(test[keep], validation, rest)


def _shuffled(names: np.ndarray, seed: int) -> np.ndarray:
    """Positions ordered by a hash of (seed, name): a cell's rank among others does not depend on the row order."""
    keys = np.array([derive(seed, "split", name) for name in names])
    return np.lexsort((names, keys))


def _units(order: np.ndarray, groups: np.ndarray | None) -> list[list[int]]:
    """Cells dealt together, in the order of each unit's first cell."""
    if groups is None:
        return [[int(i)] for i in order]
    units: dict[int, list[int]] = {}
    for i in order:
        key = int(groups[i])
        units.setdefault(key if key >= 0 else -1 - int(i), []).append(int(i))
    return list(units.values())


def _take(units: list[list[int]], wanted: int, may, pool: str) -> tuple[np.ndarray, list[list[int]]]:
    taken: list[int] = []
    left = []
    for unit in units:
        if len(taken) < wanted and may(unit):
            taken += unit
        else:
            left.append(unit)
    if len(taken) < wanted:
        raise InputError(f"{wanted} {pool} cells asked for, {len(taken)} found: ask for fewer")
    return np.asarray(taken, int), left
