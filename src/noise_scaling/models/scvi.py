"""scVI: the networks of scvi-tools' variational autoencoder, trained by our own loop.

Source: Lopez et al. 2018 (Nature Methods 15, 1053); settings of Gowri et al. (arXiv 2503.02726, supplement).
"""

import math
import warnings
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ..counts.count_store import CountStore
from ..errors import choose
from ..seeds import derive
from .base import Model, has_bfloat16, register, resolve_device
from .scvi_data import Batch, Counts, InMemory, Source, Streamed, whole_batches
from .streaming import Cells, chunks_of, usable
from .training import Training, limits

_EPS = 1e-8  # as in scvi-tools, added inside logarithms
_ROWS = 128  # cells of a likelihood without a gradient: limits memory, and changes no bit
_FEWEST_WEIGHTS = 400_000  # genes x width, for bfloat16: 2,500 x 128 gains nothing, 4,000 x 128 15-25 %
_PUBLISHED = {
    "dims": 16, "n_hidden": 512, "n_layers": 1, "dropout": 0.1, "learning_rate": 1e-3, "eps": 0.01,
    "weight_decay": 1e-6, "kl_warmup_epochs": 1, "reduce_lr": True, "batch_size": 512, "max_cells_seen": 1e7,
    "max_steps": None, "patience_unit": "epochs", "check_every": 20, "patience": 5, "min_delta": 0.01,
    "fixed_steps": None, "precision": "auto",
}  # fmt: skip
_SMALL = {
    "n_hidden": 128, "learning_rate": None, "eps": 1e-4, "reduce_lr": False, "batch_size": None,
    "max_cells_seen": None, "max_steps": 4000, "patience_unit": "steps", "patience": 6, "min_delta": 0.0,
}  # fmt: skip


