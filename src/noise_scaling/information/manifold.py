"""Coordinates along the curved sheet that the cells of a side lie on, where they lie on one.

A model's embedding is a smooth function of few properties of the cell, and noise in every dimension. A network that
learns from pairs alone needs many of them to tell the two apart; one side by itself shows it, in every cell. So an
autoencoder is fitted to each side, without the other: no pairing is used, and no pair can be fitted by it. It starts at
the principal components and learns what bends away from them. Its width is found first, by a code whose leading columns
must reconstruct alone (nested dropout: Rippel, Gelbart and Adams 2014).
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ..seeds import generator
from .critic_network import adam, backward, forward, split

KEPT = 24  # principal components that are described
WIDTHS = (2, 3, 4, 5, 6, 8)
HIDDEN = 64
BATCH = 256
RATE = 3e-2
DECAY = 1e-2
TO_CHOOSE = 100  # of STEPS, in which the width is found
STEPS = 800
GAIN = 1 / 6  # of the noise that a further column must take off
CURVED = 0.75  # of the noise off the flat sheet of as many principal components that a curved one leaves, at most
LEVEL = 0.78  # of the noise off the sheet that the widest code leaves, at least: more columns find no more


def side(components: torch.Tensor) -> torch.Tensor:
    """A side [cells, at most KEPT] by its leading principal `components`, the strongest first, of mean variance 1."""
    z = components[:, :KEPT]
    return z / z.square().mean().sqrt()


def sheets(sides: list[torch.Tensor], *, seed: int, steps: int = STEPS) -> list[torch.Tensor | None]:
    """The cells' coordinates [cells, width] along each side's sheet, of unit variance; None where a side has none.

    A side has a sheet if the noise that is left off it is less than three quarters of that off the flat sheet of as
    many principal components, and falls no further with more columns; each column must take a sixth of it off. On maps
    of 3 to 5 latents these find the widths; in Gaussians, heavy tails, linear mixtures and our embeddings of blood,
    brain and worm cells they find none. A few separate clusters of one size pass for a sheet.
    """
    found: list[torch.Tensor | None] = [None] * len(sides)
    at = [k for k, z in enumerate(sides) if z.shape[1] > max(WIDTHS)]
    if not at:
        return found
    fit = _Fit([sides[k] for k in at], steps, generator(seed, "sheet"))
    widths = torch.tensor(WIDTHS)[torch.arange(BATCH) % len(WIDTHS)]
    fit.run(TO_CHOOSE, _leading(widths)[None])
    squares = torch.stack([fit.squares(width) for width in WIDTHS])
    chosen = [_width(sides[k], squares[:, row].tolist()) for row, k in enumerate(at)]
    curved = [row for row, width in enumerate(chosen) if width]
    if not curved:
        return found
    fit.keep(curved)
    columns = _leading(torch.tensor([chosen[row] for row in curved]))[:, None]
    fit.run(steps, columns)
    for row, code in zip(curved, fit.code(columns), strict=True):
        code = code[:, : chosen[row]]
        found[at[row]] = (code - code.mean(0)) / code.std(0)
    return found


def _leading(widths: torch.Tensor) -> torch.Tensor:
    """1 for the leading columns of a code, 0 beyond: [len(widths), max(WIDTHS)]."""
    return (torch.arange(max(WIDTHS)) < widths[:, None]).float()


def _width(z: torch.Tensor, squares: list[float]) -> int:
    """The width of the sheet of a side `z`, or 0; `squares`: what the columns of WIDTHS leave of a cell."""
    noise = [left / (z.shape[1] - width) for left, width in zip(squares, WIDTHS, strict=True)]
    k = 0
    while k + 1 < len(WIDTHS) and noise[k + 1] < (1 - GAIN) ** (WIDTHS[k + 1] - WIDTHS[k]) * noise[k]:
        k += 1
    flat = float(z[:, WIDTHS[k] :].square().mean())
    return WIDTHS[k] if noise[k] < CURVED * flat and noise[-1] > LEVEL * noise[k] else 0


class _Fit:
    """Autoencoders of several sides, filled up with zeros to one width, trained side by side; the gradient written out.

    Encoder and decoder are each a linear map plus a network of two hidden layers that starts at 0.
    """

    def __init__(self, sides: list[torch.Tensor], steps: int, rng: np.random.Generator) -> None:
        deepest, width = max(z.shape[1] for z in sides), max(WIDTHS)
        z = torch.stack([torch.nn.functional.pad(z, (0, deepest - z.shape[1])) for z in sides])
        self.z, self.steps, self.rng, self.done = z, steps, rng, 0
        layers = [(deepest, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, width), (width, HIDDEN), (HIDDEN, HIDDEN),
                  (HIDDEN, deepest)]  # fmt: skip
        self.shapes = [s for pair in layers for s in (pair, (1, pair[1]))] + [(deepest, width), (width, deepest)]
        self.flat = torch.zeros(len(z), sum(a * b for a, b in self.shapes))
        w = split(self.flat, self.shapes)
        for layer in (0, 2, 6, 8):
            scale = 1.4 * w[layer].shape[1] ** -0.5
            w[layer].copy_(scale * torch.from_numpy(rng.standard_normal(w[layer].shape)).float())
        spread = z.std(1)[:, :width]
        w[12].diagonal(dim1=1, dim2=2).copy_(torch.where(spread > 0, 1 / spread, 0))
        w[13].diagonal(dim1=1, dim2=2).copy_(spread)
        self.gradient, self.mean = torch.zeros_like(self.flat), self.flat.clone()
        self.first, self.second = torch.zeros_like(self.flat), torch.zeros_like(self.flat)

    def run(self, until: int, columns: torch.Tensor) -> None:
        """Train up to step `until`; `columns` [1 or sides, BATCH or 1, width] of the code count."""
        w, into = split(self.flat, self.shapes), split(self.gradient, self.shapes)
        for step in range(self.done + 1, until + 1):
            cells = torch.from_numpy(self.rng.integers(0, self.z.shape[1], BATCH))
            _step(w, into, self.z[:, cells], columns)
            rate = RATE * min(1, step / 20) * (0.5 + 0.5 * math.cos(math.pi * step / self.steps))
            adam(self.flat, self.gradient, self.first, self.second, step, rate, DECAY)
            self.mean.lerp_(self.flat, 1 - min(0.98, step / (step + 10)))
        self.done = until

    def squares(self, width: int) -> torch.Tensor:
        """Mean square [sides] that the leading `width` columns leave of a cell, summed over its columns."""
        out = _decode(split(self.mean, self.shapes), self.code(_leading(torch.tensor([width]))[None]))[1]
        return (out - self.z).square().sum(2).mean(1)

    def code(self, columns: torch.Tensor) -> torch.Tensor:
        """The code [sides, cells, max(WIDTHS)] of all cells."""
        return _encode(split(self.mean, self.shapes), self.z, columns)[1]

    def keep(self, rows: list[int]) -> None:
        """Go on with these sides only."""
        for name in ("z", "flat", "gradient", "mean", "first", "second"):
            setattr(self, name, getattr(self, name)[rows])


def _step(w: list[torch.Tensor], into: list[torch.Tensor], z: torch.Tensor, columns: torch.Tensor) -> None:
    """Write the gradient of the mean squared error of a batch."""
    encoder, code = _encode(w, z, columns)
    decoder, out = _decode(w, code)
    slope = (out - z) * (2 / (z.shape[1] * z.shape[2]))
    into[13].copy_(torch.bmm(code.transpose(1, 2), slope))
    inner = backward(w[6:12], into[6:12], decoder, slope)
    slope = torch.bmm(inner, w[6].transpose(1, 2)).baddbmm_(slope, w[13].transpose(1, 2)).mul_(columns)
    into[12].copy_(torch.bmm(z.transpose(1, 2), slope))
    backward(w[:6], into[:6], encoder, slope)


def _encode(w: list[torch.Tensor], z: torch.Tensor, columns: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What the gradient needs, and the code of `z`."""
    layers = forward(w[:6], z)
    return layers, torch.baddbmm(layers[-1], z, w[12]).mul_(columns)


def _decode(w: list[torch.Tensor], code: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What the gradient needs, and what the code is of."""
    layers = forward(w[6:12], code)
    return layers, torch.baddbmm(layers[-1], code, w[13])
