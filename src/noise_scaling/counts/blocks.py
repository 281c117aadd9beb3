"""Process rows of counts in blocks: choose the blocks, work on them in threads, or read one block ahead."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numba
import numpy as np

_Block = TypeVar("_Block")
_Found = TypeVar("_Found")


def blocks_of(indptr: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Split rows into blocks (first, stop) of about `size` entries each, given the row pointers `indptr`."""
    marks = np.searchsorted(indptr, np.arange(0, indptr[-1], size))
    return list(pairwise(np.unique(np.r_[0, marks, len(indptr) - 1]).tolist()))


def on_threads(
    work: Callable[[tuple[int, int]], _Found], blocks: list[tuple[int, int]], n_threads: int | None
) -> list[_Found]:
    """Call `work` on every block in a pool of threads, and return the results in the order of the blocks.

    Threads only help if `work` releases Python's global lock. `n_threads` None means numba's setting.
    """
    with ThreadPoolExecutor(n_threads or numba.config.NUMBA_NUM_THREADS) as pool:  # type: ignore[attr-defined]
        return list(pool.map(work, blocks))


def read_ahead(read: Callable[[_Block], _Found], blocks: Iterable[_Block]) -> Generator[_Found]:
    """Yield `read(block)` for each block in turn, called in a thread that is one block ahead of the consumer."""
    with ThreadPoolExecutor(1) as thread:
        ahead = None
        for block in blocks:
            before, ahead = ahead, thread.submit(read, block)
            if before is not None:
                yield before.result()
        if ahead is not None:
            yield ahead.result()
