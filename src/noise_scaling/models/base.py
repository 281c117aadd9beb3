"""What every model offers, and what they share."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from scipy.sparse import csr_matrix

from ..errors import InputError, choose


class Model(Protocol):
    """Learns from the counts of training cells, then maps any cell's counts to a vector."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]]
    n_parameters: int

    def fit(self, train: csr_matrix, validation: csr_matrix) -> Model:
        """Learn from UMI counts [cells, genes]; `validation` only decides when to stop."""

    def embed(self, counts: csr_matrix) -> np.ndarray:
        """float32 [cells, dims], row by row: a vector does not depend on the other cells. Empty cells get one."""


def usable_cells(counts: csr_matrix, *, at_least: int, what: str = "training") -> csr_matrix:
    """`counts` without its empty cells, which no model can learn from; InputError if fewer than `at_least` are left."""
    kept = counts[np.diff(counts.indptr) > 0]
    if kept.shape[0] < at_least:
        raise InputError(
            f"{kept.shape[0]} of {counts.shape[0]} {what} cells hold any molecule and at least {at_least} are needed: "
            "use more cells or a larger fraction"
        )
    return kept


def log_normalise(counts: csr_matrix, target: float = 1e4) -> csr_matrix:
    """log(1 + count / cell total x `target`), sparse; an empty cell stays empty."""
    totals = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    scale = np.divide(target, totals, out=np.zeros_like(totals), where=totals > 0)
    out = counts.astype(np.float64)
    out.data = np.log1p(out.data * np.repeat(scale, np.diff(out.indptr)))
    return out


def resolve_device(device: str) -> str:
    """ "cpu" or "cuda"; "auto" takes the GPU where there is one."""
    choose("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for and torch finds no GPU here: use device 'cpu' or 'auto'")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
