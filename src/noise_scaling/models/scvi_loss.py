"""scVI's module with its reconstruction loss and gradient computed together: same values, a fraction of the time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.special import gammaln
from scvi.module import VAE
from scvi.module.base import LossOutput
from torch.nn.functional import softplus

from .scvi_kernel import zinb

CELLS = "cells"
"""Key of a batch under which its `Cells` are."""
_EPS = 1e-8  # the library's guard in its logarithms


class Cells(NamedTuple):
    """The counts of a batch as CSR (int32) and the molecules of each cell (float32), on the model's device."""

    indptr: torch.Tensor
    genes: torch.Tensor
    counts: torch.Tensor
    library: torch.Tensor


class Likelihood(torch.autograd.Function):
    """Sum of the zero-inflated negative binomial's log-likelihood over a batch, and its value for each cell."""

    @staticmethod
    def forward(
        ctx: Any, scale: torch.Tensor, logit: torch.Tensor, log_theta: torch.Tensor, cells: Cells
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`scale` and `logit` [cells, genes] are overwritten by their gradients: nothing else may read them after."""
        compute = _on_cpu if scale.device.type == "cpu" else with_torch
        values, d_scale, d_logit, d_theta = compute(scale.float(), logit.float(), log_theta.exp(), cells)
        ctx.save_for_backward(d_scale, d_logit, d_theta * log_theta.exp())
        ctx.mark_non_differentiable(values)
        return values.sum(), values

    @staticmethod
    def backward(ctx: Any, weight: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return *(gradient * weight for gradient in ctx.saved_tensors), None


def _on_cpu(scale: torch.Tensor, logit: torch.Tensor, theta: torch.Tensor, cells: Cells) -> tuple[torch.Tensor, ...]:
    scale, logit = scale.contiguous(), logit.contiguous()
    values, d_theta = np.zeros(len(scale)), np.zeros(len(theta), np.float32)
    arrays = (t.detach().numpy() for t in (scale, logit, theta, cells.library))
    csr = [t.numpy() for t in (cells.indptr, cells.genes, cells.counts)]
    zinb(*arrays, *csr, _log_factorials(int(csr[2].max(initial=0))), values, d_theta)
    return torch.from_numpy(values).float(), scale, logit, torch.from_numpy(d_theta)


_factorials = gammaln(np.arange(1, 1025))


def _log_factorials(largest: int) -> np.ndarray:
    """log(x!) for x up to at least `largest`."""
    global _factorials
    if largest >= len(_factorials):
        _factorials = gammaln(np.arange(1, 2 * largest + 1))
    return _factorials


def with_torch(scale: torch.Tensor, logit: torch.Tensor, theta: torch.Tensor, cells: Cells) -> tuple[torch.Tensor, ...]:
    """Values [cells] and gradients by scale, logit and theta, on any device: all as zeros, then the others corrected.

    The equations are those of `scvi_kernel.zinb`; lgamma and digamma are taken of non-zero counts only.
    """
    library, theta = cells.library[:, None], theta + _EPS
    share_of_genes = scale.softmax(1)
    mean = share_of_genes * library
    both = theta + mean
    log_ratio = torch.log(theta) - torch.log(both)
    a = theta * log_ratio - logit
    terms = softplus(a) - softplus(-logit)
    share, w = torch.sigmoid(a), theta / both

    lengths = cells.indptr.diff()
    rows = torch.arange(len(scale), device=scale.device).repeat_interleave(lengths, output_size=len(cells.genes))
    at = (rows, cells.genes.long())
    x, dispersion = cells.counts.to(scale.dtype), theta[at[1]]
    gamma = torch.lgamma(x + dispersion) - torch.lgamma(dispersion) - torch.lgamma(x + 1)
    terms[at] = a[at] - softplus(-logit[at]) + x * (torch.log(mean[at] + _EPS) - torch.log(both[at])) + gamma
    share[at] = 1

    d_logit = torch.sigmoid(-logit) - share
    d_theta = (share * (log_ratio + 1 - w)).sum(0)
    extra = torch.digamma(x + dispersion) - torch.digamma(dispersion) - x / both[at]
    d_theta.index_add_(0, at[1], extra)
    slope = -share * w * mean
    slope[at] += x * mean[at] * (1 / (mean[at] + _EPS) - 1 / both[at])
    return terms.sum(1), slope - share_of_genes * slope.sum(1, keepdim=True), d_logit, d_theta


class FusedVAE(VAE):
    """The library's module, its networks and parameters untouched, with `Likelihood` in place of its distributions."""

    def generative(self, z: torch.Tensor, batch_index: torch.Tensor, **unused: Any) -> dict[str, Any]:
        """Logits of expression and of extra zeros, both [cells, genes]."""
        hidden = self.decoder.px_decoder(z, batch_index)
        return {"scale": self.decoder.px_scale_decoder[0](hidden), "logit": self.decoder.px_dropout_decoder(hidden)}

    def loss(
        self,
        tensors: dict[str, Any],
        inference_outputs: dict[str, Any],
        generative_outputs: dict[str, torch.Tensor],
        kl_weight: float = 1.0,
    ) -> LossOutput:
        """The negative ELBO of a batch, a mean over its cells, as the library's `VAE.loss` gives it."""
        total, values = Likelihood.apply(
            generative_outputs["scale"], generative_outputs["logit"], self.px_r, tensors[CELLS]
        )
        posterior = inference_outputs["qz"]
        variance = posterior.scale.square()
        kl = 0.5 * (posterior.loc.square() + variance - 1 - variance.log()).sum(1)
        return LossOutput(loss=kl_weight * kl.mean() - total / len(values), reconstruction_loss=-values, kl_local=kl)
