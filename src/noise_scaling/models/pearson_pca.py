"""PCA of analytic Pearson residuals of the counts."""

from collections.abc import Iterator
from typing import ClassVar, Self

import numpy as np

from .base import register
from .pca import PCA, leading
from .streaming import Cells, chunks_of, usable

_THETA = 100.0
_DENSE = 1 << 22  # residuals in a dense array at a time: 34 MB


@register
class PearsonPCA(PCA):
    """Analytic Pearson residuals (Lause, Berens & Kobak 2021, Genome Biology 22, 258), then PCA.

    Dims and number of genes are those of `pca`. The expected count m of a gene in a cell is the cell's molecules times
    the gene's share in the training cells; its variance is m + m^2 / 100. The residual of a count x is (x - m) over the
    root of that variance, clipped at the root of the number of training cells. Genes are ranked by residual variance.
    """

    name, label, colour, marker, order = "pearson_pca", "PCA of Pearson residuals", "#08306b", "v", 42
    variation_of: ClassVar[str] = "pca"
    seconds_per_cell: ClassVar[float] = 2e-4
    NUMBERS_VERSION: ClassVar[int] = 1
    learnt: ClassVar[tuple[str, ...]] = (*PCA.learnt, "shares", "means", "cut")

    @classmethod
    def width(cls, *, n_genes: float, nonzeros: float) -> float:
        """Thousands of genes, because residuals are dense."""
        return n_genes / 1000

    @classmethod
    def bytes_in_training(cls, preset: str, *, n_genes: float) -> float:
        """A few blocks of residuals."""
        return 6 * 8 * (_DENSE + n_genes)

    def fit(self, train: Cells, validation: Cells, *, genes_from: Cells | None = None) -> Self:
        """Learn shares, genes, means and axes in three passes over the training cells; otherwise as `PCA.fit`."""
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
        """Yield residuals of some genes, float64 [cells, genes], some cells at a time; 0 where 0 is expected."""
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
        """Return float32 [cells, dims]; all residuals of an empty cell are 0."""
        parts = [(residuals - self.means) @ self.axes.T for residuals in self._residuals(counts, self.genes)]
        return np.concatenate(parts).astype(np.float32)
