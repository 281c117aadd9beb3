"""Small networks trained side by side, the InfoNCE loss, and the critic networks of `infonce`."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import silu

from ..seeds import generator
from .crossfit import batches

HIDDEN = 64
EMBEDDED = 32
CYCLES = 3
STILL_GAINS = 0.004
"""If the last quarter of a cycle adds more than this share of the score, another cycle follows: of the 40 tasks of bmi,
those with edges and spirals then rise from 0.77 and 0.86 to 0.85 and 0.93 of the truth at 10,000 pairs."""
CHECK_CELLS = 384  # cells of a part that choose the step; enough, because steps differ by more than their noise

Weights = list[torch.Tensor]
"""Several networks of one shape: for each layer weights [networks, in, out], then biases [networks, 1, out]."""
Features = tuple[torch.Tensor, torch.Tensor]
"""Features g of x and h of y, [..., cells, features]; the score of a pair is g . h."""


@dataclass(frozen=True)
class Schedule:
    """How networks are trained: AdamW, warm-up over 20 steps and half a cosine, and a running mean of the weights.

    `steps` is the length of the first cycle (`train`).
    """

    learning_rate: float = 2e-2
    weight_decay: float = 1e-2
    batch_size: int = 128
    steps: int = 200
    check_every: int = 25


def start(networks: int, widths: tuple[int, ...], rng: torch.Generator, *, last: float = 1.0) -> Weights:
    """Return random weights, the last layer's times `last`, and zero biases of that many SiLU networks side by side."""
    weights = []
    for layer, (a, b) in enumerate(pairwise(widths)):
        scale = (last if layer == len(widths) - 2 else 1.4) * a**-0.5
        weights += [scale * torch.randn(networks, a, b, generator=rng), torch.zeros(networks, 1, b)]
    return weights


def forward(weights: Weights, x: torch.Tensor) -> torch.Tensor:
    """Return the outputs [networks, cells, out] for `x` [networks, cells, in]."""
    for layer in range(0, len(weights), 2):
        x = torch.baddbmm(weights[layer + 1], silu(x) if layer else x, weights[layer])
    return x


def descend(
    weights: Weights, loss: Callable[[Weights], torch.Tensor], training: Schedule
) -> Iterator[tuple[int, Weights]]:
    """Minimise a loss; yield the number of each step and the running mean of the weights.

    AdamW (Loshchilov and Hutter 2019), beta 0.9 and 0.99, on all weights as one tensor, because on 14 tensors its steps
    took as long as the gradients.
    """
    shapes = [weight.shape for weight in weights]
    sizes = [shape[1] * shape[2] for shape in shapes]

    def unpack(flat: torch.Tensor) -> Weights:
        return [piece.view(shape) for piece, shape in zip(flat.split(sizes, dim=1), shapes, strict=True)]

    flat = torch.cat([weight.flatten(1) for weight in weights], 1)
    mean = flat.clone()
    means = unpack(mean)
    adam = torch.optim.AdamW([flat.requires_grad_()], betas=(0.9, 0.99), weight_decay=training.weight_decay, fused=True)
    for step in range(1, training.steps + 1):
        rate = training.learning_rate * min(1, step / 20) * (0.5 + 0.5 * math.cos(math.pi * step / training.steps))
        adam.param_groups[0]["lr"] = rate
        adam.zero_grad()
        with torch.enable_grad():
            loss(unpack(flat)).backward()
        adam.step()
        mean.lerp_(flat.detach(), 1 - min(0.98, step / (step + 10)))
        yield step, means


