"""Coordinates along the curved manifold that the cells of a side lie on, where they lie on one.

A model's embedding is a smooth function of few properties of the cell, and noise in every dimension. A network that
learns from pairs alone needs many of them to tell the two apart; one side by itself shows it, in every cell. So an
autoencoder is fitted to each side, without the other: no pairing is used, and no pair can be fitted by it. It starts at
the principal components and learns what bends away from them. Its width is found first, by a code whose leading columns
must reconstruct alone (nested dropout: Rippel, Gelbart and Adams 2014).
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from ..seeds import derive, generator
from .networks import Training, Weights, descend, forward, start

KEPT = 24  # principal components that are described
WIDTHS = (2, 3, 4, 5, 6, 8)
HIDDEN = 64
TRAINING = Training(learning_rate=3e-2, batch_size=256, steps=800)
TO_CHOOSE = 100  # of the steps, in which the width is found
GAIN = 1 / 6  # of the noise that a further column must take off
CURVED = 0.75  # of the noise off as many principal components that a curved manifold leaves, at most
LEVEL = 0.78  # of the noise off the manifold that the widest code leaves, at least: more columns find no more


def manifolds(sides: list[torch.Tensor], *, seed: int) -> list[torch.Tensor | None]:
    """Coordinates [cells, width] along the manifold of each side's cells, of unit variance; None where there is none.

    `sides` are principal components [cells, dims], the strongest first. A side has a manifold if the noise that is left
    off it is less than three quarters of that off the flat one of as many components, and falls no further with more
    columns; each column must take a sixth of it off. On maps of 3 to 5 latents these find the widths; in Gaussians,
    heavy tails, linear mixtures and our embeddings of blood, brain and worm cells they find none. A few separate
    clusters of one size pass for a manifold.
    """
    found: list[torch.Tensor | None] = [None] * len(sides)
    at = [k for k, side in enumerate(sides) if side.shape[1] > max(WIDTHS)]
    if not at:
        return found
    deep = [sides[k][:, :KEPT] / sides[k][:, :KEPT].square().mean().sqrt() for k in at]
    most = max(z.shape[1] for z in deep)
    z, rng = torch.stack([pad(side, (0, most - side.shape[1])) for side in deep]), generator(seed, "manifold")
    net = Autoencoder(z, torch.Generator().manual_seed(derive(seed, "manifold")))
    columns = _leading(torch.tensor(WIDTHS)[torch.arange(TRAINING.batch_size) % len(WIDTHS)])[None]

    def loss(weights: Weights) -> torch.Tensor:
        batch = z[:, torch.from_numpy(rng.integers(0, z.shape[1], TRAINING.batch_size))]
        return (net.decode(weights, net.code(weights, batch) * columns) - batch).square().mean((1, 2)).sum()

    weights, widths = net.weights, [0]
    for step, weights in descend(net.weights, loss, TRAINING):
        if step == TO_CHOOSE:
            left = torch.stack([net.left(weights, z, _leading(torch.tensor([width]))) for width in WIDTHS])
            widths = [_width(side, left[:, row].tolist()) for row, side in enumerate(deep)]
            columns = _leading(torch.tensor(widths))[:, None]
            if not any(widths):
                return found
    for k, width, code in zip(at, widths, net.code(weights, z), strict=True):
        if width:
            found[k] = ((code - code.mean(0)) / code.std(0))[:, :width]
    return found


class Autoencoder:
    """Encoders and decoders, each a linear map, at first of the leading columns, plus a network that starts at 0."""

    def __init__(self, z: torch.Tensor, rng: torch.Generator) -> None:
        width, spread = max(WIDTHS), z.std(1)
        encoder = start(len(z), (z.shape[2], HIDDEN, HIDDEN, width), rng, last=0.0)
        decoder = start(len(z), (width, HIDDEN, HIDDEN, z.shape[2]), rng, last=0.0)
        there, back = torch.diag_embed(torch.where(spread > 0, 1 / spread, 0)), torch.diag_embed(spread)
        self.weights = [*encoder, *decoder, there[:, :, :width], back[:, :width]]

    def code(self, weights: Weights, z: torch.Tensor) -> torch.Tensor:
        """Codes [sides, cells, max(WIDTHS)] of `z` [sides, cells, dims]."""
        return torch.baddbmm(forward(weights[:6], z), z, weights[12])

    def decode(self, weights: Weights, code: torch.Tensor) -> torch.Tensor:
        """What the codes are of."""
        return torch.baddbmm(forward(weights[6:12], code), code, weights[13])

    def left(self, weights: Weights, z: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        """Mean square [sides] that some columns of the code leave of a cell, summed over its dimensions.

        Parameters
        ----------
        weights
            Of encoders and decoders.
        z
            [sides, cells, dims].
        columns
            [1, max(WIDTHS)]: 1 for columns that count, 0 for the others.
        """
        return (self.decode(weights, self.code(weights, z) * columns) - z).square().sum(2).mean(1)


def _leading(widths: torch.Tensor) -> torch.Tensor:
    """1 for the leading columns of a code, 0 beyond: [len(widths), max(WIDTHS)]."""
    return (torch.arange(max(WIDTHS)) < widths[:, None]).float()


def _width(z: torch.Tensor, left: list[float]) -> int:
    """The width of the manifold of a side `z` [cells, dims], or 0; `left`: what codes of WIDTHS leave of a cell."""
    noise = [square / (z.shape[1] - width) for square, width in zip(left, WIDTHS, strict=True)]
    k = 0
    while k + 1 < len(WIDTHS) and noise[k + 1] < (1 - GAIN) ** (WIDTHS[k + 1] - WIDTHS[k]) * noise[k]:
        k += 1
    flat = float(z[:, WIDTHS[k] :].square().mean())
    return WIDTHS[k] if noise[k] < CURVED * flat and noise[-1] > LEVEL * noise[k] else 0
