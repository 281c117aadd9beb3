"""Coordinates along the curved manifold that the cells of a side lie on, where they lie on one.

A model's embedding is a smooth function of few properties of the cell, and noise in every dimension. A network that
learns from pairs alone needs many of them to tell the two apart; one side by itself shows it, in every cell. So an
autoencoder is fitted to each side, without the other: no pairing is used, and no pair can be fitted by it. It starts at
the principal components and learns what bends away from them. Its width is found first, by a code whose leading columns
must reconstruct alone (nested dropout: Rippel, Gelbart and Adams 2014).
"""

from __future__ import annotations

import numpy as np
import torch

from ..seeds import generator
from .networks import Training, Weights, descend, forward, start

KEPT = 24  # principal components that are described
WIDTHS = (2, 3, 4, 5, 6, 8)
HIDDEN = 64
TRAINING = Training(learning_rate=3e-2, batch_size=256, steps=800)
TO_CHOOSE = 100  # of the steps, in which the width is found
GAIN = 1 / 6  # of the noise that a further column must take off
CURVED = 0.75  # of the noise off as many principal components that a curved manifold leaves, at most
LEVEL = 0.78  # of the noise off the manifold that the widest code leaves, at least: more columns find no more


def manifold(components: torch.Tensor, *, seed: int) -> torch.Tensor | None:
    """Coordinates [cells, width] along the manifold of a side's cells, of unit variance; None if it has none.

    `components` [cells, dims] are the side's principal components, the strongest first. It has a manifold if the noise
    that is left off it is less than three quarters of that off the flat one of as many components, and falls no further
    with more columns; each column must take a sixth of it off. On maps of 3 to 5 latents these find the widths; in
    Gaussians, heavy tails, linear mixtures and our embeddings of blood, brain and worm cells they find none. A few
    separate clusters of one size pass for a manifold.
    """
    z = components[None, :, :KEPT]
    if z.shape[2] <= max(WIDTHS):
        return None
    z, rng = z / z.square().mean().sqrt(), generator(seed, "manifold")
    net = Autoencoder(z, torch.Generator().manual_seed(int(rng.integers(2**62))))
    columns = _leading(torch.tensor(WIDTHS)[torch.arange(TRAINING.batch_size) % len(WIDTHS)])

    def loss() -> torch.Tensor:
        batch = z[:, torch.from_numpy(rng.integers(0, z.shape[1], TRAINING.batch_size))]
        return (net.decode(net.weights, net.code(net.weights, batch) * columns) - batch).square().mean()

    width, weights = 0, net.weights
    for step, weights in descend(net.weights, loss, TRAINING):
        if step == TO_CHOOSE:
            width = _width(z, net, weights)
            columns = _leading(torch.tensor([width]))
            if not width:
                return None
    code = net.code(weights, z)[0, :, :width]
    return (code - code.mean(0)) / code.std(0)


class Autoencoder:
    """Encoder and decoder, each a linear map, at first of the principal components, plus a network that starts at 0."""

    def __init__(self, z: torch.Tensor, rng: torch.Generator) -> None:
        dims, width = z.shape[2], max(WIDTHS)
        encoder = start(1, (dims, HIDDEN, HIDDEN, width), rng, last=0.0)
        decoder = start(1, (width, HIDDEN, HIDDEN, dims), rng, last=0.0)
        spread = z[0].std(0)
        self.weights = [*encoder, *decoder, torch.diag(1 / spread)[None, :, :width], torch.diag(spread)[None, :width]]

    def code(self, weights: Weights, z: torch.Tensor) -> torch.Tensor:
        """Codes [1, cells, max(WIDTHS)] of `z` [1, cells, dims]."""
        return forward(weights[:6], z) + z @ weights[12]

    def decode(self, weights: Weights, code: torch.Tensor) -> torch.Tensor:
        """What the codes are of."""
        return forward(weights[6:12], code) + code @ weights[13]


def _leading(widths: torch.Tensor) -> torch.Tensor:
    """1 for the leading columns of a code, 0 beyond: [len(widths), max(WIDTHS)]."""
    return (torch.arange(max(WIDTHS)) < widths[:, None]).float()


def _width(z: torch.Tensor, net: Autoencoder, weights: Weights) -> int:
    """The width of the manifold of a side `z`, or 0: what the leading columns of its code leave of a cell decides."""
    code, noise = net.code(weights, z), []
    for width in WIDTHS:
        left = net.decode(weights, code * _leading(torch.tensor([width]))) - z
        noise.append(float(left.square().sum(2).mean()) / (z.shape[2] - width))
    k = 0
    while k + 1 < len(WIDTHS) and noise[k + 1] < (1 - GAIN) ** (WIDTHS[k + 1] - WIDTHS[k]) * noise[k]:
        k += 1
    flat = float(z[..., WIDTHS[k] :].square().mean())
    return WIDTHS[k] if noise[k] < CURVED * flat and noise[-1] > LEVEL * noise[k] else 0