def train(
    weights: Weights, loss: Callable[[Weights], torch.Tensor], check: Callable[[Weights], float], training: Schedule
) -> None:
    """Minimise a loss in cycles, each twice as long as the one before, while the score of held-out cells still rises.

    `check` is called every `check_every` steps with the running mean of the weights, and returns the highest score yet.
    """
    for cycle in range(CYCLES):
        highest = []
        for step, mean in descend(weights, loss, replace(training, steps=training.steps * 2**cycle)):
            if step % training.check_every == 0:
                highest.append(check(mean))
        weights = mean
        if highest[-1] - highest[3 * len(highest) // 4 - 1] <= STILL_GAINS * highest[-1]:
            return


class BestWeights:
    """Weights with the highest score so far, for each network; the initial `weights` have score 0."""

    def __init__(self, weights: Weights) -> None:
        self.weights = [weight.clone() for weight in weights]
        self.highest = torch.zeros(len(weights[0]))

    def offer(self, weights: Weights, scores: torch.Tensor) -> None:
        """Keep the `weights` of those networks whose `scores` [networks] are higher than all before."""
        better = scores > self.highest
        self.highest[better] = scores[better]
        for kept, weight in zip(self.weights, weights, strict=True):
            kept[better] = weight[better]


def nats(g: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """Return the InfoNCE of each pair in nats, both directions, [..., n], from features [..., n, features].

    Mean of the two directions of Eq. 10 of Poole et al. (2019), after van den Oord et al. (2018, Eq. 4).
    """
    scores = g @ h.transpose(-1, -2)
    both = [torch.diagonal(scores.log_softmax(side), dim1=-2, dim2=-1) for side in (-1, -2)]
    return 0.5 * (both[0] + both[1]) + math.log(g.shape[-2])


def train_critics(
    x: torch.Tensor,
    y: torch.Tensor,
    fits: list[np.ndarray],
    ends: list[tuple[np.ndarray, np.ndarray]],
    training: Schedule,
    *,
    seed: int,
) -> list[list[Features]]:
    """Train critics g(x) . h(y), one for each set of cells to fit, by InfoNCE (van den Oord et al. 2018).

    `x` and `y` are [critics, cells, dims]. For each critic, `fits` are positions of the cells it is fitted on, `ends`
    two parts of the other cells, each of which chooses its own step. Return, for each critic and each of its `ends`,
    features of all cells of `ends` by the running mean of the weights at the step that this end chose.
    """
    rng = torch.Generator().manual_seed(seed)
    of_x = start(len(fits), (x.shape[2], HIDDEN, HIDDEN, EMBEDDED), rng)
    # The last layer of y starts at 0, so that training starts at 0 bits, and stays there under independence.
    of_y = start(len(fits), (y.shape[2], HIDDEN, HIDDEN, EMBEDDED), rng, last=0.0)
    row, layers = torch.arange(len(fits))[:, None], len(of_x)
    size = min(training.batch_size, min(map(len, fits)) // 2)
    order = generator(seed, "batches")
    streams = [batches(fit, size, order) for fit in fits]

    def features(weights: Weights, cells: torch.Tensor) -> Features:
        return forward(weights[:layers], x[row, cells]), forward(weights[layers:], y[row, cells])

    def loss(weights: Weights) -> torch.Tensor:
        cells = torch.from_numpy(np.stack([next(stream) for stream in streams]))
        return -nats(*features(weights, cells)).mean(1).sum()

    weights = of_x + of_y
    least = min(CHECK_CELLS, min(len(part) for end in ends for part in end))
    parts = [torch.from_numpy(np.stack([end[side][:least] for end in ends])) for side in (0, 1)]
    best = [BestWeights(weights), BestWeights(weights)]

    def check(weights: Weights) -> float:
        for side, part in zip(best, parts, strict=True):
            side.offer(weights, nats(*features(weights, part)).mean(1))
        return float(sum(side.highest.sum() for side in best))

    train(weights, loss, check, training)
    cells = [np.concatenate(end) for end in ends]
    most = max(map(len, cells))
    found = [features(side.weights, torch.from_numpy(np.stack([np.resize(c, most) for c in cells]))) for side in best]
    return [[(g[k, : len(c)], h[k, : len(c)]) for g, h in found] for k, c in enumerate(cells)]
