"""scVI: the variational autoencoder of scvi-tools, its own model and trainer, under our protocol."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from anndata import AnnData
from scipy.sparse import csr_matrix, vstack

from .base import resolve_device, usable_cells


class SCVI:
    """scVI (Lopez et al. 2018) as scvi-tools implements it; zero-inflated negative binomial, one dispersion per gene.

    `small` counts *steps* where `published` counts epochs: at N = 100 the published patience of a few epochs stops
    after a dozen steps. It validates every 20 steps or epoch, whichever is longer. Both keep the best weights.
    """

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "published": {
            "n_hidden": 512, "learning_rate": 1e-3, "eps": 0.01, "reduce_lr": True, "batch_size": 512,
            "max_cells_seen": 1e7, "max_steps": None, "steps_per_check": 1, "patience": 5, "min_delta": 0.01,
        },
        "small": {
            "n_hidden": 128, "learning_rate": 2e-3, "eps": 1e-4, "reduce_lr": False, "batch_size": None,
            "max_cells_seen": None, "max_steps": 4000, "steps_per_check": 20, "patience": 6, "min_delta": 0.0,
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

        from .scvi_training import BestWeights, Plan, quiet, seeded

        train = usable_cells(train, at_least=10)
        validation = usable_cells(validation, at_least=10, what="validation")
        with quiet(), seeded(self.seed):
            data = _anndata(vstack([train, validation], format="csr"))
            scvi.model.SCVI.setup_anndata(data)
            self._model = scvi.model.SCVI(
                data, n_hidden=self.settings["n_hidden"], n_latent=self.dims, n_layers=1, dropout_rate=0.1,
                gene_likelihood="zinb", dispersion="gene",
            )  # fmt: skip
            self._model._training_plan_cls = Plan
            best = BestWeights()
            self._train(train.shape[0], validation.shape[0], best)
        best.restore(self._model.module)
        self.history = best.history
        self._model.to_device(self.device)
        return self

    def _train(self, n_train: int, n_validation: int, best: object) -> None:
        s = self.settings
        batch = _batch_size(n_train, s["batch_size"])
        steps = math.ceil(n_train / batch)  # an epoch
        most = s["max_cells_seen"] / n_train if s["max_steps"] is None else s["max_steps"] / steps
        epochs, every = max(1, int(most)), math.ceil(s["steps_per_check"] / steps)
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
        from .scvi_training import quiet, seeded

        with quiet(), seeded(self.seed):
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
