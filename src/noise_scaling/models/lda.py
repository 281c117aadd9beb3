"""LDA: a cell's molecules as a mixture of topics."""

import math
from typing import Any, ClassVar, Self

import numpy as np
import torch
from scipy.sparse import csr_matrix
from sklearn.decomposition import LatentDirichletAllocation

from .base import Model, register
from .streaming import Cells, chunks_of, usable


@register
class LDA(Model):
    """Latent Dirichlet allocation (Blei, Ng & Jordan 2003) by scikit-learn: all genes, raw counts, `dims` topics.

    Online variational Bayes (Hoffman et al. 2010) in batches of 128 cells: `rounds` passes over the training cells, or
    more if they are needed to see `cells_seen` cells. A cell's embedding is its proportions of the topics.
    """

    name, label, colour, marker, order = "lda", "LDA", "#66a61e", "8", 46
    variation_of: ClassVar[str] = "pca"
    seconds_per_cell: ClassVar[float] = 4e-3
    NUMBERS_VERSION: ClassVar[int] = 1
    _SETTINGS: ClassVar[dict[str, Any]] = {"dims": 16, "rounds": 5, "cells_seen": 10_000}
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"published": _SETTINGS, "small": _SETTINGS}

    @classmethod
    def cells_seen(cls, preset: str, n_cells: int) -> float:
        """Cells of all passes together."""
        settings = cls.PRESETS[preset]
        return max(settings["rounds"] * n_cells, settings["cells_seen"])

    @classmethod
    def bytes_in_training(cls, preset: str, *, n_genes: float) -> float:
        """Topics, their expectations, and the arrays that a pass and a batch derive from them."""
        return 1e7 + 10 * 8 * cls.PRESETS[preset]["dims"] * n_genes

    def shapes(self, n_genes: int) -> dict[str, tuple[int, ...]]:
        """Topics over all genes."""
        return {"topics": (self.settings["dims"], n_genes)}

    @property
    def n_parameters(self) -> int:
        """Entries of the topics."""
        return self._model.components_.size

    def fit(self, train: Cells, validation: Cells, *, genes_from: Cells | None = None) -> Self:
        """Learn the topics of the training cells; cells in a store are read once in each pass.

        InputError: fewer than 3 cells hold a molecule.
        """
        train = usable(train, at_least=3)
        self._model = self._new(train.shape[0])
        for _ in range(max(self.settings["rounds"], math.ceil(self.settings["cells_seen"] / train.shape[0]))):
            for chunk in chunks_of(train):
                self._model.partial_fit(chunk)
        return self

    def _new(self, n_cells: int) -> LatentDirichletAllocation:
        return LatentDirichletAllocation(self.settings["dims"], total_samples=n_cells, random_state=self.seed % 2**32)

    def embed(self, counts: Cells) -> np.ndarray:
        """Return the topic proportions, float32 [cells, dims]; those of an empty cell are equal."""
        return np.concatenate([self._model.transform(c) for c in chunks_of(counts)]).astype(np.float32)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return each topic's gene pseudo-counts, and exp of their expected logarithm, float64 [dims, genes] each."""
        learnt = {"topics": self._model.components_, "weights": self._model.exp_dirichlet_component_}
        return {name: torch.from_numpy(values) for name, values in learnt.items()}, {}

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        topics, weights = (tensors[name].numpy() for name in ("topics", "weights"))
        self._model = self._new(1).partial_fit(csr_matrix((1, topics.shape[1])))  # sets what is not learnt
        self._model.components_, self._model.exp_dirichlet_component_ = topics, weights
