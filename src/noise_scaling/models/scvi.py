"""scVI: the variational autoencoder of scvi-tools, its own model and trainer, under our protocol."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from anndata import AnnData
from scipy.sparse import csr_matrix

from ..errors import choose
from .base import Stored, resolve_device
from .geneformer_training import has_bfloat16
from .streaming import CountStore, chunks_of, usable

_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}
_FEWEST_WEIGHTS = 400_000  # genes x width, for bfloat16: 2,500 x 128 gains nothing, 4,000 x 128 15-25 %
_CALL = 1000  # steps at most between two chances to write a checkpoint
_PUBLISHED = {
    "dims": 16, "n_hidden": 512, "learning_rate": 1e-3, "eps": 0.01, "reduce_lr": True, "batch_size": 512,
    "max_cells_seen": 1e7, "max_steps": None, "patience_unit": "epochs", "steps_per_check": 20, "patience": 5,
    "min_delta": 0.01, "fixed_steps": None, "fast_loss": True, "precision": "auto",
}  # fmt: skip
_SMALL = {
    "n_hidden": 128, "learning_rate": None, "eps": 1e-4, "reduce_lr": False, "batch_size": None,
    "max_cells_seen": None, "max_steps": 4000, "patience_unit": "steps", "patience": 6, "min_delta": 0.0,
}  # fmt: skip


class SCVI(Stored):
    """scVI (Lopez et al. 2018) as scvi-tools implements it: zero-inflated negative binomial, one dispersion per gene.

    The settings beside those of the paper:

    patience_unit, steps_per_check
        "epochs": the validation loss is looked at after each epoch, as published. "steps": after `steps_per_check`
        steps or an epoch, whichever is longer; at N = 100 the published patience stops after a dozen steps.
    fixed_steps
        Train exactly so many steps and keep the last weights, not the best.
    fast_loss
        The reconstruction loss computed with its gradient in one pass, equal to the library's to rounding.
    batch_size, learning_rate
        None: chosen by the number of cells.
    precision
        "32"; "bf16": matrix products in bfloat16; "auto": that where the hardware multiplies it and layers are large.

    One device trains: the published setting sees 10^7 cells at most, in batches of 512.

    On a CPU a seed gives the same weights to the last bit, at a given number of threads; on a GPU nearly so, as its
    sums are taken in no fixed order.
    """

    name: ClassVar[str] = "scvi"
    NUMBERS_VERSION: ClassVar[int] = 3
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"published": _PUBLISHED, "small": _PUBLISHED | _SMALL}

    def __init__(self, *, seed: int, device: str = "auto", **settings: Any) -> None:
        choose("precision", settings["precision"], ("auto", *_PRECISIONS))
        choose("patience unit", settings["patience_unit"], ("steps", "epochs"))
        self.seed, self.device, self.settings = seed, resolve_device(device), settings
        self.history: dict[str, list[float]] = {}

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self._model.module.parameters())

    def fit(
        self,
        train: csr_matrix | CountStore,
        validation: csr_matrix | CountStore,
        *,
        genes_from: csr_matrix | CountStore | None = None,
        checkpoint: str | Path | None = None,
    ) -> SCVI:
        """Train on `train`, stop on the ELBO of `validation` (all of it, fixed), keep the best weights.

        Parameters
        ----------
        genes_from
            Changes nothing: scVI takes all genes.
        checkpoint
            File to write the training's state to once a minute, and to go on from if it is there; removed at the end.

        Raises
        ------
        InputError
            Fewer than 10 cells of either kind hold a molecule; the checkpoint is of another training.
        FloatingPointError
            The training diverged: the loss is NaN or infinite.
        """
        from .scvi_data import Counts, InMemory, Streamed, whole_batches
        from .scvi_training import interruptible, quiet, seeded

        train = usable(train, at_least=10)
        validation = usable(validation, at_least=10, what="validation")
        validation = validation.tocsr()  # kept in memory
        batch = whole_batches(train.shape[0], self.settings["batch_size"] or _batch_size(train.shape[0]))
        read = Streamed if isinstance(train, CountStore) else InMemory
        source = read(train, batch, seed=self.seed, device=self.device)
        with quiet(), seeded(self.seed), interruptible():
            self._model = self._untrained(train.shape[1])
            self._train(source, Counts(validation, self.device), checkpoint)
        return self

    def _untrained(self, n_genes: int) -> Any:
        import scvi

        from .scvi_loss import FusedVAE

        class Model(scvi.model.SCVI):
            _module_cls = FusedVAE if self.settings["fast_loss"] else scvi.model.SCVI._module_cls

        data = AnnData(np.ones((2, n_genes), np.float32))  # tells the library the number of genes
        Model.setup_anndata(data)
        return Model(
            data, n_hidden=self.settings["n_hidden"], n_latent=self.settings["dims"], n_layers=1, dropout_rate=0.1,
            gene_likelihood="zinb", dispersion="gene",
        )  # fmt: skip

    def _train(self, source: Any, validation: Any, checkpoint: str | Path | None) -> None:
        from .scvi_data import Intervals
        from .scvi_training import Checkpoint, Keeper, Plan

        s, epoch = self.settings, source.steps_per_epoch
        total, interval = _schedule(s, epoch, source.n_cells)
        parts = math.ceil(interval / _CALL)
        callbacks = [Keeper(epoch, best=s["fixed_steps"] is None)]
        if checkpoint is not None:
            about = {"settings": s, "seed": self.seed, "cells": [source.n_cells, source.nonzeros, validation.shape]}
            callbacks.append(Checkpoint(Path(checkpoint), json.dumps(about)))
        self._model._training_plan_cls = Plan
        self._model.train(
            max_epochs=math.ceil(total / interval) * parts,
            accelerator={"cuda": "gpu"}.get(self.device, self.device),
            devices=1,
            precision=_PRECISIONS[_precision(s, self._model.module.n_input, self.device)],
            check_val_every_n_epoch=parts,
            early_stopping=s["fixed_steps"] is None,
            early_stopping_monitor="elbo_validation",
            early_stopping_patience=s["patience"],
            early_stopping_min_delta=s["min_delta"],
            datamodule=Intervals(source, validation, interval, total, parts),
            plan_kwargs={
                "lr": s["learning_rate"] or _learning_rate(source.batch_size), "weight_decay": 1e-6,
                "eps": s["eps"], "warmup_steps": epoch,
                "reduce_lr_on_plateau": s["reduce_lr"], "lr_patience": 3, "lr_min": 1e-6,
            },
            enable_progress_bar=False,
            callbacks=list(callbacks),
            ckpt_path=checkpoint if checkpoint is not None and Path(checkpoint).exists() else None,
        )  # fmt: skip
        callbacks[0].restore(self._model.module)
        self.history = callbacks[0].history
        if checkpoint is not None:
            Path(checkpoint).unlink(missing_ok=True)
        self._model.module.to(self.device)

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """The library's weights and buffers by their names."""
        return self._model.module.state_dict(), {"n_genes": self._model.module.n_input}

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        from .scvi_training import quiet, seeded

        with quiet(), seeded(self.seed):
            self._model = self._untrained(facts["n_genes"])
        self._model.module.load_state_dict(tensors)
        self._model.module.to(self.device).eval()

    def embed(self, counts: csr_matrix | CountStore) -> np.ndarray:
        """float32 [cells, dims]: the mean of the latent posterior; an empty cell has one too."""
        from .scvi_data import Counts

        module = self._model.module
        with torch.inference_mode():
            parts = [
                module.inference(**module._get_inference_input(batch))["qz"].loc.float().cpu().numpy()
                for chunk in chunks_of(counts)
                for batch in Counts(chunk, self.device).in_order()
            ]
        latent = np.concatenate(parts)
        if not np.isfinite(latent).all():
            raise FloatingPointError("scVI's embedding holds NaN: the training diverged")
        return latent


