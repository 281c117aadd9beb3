"""Geneformer: a BERT that guesses masked genes of a cell's ranking (Theodoris et al. 2023), trained from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix

from ..errors import choose
from ..seeds import derive
from ..tokens import gene_medians
from .base import Stored, resolve_device
from .geneformer_data import Tokens, gather, tokens_of, usable_tokens
from .geneformer_net import Net, Shape, pack
from .geneformer_training import Training

_TOKENS = 1 << 13  # of an embedding's batch


class Geneformer(Stored):
    """Masked-token model of ranked genes."""

    name: ClassVar[str] = "geneformer"
    NUMBERS_VERSION: ClassVar[int] = 1
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "published": {
            "context": 512, "width": 256, "feed_forward": 512, "heads": 4, "layers": 3, "dropout": 0.02,
            "train_tokens": 512, "batch_size": 64, "batch_tokens": None, "learning_rate": 1e-3, "warmup": 5000,
            "weight_decay": 1e-3, "max_cells_seen": 1e8, "max_steps": None, "check_every": 50,
            "patience": 5, "patience_unit": "epochs",
            "validation_cells": None, "fixed_steps": None, "precision": "auto", "layer": "second_to_last",
            "frequency_start": False,
        },
        "small": {
            "context": 512, "width": 64, "feed_forward": 128, "heads": 2, "layers": 2, "dropout": 0.0,
            "train_tokens": 64, "batch_size": 32, "batch_tokens": 2048, "learning_rate": 6e-3, "warmup": 50,
            "weight_decay": 1e-3, "max_cells_seen": None, "max_steps": 400, "check_every": 50,
            "patience": 5, "patience_unit": "steps",
            "validation_cells": 256, "fixed_steps": None, "precision": "float32", "layer": "second_to_last",
            "frequency_start": True,
        },
    }  # fmt: skip
    trained: ClassVar[bool] = True

    def __init__(self, *, seed: int, device: str = "auto", **settings: Any) -> None:
        choose("layer", settings["layer"], ("second_to_last", "last"))
        choose("patience_unit", settings["patience_unit"], ("steps", "epochs"))
        choose("precision", settings["precision"], ("auto", "bfloat16", "float32"))
        self.seed, self.device, self.settings = seed, resolve_device(device), settings
        self.history: dict[str, list[float]] = {}

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self._net.parameters())

    def fit(
        self,
        train: csr_matrix,
        validation: csr_matrix,
        *,
        genes_from: csr_matrix | None = None,
        checkpoint: str | Path | None = None,
    ) -> Geneformer:
        """Rank the genes of each cell, then train on masked ranks."""
        self._medians = gene_medians(train if genes_from is None else genes_from)
        self._net = self._start(train.shape[1])
        if not self.trained:
            return self
        s = self.settings
        cells = usable_tokens(tokens_of(train, self._medians, s["context"]), at_least=10)
        held = usable_tokens(tokens_of(validation, self._medians, s["context"]), at_least=10, what="validation")
        if s["frequency_start"]:
            self._net.bias.data.copy_(_log_frequencies(cells, len(self._net.bias)))
        training = Training(self._net, cells, held, s, seed=self.seed, device=self.device)
        training.run(None if checkpoint is None else Path(checkpoint))
        self.history = training.history
        return self

    def _start(self, n_genes: int) -> Net:
        s = self.settings
        sizes = {name: s[name] for name in ("context", "width", "feed_forward", "heads", "layers", "dropout")}
        return Net.start(Shape(n_genes + 2, **sizes), seed=derive(self.seed, "weights")).to(self.device)

    @torch.no_grad()
    def embed(self, counts: csr_matrix) -> np.ndarray:
        """float32 [cells, width]: mean over the cell's tokens of the second-to-last layer (or the last, by option).

        A cell without tokens, empty or with genes alone that were never seen in training, is mapped to 0.
        """
        tokens = tokens_of(counts, self._medians, self.settings["context"])
        return self._embed(tokens, counts.shape[0])

    def _embed(self, tokens: Tokens, n_cells: int) -> np.ndarray:
        self._net.eval()
        layers = self.settings["layers"] - (self.settings["layer"] == "second_to_last")
        out = np.zeros((n_cells, self.settings["width"]), np.float32)
        order = np.argsort(tokens.lengths, kind="stable")
        batch = np.cumsum(tokens.lengths[order]) // _TOKENS
        for cells in np.split(order, np.flatnonzero(np.diff(batch)) + 1) if len(order) else ():
            ids, positions, lengths = gather(tokens, cells, at_most=self.settings["context"])
            hidden = self._net.hidden(pack(ids, positions, lengths, self.device), layers)
            cell = torch.from_numpy(np.repeat(np.arange(len(cells)), lengths)).to(self.device)
            sums = hidden.new_zeros(len(cells), hidden.shape[1]).index_add_(0, cell, hidden)
            out[tokens.rows[cells]] = sums.cpu().numpy() / lengths[:, None]
        return out

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Weights and gene medians."""
        return self._net.state_dict() | {"gene_medians": torch.from_numpy(self._medians)}, {}

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Take back weights and gene medians."""
        self._medians = tensors.pop("gene_medians").numpy()
        self._net = self._start(len(self._medians))
        self._net.load_state_dict(tensors)


def _log_frequencies(cells: Tokens, vocabulary: int) -> torch.Tensor:
    """[vocabulary] logarithm of each gene's share of the tokens, a million of them at most, none of them 0."""
    seen = np.bincount(cells.ids[:1_000_000], minlength=vocabulary) + 1.0
    return torch.from_numpy(np.log(seen / seen.sum())).float()


class UntrainedGeneformer(Geneformer):
    """The control: Geneformer's starting weights and the gene medians of the training cells, nothing trained."""

    name: ClassVar[str] = "untrained_geneformer"
    trained: ClassVar[bool] = False
