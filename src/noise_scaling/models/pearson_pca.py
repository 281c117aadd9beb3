"""PCA of analytic Pearson residuals of the counts."""

from collections.abc import Iterator
from typing import ClassVar, Self

import numpy as np

from .base import register
from .pca import PCA, leading
from .streaming import Cells, chunks_of, usable

_THETA = 100.0
_DENSE = 1 << 22  # residuals that are dense at a time: 34 MB


@register
class PearsonPCA(PCA):
    """Analytic Pearson residuals (Lause, Berens & Kobak 2021, Genome Biology 22, 258), then PCA.

    Dims and number of genes are those of `pca`. A cell's count x of a gene is expected to be m, its molecules times the
    gene's share in the training cells, and to vary by m + m^2 / 100; (x - m) over the root of that, cut at the root of
    the number of training cells, is the residual. Genes are ranked by the variance of their residuals.
    """

    name, label, colour, marker, order = "pearson_pca", "PCA of Pearson residuals", "#08306b", "v", 42
    variation_of: ClassVar[str] = "pca"
    seconds_per_cell: ClassVar[float] = 2e-4
    NUMBERS_VERSION: ClassVar[int] = 1
    learnt: ClassVar[tuple[str, ...]] = (*PCA.learnt, "shares", "means", "cut")

    @classmethod
    def width(cls, *, n_genes: float, nonzeros: float) -> float:
        """Thousands of genes: residuals are dense."""
        return n_genes / 1000

    @classmethod
    def bytes_in_training(cls, preset: str, *, n_genes: float) -> float:
        """A few blocks of residuals."""
        return 6 * 8 * (_DENSE + n_genes)

    def fit(self, train: Cells, validation: Cells, *, genes_from: Cells | None = None) -> Self:
        """Shares, genes, means and axes of the training cells, which are gone through three times; as `PCA.fit`."""
        train = usable(train, at_least=3)
        sums = np.zeros(train.shape[1])
        for chunk in chunks_of(train):
            sums += np.asarray(chunk.sum(axis=0)).ravel()
        self.shares, self.cut = sums / sums.sum(), float(np.sqrt(train.shape[0]))
        chosen_on = train if genes_from is None else usable(genes_from, at_least=3)
        first, second = np.zeros(train.shape[1]), np.zeros(train.shape[1])
        for residuals in self._residuals(chosen_on, np.arange(train.shape[1])):
            first, second = first + residuals.sum(0), second + np.square(residuals).sum(0)
        self._choose(second / chosen_on.shape[0] - (first / chosen_on.shape[0]) ** 2, train.shape[0])
        total, products = np.zeros(len(self.genes)), np.zeros((len(self.genes),) * 2)
        for residuals in self._residuals(train, self.genes):
            total, products = total + residuals.sum(0), products + residuals.T @ residuals
        self.means = total / train.shape[0]
        self.axes = leading(products - np.outer(total, self.means), self._dims)
        return self

    def _residuals(self, counts: Cells, genes: np.ndarray) -> Iterator[np.ndarray]:
        """Residuals of some genes, float64 [cells, genes], some cells at a time; 0 where a count is expected to be."""
        step = max(1, _DENSE // len(genes))
        for chunk in chunks_of(counts):
            totals = np.asarray(chunk.sum(axis=1), dtype=np.float64)
            for start in range(0, chunk.shape[0], step):
                mean = totals[start : start + step] * self.shares[genes]
                apart = chunk[start : start + step][:, genes].toarray() - mean
                spread = np.sqrt(mean + mean**2 / _THETA)
                residuals = np.divide(apart, spread, out=np.zeros_like(apart), where=spread > 0)
                yield residuals.clip(-self.cut, self.cut)

    def embed(self, counts: Cells) -> np.ndarray:
        """float32 [cells, dims]; all residuals of an empty cell are 0."""
        parts = [(residuals - self.means) @ self.axes.T for residuals in self._residuals(counts, self.genes)]
        return np.concatenate(parts).astype(np.float32)
