"""Training loop of every network: steps, checks on held-out cells, patience, best weights, checkpoints."""

import math
import pickle
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .. import memory
from ..errors import InputError
from ..files import replacing
from ..seeds import derive
from .report import Report
from .team import ALONE, Team

CHECKPOINT_SECONDS, TRIM_SECONDS = 60.0, 5.0
"""Least time between two checkpoints, which are written after a step, and between two returns of freed memory."""


class BadCheckpoint(InputError):
    """A file from which no training can resume, or only another one."""


@dataclass(frozen=True)
class Limits:
    """When a training validates, when it ends, and which weights it keeps."""

    steps: int  # at most
    every: int  # steps between two checks of the validation loss
    patience: int  # checks in a row without a lower loss, after which it stops
    min_delta: float  # how much lower a loss must be to count for the patience
    keep_best: bool  # keep the weights of the lowest validation loss; False: train all steps and keep the last weights


def limits(settings: dict[str, Any], *, n_cells: int, epoch: int, check_every: int) -> Limits:
    """Return the limits that a model's settings imply.

    `fixed_steps` takes precedence over `max_steps`, and `max_steps` over `max_cells_seen`: max(1, max_cells_seen / N)
    epochs, the rule of Gowri et al. (arXiv 2503.02726, supplement). InputError if a number of steps is below 1.
    """
    for name in ("fixed_steps", "max_steps"):
        if settings[name] is not None and settings[name] < 1:
            raise InputError(f"option {name!r} must be a whole number from 1 on, or None: found {settings[name]}")
    epochs = max(1, int((settings["max_cells_seen"] or 0) / n_cells))
    return Limits(
        steps=settings["fixed_steps"] or settings["max_steps"] or epochs * epoch,
        every=epoch if settings["patience_unit"] == "epochs" else check_every,
        patience=settings["patience"],
        min_delta=settings.get("min_delta", 0.0),
        keep_best=settings["fixed_steps"] is None,
    )


@dataclass
class Progress:
    """Progress of a training; a checkpoint holds it, together with weights and moments."""

    step: int = 0
    lowest: float = math.inf
    """Validation loss of the best weights."""
    mark: float = math.inf
    """Loss that a check must undercut, by `min_delta`, to restart the patience."""
    checks_since: int = 0
    seconds: float = 0.0
    """Training time so far, including runs that were interrupted."""

    def improved(self, loss: float, min_delta: float) -> bool:
        """Record a validation loss, and return whether it is the lowest so far."""
        below = loss < self.mark - min_delta
        self.mark, self.checks_since = (loss, 0) if below else (self.mark, self.checks_since + 1)
        better = loss < self.lowest
        self.lowest = min(loss, self.lowest)
        return better


