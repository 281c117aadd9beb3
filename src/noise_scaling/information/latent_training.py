"""The networks of latent mutual information: many problems of one shape, trained side by side.

Every tensor has the problems as its first axis, and no number of one problem ever meets a number of another. Starting
weights, batches and dropout come from numpy streams of each problem's own, so that a problem trains alike alone and
among others, on a CPU and on a GPU (up to the rounding of the matrix products).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import leaky_relu

from ..errors import choose
from .crossfit import batches

SLOPE = 0.2  # of the leaky rectifiers, as published
NETS = ("x", "y", "xx", "yy", "xy", "yx")
"""Encoders of x and y; decoders, named by the latent they start from and the variable they rebuild."""

MOST_STOPPED_ON = 512  # stop cells that are looked at: of 3,000, looks took as long as the training


@dataclass(frozen=True)
class Schedule:
    """How fast and how long Adam goes, and which weights are looked at.

    Attributes
    ----------
    learning_rate, batch_size
        Of Adam.
    passes, fewest, most
        Passes over the training cells, in no fewer and no more than so many steps.
    check_every, patience
        Steps between two looks at the stop loss; looks without a lower one after which training ends.
    average
        The weights that are looked at, and kept, are a running mean: each step keeps this share of the mean before.
        0: the weights of the step.
    heed_tails
        Whether a problem with heavy tails on both sides trains at a lower rate (`calm`).
    """

    learning_rate: float = 1e-3
    batch_size: int = 128
    passes: int = 16
    fewest: int = 120
    most: int = 600
    check_every: int = 10
    patience: int = 5
    average: float = 0.0
    heed_tails: bool = False

    def batch(self, cells: int) -> int:
        """Cells in a batch, of `cells` that train."""
        return min(self.batch_size, cells)

    def steps(self, cells: int) -> int:
        """Most steps, with `cells` that train."""
        return min(max(self.fewest, self.passes * math.ceil(cells / self.batch(cells))), self.most)


FEW = Schedule()
MANY = Schedule(5e-4, 256, 75, fewest=375, most=1200, check_every=25, patience=8, average=0.95, heed_tails=True)
"""From `MANY_CELLS` training cells on. Under `FEW`, 45 classes, skewed proteins and heavy tails were found 0.1, 0.1 and
0.3 bits short of latentmi at 5,000 pairs; under this, none of eight problems is off by more than 0.05."""
MANY_CELLS = 1200  # that train: 3,000 pairs
CALMEST = 0.2  # of the rate of `MANY`: the published rate


@dataclass(frozen=True)
class Settings:
    """How latent mutual information is trained and scored.

    Attributes
    ----------
    k
        Neighbours of the KSG estimate.
    latent, hidden
        Widths of the latents and of the hidden layers (the decoders' are in reverse). The published code makes the
        first layer wider for variables of more than 2,048 dimensions; here it is as given.
    dropout
        Share of the inputs of each layer of the cross decoders that is dropped, the latent included.
    learning_rate, batch_size, patience, average
        As in `Schedule`. None: those of `FEW`, or from `MANY_CELLS` training cells on those of `MANY`.
    epochs
        Passes over the training cells, the stop loss of all stop cells looked at after each. None: as many steps as
        the schedule has, and `MOST_STOPPED_ON` of the stop cells are looked at.
    precision
        Of the matrix products: "float32", "bfloat16", or "auto" (bfloat16 where the hardware multiplies it).
    """

    k: int = 3
    latent: int = 8
    hidden: tuple[int, ...] = (1024, 512, 256)
    dropout: float = 0.5
    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    average: float | None = None
    precision: str = "auto"

    def dtype(self, where: torch.device) -> torch.dtype:
        """Of the matrix products on `where`."""
        if self.precision == "auto":
            return torch.bfloat16 if has_bfloat16(where) else torch.float32
        choose("precision", self.precision, ("auto", "float32", "bfloat16"))
        return getattr(torch, self.precision)

    def schedule(self, cells: int) -> Schedule:
        """The schedule of `cells` that train."""
        names = ("learning_rate", "batch_size", "patience", "average")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        chosen = replace(FEW if cells < MANY_CELLS else MANY, **given)
        if self.learning_rate is not None:
            chosen = replace(chosen, heed_tails=False)
        if self.epochs is None:
            return chosen
        a_pass = math.ceil(cells / chosen.batch(cells))
        steps = self.epochs * a_pass
        return replace(chosen, passes=self.epochs, fewest=steps, most=steps, check_every=a_pass)

    def memory(self, shapes: dict[str, tuple[int, ...]], fit: int, stop: int) -> int:
        """Bytes one problem needs while `fit` cells train it, `stop` looked at at once; bounded from above."""
        parameters = sum(a * b + b for net in shapes.values() for a, b in pairwise(net))
        activations = sum(map(sum, shapes.values()))
        return 32 * parameters + 16 * max(self.schedule(fit).batch(fit), stop) * activations


def has_bfloat16(where: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16: without instructions for it a CPU is slower in it than in float32."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


Layer = tuple[torch.Tensor, torch.Tensor]


class Weights:
    """All weights of `problems` problems as one matrix [problems, parameters], and the layers that are views of it."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], flat: torch.Tensor, *, leaf: bool = False) -> None:
        self.shapes, self.flat = shapes, flat
        self.nets: dict[str, list[Layer]] = {}
        start = 0
        for name, widths in shapes.items():
            layers = []
            for a, b in pairwise(widths):
                weight = flat[:, start : start + a * b].view(-1, a, b)
                bias = flat[:, start + a * b : start + a * b + b].view(-1, 1, b)
                start += a * b + b
                layers.append((weight.detach().requires_grad_(leaf), bias.detach().requires_grad_(leaf)))
            self.nets[name] = layers

    def tensors(self) -> list[torch.Tensor]:
        return [tensor for layers in self.nets.values() for layer in layers for tensor in layer]

    def of(self, problem: int) -> dict[str, list[Layer]]:
        """The layers of one problem, [1, in, out] and [1, 1, out]."""
        return Weights(self.shapes, self.flat[problem : problem + 1]).nets

    def like(self, dtype: torch.dtype, *, leaf: bool = False) -> Weights:
        """Room for the same weights in `dtype`."""
        return Weights(self.shapes, torch.empty_like(self.flat, dtype=dtype), leaf=leaf)


def calm(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the rate at which a problem with heavy tails on both sides trains, `CALMEST` to 1.

    `x`, `y` [cells, dims] are standardised. The mean fourth moment of the columns is 3 for a Gaussian; that of the side
    with the lighter tails counts, from 4 on. Of Student t pairs (7) LMI found 1.18 bits at the full rate and 1.30 at
    the lowest, latentmi 1.32; at a low rate the other problems of the suite need more steps.
    """
    lighter = min(float(np.square(np.square(z, dtype=np.float64)).mean()) for z in (x, y))
    return min(1.0, max(CALMEST, (4 / lighter) ** 3))


def widths(dx: int, dy: int, hidden: tuple[int, ...], latent: int) -> dict[str, tuple[int, ...]]:
    """Widths of the six networks."""
    back = hidden[::-1]
    ends = {"x": (dx, *hidden, latent), "y": (dy, *hidden, latent)}
    return ends | {name: (latent, *back, dx if name[1] == "x" else dy) for name in NETS[2:]}


def start(shapes: dict[str, tuple[int, ...]], rng: np.random.Generator) -> np.ndarray:
    """Glorot's uniform weights and zero biases of one problem, float32 [parameters], in the order of `Weights`."""
    parts = []
    for net in shapes.values():
        for a, b in pairwise(net):
            bound = np.float32(math.sqrt(6 / (a + b)))
            parts += [(rng.random(a * b, dtype=np.float32) * 2 - 1) * bound, np.zeros(b, dtype=np.float32)]
    return np.concatenate(parts)


def forward(layers: list[Layer], x: torch.Tensor, *, end: bool = False, keep: list | None = None) -> torch.Tensor:
    """`x` [problems, cells, in] through the layers; rectified after the last one too if `end`.

    `keep`: what dropout multiplies the input of each layer by, [problems, cells, in] of 0 and 1 / (1 - dropout).
    """
    for i, (weight, bias) in enumerate(layers):
        if keep is not None:
            x = x * keep[i]
        x = torch.baddbmm(bias, x, weight)
        if i + 1 < len(layers) or end:
            x = leaky_relu(x, SLOPE)
    return x


def losses(nets: dict[str, list[Layer]], x: torch.Tensor, y: torch.Tensor, keep: dict | None = None) -> torch.Tensor:
    """Sum of the four reconstruction errors of each problem [problems]; dropout only in the cross decoders."""
    dtype = nets["x"][0][0].dtype
    keep = keep or {}
    zx, zy = (forward(nets[side], value.to(dtype), end=True) for side, value in (("x", x), ("y", y)))

    def error(name: str) -> torch.Tensor:
        z, target = (zx if name[0] == "x" else zy), (x if name[1] == "x" else y)
        return (forward(nets[name], z, keep=keep.get(name)).float() - target).square().mean(dim=(1, 2))

    return error("xx") + error("yy") + error("xy") + error("yx")


class Masks:
    """Dropout of one problem's cross decoders: fair (or `dropout`) bits, drawn by numpy, eight to a byte if fair.

    torch's bernoulli takes 12 ns a number on a CPU, as long as a third of the matrix products.
    """

    def __init__(
        self, shapes: dict[str, tuple[int, ...]], cells: int, dropout: float, rng: np.random.Generator
    ) -> None:
        self.sizes = {name: [cells * width for width in shapes[name][:-1]] for name in ("xy", "yx")}
        self.cells, self.dropout, self.rng = cells, dropout, rng
        self.total = sum(map(sum, self.sizes.values()))

    def draw(self) -> np.ndarray:
        """Which inputs stay, uint8 [total] of 0 and 1."""
        if self.dropout == 0.5:
            raw = np.frombuffer(self.rng.bytes(-(-self.total // 8)), dtype=np.uint8)
            return np.unpackbits(raw, count=self.total)
        return (self.rng.random(self.total, dtype=np.float32) >= self.dropout).astype(np.uint8)

    def shape(self, drawn: torch.Tensor) -> dict[str, list[torch.Tensor]]:
        """`drawn` [problems, total], already scaled, cut into the inputs of the layers."""
        cut, start = {}, 0
        for name, sizes in self.sizes.items():
            cut[name] = []
            for size in sizes:
                cut[name].append(drawn[:, start : start + size].view(len(drawn), self.cells, -1))
                start += size
        return cut


def train(
    x: torch.Tensor,
    y: torch.Tensor,
    first: np.ndarray,
    shapes: dict[str, tuple[int, ...]],
    fits: list[np.ndarray],
    stops: list[np.ndarray],
    settings: Settings,
    rngs: list[np.random.Generator],
    dtype: torch.dtype,
    shares: list[float] | None = None,
) -> Weights:
    """Train from `first` [problems, parameters]; of each problem the weights with the lowest loss on its stop cells.

    `x`, `y` are [problems, cells, dims] float32; `fits` and `stops` are each problem's cells, as many for all. Weights
    and Adam's moments are float32; the products are in `dtype`. `shares`: of the rate, for each problem (`calm`).
    """
    schedule = settings.schedule(len(fits[0]))
    master = Weights(shapes, torch.from_numpy(first).to(x.device))
    live, gradient = master.like(dtype, leaf=True), master.like(torch.float32)
    adam = _adam(master.flat, gradient.flat, schedule, shares or [1.0] * len(first))
    batch = schedule.batch(len(fits[0]))
    streams = [batches(fit, batch, rng) for fit, rng in zip(fits, rngs, strict=True)]
    masks = [Masks(shapes, batch, settings.dropout, rng) for rng in rngs]
    if settings.epochs is None and len(stops[0]) > MOST_STOPPED_ON:  # the published schedule looks at all
        stops = [rng.choice(stop, MOST_STOPPED_ON, replace=False) for stop, rng in zip(stops, rngs, strict=True)]
    mean = Weights(shapes, master.flat.clone()) if schedule.average else master
    best = Best(mean, _take(x, stops), _take(y, stops), schedule.patience)
    steps = schedule.steps(len(fits[0]))
    for step in range(1, steps + 1):
        live.flat.copy_(master.flat)
        index = [next(stream) for stream in streams]
        loss = losses(
            live.nets, _take(x, index), _take(y, index), _keep(masks, settings.dropout, x.device, dtype)
        ).sum()
        torch._foreach_copy_(gradient.tensors(), torch.autograd.grad(loss, live.tensors()))
        adam.step()
        if schedule.average:  # shorter at first, so that the start is soon forgotten
            mean.flat.lerp_(master.flat, 1 - min(schedule.average, step / (step + 10)))
        if step % schedule.check_every == 0 or step == steps:
            live.flat.copy_(mean.flat)
            if best.look(live):
                break
    return Weights(shapes, best.flat)


def _adam(flat: torch.Tensor, gradient: torch.Tensor, schedule: Schedule, shares: list[float]) -> torch.optim.Adam:
    """Adam of `flat` [problems, parameters], each row at its own rate."""
    groups = []
    for row, grad, share in zip(flat, gradient, shares, strict=True):
        row.grad = grad
        groups.append({"params": [row], "lr": schedule.learning_rate * (share if schedule.heed_tails else 1.0)})
    return torch.optim.Adam(groups, eps=1e-7, fused=True)


class Best:
    """Of each problem the weights with the lowest loss on its stop cells; a problem out of patience stays as it is."""

    def __init__(self, mean: Weights, x: torch.Tensor, y: torch.Tensor, patience: int) -> None:
        self.mean, self.x, self.y, self.patience = mean, x, y, patience
        self.flat = mean.flat.clone()
        self.lowest = torch.full((len(x),), math.inf, device=x.device)
        self.waited = torch.zeros(len(x), dtype=torch.int64, device=x.device)

    @torch.no_grad()
    def look(self, live: Weights) -> bool:
        """Compare the weights of now (`live`: their copy for the products); whether all are out of patience."""
        loss = losses(live.nets, self.x, self.y)
        running = self.waited < self.patience
        better = (loss < self.lowest) & running
        self.lowest = torch.where(better, loss, self.lowest)
        self.waited = torch.where(better, 0, self.waited + 1)
        self.flat[better] = self.mean.flat[better]
        return not bool((self.waited < self.patience).any())


def _keep(masks: list[Masks], dropout: float, where: torch.device, dtype: torch.dtype) -> dict | None:
    """What the inputs of the cross decoders are multiplied by in one step."""
    if dropout == 0:
        return None
    drawn = torch.from_numpy(np.stack([mask.draw() for mask in masks])).to(where)
    return masks[0].shape(drawn.to(dtype) * (1 / (1 - dropout)))


def _take(side: torch.Tensor, index: list[np.ndarray]) -> torch.Tensor:
    """Rows `index[p]` of problem p: [problems, rows, dims]."""
    rows = torch.from_numpy(np.stack(index)).to(side.device)
    return torch.take_along_dim(side, rows[:, :, None], dim=1)
