"""How scvi-tools' trainer is run here: without per-step logging, with the best weights kept, seeded and quiet.

Imported only when scVI is trained: importing scvi takes seconds.
"""

from __future__ import annotations

import copy
import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import lightning.pytorch as pl
import numpy as np
import scvi
import torch
from scvi.train import TrainingPlan


class Plan(TrainingPlan):
    """scvi-tools' training plan without its training logs, which cost as much as the training at a batch of 32."""

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """The library's loss for one batch, with the KL weight of the warm-up."""
        self.loss_kwargs.update({"kl_weight": self.kl_weight})
        return self.forward(batch, loss_kwargs=self.loss_kwargs)[2].loss


class BestWeights(pl.Callback):
    """Keeps the weights of the lowest validation ELBO in memory, and the two curves."""

    def __init__(self) -> None:
        self.lowest, self.weights = math.inf, None
        self.history: dict[str, list[float]] = {"epoch": [], "elbo_validation": []}

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        elbo = float(trainer.callback_metrics["elbo_validation"])
        self.history["epoch"].append(trainer.current_epoch)
        self.history["elbo_validation"].append(elbo)
        if elbo < self.lowest:
            self.lowest, self.weights = elbo, copy.deepcopy(module.module.state_dict())

    def restore(self, module: torch.nn.Module) -> None:
        if self.weights is None:
            raise FloatingPointError("scVI's validation loss was never finite: the training diverged")
        module.load_state_dict(self.weights)
        module.eval()


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
def quiet() -> Iterator[None]:
    """No banners and no advice on data loader workers: the data are in memory, and the log is the notebook."""
    names = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed", "lightning.pytorch", "scvi")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