class Training(ABC):
    """One training of `net`; random draws depend only on the seed and the step, so that it can resume at any step.

    A subclass defines batches and their loss. The optimiser must hold the parameters of the network, which must be on
    its device. A checkpoint must have the same `identity`: settings, seed and cells, as plain values. Learning-rate
    schedulers advance after each step, or after each check by its validation loss; gradients are clipped to `max_norm`,
    if given; the processes of `team` share the training.
    """

    label: ClassVar[str]
    unit: ClassVar[str] = "cells"
    """Unit in which the reported speed counts."""
    validation_name: ClassVar[str] = "loss_validation"

    def __init__(
        self,
        net: nn.Module,
        optimizer: Optimizer,
        limits: Limits,
        *,
        seed: int,
        identity: dict[str, Any],
        step_scheduler: LRScheduler | None = None,
        check_scheduler: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None,
        max_norm: float | None = None,
        team: Team = ALONE,
    ) -> None:
        self.net, self.optimizer, self.limits, self.seed, self.identity = net, optimizer, limits, seed, identity
        self.step_scheduler, self.check_scheduler, self.max_norm = step_scheduler, check_scheduler, max_norm
        self.team, self.model = team, team.join(net)
        self.progress = Progress()
        self.title = ""  # of the progress reports; empty: no reports
        self.earlier_seconds = 0.0  # of the runs before the checkpoint
        self.best: dict[str, Tensor] = {}
        self.losses: list[Tensor] = []  # since the last check
        self.history: dict[str, list[float]] = {"step": [], "loss_train": [], self.validation_name: []}

    @abstractmethod
    def batches(self, first: int) -> Generator[Any]:
        """Yield the batches of the steps from `first` on, without end."""

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """Return the mean loss of a batch at step `self.progress.step`."""

    @abstractmethod
    def amount(self, batch: Any) -> int:
        """Return the number of cells or tokens (`unit`) in a batch."""

    @abstractmethod
    def validation_loss(self) -> float:
        """Return the mean loss over the validation cells; the net is in evaluation mode."""

    def run(self, checkpoint: Path | None = None) -> None:
        """Train to the end, resuming from `checkpoint` if it exists; afterwards the net has the weights to keep.

        Raises
        ------
        BadCheckpoint
            The file is the checkpoint of another training, or no checkpoint.
        FloatingPointError
            The loss is NaN or infinite; the checkpoint is deleted.
        """
        self._resume(checkpoint)
        done, title = self.progress.step, self.title if self.team.rank == 0 else ""
        report = Report(title, steps=self.limits.steps, done=done, unit=self.unit)
        try:
            with torch.random.fork_rng(), closing(self.batches(done)) as batches, closing(report):
                self._train(batches, checkpoint, report)
        except FloatingPointError:
            _remove(checkpoint)
            raise
        if self.best:
            self.net.load_state_dict(self.best)
        _remove(checkpoint)

    def _train(self, batches: Generator[Any], checkpoint: Path | None, report: Report) -> None:
        saved = started = time.monotonic()
        trimmed = -TRIM_SECONDS
        while not self._is_over():
            if time.monotonic() - trimmed >= TRIM_SECONDS:
                memory.trim()
                trimmed = time.monotonic()
            batch = next(batches)
            self.losses.append(self.update(batch))
            if self.progress.step % self.limits.every == 0 or self.progress.step == self.limits.steps:
                report.checked(self._check(torch.stack(self.losses)))
                self.losses.clear()
            report.step(self.amount(batch) * self.team.size)
            if checkpoint is not None and time.monotonic() - saved >= CHECKPOINT_SECONDS:
                self.progress.seconds = self.earlier_seconds + time.monotonic() - started
                if self.team.rank == 0:
                    self._save(checkpoint)
                saved = time.monotonic()

    def _is_over(self) -> bool:
        out_of_patience = self.limits.keep_best and self.progress.checks_since >= self.limits.patience
        return out_of_patience or self.progress.step >= self.limits.steps

    def update(self, batch: Any) -> Tensor:
        """Take one optimiser step on a batch; return its loss from before the step.

        torch's generator is seeded for each step, so that dropout and sampling depend on nothing else.
        """
        rank = (self.team.rank, self.team.size) if self.team.size > 1 else ()
        torch.manual_seed(derive(self.seed, "step", self.progress.step, *rank))
        self.net.train()
        loss = self.loss(batch)
        self.team.backward(loss)
        if self.max_norm is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.max_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.step_scheduler is not None:
            self.step_scheduler.step()
        self.progress.step += 1
        return loss.detach()

    def _check(self, losses: Tensor) -> float:
        """Validate, extend the curves, keep the weights if they are the best; return the validation loss."""
        torch.manual_seed(derive(self.seed, "check"))  # the same draws at every check
        self.net.eval()
        with torch.no_grad():
            validation = self.validation_loss()
        train, step = self.team.sum(float(losses.mean())) / self.team.size, self.progress.step
        if not math.isfinite(validation + train):
            raise FloatingPointError(f"{self.label}'s loss is not finite by step {step}: lower its learning_rate")
        for values, value in zip(self.history.values(), (step, train, validation), strict=True):
            values.append(value)
        if self.progress.improved(validation, self.limits.min_delta) and self.limits.keep_best:
            self.best = {name: tensor.detach().clone() for name, tensor in self.net.state_dict().items()}
        if self.check_scheduler is not None:
            self.check_scheduler.step(validation)
        return validation

    def _parts(self) -> dict[str, Any]:
        """Return the objects whose state a checkpoint holds, by name."""
        parts = {"net": self.net, "optimizer": self.optimizer, "step": self.step_scheduler,
                 "check": self.check_scheduler}  # fmt: skip
        return {name: part for name, part in parts.items() if part is not None}

    def _save(self, path: Path) -> None:
        """Write all that a resumed run needs to one file, atomically; a full disk costs only the checkpoint."""
        content = {name: part.state_dict() for name, part in self._parts().items()}
        content |= {"identity": self.identity, "best": self.best, "history": self.history, "losses": self.losses}
        try:
            with replacing(path) as draft:
                torch.save(content | {"progress": asdict(self.progress)}, draft)
        except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError
            said = " ".join(str(error).split())[:120]
            warnings.warn(f"no checkpoint at {path} ({said}): a stopped training would start anew", stacklevel=2)

    def _resume(self, path: Path | None) -> None:
        """Restore the state from a checkpoint, if there is one; the first process of the team reads it for all."""
        content = self.team.share(self._read(path) if path is not None and self.team.rank == 0 else None)
        if isinstance(content, BadCheckpoint):
            raise content
        if content is None:
            return
        for name, part in self._parts().items():
            part.load_state_dict(content[name])
        self.best, self.history = content["best"], content["history"]
        device = next(self.net.parameters()).device
        self.losses = [loss.to(device) for loss in content["losses"]]
        self.progress = Progress(**content["progress"])
        self.earlier_seconds = self.progress.seconds

    def _read(self, path: Path) -> dict[str, Any] | BadCheckpoint | None:
        """Return the content of this training's checkpoint, None if there is no file, or the error to raise."""
        if not path.exists():
            return None
        try:
            with path.open("rb") as file:  # given a path, torch would take it for another format by its name
                content = torch.load(file, map_location="cpu", weights_only=True)  # tensors and plain values only
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError):
            return BadCheckpoint(f"{path} is no whole checkpoint: remove it, or name another")
        if not isinstance(content, dict) or content.get("identity") != self.identity:
            return BadCheckpoint(
                f"{path} is of a training with other settings, seed or cells: remove it or name another"
            )
        return content


def _remove(checkpoint: Path | None) -> None:
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
