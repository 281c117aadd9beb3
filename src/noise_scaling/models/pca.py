"""PCA: log-normalised counts of the most variable genes, truncated SVD."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.utils.sparsefuncs import mean_variance_axis

from .base import log_normalise, usable_cells


class PCA:
    """Normalise to 1e4, log1p, 750 highly variable genes, truncated SVD to 16 dims (the published setting).

    Genes are ranked by the variance of their log-normalised counts over the training cells at the training depth: at
    10 UMIs a cell scanpy's cell_ranger and seurat_v3 rankings raise, and its seurat ranking lost 0.18 bits in a pilot.
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "published": {"dims": 16, "n_genes": 750},
        "small": {"dims": 16, "n_genes": 750},
    }

    def __init__(self, *, dims: int, n_genes: int, seed: int, device: str = "cpu") -> None:
        self.dims, self.n_genes, self.seed = dims, n_genes, seed

    @property
    def n_parameters(self) -> int:
        return self._svd.components_.size

    def fit(self, train: csr_matrix, validation: csr_matrix) -> PCA:
        """Choose genes and axes on the training cells; with fewer than dims + 1 cells or genes, fewer axes."""
        values = log_normalise(usable_cells(train, at_least=3))
        self.genes = variable_genes(values, self.n_genes)
        dims = min(self.dims, len(self.genes) - 1, values.shape[0] - 1)
        # ARPACK, not the randomised solver: exact to rounding, so that two runs agree to the bit
        self._svd = TruncatedSVD(dims, algorithm="arpack", random_state=self.seed % 2**32)
        self._svd.fit(values[:, self.genes])
        return self

    def embed(self, counts: csr_matrix) -> np.ndarray:
        """float32 [cells, dims]; an empty cell is mapped to 0."""
        return self._svd.transform(log_normalise(counts)[:, self.genes]).astype(np.float32)


def variable_genes(values: csr_matrix, n_genes: int) -> np.ndarray:
    """Sorted positions of the `n_genes` columns of largest variance, ties by position; constant genes are left out."""
    _, variance = mean_variance_axis(values, axis=0)
    order = np.argsort(-variance, kind="stable")[:n_genes]
    return np.sort(order[variance[order] > 0])
