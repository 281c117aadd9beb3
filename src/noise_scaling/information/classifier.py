"""A lower bound for labels: their entropy minus the cross-entropy of a classifier, cross-fitted."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from ..seeds import derive, generator
from .core import NATS_PER_BIT, Information, from_pointwise, is_constant, prepare, register, zero
from .crossfit import Fold, batches, folds, one_thread
from .networks import BestWeights, Training, Weights, descend, forward, start

CLIP = 10.0
FAR = 30.0
"""A value further from its column's median, in robust standard deviations, is moved to there before the column is
standardised: one cell with one gene far above all others would leave the rest no scale. In 1,200 committed rows of
labels (pbmc68k and worm_embryo, all models but scVI and trained Geneformer) the farthest value lies at 19.5."""
LEAST_BITS = -20.0
"""The least that a cell counts. A cell unlike all that were fitted can be foretold with a probability of 1e-900; no
number of cells tells that from one in a million. What this adds to a bound is below 2^-20 / ln 2 bits. In the same
1,200 rows the least is -16.7."""
RIDGES = (1e-3, 0.03, 0.3)  # in units of a column's variance
IQR_OF_A_NORMAL = 1.349
REFINE_FROM = 500
"""With fewer cells to fit, the network adds nothing to the discriminant (0.00 bits at 280 cells)."""
TEMPERATURES = (1.0, 0.85, 0.7, 0.5, 0.3, 0.1, 0.0)  # 0: the class frequencies


@register("classifier", label="classifier", version=3, takes="labels", order=10)
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

    The classifier of a fold is a Gaussian discriminant whose class means have a Gaussian prior (Ioffe 2006), refined
    by a small network where 500 or more cells fit it. It is fitted on the `fit` cells; ridge, temperature and epoch
    are chosen on the `stop` cells, and the log-probabilities of the `score` cells are what counts. The three are
    disjoint, and classes are dealt evenly over folds. A class without a cell to fit is foretold from the prior with the
    weight of half a cell: it costs bits, never infinitely many. H is that of the observed class frequencies.

    Parameters
    ----------
    x
        [cells, dims] floats; far outliers are drawn in (`FAR`), columns standardised and clipped to +-10.
    labels
        [cells] integers, strings or categories.
    seed, groups, n_folds, hidden, training
        As in `infonce`.

    Returns
    -------
    Information
        A lower bound in expectation, with pointwise values. The standard error is that of the scored
        cells, widened by what the fit varies (`core.LEARNING_CELLS`).
        0 bits where x is constant or there is one class.

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
    with one_thread(), torch.no_grad():
        tx = torch.from_numpy(_standardised(x))
        base = torch.stack([_discriminant(tx, torch.from_numpy(codes), part) for part in parts])
        if min(len(part.fit) for part in parts) >= REFINE_FROM:
            base = _refine(tx.float(), torch.from_numpy(codes), base, parts, hidden, training or Training(), seed)
        for logits, part in zip(base, parts, strict=True):
            own = logits[part.score].double().log_softmax(1).numpy()[np.arange(len(part.score)), codes[part.score]]
            pointwise[part.score] = (own - np.log(share[codes[part.score]])) / NATS_PER_BIT
    unlike = int((pointwise < LEAST_BITS).sum())
    note = f"{unlike} cells unlike all others count {LEAST_BITS:g} bits each" if unlike else ""
    pointwise = np.maximum(pointwise, LEAST_BITS)
    return from_pointwise(pointwise, "classifier", lower_bound=True, groups=groups, learned=True, note=note)


def _standardised(x: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and variance 1, values clipped to +-`CLIP`; far outliers are drawn in first."""
    low, middle, high = np.percentile(x, [25, 50, 75], axis=0)
    reach = FAR * (high - low) / IQR_OF_A_NORMAL
    reach[reach == 0] = np.inf  # most cells share one value: there is no scale to go by
    x = np.clip(x, middle - reach, middle + reach)
    return np.clip((x - x.mean(0)) / x.std(0), -CLIP, CLIP)


