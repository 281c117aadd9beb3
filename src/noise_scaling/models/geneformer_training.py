"""Training the masked-token model: batches, schedule, early stopping, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..seeds import derive, generator
from .base import read_tensors, write_tensors
from .geneformer_data import Masked, Tokens, masked_batch
from .geneformer_devices import ALONE, Team
from .geneformer_net import Net

CHECKPOINT_SECONDS = 60.0
"""Between checkpoints; each is written at a validation check."""
CHECK_TOKENS = 1 << 14
"""Tokens of a validation batch: bounds its memory, changes no number but by rounding."""


@dataclass
class Progress:
    """What a checkpoint holds beside weights and moments."""

    step: int = 0
    lowest: float = math.inf
    checks_since: int = 0

    def improved(self, loss: float) -> bool:
        """Note a validation loss; whether it is the lowest yet."""
        better = loss < self.lowest
        self.lowest, self.checks_since = (loss, 0) if better else (self.lowest, self.checks_since + 1)
        return better


class Training:
    """One training of `net`; random choices depend on the seed and the step alone, so that it can go on anywhere.

    In a `team` each member takes its share of every batch and of the validation cells; all hold the same weights.
    """

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
        self.net, self.train, self.settings, self.seed, self.device = net.to(device), train, settings, seed, device
        self.team, self.model = team, team.join(self.net)
        self.batch = _batch_size(train, settings)
        self.epoch = math.ceil(train.n_cells / self.batch)  # steps
        # the last layer at masked places alone: 15-18 % fewer operations at 3 layers. Two layers keep the plain way,
        # whose sums the measured embeddings of the small preset rest on to the last bit.
        self.queries = net.shape.layers > 2
        self.last = _last_step(settings, train.n_cells, self.epoch)
        self.every = self.epoch if settings["patience_unit"] == "epochs" else settings["check_every"]
        self.optimizer = _adamw(net, settings)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}
        self.history: dict[str, list[float]] = {"step": [], "loss_train": [], "loss_validation": []}
        self.half = has_bfloat16(device) if settings["precision"] == "auto" else settings["precision"] == "bfloat16"
        self._exam = list(islice(self._masked_validation(validation), team.rank, None, team.size))
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))

    def run(self, checkpoint: Path | None = None) -> None:
        """Train to the end, going on from `checkpoint` if it is there; the net is left with the weights to keep."""
        if checkpoint is not None and checkpoint.exists():
            self._resume(checkpoint)
        losses, noted = [], time.monotonic()
        with torch.random.fork_rng(enabled=True):  # dropout reads torch's generator
            while self.progress.step < self.last and not self._patience_is_out():
                losses.append(self._step(self.progress.step))
                self.progress.step += 1
                if self.progress.step % self.every == 0 or self.progress.step == self.last:
                    self._check(torch.stack(losses))
                    losses.clear()
                    due = checkpoint is not None and time.monotonic() - noted >= CHECKPOINT_SECONDS
                    if due and self.team.rank == 0:
                        self._save(checkpoint)
                        noted = time.monotonic()
        if self.best:
            self.net.load_state_dict(self.best)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)

    def _step(self, step: int) -> Tensor:
        rng = generator(self.seed, "mask", step)
        at_most = self.settings["train_tokens"]
        data = masked_batch(
            self.train, self._cells(step), at_most=at_most, rng=rng, device=self.device, queries=self.queries,
            share=(self.team.rank, self.team.size),
        )  # fmt: skip
        if self.net.shape.dropout:
            torch.manual_seed(derive(self.seed, "dropout", step, *self.team.name))
        return self.update(data, self.settings["learning_rate"] * _schedule(step, self.settings["warmup"], self.last))

    def update(self, data: Masked, learning_rate: float) -> Tensor:
        """One optimiser step on a batch; its loss, from before the step."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.net.train()
        loss = self._loss(data)
        self.team.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)  # HF Trainer's max_grad_norm
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def _loss(self, data: Masked) -> Tensor:
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.half):
            return self.model(data.batch, data.places, data.targets, data.queries) * data.weight

    def _cells(self, step: int) -> np.ndarray:
        """The cells of a step: every epoch is a permutation of its own."""
        epoch, place = divmod(step, self.epoch)
        if self._order[0] != epoch:
            self._order = epoch, generator(self.seed, "order", epoch).permutation(self.train.n_cells)
        return self._order[1][place * self.batch : (place + 1) * self.batch]

    def _masked_validation(self, tokens: Tokens) -> Iterator[Masked]:
        """Validation cells with one mask for the whole training."""
        rng, most = generator(self.seed, "validation"), self.settings["validation_cells"] or tokens.n_cells
        cells = np.sort(rng.permutation(tokens.n_cells)[:most])
        cells = cells[np.argsort(tokens.lengths[cells], kind="stable")]
        at_most = self.settings["train_tokens"]
        batch = np.cumsum(np.minimum(tokens.lengths[cells], at_most)) // CHECK_TOKENS
        for cells_of_one in np.split(cells, np.flatnonzero(np.diff(batch)) + 1):
            yield masked_batch(tokens, cells_of_one, at_most=at_most, rng=rng, device=self.device)

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Mean cross-entropy, nats a masked token, over the validation cells."""
        self.net.eval()
        total = sum(self._loss(data) * len(data.targets) for data in self._exam)
        return self.team.sum(float(total)) / self.team.sum(sum(len(data.targets) for data in self._exam))

    def _check(self, losses: Tensor) -> None:
        """Validate, note the curves, keep the weights if they are the best (or the last, with `fixed_steps`)."""
        validation, train = self.validation_loss(), self.team.sum(float(losses.mean())) / self.team.size
        step = self.progress.step
        if not math.isfinite(validation + train):
            raise FloatingPointError(f"Geneformer's loss was not finite by step {step}: lower its learning_rate")
        for name, value in zip(self.history, (step, train, validation), strict=True):
            self.history[name].append(value)
        if self.progress.improved(validation) and self.settings["fixed_steps"] is None:
            self.best = {name: tensor.detach().clone() for name, tensor in self.net.state_dict().items()}

    def _patience_is_out(self) -> bool:
        return self.settings["fixed_steps"] is None and self.progress.checks_since >= self.settings["patience"]

    def _identity(self) -> dict[str, Any]:
        return {"settings": self.settings, "seed": self.seed, "cells": self.train.digest()}

    def _save(self, path: Path) -> None:
        """Weights, best weights and AdamW's moments in one file, replaced at once."""
        tensors = {f"net/{name}": tensor for name, tensor in self.net.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"moments/{i}/{name}": tensor for name, tensor in moments.items()}
        write_tensors(path, tensors, {**self._identity(), "progress": vars(self.progress), "history": self.history})

    def _resume(self, path: Path) -> None:
        tensors, header = read_tensors(path)
        if {name: header.get(name) for name in self._identity()} != self._identity():
            raise InputError(f"{path} is of a training with other settings, seed or cells: remove it or name another")
        self.progress, self.history = Progress(**header["progress"]), header["history"]
        self.net.load_state_dict(_under("net/", tensors))
        self.best = {name: tensor.to(self.device) for name, tensor in _under("best/", tensors).items()}
        state = self.optimizer.state_dict()
        for name, tensor in _under("moments/", tensors).items():
            i, moment = name.split("/")
            state["state"].setdefault(int(i), {})[moment] = tensor
        self.optimizer.load_state_dict(state)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _last_step(settings: dict[str, Any], n_cells: int, epoch: int) -> int:
    if settings["fixed_steps"] is not None:
        return settings["fixed_steps"]
    if settings["max_steps"] is not None:
        return settings["max_steps"]
    return epoch * max(1, int(settings["max_cells_seen"] / n_cells))


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
    groups = [
        {"params": decayed, "weight_decay": settings["weight_decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings["learning_rate"], fused=True)


def has_bfloat16(device: str) -> bool:
    """Whether matrix products in bfloat16 are a hardware instruction there."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported())  # no public name for it yet
