"""Latent mutual information: the published yardstick, its protocol kept and its details put right."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import leaky_relu, mse_loss

from ..errors import InputError, choose
from ..seeds import derive, generator
from .core import Information, from_pointwise, is_constant, prepare, zero
from .crossfit import Fold, batches, one_thread, three_way
from .neighbours import ksg

CLIP = 10.0
SLOPE = 0.2  # of the leaky rectifiers, as published
_STEPS = 200  # a training set smaller than five batches still gets this many

Net = list[tuple[torch.Tensor, torch.Tensor]]


def lmi(
    x: object,
    y: object,
    *,
    seed: int = 0,
    device: str = "auto",
    groups: object = None,
    k: int = 3,
    latent: int = 8,
    hidden: Sequence[int] = (1024, 512, 256),
    dropout: float = 0.5,
    learning_rate: float = 5e-4,
    batch_size: int = 512,
    epochs: int | None = None,
    patience: int = 10,
) -> Information:
    """Latent mutual information after Gowri et al. (2024): KSG between two trained 8-d representations.

    Both variables are standardised and clipped to +-10. Two encoders (1024-512-256-8, leaky rectifiers) are trained
    so that each latent rebuilds its own variable and, through a decoder with dropout, the other one: the sum of the
    four mean squared errors, by Adam. The KSG estimate (k = 3) of the held-out latents is the answer.

    Right where the published code is not: half the cells train, a tenth chooses the epoch (without dropout), and the
    other four tenths are scored; the best weights are copied, not referred to. The published schedule is
    ``learning_rate=1e-4, epochs=300, patience=30``; the default finds as much in fewer, larger steps.

    Known to be biased low where dimensions of noise fill the latents, and blind to dependence without correlation.

    Parameters
    ----------
    x, y
        [cells, dims] floats; row i of both is the same cell. Labels become one-hot vectors, as published.
    seed
        Split, starting weights, batches and dropout; the same seed gives the same bits.
    device
        "auto" (a GPU where there is one), "cpu" or "cuda".
    groups
        [cells] cells of one group stay on one side of the split.
    k, latent, hidden, dropout, learning_rate, batch_size, patience
        Neighbours of KSG, width of the latents and hidden layers, and how they are trained; patience is in epochs.
    epochs
        At most this many; None: 40, and more where that is fewer than 200 steps.

    Returns
    -------
    Information
        Pointwise values of the scored cells (NaN: not scored); not a bound. 0 bits where one side is constant.

    Raises
    ------
    InputError
        Lengths that differ, NaN, fewer than 30 pairs, too few groups, a GPU asked for and absent.
    """
    x, y, groups = prepare(x, y, discrete=False, groups=groups)
    if is_constant(x, y):
        return zero(len(x), "lmi", "one side is constant")
    part = three_way(len(x), seed=seed, groups=groups)
    steps_per_epoch = math.ceil(len(part.fit) / batch_size)
    epochs = epochs or max(40, math.ceil(_STEPS / steps_per_epoch))
    where = pick_device(device)
    size = min(batch_size, len(part.fit))
    with one_thread():
        tx, ty = (_standardise(side, where) for side in (x, y))
        rng = torch.Generator(where).manual_seed(derive(seed, "lmi"))
        nets = _start(tx.shape[1], ty.shape[1], tuple(hidden), latent, rng)
        nets = _train(nets, tx, ty, part, rng, dropout, learning_rate, size, epochs, patience, seed)
        with torch.no_grad():
            zx = _run(nets["x"], tx[part.score], end=True).cpu().numpy()
            zy = _run(nets["y"], ty[part.score], end=True).cpu().numpy()
    pointwise = np.full(len(x), np.nan)
    pointwise[part.score] = ksg(zx, zy, k=k).pointwise
    return from_pointwise(pointwise, "lmi", lower_bound=False, groups=groups)


def lmi_many(
    problems: Iterable[tuple[object, object]], *, seed: int = 0, device: str = "auto", **settings: object
) -> list[Information]:
    """`lmi` of each `(x, y)`, in order; each answer is what `lmi` gives alone, whatever else is in the list.

    One after the other: on a CPU stacking small problems gained nothing.
    """
    return [lmi(x, y, seed=seed, device=device, **settings) for x, y in problems]


def pick_device(device: str) -> torch.device:
    """The torch device that "auto", "cpu" or "cuda" means here. Raises InputError."""
    choose("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' was asked for and no GPU is visible: use 'auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def _standardise(x: np.ndarray, where: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.clip((x - x.mean(0)) / x.std(0), -CLIP, CLIP).astype(np.float32)).to(where)


def _start(dx: int, dy: int, hidden: tuple[int, ...], latent: int, rng: torch.Generator) -> dict[str, Net]:
    """Six networks: encoders x and y, decoders named by where they start and end. Glorot weights, zero biases."""

    def net(*widths: int) -> Net:
        layers = []
        for a, b in pairwise(widths):
            bound = math.sqrt(6 / (a + b))
            weight = (torch.rand(a, b, generator=rng, device=rng.device) * 2 - 1) * bound
            layers.append((weight, torch.zeros(b, device=rng.device)))
        return layers

    back = hidden[::-1]
    return {
        "x": net(dx, *hidden, latent),
        "y": net(dy, *hidden, latent),
        "xx": net(latent, *back, dx),
        "yy": net(latent, *back, dy),
        "xy": net(latent, *back, dy),
        "yx": net(latent, *back, dx),
    }


def _run(
    net: Net, x: torch.Tensor, *, end: bool = False, dropout: float = 0.0, rng: torch.Generator | None = None
) -> torch.Tensor:
    """`x` through the layers; rectified after the last one too if `end`; dropout on hidden layers if `rng` is given."""
    for i, (weight, bias) in enumerate(net):
        x = torch.addmm(bias, x, weight)
        if i + 1 < len(net) or end:
            x = leaky_relu(x, SLOPE)
        if i + 1 < len(net) and rng is not None and dropout > 0:
            x = x * torch.empty_like(x).bernoulli_(1 - dropout, generator=rng) / (1 - dropout)
    return x


def _loss(
    nets: dict[str, Net], x: torch.Tensor, y: torch.Tensor, dropout: float = 0.0, rng: torch.Generator | None = None
) -> torch.Tensor:
    """Sum of the four reconstruction errors; dropout (training only) in the cross decoders."""
    zx, zy = _run(nets["x"], x, end=True), _run(nets["y"], y, end=True)
    own = mse_loss(_run(nets["xx"], zx), x) + mse_loss(_run(nets["yy"], zy), y)
    cross_y = mse_loss(_run(nets["xy"], zx, dropout=dropout, rng=rng), y)
    return own + cross_y + mse_loss(_run(nets["yx"], zy, dropout=dropout, rng=rng), x)


def _train(
    nets: dict[str, Net],
    x: torch.Tensor,
    y: torch.Tensor,
    part: Fold,
    rng: torch.Generator,
    dropout: float,
    learning_rate: float,
    batch_size: int,
    epochs: int,
    patience: int,
    seed: int,
) -> dict[str, Net]:
    """The networks with the lowest loss on the stop cells, copied when they were reached."""
    live = [tensor.requires_grad_() for net in nets.values() for layer in net for tensor in layer]
    best, lowest, waited = [tensor.detach().clone() for tensor in live], math.inf, 0
    adam = torch.optim.Adam(live, lr=learning_rate, eps=1e-7, foreach=True)
    stream = batches(part.fit, batch_size, generator(seed, "lmi", "batches"))
    for _ in range(epochs):
        for _ in range(math.ceil(len(part.fit) / batch_size)):
            index = torch.from_numpy(next(stream)).to(x.device)
            adam.zero_grad()
            _loss(nets, x[index], y[index], dropout, rng).backward()
            adam.step()
        with torch.no_grad():
            loss = _loss(nets, x[part.stop], y[part.stop]).item()
            if loss < lowest:
                lowest, waited = loss, 0
                _copy(live, best)
            else:
                waited += 1
        if waited >= patience:
            break
    with torch.no_grad():
        _copy(best, live)
    return nets


def _copy(source: list[torch.Tensor], target: list[torch.Tensor]) -> None:
    for one, other in zip(source, target, strict=True):
        other.copy_(one)
