"""Random projection: 16 Gaussian directions of the raw counts. Learns nothing; the floor for the other models."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.random_projection import GaussianRandomProjection


class RandomProjection:
    """Raw counts times a Gaussian matrix of variance 1 / dims (the published setting: 16 dims)."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"published": {"dims": 16}, "small": {"dims": 16}}
    n_parameters = 0

    def __init__(self, *, dims: int, seed: int, device: str = "cpu") -> None:
        self.dims = dims
        self._projection = GaussianRandomProjection(dims, random_state=seed % 2**32)

    def fit(self, train: csr_matrix, validation: csr_matrix) -> RandomProjection:
        """Draw the matrix; it depends on the seed and the number of genes alone, not on the cells."""
        self._projection.fit(train)
        return self

    def embed(self, counts: csr_matrix) -> np.ndarray:
        """float32 [cells, dims]; an empty cell is mapped to 0."""
        return np.asarray(counts @ self._projection.components_.T, dtype=np.float32)