def _discriminant(x: torch.Tensor, codes: torch.Tensor, part: Fold) -> torch.Tensor:
    """Logits float32 [cells, classes] with the ridge and temperature that the stop cells like best."""
    counts = torch.bincount(codes[part.fit], minlength=int(codes.max()) + 1).double()
    log_prior = torch.log((counts + 0.5) / (counts + 0.5).sum())
    best, lowest = log_prior.expand(len(x), -1), np.inf
    for ridge in RIDGES:
        evidence = _log_evidence(x, codes, part.fit, counts, ridge)
        for temperature in TEMPERATURES:
            logits = temperature * evidence + log_prior
            loss = cross_entropy(logits[part.stop], codes[part.stop]).item()
            if loss < lowest:
                best, lowest = logits, loss
    return best.float()


def _log_evidence(
    x: torch.Tensor, codes: torch.Tensor, fit: np.ndarray, counts: torch.Tensor, ridge: float
) -> torch.Tensor:
    """Log predictive density [cells, classes] of each class, up to a constant per cell.

    In coordinates where the cells of a class have unit covariance and class means vary by `spread` (diagonal),
    a class of n cells with mean m is a Gaussian of mean m w, variance 1 + w / n, with w = n spread / (n spread + 1).
    """
    own, n, d = codes[fit], len(fit), x.shape[1]
    x = x - x[fit].mean(0)
    means = torch.zeros(len(counts), d, dtype=x.dtype).index_add_(0, own, x[fit]) / counts.clamp(min=1)[:, None]
    inside = x[fit] - means[own]
    degrees = max(n - int((counts > 0).sum()), 1)
    within = inside.T @ inside / degrees + ridge * torch.eye(d, dtype=x.dtype)
    chol = torch.linalg.cholesky(within)
    between = torch.linalg.solve_triangular(chol, (means * counts.sqrt()[:, None]).T, upper=False)
    axes, values, _ = torch.linalg.svd(between, full_matrices=False)
    turn = torch.linalg.solve_triangular(chol.T, axes, upper=True)
    present = int((counts > 0).sum())
    spread = ((values**2 / max(present - 1, 1) - 1) / (n / present)).clamp(min=0)
    z, m = x @ turn, means @ turn
    weight = counts[:, None] * spread / (counts[:, None] * spread + 1)
    variance = 1 + spread / (counts[:, None] * spread + 1)
    centre = m * weight
    squares = z**2 @ (1 / variance).T - 2 * z @ (centre / variance).T + (centre**2 / variance).sum(1)
    return -0.5 * (squares + variance.log().sum(1))


def _refine(
    x: torch.Tensor,
    codes: torch.Tensor,
    base: torch.Tensor,
    parts: list[Fold],
    hidden: int,
    training: Training,
    seed: int,
) -> torch.Tensor:
    """`base` [folds, cells, classes] plus a network trained on what it leaves; all folds side by side."""
    order, fold = generator(seed, "batches"), torch.arange(len(parts))[:, None]
    streams = [batches(part.fit, training.batch_size, order) for part in parts]
    most = max(len(part.stop) for part in parts)
    stop = torch.from_numpy(np.stack([np.resize(part.stop, most) for part in parts]))

    def loss_of(weights: Weights, cells: torch.Tensor) -> torch.Tensor:
        """Cross-entropy [folds] on `cells` [folds, cells]."""
        logits = base[fold, cells] + forward(weights, x[cells])
        return cross_entropy(logits.transpose(1, 2), codes[cells], reduction="none").mean(1)

    def loss(weights: Weights) -> torch.Tensor:
        return loss_of(weights, torch.from_numpy(np.stack([next(stream) for stream in streams]))).sum()

    rng = torch.Generator().manual_seed(derive(seed, "classifier"))
    weights = start(len(parts), (x.shape[1], hidden, base.shape[2]), rng, last=0.0)
    best, before = BestWeights(weights), loss_of(weights, stop)
    for step, mean in descend(weights, loss, training):
        if step % training.check_every == 0:
            best.offer(mean, before - loss_of(mean, stop))
    return base + forward(best.weights, x.expand(len(parts), -1, -1))
