"""A lower bound for vectors: held-out InfoNCE with a small separable critic, cross-fitted."""

from __future__ import annotations

import numpy as np
import torch

from ..seeds import derive
from .core import NATS_PER_BIT, Information, from_pointwise, is_constant, prepare, zero
from .crossfit import Fold, Training, Weights, descend, folds, one_thread

CLIP = 10.0
BLOCK = 4096  # held-out cells scored against each other: the bound saturates at log2 of it, 12 bits


def infonce(
    x: object,
    y: object,
    *,
    seed: int = 0,
    groups: object = None,
    n_folds: int = 3,
    hidden: int = 128,
    features: int = 32,
    training: Training | None = None,
) -> Information:
    """Mutual information of two vectors, bounded from below by InfoNCE (van den Oord et al. 2018) on held-out cells.

    The critic is g(x) . h(y): a linear map and a small network on either side. It is trained on the `fit`
    cells of each fold, its epoch is chosen on the `stop` cells, and the `score` cells, in blocks of up to 4,096,
    give the bits: the three are disjoint. Each direction (x given y, y given x) counts half.

    Parameters
    ----------
    x, y
        [cells, dims] floats; row i of both is the same cell. Columns are standardised and clipped to +-10.
    seed
        Folds, starting weights and batches; the same seed gives the same bits.
    groups
        [cells] cells of one group (a clone, a spatial block) stay on one side of every split.
    n_folds, hidden, features, training
        Number of folds, width of the networks, dimensions of g and h, and how they are trained.

    Returns
    -------
    Information
        A lower bound in expectation, with pointwise values. 0 bits where one side is constant.

    Raises
    ------
    InputError
        Lengths that differ, NaN, fewer than 30 pairs, too few groups.
    """
    x, y, groups = prepare(x, y, discrete=False, groups=groups)
    if is_constant(x, y):
        return zero(len(x), "infonce", "one side is constant")
    parts = folds(len(x), n_folds, seed=seed, groups=groups)
    pointwise = np.full(len(x), np.nan)
    with one_thread():
        tx, ty = standardise(x), standardise(y)
        weights = _train(tx, ty, parts, hidden, features, training or Training(), derive(seed, "infonce"))
        with torch.no_grad():
            for k, part in enumerate(parts):
                g, h = _towers(weights, tx[part.score], ty[part.score], k)
                pointwise[part.score] = _score(g, h) / NATS_PER_BIT
    return from_pointwise(pointwise, "infonce", lower_bound=True, groups=groups)


def standardise(x: np.ndarray) -> torch.Tensor:
    """Columns with mean 0 and deviation 1, clipped to +-10, float32. Marginals only: no pairing is used."""
    return torch.from_numpy(np.clip((x - x.mean(0)) / x.std(0), -CLIP, CLIP).astype(np.float32))


def _start(dims: int, n_folds: int, hidden: int, features: int, rng: torch.Generator, side: str) -> Weights:
    """Starting weights of one tower for each fold (the same in all): a linear map and one hidden layer."""

    def normal(*shape: int, scale: float) -> torch.Tensor:
        return (torch.randn(*shape, generator=rng) * scale).expand(n_folds, *shape).clone()

    return {
        f"{side}.skip": normal(dims, features, scale=0.5 * dims**-0.5),
        f"{side}.in": normal(dims, hidden, scale=1.4 * dims**-0.5),
        f"{side}.bias": torch.zeros(n_folds, 1, hidden),
        f"{side}.out": normal(hidden, features, scale=0.3 * hidden**-0.5),
        f"{side}.shift": torch.zeros(n_folds, 1, features),
    }


def _tower(w: Weights, x: torch.Tensor, side: str) -> torch.Tensor:
    """[folds, cells, dims] -> [folds, cells, features]."""
    inner = torch.nn.functional.silu(torch.baddbmm(w[f"{side}.bias"], x, w[f"{side}.in"]))
    return torch.baddbmm(w[f"{side}.shift"], inner, w[f"{side}.out"]) + x @ w[f"{side}.skip"]


def _towers(weights: Weights, x: torch.Tensor, y: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of `x` and `y` [cells, dims] by the critic of fold `k`."""
    one = {name: value[k : k + 1] for name, value in weights.items()}
    return _tower(one, x[None], "x")[0], _tower(one, y[None], "y")[0]


def _train(
    x: torch.Tensor, y: torch.Tensor, parts: list[Fold], hidden: int, features: int, training: Training, seed: int
) -> Weights:
    """Critics of all folds, trained side by side."""
    rng = torch.Generator().manual_seed(seed)
    weights = _start(x.shape[1], len(parts), hidden, features, rng, "x")
    weights |= _start(y.shape[1], len(parts), hidden, features, rng, "y")
    weights["x.skip"].zero_()  # the start finds 0 bits, and is what is kept where nothing is learned
    weights["x.out"].zero_()

    def batch_loss(w: Weights, index: torch.Tensor) -> torch.Tensor:
        scores = torch.bmm(_tower(w, x[index], "x"), _tower(w, y[index], "y").transpose(1, 2))
        own = torch.diagonal(scores, dim1=1, dim2=2)
        return (0.5 * (scores.logsumexp(1) + scores.logsumexp(2)) - own).mean(1).sum()

    def stop_loss(w: Weights) -> torch.Tensor:
        return torch.tensor([-_score(*_towers(w, x[p.stop], y[p.stop], k)).mean() for k, p in enumerate(parts)])

    return descend(weights, batch_loss, stop_loss, [p.fit for p in parts], training, seed=seed)


def _score(g: torch.Tensor, h: torch.Tensor) -> np.ndarray:
    """Pointwise InfoNCE in nats of held-out features [cells, features], both directions, in even blocks."""
    n = len(g)
    blocks = np.array_split(np.arange(n), -(-n // BLOCK))
    values = np.empty(n)
    for block in blocks:
        scores = (g[block[0] : block[-1] + 1] @ h[block[0] : block[-1] + 1].T).double()
        mean_of_both = 0.5 * (scores.logsumexp(0) + scores.logsumexp(1)) - np.log(len(block))
        values[block] = (scores.diagonal() - mean_of_both).numpy()
    return values
