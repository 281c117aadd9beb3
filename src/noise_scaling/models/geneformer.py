"""Geneformer: a BERT trained from scratch to predict masked genes in a cell's ranking of genes.

Source: Theodoris et al. 2023 (Nature 618, 616); settings of Gowri et al. (arXiv 2503.02726, supplement).
"""

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from ..errors import choose
from ..seeds import derive
from .base import Model, register, resolve_device
from .geneformer_data import Tokens, gather, medians_of, tokens_of, usable_tokens
from .geneformer_net import Net, Shape, pack
from .geneformer_training import MaskedTraining, log_frequencies
from .streaming import Cells, usable
from .team import ALONE, Team, check_devices, place, train_together

_TOKENS = 1 << 13  # tokens per batch of `embed`
_PUBLISHED = {
    "context": 512, "width": 256, "feed_forward": 512, "heads": 4, "layers": 3, "dropout": 0.02, "train_tokens": 512,
    "batch_size": 64, "batch_tokens": None, "learning_rate": 1e-3, "warmup": 5000, "weight_decay": 1e-3, "masked": 0.15,
    "max_cells_seen": 1e8, "max_steps": None, "check_every": 1000, "patience": 5, "patience_unit": "steps",
    "validation_cells": None, "fixed_steps": None, "precision": "auto", "layer": "second_to_last",
    "frequency_start": False, "tied": False,
}  # fmt: skip
_TRAINED = {
    "batch_tokens": 16_384, "warmup": 100, "masked": 0.3, "max_cells_seen": None, "max_steps": 2000, "check_every": 50,
    "frequency_start": True,
}  # fmt: skip
_SMALL = {
    "width": 64, "feed_forward": 128, "heads": 2, "layers": 2, "dropout": 0.0, "train_tokens": 64, "batch_size": 32,
    "batch_tokens": 2048, "learning_rate": 6e-3, "warmup": 50, "max_cells_seen": None, "max_steps": 400,
    "check_every": 50, "validation_cells": 256, "precision": "32", "frequency_start": True, "tied": True,
}  # fmt: skip


