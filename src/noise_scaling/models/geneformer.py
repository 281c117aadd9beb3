"""Geneformer: a BERT that guesses masked genes of a cell's ranking, trained from scratch.

Source: Theodoris et al. 2023 (Nature 618, 616); settings of Gowri et al. (arXiv 2503.02726, supplement).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ..errors import choose
from ..seeds import derive, generator
from .base import Model, has_bfloat16, register, resolve_device
from .geneformer_data import Cells, Masked, Tokens, gather, masked_batch, medians_of, tokens_of, usable_tokens
from .geneformer_net import Net, Shape, pack
from .streaming import usable
from .team import ALONE, Team, check_devices, place, train_together
from .training import Training, limits

_TOKENS = 1 << 13  # of an embedding's batch
_CHECK_TOKENS = 1 << 14  # of a validation batch: bounds its memory, changes no number but by rounding


@register
class Geneformer(Model):
    """Masked-token model of ranked genes: a BERT, trained from scratch on the cells given.

    After Theodoris et al. 2023. `published` has the settings of Gowri et al.'s supplement: `context` 512 genes a cell,
    `width` 256, `feed_forward` 512, 4 `heads`, 3 `layers`, `dropout` 0.02, 15 % of the tokens masked, AdamW with
    `learning_rate` 1e-3 and `weight_decay` 1e-3 (not of biases and norms), a rate that rises in a line for `warmup`
    5,000 steps and falls in a line to 0, batches of 64 cells, at most max(1, 1e8 / N) epochs; and by that
    of Sadalski et al. a check each 1,000 steps, a patience of 5 checks, an output matrix beside the embedding (not
    `tied`; what speaks against it is on the book's page on deviations).
    `small` keeps the objective, the ranks and the layers, and is made for seconds on one thread. What differs, and why:

    width, feed_forward, heads, layers, tied
        64, 128, 2, 2 for 256, 512, 4, 3; the output matrix is the token embedding.
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

    The measurements behind these are in benchmarks/results/geneformer_small.md. `precision` is "32",
    "bf16" (matrix products in bfloat16) or "auto": that where the hardware multiplies it. `fixed_steps` trains exactly
    so many steps and keeps the last weights. What memory it takes is on the book's page on memory.

    On a CPU a seed gives the same weights to the last bit, at a given number of threads; on a GPU nearly so, as the
    gradients of the embeddings are summed there in no fixed order.
    """

    name, label, colour, marker, order = "geneformer", "Geneformer", "#029e73", "s", 20
    loss_unit: ClassVar[str] = "nats a masked gene"
    wants_gpu: ClassVar[bool] = True
    fixed_seconds, seconds_per_cell, gpu_speedup = 20.0, 0.09, 50.0
    NUMBERS_VERSION: ClassVar[int] = 2
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "published": {
            "context": 512, "width": 256, "feed_forward": 512, "heads": 4, "layers": 3, "dropout": 0.02,
            "train_tokens": 512, "batch_size": 64, "batch_tokens": None, "learning_rate": 1e-3, "warmup": 5000,
            "weight_decay": 1e-3, "max_cells_seen": 1e8, "max_steps": None, "check_every": 1000,
            "patience": 5, "patience_unit": "steps",
            "validation_cells": None, "fixed_steps": None, "precision": "auto", "layer": "second_to_last",
            "frequency_start": False, "tied": False,
        },
        "small": {
            "context": 512, "width": 64, "feed_forward": 128, "heads": 2, "layers": 2, "dropout": 0.0,
            "train_tokens": 64, "batch_size": 32, "batch_tokens": 2048, "learning_rate": 6e-3, "warmup": 50,
            "weight_decay": 1e-3, "max_cells_seen": None, "max_steps": 400, "check_every": 50,
            "patience": 5, "patience_unit": "steps",
            "validation_cells": 256, "fixed_steps": None, "precision": "32", "layer": "second_to_last",
            "frequency_start": True, "tied": True,
        },
    }  # fmt: skip
    trained: ClassVar[bool] = True

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
        """Weights, gradients, two moments and the best weights; a histogram of each gene; 1 GB of activations."""
        return 40 * cls.PRESETS[preset]["width"] * n_genes + 23_000 * n_genes + 1.1e9

    @classmethod
    def cells_seen(cls, preset: str, n_cells: int) -> float:
        """The published limit; the small preset's 400 steps of about 75 cells."""
        return max(n_cells, {"published": 1e8, "small": 3e4}[preset])

    @classmethod
    def hashed(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """The precision by the name that it had before, and tied embeddings without a word, as there were no others."""
        before = {"32": "float32", "bf16": "bfloat16"}
        hashed = settings | {"precision": before.get(settings["precision"], settings["precision"])}
        return {name: value for name, value in hashed.items() if (name, value) != ("tied", True)}

    @property
    def n_parameters(self) -> int:
        """Weights, biases and embeddings; a tied output matrix is the token embedding and counts once."""
        return sum(p.numel() for p in self._net.parameters())

    def fit(
        self,
        train: Cells,
        validation: Cells,
        *,
        genes_from: Cells | np.ndarray | None = None,
        checkpoint: str | Path | None = None,
        devices: int = 1,
        progress: str = "",
    ) -> Geneformer:
        """Rank the genes of each cell by the training cells' medians, then train to guess masked ones.

        Parameters
        ----------
        train, validation
            UMI counts [cells, genes], in memory or a `CountStore`.
        genes_from
            The counts whose gene medians scale the ranks, or the medians [genes]; None: the training cells.
        checkpoint
            File to write the training's state to once a minute, and to go on from if it is there; removed at the end.
        devices
            GPUs (on a CPU: processes) that share every batch; more than one changes the weights by rounding, and where
            there is dropout by its draws. A checkpoint may go on with another number. Where torchrun or srun started
            this process beside others, on any nodes, it is all of those, and each calls this.
        progress
            Title of what is said on the way (`report.Report`); empty: nothing is.

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
        self._net = self.network(train.shape[1])
        if not self.trained:  # then nothing of the training cells but their medians is asked for
            usable(train, at_least=10)
        else:
            cells = usable_tokens(tokens_of(train, self._medians, s["context"]), at_least=10)
            held = usable_tokens(tokens_of(validation, self._medians, s["context"]), at_least=10, what="validation")
            if s["frequency_start"]:
                self._net.bias.data.copy_(_log_frequencies(cells, len(self._net.bias)))
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
        """The network at its start, on the CPU, drawn by the seed."""
        s = self.settings
        sizes = {name: s[name] for name in ("context", "width", "feed_forward", "heads", "layers", "dropout", "tied")}
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
        """Weights and gene medians."""
        return self._net.state_dict() | {"gene_medians": torch.from_numpy(self._medians)}, {
            "n_genes": self._net.shape.vocabulary - 2
        }

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Take back weights and gene medians."""
        self._medians = tensors.pop("gene_medians").numpy()
        self._net = self.network(facts["n_genes"])
        self._net.load_state_dict(tensors)
        self._net.to(self.device)


@register
class UntrainedGeneformer(Geneformer):
    """The control: Geneformer's starting weights and the gene medians of the training cells, nothing trained."""

    name, label, order = "untrained_geneformer", "untrained Geneformer (control)", 30
    colour, marker = "#cc78bc", "P"
    fixed_seconds, seconds_per_cell = 60.0, 0.0
    NUMBERS_VERSION: ClassVar[int] = 1
    is_control: ClassVar[bool] = True
    trained: ClassVar[bool] = False


class MaskedTraining(Training):
    """Cross-entropy of masked genes, on batches of `train`, validated on some of `validation` with one mask.

    In a `team` each member takes its share of every batch and of the validation batches; all hold the same weights.

    Parameters
    ----------
    net
        On its device.
    train, validation
        Tokens of the cells.
    settings
        All settings of `Geneformer`.
    seed, device, team
        See `Training`; `device` is the net's.
    """

    label, unit = "Geneformer", "tokens"

    def __init__(
        self,
        net: Net,
        train: Tokens,
        validation: Tokens,
        settings: dict[str, Any],
        *,
        seed: int,
        device: str,
        team: Team = ALONE,
    ) -> None:
        self.train, self.settings, self.device = train, settings, device
        self.batch = _batch_size(train, settings)
        self.epoch = math.ceil(train.n_cells / self.batch)  # steps
        self.half = has_bfloat16(device) if settings["precision"] == "auto" else settings["precision"] == "bf16"
        bounds = limits(settings, n_cells=train.n_cells, epoch=self.epoch, check_every=settings["check_every"])
        optimizer = _adamw(net, settings)
        schedule = LambdaLR(optimizer, lambda step: _schedule(step, settings["warmup"], bounds.steps))
        super().__init__(
            net, optimizer, bounds, seed=seed, step_scheduler=schedule, max_norm=1.0,  # HF Trainer's max_grad_norm
            identity={"settings": settings, "seed": seed, "cells": train.digest()}, team=team,
        )  # fmt: skip
        self._exam = list(islice(self._masked_validation(validation), team.rank, None, team.size))

    def batches(self, first: int) -> Generator[Masked]:
        order = np.empty(0, np.int64)
        for step in count(first):
            epoch, place = divmod(step, self.epoch)
            if place == 0 or step == first:  # every epoch is a permutation of its own
                order = generator(self.seed, "order", epoch).permutation(self.train.n_cells)
            yield masked_batch(
                self.train, order[place * self.batch : (place + 1) * self.batch], device=self.device,
                at_most=self.settings["train_tokens"], rng=generator(self.seed, "mask", step),
                share=(self.team.rank, self.team.size),
            )  # fmt: skip

    def loss(self, batch: Masked) -> Tensor:
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.half):
            return self.model(batch.batch, batch.places, batch.targets, batch.queries) * batch.weight

    def amount(self, batch: Masked) -> int:
        return len(batch.batch.ids)

    def _masked_validation(self, tokens: Tokens) -> Iterator[Masked]:
        """Validation cells with one mask for the whole training."""
        rng, most = generator(self.seed, "validation"), self.settings["validation_cells"] or tokens.n_cells
        cells = np.sort(rng.permutation(tokens.n_cells)[:most])
        cells = cells[np.argsort(tokens.lengths[cells], kind="stable")]
        at_most = self.settings["train_tokens"]
        batch = np.cumsum(np.minimum(tokens.lengths[cells], at_most)) // _CHECK_TOKENS
        for cells_of_one in np.split(cells, np.flatnonzero(np.diff(batch)) + 1):
            yield masked_batch(tokens, cells_of_one, at_most=at_most, rng=rng, device=self.device)

    def validation_loss(self) -> float:
        """Mean cross-entropy, nats a masked token, over the validation cells."""
        total = sum(self.loss(data) * len(data.targets) for data in self._exam)
        return self.team.sum(float(total)) / self.team.sum(sum(len(data.targets) for data in self._exam))


def _log_frequencies(cells: Tokens, vocabulary: int) -> Tensor:
    """[vocabulary] logarithm of each gene's share of the tokens of the first cells, a million at most; none is 0."""
    few = np.arange(max(1, int(np.searchsorted(np.cumsum(cells.lengths), 1_000_000, side="right"))))
    seen = np.bincount(gather(cells, few, at_most=cells.context)[0], minlength=vocabulary) + 1.0
    return torch.from_numpy(np.log(seen / seen.sum())).float()


def _batch_size(train: Tokens, settings: dict[str, Any]) -> int:
    """Cells in a batch: `batch_size`, or more where they are needed to hold `batch_tokens` tokens."""
    if settings["batch_tokens"] is None:
        return settings["batch_size"]
    mean = np.minimum(train.lengths, settings["train_tokens"]).mean()
    return max(settings["batch_size"], round(settings["batch_tokens"] / mean))


def _schedule(step: int, warmup: int, last: int) -> float:
    """Factor of the learning rate: up in a line to 1 over `warmup` steps, down in a line to 0 at `last`."""
    if step < warmup:
        return step / warmup
    return max(0.0, (last - step) / max(1, last - warmup))


def _adamw(net: Net, settings: dict[str, Any]) -> torch.optim.AdamW:
    """Fused AdamW; biases and norms are not decayed, as in HF's Trainer."""
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": settings["weight_decay"]}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings["learning_rate"], fused=True)
