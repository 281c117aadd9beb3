"""Counts that stay on disk: `fit` and `embed` take them in place of arrays when the cells do not fit in memory."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_matrix

from ..counts.blocks import blocks_of
from ..counts.count_store import CountStore
from ..errors import InputError

Cells: TypeAlias = csr_matrix | CountStore
"""UMI counts [cells, genes] in memory, or on disk."""

_PART = 1 << 24


def chunks_of(counts: Cells) -> Iterator[csr_matrix]:
    """Yield counts on disk block by block; counts in memory as they are or, above 134 MB, in parts that share them."""
    if isinstance(counts, CountStore):
        return counts.chunks()
    if counts.nnz <= _PART:
        return iter([counts])
    return (_part(counts, *block) for block in blocks_of(counts.indptr, _PART))


def _part(counts: csr_matrix, first: int, stop: int) -> csr_matrix:
    """Return some rows without a copy of their counts."""
    starts = counts.indptr[first : stop + 1]
    span = slice(starts[0], starts[-1])
    return csr_matrix((counts.data[span], counts.indices[span], starts - starts[0]), (stop - first, counts.shape[1]))


def usable(counts: Cells, *, at_least: int, what: str = "training") -> Cells:
    """Return `counts` without empty cells, from which no model learns; InputError if fewer than `at_least` remain."""
    if isinstance(counts, CountStore):
        kept = counts.not_empty()
    else:
        held = np.diff(counts.indptr) > 0
        kept = counts if held.all() else counts[held]  # indexing makes a copy
    if kept.shape[0] < at_least:
        raise InputError(
            f"{kept.shape[0]} of {counts.shape[0]} {what} cells hold any molecule and at least {at_least} are needed: "
            "use more cells or a larger fraction"
        )
    return kept
