"""NMF: log-normalised counts of the most variable genes as sums of non-negative programmes."""

import warnings
from typing import Any, ClassVar

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import nnls
from scipy.sparse import vstack
from sklearn.decomposition import non_negative_factorization
from sklearn.exceptions import ConvergenceWarning

from .base import log_normalise, register
from .pca import PCA
from .streaming import Cells, chunks_of


@register
class NMF(PCA):
    """Non-negative matrix factorisation (Lee & Seung 1999, Nature 401, 788) by scikit-learn.

    Genes and dims are those of `pca`, but programmes and their amounts are not negative. A cell's embedding is the
    amounts that fit the cell best, by non-negative least squares. The chosen genes of all training cells are held in
    memory, 12 bytes for each non-zero count.
    """

    name, label, colour, marker, order = "nmf", "NMF", "#fbafe4", "p", 44
    variation_of: ClassVar[str] = "pca"
    seconds_per_cell: ClassVar[float] = 2e-3
    NUMBERS_VERSION: ClassVar[int] = 1
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        name: preset | {"rounds": 200} for name, preset in PCA.PRESETS.items()
    }

    def _axes(self, train: Cells) -> np.ndarray:
        values = vstack([log_normalise(chunk)[:, self.genes] for chunk in chunks_of(train)], format="csr")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # most of the improvement comes in the first rounds
            _, programmes, _ = non_negative_factorization(
                values, n_components=self._dims, init="nndsvda", max_iter=self.settings["rounds"],
                random_state=self.seed % 2**32,
            )  # fmt: skip
        return programmes

    def embed(self, counts: Cells) -> np.ndarray:
        """Return float32 [cells, dims]; an empty cell is mapped to 0."""
        gram = self.axes @ self.axes.T
        root = cholesky(gram + 1e-9 * np.trace(gram) * np.eye(len(gram)), lower=True)  # a programme may be all zeros
        products = np.vstack([log_normalise(chunk)[:, self.genes] @ self.axes.T for chunk in chunks_of(counts)])
        targets = solve_triangular(root, products.T, lower=True).T
        return np.array([nnls(root.T, target)[0] for target in targets], dtype=np.float32)
