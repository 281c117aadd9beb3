"""Attention with dropout on a CPU, where torch has no fused kernel for it.

torch's own way there writes the attention matrices of all cells to fresh memory, for the backward pass, and draws a
random number for each of their entries. Here they are made again in the backward pass, a few cells at a time, and only
the dropped entries are drawn: Poisson many, with replacement, so that each is hit or not independently of the others.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

ENTRIES = 1 << 20
"""Attention weights in work at a time, 4 MB: they stay in the cache."""


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """softmax(q k' / sqrt(d)) v with dropped weights: q [cells, heads, queries, d], k and v [cells, heads, length, d].

    `mask` is bool [cells, 1, 1, length], True for tokens. Returns [cells, heads, queries, d].
    """
    cells, heads, queries = q.shape[:3]
    at_once = max(1, ENTRIES // (heads * queries * k.shape[2]))
    masks = [None] * cells if mask is None else mask.split(at_once)
    parts = zip(q.split(at_once), k.split(at_once), v.split(at_once), masks, strict=False)
    dropped = [Dropped.apply(*part, dropout) for part in parts]
    return torch.cat(dropped) if len(dropped) > 1 else dropped[0]


class Dropped(torch.autograd.Function):
    """A few cells' attention; the backward pass makes the weights again (Dao et al. 2022, without the tiles)."""

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
        weights = _weights(q, k, mask)
        gone = _drawn(weights.numel(), dropout)
        kept = weights.view(-1).index_fill_(0, gone, 0).view_as(weights)
        y = (kept @ v) / (1 - dropout)
        ctx.save_for_backward(q, k, v, mask, gone, y)
        ctx.dropout = dropout
        return y

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask, gone, y = ctx.saved_tensors
        scale = 1 / (1 - ctx.dropout)
        weights = _weights(q, k, mask)
        d_weights = slope @ v.transpose(-1, -2)
        d_weights.view(-1).index_fill_(0, gone, 0)
        mean = (slope * y).sum(-1, keepdim=True)  # of the slope over the softmax, times scale
        d_scores = d_weights.mul_(scale).sub_(mean).mul_(weights)
        kept = weights.view(-1).index_fill_(0, gone, 0).view_as(weights)
        root = math.sqrt(q.shape[-1])
        d_v = (kept.transpose(-1, -2) @ slope) * scale
        return d_scores @ k / root, d_scores.transpose(-1, -2) @ q / root, d_v, None, None


def _weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """softmax(q k' / sqrt(d)) [cells, heads, queries, length], of q's type; torch sums it in float32 for any."""
    scores = q * (1 / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)
    return torch.softmax(scores if mask is None else scores.masked_fill_(~mask, -math.inf), -1)


class Dropout(torch.nn.Module):
    """Dropout that draws the dropped entries alone on a CPU: `torch.nn.Dropout` draws a number for each."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.share):
            return x
        if x.device.type != "cpu":
            return torch.nn.functional.dropout(x, self.share)
        y = x * (1 / (1 - self.share))
        return y.view(-1).index_fill_(0, _drawn(y.numel(), self.share), 0).view_as(y)


def _drawn(n: int, share: float) -> Tensor:
    """int64 places out of n, each there with probability `share`, some twice; from torch's generator."""
    hits = int(torch.poisson(torch.tensor(-n * math.log1p(-share), dtype=torch.float64)))
    return torch.randint(0, n, (hits,))
