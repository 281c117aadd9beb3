"""Rows of counts taken some at a time: in what runs, on threads, or read ahead of who uses them."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numba
import numpy as np

_Block = TypeVar("_Block")
_Found = TypeVar("_Found")


def blocks_of(indptr: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Runs of rows (first, last) with about `size` entries each, from where rows start and the last one ends."""
    marks = np.searchsorted(indptr, np.arange(0, indptr[-1], size))
    return list(pairwise(np.unique(np.r_[0, marks, len(indptr) - 1]).tolist()))


def on_threads(
    work: Callable[[tuple[int, int]], _Found], blocks: list[tuple[int, int]], n_threads: int | None
) -> list[_Found]:
    """What `work` gives for each block, in their order.

    `work` must let go of Python's lock to be any faster; no number of threads is numba's setting.
    """
    with ThreadPoolExecutor(n_threads or numba.config.NUMBA_NUM_THREADS) as pool:  # type: ignore[attr-defined]
        return list(pool.map(work, blocks))


def read_ahead(read: Callable[[_Block], _Found], blocks: Iterable[_Block]) -> Generator[_Found]:
    """`read` of each block in turn, called in a thread one block ahead of who takes them."""
    with ThreadPoolExecutor(1) as thread:
        ahead = None
        for block in blocks:
            before, ahead = ahead, thread.submit(read, block)
            if before is not None:
                yield before.result()
        if ahead is not None:
            yield ahead.result()
