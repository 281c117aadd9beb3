"""Counts that stay on disk: what `fit` and `embed` take in place of arrays when the cells are too many for memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix

from ..counts.blocks import blocks_of
from ..counts.count_store import CountStore
from ..errors import InputError

_PART = 1 << 24


def chunks_of(counts: csr_matrix | CountStore) -> Iterator[csr_matrix]:
    """Counts on disk block by block, those in memory as they are or, above 134 MB, in parts."""
    if isinstance(counts, CountStore):
        return counts.chunks()
    if counts.nnz <= _PART:
        return iter([counts])
    return (counts[a:b] for a, b in blocks_of(counts.indptr, _PART))


def usable(counts: csr_matrix | CountStore, *, at_least: int, what: str = "training") -> csr_matrix | CountStore:
    """`counts` without the empty cells, which no model can learn from; InputError where fewer are left."""
    if isinstance(counts, CountStore):
        kept = counts.not_empty()
    else:
        held = np.diff(counts.indptr) > 0
        kept = counts if held.all() else counts[held]  # the second is a copy
    if kept.shape[0] < at_least:
        raise InputError(
            f"{kept.shape[0]} of {counts.shape[0]} {what} cells hold any molecule and at least {at_least} are needed: "
            "use more cells or a larger fraction"
        )
    return kept