def _schedule(settings: dict[str, Any], epoch: int, n_cells: int) -> tuple[int, int]:
    """Optimiser steps at most, and between two checks, of an `epoch` in steps.

    Patience counted in steps checks every `steps_per_check` steps, in whole epochs: at N = 100 the published patience
    of a few epochs stops after a dozen steps.
    """
    most = settings["max_cells_seen"] / n_cells if settings["max_steps"] is None else settings["max_steps"] / epoch
    total = settings["fixed_steps"] or max(1, int(most)) * epoch
    epochs = math.ceil(settings["steps_per_check"] / epoch) if settings["patience_unit"] == "steps" else 1
    return total, min(epochs * epoch, total)


def _batch_size(n_cells: int) -> int:
    """Small sets get small batches (a pilot: 0.1-0.2 bits more at 100-300 cells)."""
    return 32 if n_cells < 700 else 64 if n_cells < 2000 else 128


def _learning_rate(batch_size: int) -> float:
    """2e-3 at a batch of 32, growing with its square root: at 3,000 cells a quarter fewer steps than with 2e-3.

    At 100-300 cells 4e-3 cost 0.03-0.06 bits at low depth; at 3,000 cells it cost none and gave a lower loss.
    """
    return 2e-3 * math.sqrt(batch_size / 32)


def _precision(settings: dict[str, Any], n_genes: int, device: str) -> str:
    """ "32" or "bf16": what "auto" stands for here."""
    if settings["precision"] != "auto":
        return settings["precision"]
    return "bf16" if has_bfloat16(device) and n_genes * settings["n_hidden"] >= _FEWEST_WEIGHTS else "32"
