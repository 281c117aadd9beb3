"""A lower bound for labels: their entropy minus the cross-entropy of a classifier, cross-fitted."""

from __future__ import annotations

import numpy as np
import torch

from ..seeds import derive
from .core import NATS_PER_BIT, Information, from_pointwise, is_constant, prepare, zero
from .crossfit import Fold, Training, Weights, descend, folds, one_thread

CLIP = 10.0


def classifier_bound(
    x: object,
    labels: object,
    *,
    seed: int = 0,
    groups: object = None,
    n_folds: int = 5,
    hidden: int = 64,
    training: Training | None = None,
) -> Information:
    """Mutual information of a vector and a label: H(label) minus the cross-entropy of a held-out classifier.

    The classifier (linear plus one hidden layer) is trained on the `fit` cells of each fold, its epoch chosen on
    the `stop` cells and its log-probabilities taken on the `score` cells; the three are disjoint, and classes are
    dealt evenly over folds. Every class has a floor of probability (half a cell in the fit cells), so that a class
    with one or two cells costs bits but never infinitely many. H is that of the observed class frequencies.

    Parameters
    ----------
    x
        [cells, dims] floats, standardised and clipped to +-10.
    labels
        [cells] integers, strings or categories.
    seed, groups, n_folds, hidden, training
        As in `infonce`.

    Returns
    -------
    Information
        A lower bound in expectation, with pointwise values. 0 bits where x is constant or there is one class.

    Raises
    ------
    InputError
        Lengths that differ, NaN, missing or fractional labels, fewer than 30 pairs, too few groups.
    """
    x, codes, groups = prepare(x, labels, discrete=True, groups=groups)
    if is_constant(x, codes):
        return zero(len(x), "classifier", "one side is constant")
    parts = folds(len(x), n_folds, seed=seed, groups=groups, strata=codes)
    share = np.bincount(codes) / len(codes)
    pointwise = np.full(len(x), np.nan)
    with one_thread():
        tx, ty = _standardise(x), torch.from_numpy(codes)
        log_prior = _log_prior(codes, parts)
        weights = _train(tx, ty, log_prior, parts, hidden, training or Training(batch_size=128), seed)
        with torch.no_grad():
            for k, part in enumerate(parts):
                own = _log_probability(weights, tx[part.score], ty[part.score], log_prior, k).double().numpy()
                pointwise[part.score] = (own - np.log(share[codes[part.score]])) / NATS_PER_BIT
    return from_pointwise(pointwise, "classifier", lower_bound=True, groups=groups)


def _log_prior(codes: np.ndarray, parts: list[Fold]) -> torch.Tensor:
    """[folds, 1, classes] log of (cells + 1/2) of each class among the fit cells."""
    counts = np.stack([np.bincount(codes[p.fit], minlength=codes.max() + 1) for p in parts]) + 0.5
    return torch.from_numpy(np.log(counts / counts.sum(1, keepdims=True)).astype(np.float32))[:, None]


def _log_probability(
    weights: Weights, x: torch.Tensor, codes: torch.Tensor, log_prior: torch.Tensor, k: int
) -> torch.Tensor:
    """Log-probability [cells] of each cell's own class by the classifier of fold `k`."""
    one = {name: value[k : k + 1] for name, value in weights.items()}
    logits = (_tower(one, x[None], "x") + log_prior[k : k + 1])[0]
    return logits.log_softmax(1).gather(1, codes[:, None])[:, 0]


def _train(
    x: torch.Tensor,
    codes: torch.Tensor,
    log_prior: torch.Tensor,
    parts: list[Fold],
    hidden: int,
    training: Training,
    seed: int,
) -> Weights:
    """Classifiers of all folds, trained side by side; they start from the class frequencies."""
    rng = torch.Generator().manual_seed(derive(seed, "classifier"))
    n_folds, classes, dims = len(parts), log_prior.shape[2], x.shape[1]
    weights = {
        "x.skip": torch.zeros(n_folds, dims, classes),
        "x.in": (torch.randn(dims, hidden, generator=rng) * 1.4 * dims**-0.5).expand(n_folds, -1, -1).clone(),
        "x.bias": torch.zeros(n_folds, 1, hidden),
        "x.out": torch.zeros(n_folds, hidden, classes),
        "x.shift": torch.zeros(n_folds, 1, classes),
    }

    def batch_loss(w: Weights, index: torch.Tensor) -> torch.Tensor:
        logits = _tower(w, x[index], "x") + log_prior
        own = logits.gather(2, codes[index][..., None])[..., 0]
        return (logits.logsumexp(2) - own).mean(1).sum()

    def stop_loss(w: Weights) -> torch.Tensor:
        losses = [-_log_probability(w, x[p.stop], codes[p.stop], log_prior, k).mean() for k, p in enumerate(parts)]
        return torch.stack(losses)

    return descend(weights, batch_loss, stop_loss, [p.fit for p in parts], training, seed=seed)


def _standardise(x: np.ndarray) -> torch.Tensor:
    """Columns with mean 0 and deviation 1, clipped to +-10, float32. Marginals only: no pairing is used."""
    return torch.from_numpy(np.clip((x - x.mean(0)) / x.std(0), -CLIP, CLIP).astype(np.float32))


def _tower(w: Weights, x: torch.Tensor, side: str) -> torch.Tensor:
    inner = torch.nn.functional.silu(torch.baddbmm(w[f"{side}.bias"], x, w[f"{side}.in"]))
    return torch.baddbmm(w[f"{side}.shift"], inner, w[f"{side}.out"]) + torch.matmul(x, w[f"{side}.skip"])
