"""Which cells fit, which choose, which score; and the one training loop of every critic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import InputError
from ..seeds import generator

REFINE_FROM = 500
"""With fewer cells to fit a critic, its network adds nothing to the closed form (0.00 bits at 280 cells)."""


@dataclass(frozen=True)
class Fold:
    """Disjoint cell indices: `fit` trains, `stop` chooses (epoch, regularisation), `score` gives the bits."""

    fit: np.ndarray
    stop: np.ndarray
    score: np.ndarray


def folds(
    n: int,
    n_folds: int,
    *,
    seed: int,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    stop_share: float = 0.2,
) -> list[Fold]:
    """`n_folds` three-way splits of `n` cells, each cell scored once; a group is never on two sides of a split.

    `strata` (class codes) are dealt evenly, so that a rare class is in as many folds as it has cells.
    """
    units = np.arange(n) if groups is None else groups
    if len(np.unique(units)) < 2 * n_folds:
        raise InputError(f"{len(np.unique(units))} groups are too few for {n_folds} folds: give more, or none")
    rng = generator(seed, "folds")
    part = _deal(units, n_folds, rng, strata)
    result = []
    for held_out in range(n_folds):
        rest = np.flatnonzero(part != held_out)
        inner = _deal(units[rest], round(1 / stop_share), rng, None if strata is None else strata[rest])
        result.append(Fold(rest[inner > 0], rest[inner == 0], np.flatnonzero(part == held_out)))
    return result


def deal(n: int, n_parts: int, *, seed: int, groups: np.ndarray | None = None) -> list[np.ndarray]:
    """`n` cells dealt to `n_parts` parts of even size, in random order; a group is never in two."""
    units = np.arange(n) if groups is None else groups
    if len(np.unique(units)) < 2 * n_parts:
        raise InputError(f"{len(np.unique(units))} groups are too few for {n_parts} folds: give more, or none")
    rng = generator(seed, "folds")
    part = _deal(units, n_parts, rng, None)
    return [rng.permutation(np.flatnonzero(part == k)) for k in range(n_parts)]


def three_way(n: int, *, seed: int, groups: np.ndarray | None = None) -> Fold:
    """Four tenths of `n` cells to fit, a tenth to stop, half to score; a group is never on two sides."""
    units = np.arange(n) if groups is None else groups
    if len(np.unique(units)) < 10:
        raise InputError(f"{len(np.unique(units))} groups are too few to split three ways: give 10 or more, or none")
    part = _deal(units, 10, generator(seed, "three-way"), None)
    return Fold(np.flatnonzero(part < 4), np.flatnonzero(part == 4), np.flatnonzero(part > 4))


def _deal(units: np.ndarray, n_parts: int, rng: np.random.Generator, strata: np.ndarray | None) -> np.ndarray:
    """A part 0 .. n_parts - 1 for each cell: whole units, largest first, each to the part with fewest cells."""
    names, first, code, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    if strata is not None:
        order = order[np.argsort(strata[first[order]], kind="stable")]
    if (sizes == 1).all():
        part = np.empty(len(names), dtype=np.int64)
        part[order] = (np.arange(len(names)) + rng.integers(n_parts)) % n_parts
        return part[code]
    order = order[np.argsort(-sizes[order], kind="stable")]
    part, load = np.empty(len(names), dtype=np.int64), np.zeros(n_parts)
    for unit in order:
        part[unit] = load.argmin()
        load[part[unit]] += sizes[unit]
    return part[code]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: the same bits on any number of cores, and the fastest for small matrices.

    Said to torch itself: under OMP_NUM_THREADS=1 alone a small network still took 10 times as long on a busy machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Training:
    """How critics are trained: Adam on random batches of the fit cells, best weights on the stop cells kept."""

    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    batch_size: int = 256
    max_steps: int = 1000
    check_every: int = 20
    patience: int = 6


Weights = dict[str, torch.Tensor]


def descend(
    weights: Weights,
    batch_loss: Callable[[Weights, torch.Tensor], torch.Tensor],
    stop_loss: Callable[[Weights], torch.Tensor],
    fits: list[np.ndarray],
    training: Training,
    *,
    seed: int,
) -> Weights:
    """Train the stacked `weights` (first axis: fold) and return, for each fold, the best seen on its stop cells.

    `batch_loss(weights, index [folds, batch])` is summed over folds, so that no fold's gradient touches another;
    `stop_loss(weights)` is [folds]. The starting weights are a candidate too.
    """
    rng = generator(seed, "batches")
    best = {name: value.detach().clone() for name, value in weights.items()}
    lowest = stop_loss(best)
    live = {name: value.clone().requires_grad_() for name, value in best.items()}
    adam = torch.optim.AdamW(
        list(live.values()), lr=training.learning_rate, weight_decay=training.weight_decay, foreach=True
    )
    waited = torch.zeros(len(fits), dtype=torch.int64)
    streams = [batches(fit, training.batch_size, rng) for fit in fits]
    for step in range(1, training.max_steps + 1):
        index = torch.from_numpy(np.stack([next(stream) for stream in streams]))
        adam.zero_grad()
        batch_loss(live, index).backward()
        adam.step()
        if step % training.check_every:
            continue
        with torch.no_grad():
            loss = stop_loss(live)
        better = loss < lowest
        lowest = torch.where(better, loss, lowest)
        waited = torch.where(better, 0, waited + 1)
        for name, value in live.items():
            best[name][better] = value.detach()[better]
        if (waited >= training.patience).all():
            break
    return best


def batches(cells: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of exactly `size` cells for ever: shuffled passes laid end to end."""
    left = np.empty(0, dtype=cells.dtype)
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(cells)])
        yield left[:size]
        left = left[size:]
