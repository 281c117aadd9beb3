"""Disjoint test, validation and training cells, with nested training subsets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from .errors import InputError
from .seeds import derive


@dataclass(frozen=True)
class Split:
    """Positions of cells in their data set; `train` is in nested order: its first N are the N training cells."""

    test: np.ndarray
    validation: np.ndarray
    train: np.ndarray

    def training_cells(self, n_cells: int) -> np.ndarray:
        """Return the positions [N] of the N training cells, which contain those of every smaller N.

        InputError if there are fewer training cells, or N is below 1.
        """
        if not 0 < n_cells <= len(self.train):
            raise InputError(
                f"{n_cells} training cells asked for, {len(self.train)} left beside "
                f"{len(self.test)} test and {len(self.validation)} validation cells: ask for fewer cells"
            )
        return self.train[:n_cells]

    def of_blocks(self, blocks: np.ndarray, n_blocks: int) -> Self:
        """Return the split with training cells of `n_blocks` blocks only: the first blocks in the training order.

        Parameters
        ----------
        blocks
            Block of each cell of the data set, integers [cells].
        n_blocks
            Number of blocks to train on; a larger number adds blocks to those of a smaller one.

        Raises
        ------
        InputError
            If the training cells come from fewer blocks.
        """
        found, first = np.unique(blocks[self.train], return_index=True)
        if n_blocks > len(found):
            asked, here = f"training cells of {n_blocks} blocks asked for", len(found)
            raise InputError(f"{asked}, they are of {here}: ask for {here} at most")
        chosen = found[np.argsort(first)[:n_blocks]]
        return replace(self, train=self.train[np.isin(blocks[self.train], chosen)])


def split(
    cell_ids: Sequence[str] | np.ndarray,
    *,
    seed: int,
    n_test: int,
    n_validation: int,
    eligible: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    blocks: np.ndarray | None = None,
) -> Split:
    """Deal cells into test, validation and a nested training order, by name: row order does not matter.

    The published code draws validation and test cells independently from one pool, and a new training set for each
    number of cells (the book's page on deviations); here pools are disjoint and training sets nested.

    Parameters
    ----------
    cell_ids
        Unique names, [cells].
    n_test, n_validation
        Numbers of cells wanted; whole groups are taken, so that there may be more.
    seed
        Decides the order in which cells are dealt.
    eligible
        Boolean, [cells]: which cells may be tested (a cell without a signal cannot). All by default.
    groups
        Integers, [cells]: cells that share a non-negative number share a pool (clones, tiles of a tissue). By default
        each cell is its own group. Training cells have a separate order, so that the first N are from many groups.
    blocks
        Integers, [cells]: no block has both test and other cells (tissue sections). As many whole blocks as `n_test`
        needs are reserved for testing; their cells beyond `n_test` are left out. None by default.

    Raises
    ------
    InputError
        If names repeat, or there are too few cells.
    """
    eligible = np.ones(len(cell_ids), bool) if eligible is None else np.asarray(eligible, bool)
    keys = _keys(cell_ids, seed)
    order = np.argsort(keys, kind="stable")
    if blocks is None:
        test, left = _take(order, groups, n_test, eligible, "test")
    else:
        tested, left = _take(order, np.asarray(blocks), n_test, eligible, "test")
        test, _ = _take(tested, groups, n_test, eligible, "test")
    # Reorder: of the cells that come first in `order`, only those that cannot be tested are left.
    left = left[np.argsort(_mixed(keys[left]), kind="stable")]
    validation, train = _take(left, groups, n_validation, np.ones_like(eligible), "validation")
    if len(train) == 0:
        counts = f"{len(order)} cells, {len(test)} for test, {len(validation)} for validation"
        raise InputError(f"no cells are left to train on: {counts}")
    return Split(test[eligible[test]], validation, train)


def _keys(names: Sequence[str] | np.ndarray, seed: int) -> np.ndarray:
    """Return a hash of (seed, name) for each name, independent of the other names; cells are dealt in its order.

    Names are hashed one by one and compared only if two hashes are equal, so that ten million fit in memory. Among 1e7
    different names, two have the same hash with a probability of 1e-5.
    """
    keys = np.fromiter((derive(seed, "split", name) for name in names), np.int64, len(names))
    order = np.argsort(keys, kind="stable")
    for at in np.flatnonzero(np.diff(keys[order]) == 0):
        if str(names[order[at]]) == str(names[order[at + 1]]):
            raise InputError("cell names repeat: make them unique (AnnData.obs_names_make_unique)")
    return keys


def _mixed(keys: np.ndarray) -> np.ndarray:
    """Return keys for another order, by the finalizer of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    mixed = keys.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _take(
    order: np.ndarray, groups: np.ndarray | None, wanted: int, may: np.ndarray, pool: str
) -> tuple[np.ndarray, np.ndarray]:
    """Take whole groups, ordered by their first cells, until `wanted` cells; return their positions and the rest."""
    unit = np.arange(len(order))
    if groups is not None:
        keys = np.where(groups[order] >= 0, groups[order], -1 - order)
        _, first, code = np.unique(keys, return_index=True, return_inverse=True)
        unit = np.argsort(np.argsort(first))[code]
    sizes = np.bincount(unit, weights=may[order], minlength=1)
    chosen = (np.cumsum(sizes) - sizes < wanted) & (sizes > 0)
    if sizes[chosen].sum() < wanted:
        raise InputError(f"{wanted} {pool} cells asked for, {int(sizes[chosen].sum())} found: ask for fewer")
    return order[chosen[unit]], order[~chosen[unit]]
