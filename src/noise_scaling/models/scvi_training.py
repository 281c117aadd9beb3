"""How scvi-tools' trainer is run here: many steps to a call of Lightning, the best weights kept, seeded and quiet.

Imported only when scVI is trained: importing scvi takes seconds.
"""

from __future__ import annotations

import copy
import io
import logging
import math
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import scvi
import torch
from scvi.train import TrainingPlan

from ..errors import InputError


class Plan(TrainingPlan):
    """scvi-tools' training plan, stepping through all batches between two checks in one call.

    Without its logs of each step, which cost as much as the training at a batch of 32. The KL term is left out of the
    first `n_epochs_kl_warmup` passes over the cells, as in the library with one epoch of warm-up.
    """

    def __init__(self, module: torch.nn.Module, *, warmup_steps: int, **settings: Any) -> None:
        super().__init__(module, optimizer="Custom", optimizer_creator=self._adam, **settings)
        self.automatic_optimization = False
        self.warmup_steps, self.steps_done = warmup_steps, 0
        self.loss_train = self.elbo = math.nan

    def _adam(self, parameters: Any) -> torch.optim.Adam:
        # the fused Adam: 0.7 ms instead of 6.7 for the small model on 4,000 genes, same rule
        return torch.optim.Adam(parameters, lr=self.lr, eps=self.eps, weight_decay=self.weight_decay, fused=True)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """The source makes batches on the device."""
        return batch

    def _loss(self, batch: dict[str, Any], kl_weight: float) -> Any:
        return self.forward(batch, loss_kwargs={"kl_weight": kl_weight})[2]

    def training_step(self, batches: Iterator[dict[str, Any]], batch_idx: int) -> None:
        """One optimiser step for each of `batches`."""
        optimizer, losses = self.optimizers(use_pl_optimizer=False), []
        for batch in batches:
            optimizer.zero_grad()
            loss = self._loss(batch, float(self.steps_done >= self.warmup_steps)).loss
            self.manual_backward(loss)
            optimizer.step()
            losses.append(loss.detach())
            self.steps_done += 1
        if losses:  # none in the last parts of an interval that is cut short
            self.loss_train = float(torch.stack(losses).mean())

    def validation_step(self, batches: Iterator[dict[str, Any]], batch_idx: int) -> None:
        """The negative ELBO a cell, over all validation cells."""
        total = n_cells = 0
        for batch in batches:
            found = self._loss(batch, 1.0)
            total += found.reconstruction_loss_sum + found.kl_local_sum
            n_cells += found.n_obs_minibatch
        self.elbo = float(total / n_cells)
        if not math.isfinite(self.loss_train + self.elbo):
            raise FloatingPointError(
                f"scVI's loss is not finite within {self.steps_done} steps (training {self.loss_train:.6g}, "
                f"validation {self.elbo:.6g}): the training diverged"
            )
        self.log("elbo_validation", self.elbo, batch_size=1)

    def on_validation_epoch_end(self) -> None:
        """Reduce the learning rate where the preset does."""
        super().on_validation_epoch_end()
        scheduler = self.lr_schedulers()
        if scheduler is not None:
            scheduler.step(self.elbo)


class Keeper(pl.Callback):
    """Keeps the training curves and, unless the last weights are wanted, those of the lowest validation loss."""

    def __init__(self, steps_per_epoch: int, *, best: bool) -> None:
        self.steps_per_epoch, self.best = steps_per_epoch, best
        self.lowest, self.weights = math.inf, None
        self.history: dict[str, list[float]] = {name: [] for name in ("step", "epoch", "loss_train", "elbo_validation")}

    def on_validation_end(self, trainer: pl.Trainer, plan: Plan) -> None:
        found = (plan.steps_done, plan.steps_done / self.steps_per_epoch, plan.loss_train, plan.elbo)
        for values, value in zip(self.history.values(), found, strict=True):
            values.append(value)
        if self.best and plan.elbo < self.lowest:
            self.lowest, self.weights = plan.elbo, copy.deepcopy(plan.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {"lowest": self.lowest, "weights": self.weights, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)

    def restore(self, module: torch.nn.Module) -> None:
        """Put the kept weights into `module`, and set it to embed."""
        if self.weights is not None:
            module.load_state_dict(self.weights)
        module.eval()


class Checkpoint(pl.Callback):
    """Writes all that the training needs to go on as if it had not been stopped, at most once in so many seconds.

    It is Lightning's file (weights, moments, early stopping) with the number of steps and the random state in it.
    """

    def __init__(self, path: Path, settings: str, seconds: float = 60.0) -> None:
        self.path, self.settings, self.seconds = path, settings, seconds
        self.last, self.random = time.monotonic(), None

    def state_dict(self) -> dict[str, Any]:
        return {"settings": self.settings, "steps": self.steps, "random": torch.get_rng_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if state_dict["settings"] != self.settings:
            raise InputError(
                f"{self.path} is the checkpoint of a training with other settings or cells: remove it, or name another"
            )
        self.steps, self.random = state_dict["steps"], state_dict["random"]

    def on_train_start(self, trainer: pl.Trainer, plan: Plan) -> None:
        if self.random is not None:
            plan.steps_done = self.steps
            torch.set_rng_state(self.random)

    def on_train_epoch_end(self, trainer: pl.Trainer, plan: Plan) -> None:
        self.steps = plan.steps_done
        if time.monotonic() - self.last >= self.seconds:
            draft = self.path.with_name(self.path.name + ".partial")
            trainer.save_checkpoint(draft)
            draft.replace(self.path)
            self.last = time.monotonic()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators that scvi-tools reads, and put them back: nothing outside is disturbed."""
    state, before = np.random.get_state(), scvi.settings.seed  # noqa: NPY002
    with torch.random.fork_rng():
        scvi.settings.seed = seed % 2**32
        try:
            yield
        finally:
            scvi.settings._seed = before
            np.random.set_state(state)  # noqa: NPY002


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C comes out as it went in, and SIGTERM with a status: Lightning makes exit(1) and exit(0) of them."""
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise SystemExit(128 + signal.SIGTERM) from None


@contextmanager
def quiet() -> Iterator[None]:
    """No banners and no advice on data loader workers: the data are in memory, and the log is the notebook.

    PyTorch's distributions do not check their arguments in here (0.3 ms a step): the loss itself is checked.
    """
    names = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed", "lightning.pytorch", "scvi")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    checked = torch.distributions.Distribution._validate_args
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.distributions.Distribution.set_default_validate_args(checked)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