@register
class Geneformer(Model):
    """Masked-token model of ranked genes: a BERT, trained from scratch on the cells given.

    After Theodoris et al. 2023. `published` has the settings of Gowri et al.'s supplement: `context` 512 genes a cell,
    `width` 256, `feed_forward` 512, 4 `heads`, 3 `layers`, `dropout` 0.02, 15 % of the tokens masked, AdamW with
    `learning_rate` 1e-3 and `weight_decay` 1e-3 (not on biases and norms), a learning rate that rises linearly for
    `warmup` 5,000 steps and then falls linearly to 0, batches of 64 cells, at most max(1, 1e8 / N) epochs. From the
    supplement of Sadalski et al. come a check every 1,000 steps, a patience of 5 checks, and an output matrix separate
    from the embedding (not `tied`; the book's page on deviations gives the evidence against it).
    `published_trained` is the published network, trained until its validation loss rises, within about 2,000 steps: at
    a few thousand cells the published warm-up alone is longer. It trains for at most `max_steps` 2,000 steps with a
    `warmup` of 100, on as many cells (at least 64) as make 16,384 tokens; 30 % of the tokens are `masked`; there is a
    check every 50 steps, a patience of 5, and biases that start at log frequencies. It was chosen on other data sets
    and with another seed than those it is reported on (benchmarks/results/trained_geneformer.md).

    `small` keeps the objective, the ranks and the kind of layers, and trains in seconds on one thread. It differs in:

    width, feed_forward, heads, layers, tied
        64, 128, 2, 2 instead of 256, 512, 4, 3; the output matrix is the token embedding.
    train_tokens, batch_tokens
        A step sees 64 random tokens of a cell, with their ranks, instead of all 512, and as many cells (32 or more)
        as make 2,048 tokens. Embeddings use all 512 tokens.
    frequency_start
        The output biases start at the genes' log frequencies, which training would otherwise learn first.
    learning_rate, warmup, max_steps
        6e-3 after 50 steps, then linearly down to 0 at step 400.
    check_every, patience, patience_unit, validation_cells
        Stops after 5 checks, one every 50 steps, without a lower loss on 256 validation cells.
    dropout
        0, because dropout has no use with at most 400 steps and the best weights kept.

    The measurements behind these choices are in benchmarks/results/geneformer_small.md. `precision` is "32", "bf16"
    (matrix products in bfloat16) or "auto" (bfloat16 where the hardware supports it). `fixed_steps` trains exactly that
    many steps and keeps the last weights. The book's page on memory says how much memory training takes.

    On a CPU a seed gives the same weights to the last bit, for a given number of threads; on a GPU nearly the same,
    because the gradients of the embeddings are summed there in no fixed order.
    """

    name, label, colour, marker, order = "geneformer", "Geneformer", "#029e73", "s", 20
    small_label: ClassVar[str] = "small Geneformer"
    loss_unit: ClassVar[str] = "nats a masked gene"
    wants_gpu: ClassVar[bool] = True
    fixed_seconds, seconds_per_cell = 20.0, 0.09
    gpu_speedup: ClassVar[dict[str, float]] = {"published": 20.0, "published_trained": 20.0, "small": 4.0}
    NUMBERS_VERSION: ClassVar[int] = 2
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "published": _PUBLISHED, "published_trained": _PUBLISHED | _TRAINED, "small": _PUBLISHED | _SMALL,
    }  # fmt: skip
    learnt: ClassVar[tuple[str, ...]] = ("gene_medians", "n_genes")

    def __init__(self, *, seed: int, device: str = "auto", **settings: Any) -> None:
        choose("layer", settings["layer"], ("second_to_last", "last"))
        choose("patience_unit", settings["patience_unit"], ("steps", "epochs"))
        choose("precision", settings["precision"], ("auto", "32", "bf16"))
        super().__init__(seed=seed, device=resolve_device(device), **settings)

    @classmethod
    def width(cls, *, n_genes: float, nonzeros: float) -> float:
        """Share of the context that a cell's tokens fill."""
        return min(512, nonzeros) / 512

    @classmethod
    def bytes_in_training(cls, preset: str, *, n_genes: float) -> float:
        """Weights, gradients, two moments and the best weights; a histogram for each gene; activations.

        Two steps of 64 cells of 512 tokens, as published, with 24,552 genes took 2.3 GB on a CPU beside the libraries,
        and twice that when all logits, and attention with dropout, were kept for the backward pass.
        """
        settings = cls.PRESETS[preset]
        activations = 2.2e9 if settings["dropout"] else 1.1e9
        return 40 * settings["width"] * n_genes + 23_000 * n_genes + activations

    @classmethod
    def cells_seen(cls, preset: str, n_cells: int) -> float:
        """The published limit; 2,000 steps of 16,384 tokens in cells of 33; for "small" 400 steps of some 75 cells."""
        return max(n_cells, {"published": 1e8, "published_trained": 1e6, "small": 3e4}[preset])

    @classmethod
    def hashed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Return the settings with the precision's earlier name, without `tied` and `masked` at their old values."""
        before = {"32": "float32", "bf16": "bfloat16"}
        hashed = settings | {"precision": before.get(settings["precision"], settings["precision"])}
        usual = {"tied": True, "masked": 0.15}.items()
        return {name: value for name, value in hashed.items() if (name, value) not in usual}

    def fit(
        self,
        train: Cells,
        validation: Cells,
        *,
        genes_from: Cells | np.ndarray | None = None,
        checkpoint: str | Path | None = None,
        devices: int = 1,
        progress: str = "",
    ) -> Self:
        """Rank the genes of each cell by the training cells' medians, then train the network to predict masked genes.

        Parameters
        ----------
        train, validation
            UMI counts [cells, genes], in memory or a `CountStore`.
        genes_from
            Counts whose gene medians scale the ranks, or the medians [genes] themselves; None: the training cells.
        checkpoint
            File to save the training to once a minute, and to resume from if it exists; deleted at the end.
        devices
            GPUs (on a CPU: processes) that share every batch; more than one changes the weights by rounding and, with
            dropout, by other random draws. A checkpoint may be resumed with another number. If torchrun or srun
            started several processes, on one or more nodes, all of them take part and each must call `fit`.
        progress
            Title of the progress reports (`report.Report`); empty: no reports.

        Raises
        ------
        InputError
            Fewer than 10 training or validation cells have a token; another training's checkpoint; too few GPUs.
        FloatingPointError
            The training diverged: the loss is NaN or infinite.
        """
        check_devices(devices, self.device)
        s = self.settings
        self.gene_medians = medians_of(train if genes_from is None else genes_from)
        self.n_genes = train.shape[1]
        self._net = self.network(self.n_genes)
        if not self.trained:  # then only the medians of the training cells are used
            usable(train, at_least=10)
        else:
            cells = usable_tokens(tokens_of(train, self.gene_medians, s["context"]), at_least=10)
            held = usable_tokens(tokens_of(validation, self.gene_medians, s["context"]), at_least=10, what="validation")
            if s["frequency_start"]:
                self._net.bias.data.copy_(log_frequencies(cells, len(self._net.bias)))
            self._train(cells, held, None if checkpoint is None else Path(checkpoint), devices, progress)
        self._net.to(self.device)
        return self

    def _train(self, cells: Tokens, held: Tokens, checkpoint: Path | None, devices: int, title: str) -> None:
        def train_in(team: Team, device: str) -> tuple[dict[str, np.ndarray], dict[str, list[float]], float]:
            net = self._net.to(device)
            training = MaskedTraining(net, cells, held, self.settings, seed=self.seed, device=device, team=team)
            training.title = title
            training.run(checkpoint)
            weights = {name: tensor.cpu().numpy() for name, tensor in net.state_dict().items()}
            return weights, training.history, training.earlier_seconds

        if devices == 1 and place()[1] == 1:
            _, self.history, self.earlier_seconds = train_in(ALONE, self.device)
        else:
            weights, self.history, self.earlier_seconds = train_together(train_in, devices, self.device)
            self._net.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})

    def network(self, n_genes: int) -> Net:
        """Return the untrained network on the CPU; the seed determines its weights."""
        s = self.settings
        sizes = {name: s[name] for name in ("context", "width", "feed_forward", "heads", "layers", "dropout", "tied")}
        return Net.start(Shape(n_genes + 2, **sizes), seed=derive(self.seed, "weights"))

    @torch.no_grad()
    def embed(self, counts: Cells) -> np.ndarray:
        """Return float32 [cells, width]: mean over a cell's tokens of the second-to-last layer (by option the last).

        A cell without tokens, because it is empty or has only genes never seen in training, is mapped to 0.
        """
        tokens = tokens_of(counts, self.gene_medians, self.settings["context"])
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


@register
class UntrainedGeneformer(Geneformer):
    """The control: Geneformer's starting weights and the gene medians of the training cells, without training."""

    name, label, order = "untrained_geneformer", "untrained Geneformer (control)", 30
    small_label: ClassVar[str] = "untrained small Geneformer (control)"
    colour, marker = "#cc78bc", "P"
    fixed_seconds, seconds_per_cell = 60.0, 0.0
    NUMBERS_VERSION: ClassVar[int] = 1
    is_control: ClassVar[bool] = True
    untrained_of: ClassVar[str] = "geneformer"
    trained: ClassVar[bool] = False
