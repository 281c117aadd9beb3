"""The networks of latent mutual information (Gowri et al. 2024, arXiv 2409.02732), and how they are trained."""

import copy
import math
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import mse_loss

from ..errors import choose
from ..models.base import has_bfloat16
from ..seeds import derive
from .crossfit import Fold, batches

SLOPE = 0.2  # of the leaky rectifiers, as published
MOST_STOPPED_ON = 512  # most stop cells used in a check: with 3,000, checks took as long as the training


@dataclass(frozen=True)
class Schedule:
    """How fast and how long Adam trains, and which weights are checked."""

    learning_rate: float = 1e-3
    batch_size: int = 128
    passes: int = 16  # over the training cells
    fewest: int = 120  # steps, even for very few cells
    most: int = 600
    check_every: int = 10  # steps between two checks of the stop loss
    patience: int = 5  # checks without a lower loss, after which training ends
    average: float = 0.0  # share of the previous mean in the running mean of weights that is checked; 0: no mean

    def steps(self, cells: int) -> int:
        """Return the largest number of steps, for `cells` training cells."""
        return min(max(self.fewest, self.passes * math.ceil(cells / self.batch_size)), self.most)


FEW = Schedule()
MANY = Schedule(5e-4, 256, 75, fewest=375, most=1200, check_every=25, patience=8, average=0.95)
"""From `MANY_CELLS` training cells on. With `FEW`, 45 classes, skewed proteins and heavy tails were found 0.1, 0.1 and
0.3 bits short of latentmi at 5,000 pairs; with `MANY`, none of eight problems is off by more than 0.05."""
MANY_CELLS = 1200  # training cells, of 3,000 pairs
LOWEST_RATE = 0.2  # share of the rate of `MANY` that is the published rate


@dataclass(frozen=True)
class Settings:
    """How latent mutual information is trained and scored.

    Attributes
    ----------
    k
        Neighbours of the KSG estimate.
    latent, hidden
        Widths of the latents and of the hidden layers (reversed in the decoders). The published code makes the first
        layer wider for variables of more than 2,048 dimensions; here it has the width given.
    dropout
        Share of the inputs of each layer of the cross decoders that is dropped, the latent included.
    learning_rate, batch_size, patience, average
        As in `Schedule`. None: those of `FEW`, or from `MANY_CELLS` training cells on those of `MANY`.
    epochs
        Passes over the training cells, each followed by a check of the stop loss on all stop cells. None: as many steps
        as the schedule has, with checks on `MOST_STOPPED_ON` of the stop cells.
    precision
        Precision of the matrix products: "float32", "bfloat16", or "auto" (bfloat16 where the hardware has it).
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

    def half(self, device: torch.device) -> bool:
        """Whether matrix products on `device` are in bfloat16. InputError if the precision is unknown."""
        choose("precision", self.precision, ("auto", "float32", "bfloat16"))
        return has_bfloat16(str(device)) if self.precision == "auto" else self.precision == "bfloat16"

    def schedule(self, cells: int) -> Schedule:
        """Return the schedule for `cells` training cells."""
        names = ("learning_rate", "batch_size", "patience", "average")
        given: dict[str, Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        chosen = replace(FEW if cells < MANY_CELLS else MANY, **given)
        chosen = replace(chosen, batch_size=min(chosen.batch_size, cells))
        if self.epochs is None:
            return chosen
        a_pass = math.ceil(cells / chosen.batch_size)
        steps = self.epochs * a_pass
        return replace(chosen, passes=self.epochs, fewest=steps, most=steps, check_every=a_pass)

    def learning_rate_for(self, x: torch.Tensor, y: torch.Tensor, cells: int) -> float:
        """Return the schedule's learning rate, reduced from `MANY_CELLS` on if both sides have heavy tails."""
        rate = self.schedule(cells).learning_rate
        return rate if cells < MANY_CELLS or self.learning_rate is not None else rate * share_for_heavy_tails(x, y)


