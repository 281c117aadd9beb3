"""Random projection: 16 Gaussian directions of the raw counts. It learns nothing: the floor for the other models."""

from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.random_projection import GaussianRandomProjection

from .base import Model, register
from .streaming import Cells, chunks_of


@register
class RandomProjection(Model):
    """Raw counts times a Gaussian matrix of variance 1 / dims.

    The published setting is 16 dims (Gowri et al., arXiv 2503.02726, supplement); the variance is scikit-learn's.
    """

    name, label, colour, marker, order = "random_projection", "random projection", "#949494", "D", 50
    by_default: ClassVar[bool] = True
    NUMBERS_VERSION: ClassVar[int] = 1
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"published": {"dims": 16}, "small": {"dims": 16}}

    learnt: ClassVar[tuple[str, ...]] = ("directions",)
    trained: ClassVar[bool] = False

    def shapes(self, n_genes: int) -> dict[str, tuple[int, ...]]:
        """Directions over all genes."""
        return {"projection": (self.settings["dims"], n_genes)}

    @property
    def n_parameters(self) -> int:
        """0, because the directions are drawn at random and not trained."""
        return 0

    def fit(self, train: Cells, validation: Cells, *, genes_from: Cells | None = None) -> Self:
        """Draw the matrix, which depends only on the seed and the number of genes, not on any cell."""
        drawn = GaussianRandomProjection(self.settings["dims"], random_state=self.seed % 2**32)
        # drawn for all genes at once, because the draw for one gene depends on the number of genes
        self.directions = drawn.fit(csr_matrix((1, train.shape[1]))).components_.T
        return self

    def embed(self, counts: Cells) -> np.ndarray:
        """Return float32 [cells, dims]; an empty cell is mapped to 0."""
        return np.concatenate([np.asarray(c @ self.directions, dtype=np.float32) for c in chunks_of(counts)])
