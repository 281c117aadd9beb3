"""Geneformer: a BERT that guesses masked genes of a cell's ranking (Theodoris et al. 2023), trained from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ..errors import choose
from ..seeds import derive
from .base import Stored, resolve_device
from .geneformer_data import Cells, Tokens, gather, medians_of, tokens_of, usable_tokens
from .geneformer_devices import ALONE, Team, check_devices, train_together
from .geneformer_net import Net, Shape, pack
from .geneformer_training import Training

_TOKENS = 1 << 13  # of an embedding's batch


class Geneformer(Stored):
    """Masked-token model of ranked genes: a BERT with tied embeddings, trained from scratch on the cells given.

    `published` has the paper's sizes and schedule; its patience, which the paper does not state, is 5 epochs. `small`
    keeps the objective, the ranks and the layers, and is made for seconds on one thread. What differs, and why:

    width, feed_forward, heads, layers
        64, 128, 2, 2 for 256, 512, 4, 3.
    train_tokens, batch_tokens
        A step sees 64 random tokens of a cell, with their ranks, not all 512, and as many cells (at least 32) as make
        2,048 tokens. Embeddings are of all 512.
    frequency_start
        The output biases start at the genes' log frequencies, which training would find first.
    learning_rate, warmup, max_steps
        6e-3 after 50 steps, down in a line to 0 at step 400.
    check_every, patience, patience_unit, validation_cells
        Stops after 5 checks, one each 50 steps, without a lower loss on 256 validation cells.
    dropout
        0: with at most 400 steps and the best weights kept there is nothing for it to do.

    The measurements behind these are in benchmarks/results/geneformer_small.md. `precision` is "float32",
    "bfloat16" (matrix products) or "auto": bfloat16 where the hardware multiplies it. `fixed_steps` trains exactly so
    many steps and keeps the last weights.

    Memory: 16 bytes a parameter (weights, slopes, two moments) and 4 more for the best weights; 2 bytes a token and 16
    a cell; a step's activations, about 70 x width x layers bytes for each token of the batch, and 4 x vocabulary for
    the masked ones (15 %). Measured at the published sizes, V = 20,000, float32: 64 kB a token, so 2.2 GB for a step of
    64 cells of 512 tokens, and 0.14 GB for the parameters.

    On a CPU a seed gives the same weights to the last bit, at a given number of threads; on a GPU nearly so, as the
    slopes of the embeddings are summed there in no fixed order.
    """

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
        train: Cells,
        validation: Cells,
        *,
        genes_from: Cells | np.ndarray | None = None,
        checkpoint: str | Path | None = None,
        devices: int = 1,
    ) -> Geneformer:
        """Rank the genes of each cell by the training cells' medians, then train to guess masked ones.

        Parameters
        ----------
        train, validation
            UMI counts [cells, genes], in memory or a `streaming.CountStore`, or folders of token stores.
        genes_from
            The counts whose gene medians scale the ranks, or the medians [genes]; None: the training cells.
        checkpoint
            File to write the training's state to once a minute, and to go on from if it is there; removed at the end.
        devices
            GPUs (on a CPU: processes) that share every batch; more than one changes the weights by rounding, and where
            there is dropout by its draws. A checkpoint may go on with another number.

        Raises
        ------
        InputError
            Fewer than 10 cells of either kind have a token; the checkpoint is of another training; fewer GPUs.
        FloatingPointError
            The training diverged: the loss is NaN or infinite.
        """
        check_devices(devices, self.device)
        s = self.settings
        self._medians = medians_of(train if genes_from is None else genes_from)
        cells = usable_tokens(tokens_of(train, self._medians, s["context"]), at_least=10)
        self._net = self._start(cells.n_genes)
        if not self.trained:
            self._net.to(self.device)
            return self
        held = usable_tokens(tokens_of(validation, self._medians, s["context"]), at_least=10, what="validation")
        if s["frequency_start"]:
            self._net.bias.data.copy_(_log_frequencies(cells, len(self._net.bias)))
        checkpoint = None if checkpoint is None else Path(checkpoint)

        def train_in(team: Team, device: str) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
            training = Training(self._net, cells, held, s, seed=self.seed, device=device, team=team)
            training.run(checkpoint)
            return {name: tensor.cpu().numpy() for name, tensor in self._net.state_dict().items()}, training.history

        if devices == 1:
            self.history = train_in(ALONE, self.device)[1]
        else:
            weights, self.history = train_together(train_in, devices, self.device)
            self._net.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        self._net.to(self.device)
        return self

    def _start(self, n_genes: int) -> Net:
        s = self.settings
        sizes = {name: s[name] for name in ("context", "width", "feed_forward", "heads", "layers", "dropout")}
        return Net.start(Shape(n_genes + 2, **sizes), seed=derive(self.seed, "weights"))

    @torch.no_grad()
    def embed(self, counts: Cells) -> np.ndarray:
        """float32 [cells, width]: mean over the cell's tokens of the second-to-last layer (or the last, by option).

        A cell without tokens, empty or with genes alone that were never seen in training, is mapped to 0.
        """
        tokens = tokens_of(counts, self._medians, self.settings["context"])
        return self._embed(tokens, len(tokens.offsets) - 1)

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
        """Weights, and gene medians where they are known."""
        medians = {} if self._medians is None else {"gene_medians": torch.from_numpy(self._medians)}
        return self._net.state_dict() | medians, {"n_genes": self._net.shape.vocabulary - 2}

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Take back weights and gene medians."""
        medians = tensors.pop("gene_medians", None)
        self._medians = None if medians is None else medians.numpy()
        self._net = self._start(facts["n_genes"])
        self._net.load_state_dict(tensors)
        self._net.to(self.device)


def _log_frequencies(cells: Tokens, vocabulary: int) -> torch.Tensor:
    """[vocabulary] logarithm of each gene's share of the tokens of the first cells, a million at most; none is 0."""
    few = np.arange(max(1, np.searchsorted(np.cumsum(cells.lengths), 1_000_000, side="right")))
    seen = np.bincount(gather(cells, few, at_most=cells.context)[0], minlength=vocabulary) + 1.0
    return torch.from_numpy(np.log(seen / seen.sum())).float()


class UntrainedGeneformer(Geneformer):
    """The control: Geneformer's starting weights and the gene medians of the training cells, nothing trained."""

    name: ClassVar[str] = "untrained_geneformer"
    trained: ClassVar[bool] = False
