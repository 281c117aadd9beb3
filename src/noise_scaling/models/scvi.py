"""scVI: the variational autoencoder of scvi-tools, its own model and trainer, under our protocol."""

from __future__ import annotations

import copy
import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import torch
from anndata import AnnData
from scipy.sparse import csr_matrix, vstack

from .base import resolve_device, usable_cells


class SCVI:
    """scVI (Lopez et al. 2018) as scvi-tools implements it; zero-inflated negative binomial, one dispersion per gene.

    `small` trains for a fixed budget of *steps* where `published` counts epochs: at N = 100 the published patience of a
    few epochs stops after a dozen steps. It validates about every 20 steps at least and keeps the best weights.
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "published": {
            "n_hidden": 512, "learning_rate": 1e-3, "eps": 0.01, "batch_size": 512, "max_cells_seen": 1e7,
            "steps_per_check": 1, "patience": 5, "min_delta": 0.01, "reduce_lr": True,
        },
        "small": {
            "n_hidden": 128, "learning_rate": 2e-3, "eps": 1e-4, "batch_size": None, "max_cells_seen": 1e6,
            "steps_per_check": 20, "patience": 6, "min_delta": 0.0, "reduce_lr": False,
        },
    }  # fmt: skip

    def __init__(self, *, seed: int, device: str = "auto", dims: int = 16, **settings: Any) -> None:
        self.seed, self.device, self.dims = seed, resolve_device(device), dims
        self.settings = settings
        self.history: dict[str, list[float]] = {}

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self._model.module.parameters())

    def fit(self, train: csr_matrix, validation: csr_matrix) -> SCVI:
        """Train on `train`, stop on the ELBO of `validation` (all of it, fixed), keep the best weights."""
        import scvi

        train = usable_cells(train, at_least=10)
        validation = usable_cells(validation, at_least=10, what="validation")
        with _quiet(), _seeded(self.seed):
            data = _anndata(vstack([train, validation], format="csr"))
            scvi.model.SCVI.setup_anndata(data)
            self._model = scvi.model.SCVI(
                data, n_hidden=self.settings["n_hidden"], n_latent=self.dims, n_layers=1, dropout_rate=0.1,
                gene_likelihood="zinb", dispersion="gene",
            )  # fmt: skip
            best = _BestWeights()
            self._train(train.shape[0], validation.shape[0], best)
        best.restore(self._model.module)
        self.history = best.history
        self._model.to_device(self.device)
        return self

    def _train(self, n_train: int, n_validation: int, best: pl.Callback) -> None:
        s = self.settings
        batch = _batch_size(n_train, s["batch_size"])
        epochs = max(1, int(s["max_cells_seen"] / n_train))
        every = max(1, math.ceil(s["steps_per_check"] / math.ceil(n_train / batch)))
        cells = np.arange(n_train + n_validation)
        self._model.train(
            max_epochs=epochs,
            accelerator={"cuda": "gpu"}.get(self.device, self.device),
            devices=1,
            batch_size=batch,
            check_val_every_n_epoch=min(every, epochs),
            early_stopping=True,
            early_stopping_monitor="elbo_validation",
            early_stopping_patience=s["patience"],
            early_stopping_min_delta=s["min_delta"],
            datasplitter_kwargs={"external_indexing": [cells[:n_train], cells[n_train:], cells[:0]]},
            plan_kwargs={
                "lr": s["learning_rate"], "weight_decay": 1e-6, "eps": s["eps"], "n_epochs_kl_warmup": 1,
                "reduce_lr_on_plateau": s["reduce_lr"], "lr_patience": 3, "lr_min": 1e-6,
            },
            enable_progress_bar=False,
            callbacks=[best],
        )  # fmt: skip

    def embed(self, counts: csr_matrix) -> np.ndarray:
        """float32 [cells, dims]: the mean of the latent posterior; an empty cell has one too."""
        with _quiet(), _seeded(self.seed):
            latent = self._model.get_latent_representation(_anndata(counts), batch_size=4096)
        if not np.isfinite(latent).all():
            raise FloatingPointError("scVI's embedding holds NaN: the training diverged")
        return latent.astype(np.float32)


def _batch_size(n_cells: int, fixed: int | None) -> int:
    """The preset's batch; small sets get small batches (a pilot: 0.1-0.2 bits more at 100-300 cells)."""
    batch = fixed or (32 if n_cells < 700 else 64 if n_cells < 2000 else 128)
    while n_cells % batch == 1:  # batch norm cannot take a last batch of one cell
        batch += 1
    return batch


def _anndata(counts: csr_matrix) -> AnnData:
    return AnnData(counts.astype(np.float32))


class _BestWeights(pl.Callback):
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
def _seeded(seed: int) -> Iterator[None]:
    """Seed the generators that scvi-tools reads, and put them back: nothing outside is disturbed."""
    import scvi

    state, before = np.random.get_state(), scvi.settings.seed  # noqa: NPY002
    with torch.random.fork_rng():
        scvi.settings.seed = seed % 2**32
        try:
            yield
        finally:
            scvi.settings._seed = before
            np.random.set_state(state)  # noqa: NPY002


@contextmanager
def _quiet() -> Iterator[None]:
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
