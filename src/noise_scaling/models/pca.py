"""PCA: log-normalised counts of the most variable genes, truncated SVD."""

from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD

from ..counts.count_store import CountStore
from ..errors import InputError
from .base import Model, log_normalise, register
from .streaming import Cells, chunks_of, usable

_DENSE = 4096  # cells per dense array of chosen genes: 25 MB for 750 genes
_SUMMED = 1 << 20  # counts per sum over genes: 24 MB
_MANY = 20_000  # with more cells, axes come from products of genes in memory too: five times as fast at 300,000


@register
class PCA(Model):
    """Normalise to 1e4, log1p, 750 highly variable genes, truncated SVD to 16 dims.

    These are the published settings (Gowri et al., arXiv 2503.02726, supplement); `dims` and `n_genes` change them.
    The matrix stays sparse throughout and is not centred, as published: the first axis is close to the mean. Genes are
    ranked by the variance of their log-normalised counts over the training cells at the training depth: at 10 UMIs a
    cell scanpy's cell_ranger and seurat_v3 rankings raise errors, and its seurat ranking lost 0.18 bits in a pilot. If
    fewer genes vary than requested, all that vary are used, and `note` says so; `note` reports missing axes as well.
    """

    name, label, colour, marker, order = "pca", "PCA", "#0173b2", "^", 40
    by_default: ClassVar[bool] = True
    seconds_per_cell: ClassVar[float] = 2e-4
    NUMBERS_VERSION: ClassVar[int] = 2
    learnt: ClassVar[tuple[str, ...]] = ("genes", "axes", "note")
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "published": {"dims": 16, "n_genes": 750},
        "small": {"dims": 16, "n_genes": 750},
    }

    def shapes(self, n_genes: int) -> dict[str, tuple[int, ...]]:
        """Axes over the chosen genes."""
        return {"axes": (self.settings["dims"], self.settings["n_genes"])}

    @property
    def n_parameters(self) -> int:
        """Entries of the axes."""
        return self.axes.size

    def fit(self, train: Cells, validation: Cells, *, genes_from: Cells | None = None) -> Self:
        """Choose genes and axes on the training cells; fewer than dims + 1 cells or genes give fewer axes.

        Cells in a store, and more than 20,000 cells in memory, are read twice: once for the variances, and once for the
        products of genes, whose eigenvectors are the same axes. InputError: fewer than 3 cells hold a molecule, or
        fewer than 2 genes vary.
        """
        train = usable(train, at_least=3)
        self._choose(_variances(train if genes_from is None else usable(genes_from, at_least=3)), train.shape[0])
        self.axes = self._axes(train)
        return self

    def _axes(self, train: Cells) -> np.ndarray:
        """Return the axes, float64 [dims, chosen genes], of cells that are not empty."""
        if isinstance(train, CountStore) or train.shape[0] > _MANY:
            return leading(_products(train, self.genes), self._dims)
        # ARPACK, not the randomised solver: exact to rounding, so that two runs agree to the bit
        svd = TruncatedSVD(self._dims, algorithm="arpack", random_state=self.seed % 2**32)
        return svd.fit(log_normalise(train)[:, self.genes]).components_

    def _choose(self, variance: np.ndarray, n_cells: int) -> None:
        """Set the genes and the number of axes from the variances [genes]; note it if there are fewer than wanted."""
        wanted = self.settings
        self.genes = variable_genes(variance, wanted["n_genes"])
        self._dims = min(wanted["dims"], len(self.genes) - 1, n_cells - 1)
        if self._dims < 1:
            raise InputError(
                f"{len(self.genes)} genes vary among {n_cells} cells, too few for an axis: use more cells or depth"
            )
        short = []
        if len(self.genes) < min(wanted["n_genes"], len(variance)):
            short.append(f"{len(self.genes)} genes vary among the cells, {wanted['n_genes']} wanted: all of them used")
        if self._dims < wanted["dims"]:
            short.append(f"{self._dims} axes found, {wanted['dims']} wanted")
        self.note = "; ".join(short)

    def embed(self, counts: Cells) -> np.ndarray:
        """Return float32 [cells, dims]; an empty cell is mapped to 0."""
        parts = [log_normalise(chunk)[:, self.genes] @ self.axes.T for chunk in chunks_of(counts)]
        return np.concatenate(parts).astype(np.float32, copy=False)


def variable_genes(variance: np.ndarray, n_genes: int) -> np.ndarray:
    """Return the sorted positions of the `n_genes` largest variances [genes], ties by position, no constant genes."""
    order = np.argsort(-variance, kind="stable")[:n_genes]
    return np.sort(order[variance[order] > 0])


def _variances(counts: Cells) -> np.ndarray:
    """Return the variance of each gene's log-normalised counts over the cells, float64 [genes]."""
    sums = np.zeros((2, counts.shape[1]))
    for chunk in chunks_of(counts):
        sums += _sums(log_normalise(chunk))
    first, second = sums / counts.shape[0]
    return second - first**2


def _sums(values: csr_matrix) -> np.ndarray:
    """Sum values and their squares over the cells, float64 [2, genes], without a copy of all values."""
    sums = np.zeros((2, values.shape[1]))
    for start in range(0, values.nnz, _SUMMED):
        genes, some = values.indices[start : start + _SUMMED], values.data[start : start + _SUMMED]
        np.add.at(sums[0], genes, some)
        np.add.at(sums[1], genes, some**2)
    return sums


def _products(counts: Cells, genes: np.ndarray) -> np.ndarray:
    """Sum over the cells the products of log-normalised counts of every two genes, float64 [genes, genes]."""
    total = np.zeros((len(genes), len(genes)))
    for chunk in chunks_of(counts):
        values = log_normalise(chunk)[:, genes]
        for start in range(0, values.shape[0], _DENSE):
            dense = values[start : start + _DENSE].toarray()
            total += dense.T @ dense
    return total


def leading(products: np.ndarray, dims: int) -> np.ndarray:
    """Return the eigenvectors of the `dims` largest eigenvalues, [dims, genes], largest first."""
    size = len(products)
    return eigh(products, subset_by_index=[size - dims, size - 1])[1][:, ::-1].T
