"""Training of Geneformer: masked genes, AdamW, a learning rate that rises and falls linearly."""

import math
from collections.abc import Generator, Iterator
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ..seeds import generator
from .base import has_bfloat16
from .geneformer_data import Masked, Tokens, gather, masked_batch
from .geneformer_net import Net
from .team import ALONE, Team
from .training import Training, limits

_CHECK_TOKENS = 1 << 14  # per validation batch: limits memory, and changes results only by rounding


class MaskedTraining(Training):
    """Train on the cross-entropy of masked genes in `train`; validate on cells of `validation` with one mask.

    In a `team` each process takes its share of every batch and of the validation batches; all hold the same weights.
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
        self.epoch = math.ceil(train.n_cells / self.batch)  # steps per epoch
        self.half = has_bfloat16(device) if settings["precision"] == "auto" else settings["precision"] == "bf16"
        bounds = limits(settings, n_cells=train.n_cells, epoch=self.epoch, check_every=settings["check_every"])
        decayed = {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": settings["weight_decay"]}
        others = {"params": [p for p in net.parameters() if p.ndim < 2], "weight_decay": 0.0}  # as in HF's Trainer
        optimizer = torch.optim.AdamW([decayed, others], lr=settings["learning_rate"], fused=True)
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
            if place == 0 or step == first:  # every epoch has its own permutation
                order = generator(self.seed, "order", epoch).permutation(self.train.n_cells)
            yield masked_batch(
                self.train, order[place * self.batch : (place + 1) * self.batch], device=self.device,
                at_most=self.settings["train_tokens"], masked=self.settings["masked"],
                rng=generator(self.seed, "mask", step), share=(self.team.rank, self.team.size),
            )  # fmt: skip

    def loss(self, batch: Masked) -> Tensor:
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.half):
            return self.model(batch.batch, batch.places, batch.targets, batch.queries) * batch.weight

    def amount(self, batch: Masked) -> int:
        return len(batch.batch.ids)

    def _masked_validation(self, tokens: Tokens) -> Iterator[Masked]:
        """Yield batches of validation cells, whose mask is drawn once for the whole training."""
        rng, most = generator(self.seed, "validation"), self.settings["validation_cells"] or tokens.n_cells
        cells = np.sort(rng.permutation(tokens.n_cells)[:most])
        cells = cells[np.argsort(tokens.lengths[cells], kind="stable")]
        at_most = self.settings["train_tokens"]
        batch = np.cumsum(np.minimum(tokens.lengths[cells], at_most)) // _CHECK_TOKENS
        for cells_of_one in np.split(cells, np.flatnonzero(np.diff(batch)) + 1):
            yield masked_batch(
                tokens, cells_of_one, at_most=at_most, masked=self.settings["masked"], rng=rng, device=self.device
            )

    def validation_loss(self) -> float:
        """Return the mean cross-entropy over the validation cells, in nats per masked token."""
        total = sum(self.loss(data) * len(data.targets) for data in self._exam)
        return self.team.sum(float(total)) / self.team.sum(sum(len(data.targets) for data in self._exam))


def log_frequencies(cells: Tokens, vocabulary: int) -> Tensor:
    """Return each gene's log share [vocabulary] of the first cells' tokens, a million at most; no share is 0."""
    few = np.arange(max(1, int(np.searchsorted(np.cumsum(cells.lengths), 1_000_000, side="right"))))
    seen = np.bincount(gather(cells, few, at_most=cells.context)[0], minlength=vocabulary) + 1.0
    return torch.from_numpy(np.log(seen / seen.sum())).float()


def _batch_size(train: Tokens, settings: dict[str, Any]) -> int:
    """Return the number of cells in a batch: `batch_size`, or more if `batch_tokens` tokens need them."""
    if settings["batch_tokens"] is None:
        return settings["batch_size"]
    mean = np.minimum(train.lengths, settings["train_tokens"]).mean()
    return max(settings["batch_size"], round(settings["batch_tokens"] / mean))


def _schedule(step: int, warmup: int, last: int) -> float:
    """Return the factor of the learning rate: linearly up to 1 over `warmup` steps, then down to 0 at `last`."""
    if step < warmup:
        return step / warmup
    return max(0.0, (last - step) / max(1, last - warmup))
