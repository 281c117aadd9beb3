"""The free critic: a network on either side, many of them trained side by side, with the gradient written out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..seeds import generator

EMBEDDED = 32
CHECK_CELLS = 384  # of a part that choose the step: the steps differ by more than their noise


@dataclass(frozen=True)
class Training:
    """How critics are trained: Adam, warm-up and half a cosine, and a running mean of the weights."""

    learning_rate: float = 2e-2
    weight_decay: float = 1e-2
    batch_size: int = 128
    steps: int = 200
    check_every: int = 25


class Towers:
    """`count` critics g(x) . h(y), all weights in one flat tensor [count, weights] so that one step moves them all.

    The gradient by hand and one exponential a score make a step 2-3 times faster than automatic differentiation.
    """

    def __init__(self, count: int, dims: tuple[int, int], hidden: int, *, seed: int) -> None:
        self.shapes = [s for d in dims for pair in itertools.pairwise((d, hidden, hidden, EMBEDDED))
                       for s in (pair, (1, pair[1]))]  # fmt: skip
        size = sum(a * b for a, b in self.shapes)
        self.flat, self.gradient = torch.zeros(count, size), torch.zeros(count, size)
        self.w, self.into = self.views(self.flat), self.views(self.gradient)
        rng = torch.Generator().manual_seed(seed)
        # The last layer of y starts at 0: training starts at 0 bits, and independence stays there.
        for layer, weight in enumerate(self.w[:-2:2]):
            scale = (1.0 if layer == 2 else 1.4) * weight.shape[1] ** -0.5
            weight.copy_(scale * torch.randn(weight.shape, generator=rng))

    def views(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """Weights and biases [count, in, out] of x's three layers, then y's."""
        return split(flat, self.shapes)

    def features(self, flat: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """g [count, cells, EMBEDDED] of x [count, cells, dims], and h of y."""
        w = self.views(flat)
        return forward(w[:6], x)[-1], forward(w[6:], y)[-1]

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Set the gradient of InfoNCE, both directions, on batches [count, cells, dims]."""
        w, into = self.w, self.into
        forward_x, forward_y = forward(w[:6], x), forward(w[6:], y)
        g, h = forward_x[-1], forward_y[-1]
        slope = _slope(torch.bmm(g, h.transpose(1, 2)))
        backward(w[:6], into[:6], forward_x, torch.bmm(slope, h))
        backward(w[6:], into[6:], forward_y, torch.bmm(slope.transpose(1, 2), g))


def split(flat: torch.Tensor, shapes: list[tuple[int, int]]) -> list[torch.Tensor]:
    """Views [count, *shape] of the flat weights [count, weights], one a shape."""
    pieces = flat.split([a * b for a, b in shapes], dim=1)
    return [piece.view(len(flat), *shape) for piece, shape in zip(pieces, shapes, strict=True)]