def share_for_heavy_tails(x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the factor of the learning rate for sides with heavy tails, from `LOWEST_RATE` to 1.

    `x`, `y` [cells, dims] are standardised. The mean fourth moment of the columns is 3 for a Gaussian; that of the side
    with the lighter tails counts, from 4 on. Of Student t pairs (7) LMI found 1.18 bits at the full rate and 1.30 at
    the lowest, latentmi 1.32; at a low rate the other problems of the suite need more steps.
    """
    lighter = min(float(z.double().pow(4).mean()) for z in (x, y))
    return min(1.0, max(LOWEST_RATE, (4 / lighter) ** 3))


class Dropout(nn.Module):
    """Dropout with draws from a numpy generator: the same on a GPU, and on a CPU 6 times faster than torch's.

    (2 ns a number instead of 12 to 16, and a step draws a million: with torch's an estimate took 1.5 times as long.)
    """

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        super().__init__()
        self.share, self.rng = share, rng

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        if not self.training or self.share == 0:
            return z
        kept = self.rng.random(z.shape, dtype=np.float32) >= self.share
        return z * torch.from_numpy(kept).to(z.device) * (1 / (1 - self.share))


class Network(nn.Module):
    """Two encoders, and for each latent a decoder of its own variable and, with dropout, a decoder of the other one.

    The networks of Gowri et al. 2024 (arXiv 2409.02732).
    """

    def __init__(self, dx: int, dy: int, settings: Settings, rng: np.random.Generator) -> None:
        super().__init__()
        there, back = (*settings.hidden, settings.latent), (settings.latent, *settings.hidden[::-1])
        dropout = partial(Dropout, settings.dropout, rng)
        self.encoders = nn.ModuleList(nn.Sequential(*_layers((d, *there)), nn.LeakyReLU(SLOPE)) for d in (dx, dy))
        self.own = nn.ModuleList(nn.Sequential(*_layers((*back, d))) for d in (dx, dy))
        self.other = nn.ModuleList(nn.Sequential(*_layers((*back, d), dropout)) for d in (dy, dx))

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Sum of the four mean squared errors of reconstruction (Gowri et al. 2024, Methods)."""
        zx, zy = self.encoders[0](x), self.encoders[1](y)
        found = [self.own[0](zx), self.own[1](zy), self.other[0](zx), self.other[1](zy)]
        errors = [mse_loss(out.float(), side) for out, side in zip(found, (x, y, y, x), strict=True)]
        return torch.stack(errors).sum()


def _layers(widths: tuple[int, ...], before: Any = nn.Identity) -> list[nn.Module]:
    """Return linear layers, Glorot's uniform weights and zero biases, rectifiers between; `before()` before each."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        linear = nn.Linear(a, b)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [before(), linear, nn.LeakyReLU(SLOPE)]
    return layers[:-1]


def train(x: torch.Tensor, y: torch.Tensor, part: Fold, settings: Settings, *, seed: int) -> Network:
    """Train a network, and return it with the weights of the lowest loss on the stop cells.

    `x`, `y` float32 [cells, dims] are standardised, on one device.
    """
    rng = np.random.Generator(np.random.SFC64(derive(seed, "lmi", "training")))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "lmi", "start"))
        net = Network(x.shape[1], y.shape[1], settings, rng).to(x.device)
    stop, schedule = part.stop, settings.schedule(len(part.fit))
    if settings.epochs is None and len(stop) > MOST_STOPPED_ON:  # the published schedule looks at all
        stop = rng.choice(stop, MOST_STOPPED_ON, replace=False)
    products = torch.autocast(x.device.type, torch.bfloat16, enabled=settings.half(x.device))
    rate = settings.learning_rate_for(x, y, len(part.fit))
    adam = torch.optim.Adam(net.parameters(), lr=rate, eps=1e-7, fused=True)
    mean = copy.deepcopy(net) if schedule.average else net
    best, lowest, waited, steps = net.state_dict(), math.inf, 0, schedule.steps(len(part.fit))
    for step, cells in zip(range(1, steps + 1), batches(part.fit, schedule.batch_size, rng), strict=False):
        with products:
            loss = net.train().loss(x[cells], y[cells])
        adam.zero_grad()
        loss.backward()
        adam.step()
        if schedule.average:  # shorter at first, so that the start is soon forgotten
            with torch.no_grad():
                for kept, now in zip(mean.parameters(), net.parameters(), strict=True):
                    kept.lerp_(now, 1 - min(schedule.average, step / (step + 10)))
        if step % schedule.check_every and step < steps:
            continue
        with torch.no_grad(), products:
            found = float(mean.eval().loss(x[stop], y[stop]))
        waited = 0 if found < lowest else waited + 1
        if found < lowest:
            best, lowest = copy.deepcopy(mean.state_dict()), found
        elif waited >= schedule.patience:
            break
    net.load_state_dict(best)
    return net.eval()