@register
class SCVI(Model):
    """scVI (Lopez et al. 2018) by scvi-tools: zero-inflated negative binomial, a dispersion per gene, observed library.

    The published settings, by Gowri et al.'s supplement: `dims` 16, `n_hidden` 512, `n_layers` 1, `dropout` 0.1 (of
    the encoder), Adam with `learning_rate` 1e-3, `weight_decay` 1e-6 and `eps` 0.01, no KL term in the first epoch,
    batches of 512 cells, the rate reduced on a plateau, at most max(1, 1e7 / N) epochs. The other settings:

    patience_unit, check_every
        "epochs": the validation loss is computed after each epoch, as published. "steps": after `check_every`
        steps or an epoch, whichever is longer; at N = 100 the published patience stops after a dozen steps.
    patience, min_delta
        Training stops after so many checks in a row that did not lower the negative ELBO by `min_delta` nats a cell.
    fixed_steps
        Train exactly that many steps and keep the last weights, not the best.
    batch_size, learning_rate
        None: chosen from the number of cells.
    precision
        "32"; "bf16": matrix products in bfloat16; "auto": bfloat16 where the hardware has it and layers are large.

    Training uses one device, because the published setting sees at most 1e7 cells, in batches of 512.

    On a CPU a seed gives the same weights to the last bit, for a given number of threads; on a GPU nearly the same,
    because sums are taken there in no fixed order.
    """

    name, label, colour, marker, order = "scvi", "scVI", "#de8f05", "o", 10
    by_default: ClassVar[bool] = True
    likelihood: ClassVar[str] = "zinb"
    """Likelihood of the counts, by its name in scvi-tools: "zinb", "nb" or "poisson"."""
    linear: ClassVar[bool] = False
    """Whether expression, before its softmax, is linear in the latent."""
    loss_unit: ClassVar[str] = "nats a cell"
    wants_gpu: ClassVar[bool] = True
    fixed_seconds, seconds_per_cell = 20.0, 4e-4
    gpu_speedup: ClassVar[dict[str, float]] = {"published": 16.0, "small": 4.0}
    NUMBERS_VERSION: ClassVar[int] = 4
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"published": _PUBLISHED, "small": _PUBLISHED | _SMALL}
    learnt: ClassVar[tuple[str, ...]] = ("n_genes",)

    def __init__(self, *, seed: int, device: str = "auto", **settings: Any) -> None:
        choose("precision", settings["precision"], ("auto", "32", "bf16"))
        choose("patience unit", settings["patience_unit"], ("steps", "epochs"))
        super().__init__(seed=seed, device=resolve_device(device), **settings)

    @classmethod
    def width(cls, *, n_genes: float, nonzeros: float) -> float:
        """Thousands of genes, because the layers are dense."""
        return n_genes / 1000

    @classmethod
    def bytes_in_training(cls, preset: str, *, n_genes: float) -> float:
        """Weights, gradients, two moments and the best weights; a batch; windows of cells read from disk."""
        s = cls.PRESETS[preset]
        return 20 * 5 * s["n_hidden"] * n_genes + 24 * (s["batch_size"] or 128) * n_genes + 8e8

    @classmethod
    def cells_seen(cls, preset: str, n_cells: int) -> float:
        """The published limit; for "small" 4,000 steps of 128 cells."""
        return max(n_cells, {"published": 1e7, "small": 5e5}[preset])

    def fit(
        self,
        train: Cells,
        validation: Cells,
        *,
        genes_from: Cells | None = None,
        checkpoint: str | Path | None = None,
        progress: str = "",
    ) -> Self:
        """Train on `train`, stop by the ELBO of `validation` (all of it, same draws each time), keep the best weights.

        Parameters
        ----------
        train, validation
            UMI counts [cells, genes]; the validation cells are held in memory.
        genes_from
            Ignored: scVI uses all genes.
        checkpoint
            File to save the training to once a minute, and to resume from if it exists; deleted at the end.
        progress
            Title of the progress reports (`report.Report`); empty: no reports.

        Raises
        ------
        InputError
            Fewer than 10 training or validation cells hold a molecule; the checkpoint is of another training.
        FloatingPointError
            The training diverged: the loss is NaN or infinite.
        """
        train = usable(train, at_least=10)
        held = Counts(usable(validation, at_least=10, what="validation").tocsr(), self.device)
        batch = whole_batches(train.shape[0], self.settings["batch_size"] or _batch_size(train.shape[0]))
        read = Streamed if isinstance(train, CountStore) else InMemory
        source = read(train, batch, seed=self.seed, device=self.device)
        self.n_genes = train.shape[1]
        self._net = self.network(self.n_genes).to(self.device)
        training = _Training(self._net, source, held, self.settings, seed=self.seed)
        training.title = progress
        training.run(None if checkpoint is None else Path(checkpoint))
        self._net.eval()
        self.history, self.earlier_seconds = training.history, training.earlier_seconds
        return self

    def network(self, n_genes: int) -> nn.Module:
        """Return scvi-tools' module, its starting weights drawn by the seed, without parts its likelihood lacks."""
        net = self.module(n_genes)
        if self.likelihood != "zinb":
            net.decoder.px_dropout_decoder = net.l_encoder = None
        if self.likelihood == "poisson":
            net.px_r = None
        return net

    def module(self, n_genes: int) -> Any:
        """Return the complete module, as scvi-tools trains it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about progress bars, and deprecations within the library
            from scvi.module import LDVAE, VAE  # here, because it takes seconds

        s = self.settings
        own: dict[str, Any] = {"n_layers": s["n_layers"]}
        if self.linear:
            own = {"n_layers_encoder": s["n_layers"], "use_observed_lib_size": True}
        with torch.random.fork_rng():
            torch.manual_seed(derive(self.seed, "weights"))
            return (LDVAE if self.linear else VAE)(
                n_genes, n_batch=1, n_hidden=s["n_hidden"], n_latent=s["dims"], dropout_rate=s["dropout"],
                gene_likelihood=self.likelihood, dispersion="gene", **own,
            )  # fmt: skip

    @torch.inference_mode()
    def embed(self, counts: Cells) -> np.ndarray:
        """Return float32 [cells, dims], the means of the latent posterior; an empty cell has one too.

        FloatingPointError if the embedding holds NaN or infinite values, because the training diverged.
        """
        batches = (batch for chunk in chunks_of(counts) for batch in Counts(chunk, self.device).in_order())
        latent = np.concatenate([posterior(self._net, batch.logs)[0].cpu().numpy() for batch in batches])
        if not np.isfinite(latent).all():
            raise FloatingPointError("scVI's embedding holds NaN: the training diverged")
        return latent


class _Training(Training):
    """Minimise the negative ELBO on batches of `source`; validate on all cells of `held`."""

    label, validation_name = "scVI", "elbo_validation"

    def __init__(self, net: nn.Module, source: Source, held: Counts, settings: dict[str, Any], *, seed: int) -> None:
        s, epoch = settings, source.steps_per_epoch
        self.source, self.held, self.warmup = source, held, s["kl_warmup_epochs"] * epoch
        self.half = _precision(s, held.shape[1], held.device) == "bf16"
        # fused Adam, with the same update rule, takes 0.7 ms instead of 6.7 for the small preset on 4,000 genes
        optimizer = torch.optim.Adam(net.parameters(), lr=s["learning_rate"] or _learning_rate(source.batch_size),
                                     eps=s["eps"], weight_decay=s["weight_decay"], fused=True)  # fmt: skip
        # factor and threshold: the defaults of scvi-tools' training plan
        plateau = ReduceLROnPlateau(optimizer, factor=0.6, patience=3, threshold=0.0, threshold_mode="abs", min_lr=1e-6)
        every = math.ceil(s["check_every"] / epoch) * epoch
        super().__init__(
            net, optimizer, limits(s, n_cells=source.n_cells, epoch=epoch, check_every=every), seed=seed,
            identity={"settings": s, "seed": seed, "cells": [source.n_cells, source.nonzeros, *held.shape]},
            check_scheduler=plateau if s["reduce_lr"] else None,
        )  # fmt: skip

    def batches(self, first: int) -> Generator[Batch]:
        return self.source.batches(first)

    def loss(self, batch: Batch) -> Tensor:
        fit, kl = elbo_terms(self.net, batch, half=self.half)
        return (kl - fit if self.progress.step >= self.warmup else -fit).mean()

    def amount(self, batch: Batch) -> int:
        return len(batch.library)

    def validation_loss(self) -> float:
        terms = map(partial(elbo_terms, self.net, half=self.half), self.held.in_order())  # holds one batch at a time
        return float(sum((kl - fit).sum() for fit, kl in terms)) / self.held.shape[0]


def posterior(net: Any, logs: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of the latent posterior, float32 [cells, dims], for log(1 + count) [cells, genes]."""
    encoder = net.z_encoder
    hidden = encoder.encoder(logs)
    return encoder.mean_encoder(hidden).float(), encoder.var_encoder(hidden).float().exp() + encoder.var_eps