def forward(w: list[torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    """Input, then gate and value of both hidden layers (SiLU), then the output."""
    kept = [x]
    for layer in (0, 2):
        inner = torch.baddbmm(w[layer + 1], kept[-1], w[layer])
        gate = torch.sigmoid(inner)
        kept += [gate, inner.mul_(gate)]
    return [*kept, torch.baddbmm(w[5], kept[-1], w[4])]


def backward(
    w: list[torch.Tensor], into: list[torch.Tensor], kept: list[torch.Tensor], slope: torch.Tensor
) -> torch.Tensor:
    """Write the gradient of the weights, given that of the output; returns that of the first layer's sums."""
    x, gate0, value0, gate1, value1, _ = kept
    for layer, inner, gate in ((4, value1, gate1), (2, value0, gate0), (0, x, None)):
        into[layer].copy_(torch.bmm(inner.transpose(1, 2), slope))
        torch.sum(slope, 1, keepdim=True, out=into[layer + 1])
        if gate is not None:
            slope = torch.bmm(slope, w[layer].transpose(1, 2))
            slope.mul_(torch.addcmul(gate, inner, 1 - gate))
    return slope


def _slope(scores: torch.Tensor) -> torch.Tensor:
    """Gradient of InfoNCE by the scores [count, n, n].

    With half of both own scores taken off, every row and column holds a 1: one exponential serves both softmaxes.
    """
    n = scores.shape[1]
    own = torch.diagonal(scores, dim1=1, dim2=2)
    half = 0.5 * (own - own.mean(1, keepdim=True)).clamp(-80, 80)
    centre = own.mean(1)[:, None, None]
    e = (scores - half[:, :, None] - half[:, None, :]).sub_(centre).clamp_(max=40).exp_()
    scale = half.exp()
    rows = torch.bmm(e, scale[:, :, None])  # [count, n, 1]: sum over y, without the row's own factor
    columns = torch.bmm(scale[:, None, :], e)  # [count, 1, n]
    left = torch.cat([1 / rows, scale[:, :, None]], 2)
    right = torch.cat([scale[:, None, :], 1 / columns], 1)
    e.mul_(torch.bmm(left, right)).mul_(0.5 / n)
    torch.diagonal(e, dim1=1, dim2=2).sub_(1 / n)
    return e


def pointwise(g: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """InfoNCE in nats of each pair, both directions, [..., n] of features g and h [..., n, features].

    One exponential a score serves both directions; where a column would underflow, each has its own.
    """
    scores = g @ h.transpose(-1, -2)
    own = torch.diagonal(scores, dim1=-2, dim2=-1)
    highest = scores.amax(-1, keepdim=True)
    top = highest.amax(-2, keepdim=True)
    e = (scores - highest).exp_()
    columns = ((highest - top).exp().transpose(-1, -2) @ e)[..., 0, :]
    by_column = scores.logsumexp(-2) if columns.min() < 1e-30 else columns.log() + top[..., 0]
    by_row = e.sum(-1).log() + highest[..., 0]
    return own - 0.5 * (by_row + by_column) + math.log(g.shape[-2])


def train(
    x: torch.Tensor,
    y: torch.Tensor,
    fits: list[np.ndarray],
    ends: list[tuple[np.ndarray, np.ndarray]],
    training: Training,
    *,
    hidden: int,
    seed: int,
) -> list[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Train one critic for each of `fits` on x [critics, cells, dims], y alike.

    The result holds, for each critic and each of its two `ends`, features (g, h) of all cells by the running mean of
    the weights at the step that the *other* cells of `ends` chose: `result[k][0]` was chosen on `ends[k][0]`.
    """
    towers = Towers(len(fits), (x.shape[2], y.shape[2]), hidden, seed=seed)
    mean, first, second = towers.flat.clone(), torch.zeros_like(towers.flat), torch.zeros_like(towers.flat)
    best = [towers.flat.clone(), towers.flat.clone()]
    highest = [torch.zeros(len(fits)), torch.zeros(len(fits))]  # where training starts
    least = min(CHECK_CELLS, min(len(part) for end in ends for part in end))
    check = [torch.from_numpy(np.stack([end[side][:least] for end in ends])) for side in (0, 1)]
    row, rng = torch.arange(len(fits))[:, None], generator(seed, "batches")
    size = min(training.batch_size, min(map(len, fits)) // 2)
    streams = [_batches(fit, size, rng) for fit in fits]
    for step in range(1, training.steps + 1):
        index = torch.from_numpy(np.stack([next(stream) for stream in streams]))
        towers.step(x[row, index], y[row, index])
        rate = training.learning_rate * min(1, step / 20) * (0.5 + 0.5 * math.cos(math.pi * step / training.steps))
        adam(towers.flat, towers.gradient, first, second, step, rate, training.weight_decay)
        mean.lerp_(towers.flat, 1 - min(0.98, step / (step + 10)))
        if step % training.check_every:
            continue
        for side in (0, 1):
            nats = pointwise(*towers.features(mean, x[row, check[side]], y[row, check[side]])).mean(1)
            better = nats > highest[side]
            highest[side] = torch.where(better, nats, highest[side])
            best[side][better] = mean[better]
    both = _rectangle([np.concatenate(end) for end in ends])
    found = [towers.features(weights, x[row, both], y[row, both]) for weights in best]
    sizes = [sum(map(len, end)) for end in ends]
    return [[(g[k, : sizes[k]], h[k, : sizes[k]]) for g, h in found] for k in range(len(fits))]


def adam(
    weights: torch.Tensor,
    gradient: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    step: int,
    rate: float,
    decay: float,
) -> None:
    """One step of Adam (Kingma and Ba 2015; beta 0.9, 0.99) with decoupled weight decay, in place."""
    first.lerp_(gradient, 0.1)
    second.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
    size = (second / (1 - 0.99**step)).sqrt_().add_(1e-8)
    weights.mul_(1 - rate * decay).addcdiv_(first, size, value=-rate / (1 - 0.9**step))


def _rectangle(cells: list[np.ndarray]) -> torch.Tensor:
    """Index lists [lists, cells], the shorter ones filled up with their own first cells."""
    most = max(map(len, cells))
    return torch.from_numpy(np.stack([np.resize(index, most) for index in cells]))


def _batches(cells: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of exactly `size` cells for ever: shuffled passes laid end to end."""
    left = np.empty(0, dtype=cells.dtype)
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(cells)])
        yield left[:size]
        left = left[size:]