def elbo_terms(net: Any, batch: Batch, *, half: bool = False) -> tuple[Tensor, Tensor]:
    """Return the log-likelihood at one draw of the latent, and the KL divergence of its posterior from N(0, 1).

    Both are in nats, [cells]: the two terms of the evidence lower bound (Lopez et al. 2018), by scvi-tools' module
    `net`; `half`: matrix products in bfloat16.
    """
    half_precision = torch.autocast(batch.library.device.type, torch.bfloat16, enabled=half)
    with half_precision:
        mean, variance = posterior(net, batch.logs)
    latent = mean + variance.sqrt() * torch.randn_like(mean)
    rows = len(latent) if torch.is_grad_enabled() else _ROWS
    fits = []
    for some, part in zip(latent.split(rows), batch.split(rows), strict=True):
        with half_precision:
            scale, zeros = _decoded(net, some)
        if net.gene_likelihood == "poisson":
            fits.append(log_poisson(scale.float(), part))
        else:
            fits.append(log_likelihood(scale.float(), zeros if zeros is None else zeros.float(), net.px_r, part))
    kl = 0.5 * (mean.square() + variance - 1 - variance.log()).sum(1)
    return torch.cat(fits), kl


def _decoded(net: Any, latent: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the logits [cells, genes] of the softmax of expression and, for "zinb", those of the extra zeros."""
    decoder = net.decoder
    if hasattr(decoder, "factor_regressor"):
        return decoder.factor_regressor(latent, None), None  # with "nb", the only likelihood of the linear model here
    hidden = decoder.px_decoder(latent, None)
    zeros = decoder.px_dropout_decoder(hidden) if net.gene_likelihood == "zinb" else None
    return decoder.px_scale_decoder[0](hidden), zeros


def log_poisson(scale: Tensor, batch: Batch) -> Tensor:
    """Poisson, nats [cells]: scvi-tools' `Poisson`, summed over genes, to rounding; `scale` as in `log_likelihood`."""
    rates = scale.log_softmax(1)[batch.rows, batch.genes] + batch.library[batch.rows].log()
    return (-batch.library).index_add(0, batch.rows, batch.counts * rates - torch.lgamma(batch.counts + 1))


def log_likelihood(scale: Tensor, zeros: Tensor | None, log_theta: Tensor, batch: Batch) -> Tensor:
    """Log negative binomial, zero-inflated or not, nats [cells]: scvi-tools' `log_zinb_positive`, up to rounding.

    All counts are first treated as zeros, then the non-zero ones are corrected, because most are zeros and the gamma
    functions cost the most. `scale` [cells, genes] are logits of the softmax of expression (times a cell's molecules),
    `zeros` [cells, genes] those of the extra zeros, or None; `log_theta` [genes] are log inverse dispersions.
    """
    theta = log_theta.exp() + _EPS
    at = batch.rows * scale.shape[1] + batch.genes
    mean = batch.library[:, None] * scale.softmax(1)
    mean_at = _gathered(mean, at)
    log_both = mean.add_(theta).log()  # in place from here on where the gradient does not need the old values
    log_both_at = _gathered(log_both, at)
    as_zeros = log_both.neg_().add_(theta.log()) * theta  # log probability of 0 by the negative binomial
    constant: Tensor | float = 0.0
    if zeros is None:
        log_zero_at = as_zeros_at = _gathered(as_zeros, at)
    else:
        log_zero = as_zeros.sub_(zeros)
        log_zero_at = _gathered(log_zero, at)
        as_zeros, constant = softplus(log_zero), softplus(-zeros)
        as_zeros_at = _gathered(as_zeros, at)
    x, own = batch.counts, theta[batch.genes]
    gamma = torch.lgamma(x + own) - torch.lgamma(own) - torch.lgamma(x + 1)
    gain = log_zero_at - as_zeros_at + x * ((mean_at + _EPS).log() - log_both_at) + gamma
    return as_zeros.sub_(constant).sum(1).index_add(0, batch.rows, gain)


def _gathered(values: Tensor, at: Tensor) -> Tensor:
    return values.flatten().index_select(0, at)


def _batch_size(n_cells: int) -> int:
    """Choose small batches for small sets (a pilot: 0.1-0.2 bits more at 100-300 cells)."""
    return 32 if n_cells < 700 else 64 if n_cells < 2000 else 128


def _learning_rate(batch_size: int) -> float:
    """2e-3 at a batch of 32, growing with its square root: 4e-3 cost 0.03-0.06 bits at 100-300 cells, none at 3,000."""
    return 2e-3 * math.sqrt(batch_size / 32)


def _precision(settings: dict[str, Any], n_genes: int, device: str) -> str:
    """Return "32" or "bf16"; "auto" is decided by the device and the size."""
    if settings["precision"] != "auto":
        return settings["precision"]
    return "bf16" if has_bfloat16(device) and n_genes * settings["n_hidden"] >= _FEWEST_WEIGHTS else "32"
