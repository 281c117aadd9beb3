"""A lower bound for labels: their entropy minus the cross-entropy of a cross-fitted classifier."""

import numpy as np
import torch
from scipy.special import ndtri
from torch.nn.functional import cross_entropy

from ..seeds import derive, generator
from .coordinates import QUARTILES, at_own_scale, columns, components, ranks
from .core import NATS_PER_BIT, Information, from_pointwise, has_order, is_constant, prepare, register, zero
from .crossfit import Fold, batches, fold_repeats, folds, one_thread
from .kernel import curved
from .networks import HIDDEN, BestWeights, Schedule, Weights, forward, start, train

CLIP = 10.0
FAR = 30.0
"""A value further from its column's median, in robust standard deviations, is moved to this distance before the column
is standardised: otherwise one gene of one cell, far above all others, would set the scale. In 1,200 committed rows of
labels (pbmc68k and worm_embryo, all models but scVI and trained Geneformer) the farthest value lies at 19.5."""
RIDGES = (1e-3, 0.03, 0.3)  # in units of a column's variance
CURVED_RIDGES = (0.03, 0.3, 3.0)  # of kernel ridge regression
TIME_RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
SHARPER = (2.0, 1.4)  # factors above 1: the error on some cells may be less than that on all stop cells
NETWORK_FROM = 150  # fit cells; from fewer cells a network learns nothing useful
RAISED = 0.03  # share of the mean variance, added to that of each axis, because axes of small variance are noise
FOLDS = 5  # of the cells; each cell is scored in one
TRAINING = Schedule(learning_rate=4e-3, weight_decay=1e-2, steps=300)
EM_STEPS = 30
PRIOR_CELLS = 1.0  # pseudo-cells shared by the descriptions, added to the stop cells so that each keeps a weight
TEMPERATURES = (1.0, 0.85, 0.7, 0.5, 0.3, 0.1, 0.0)  # 0 gives the class frequencies


@register("classifier", label="classifier", version=5, takes="labels", order=10)
def classifier_bound(x: object, labels: object, *, seed: int = 0, groups: object = None) -> Information:
    """Mutual information of a vector and a label: H(label) minus the cross-entropy of a held-out classifier.

    The probabilities of a fold are a mixture of up to six descriptions: the class frequencies; a Gaussian discriminant
    whose class means have a Gaussian prior (Ioffe 2006), on the columns and on smooth functions of them (`kernel`);
    from 150 fit cells on, a network that starts from the discriminant; and, if classes have an order (integers, ordered
    categories), a normal distribution around the place in that order which kernel ridge regression predicts, and a
    network whose outputs are smooth functions of a class's place. They are fitted on the `fit` cells; ridges,
    temperatures, steps and the mixture's weights are chosen on the `stop` cells; the log-probabilities of the `score`
    cells count. The three sets are disjoint, and classes are dealt evenly over folds. The frequencies keep a weight, so
    that no cell costs more than about log2 of the number of `stop` cells. H is the entropy of observed frequencies.

    Parameters
    ----------
    x
        [cells, dims] floats; far outliers are moved in (`FAR`), columns standardised and clipped to +-10.
    labels
        [cells] integers, strings or categories. Strings and unordered categories have no order.
    seed, groups
        As in `infonce`.

    Returns
    -------
    Information
        A lower bound in expectation, with pointwise values. The standard error is that of the scored cells, widened for
        the variation of the fit (`core.LEARNING_CELLS`); it excludes the bias. 0 bits if x or label is constant.

    Raises
    ------
    InputError
        Lengths that differ, NaN, missing or fractional labels, fewer than 30 pairs, too few groups.
    """
    order = has_order(labels)
    x, codes, groups = prepare(x, labels, discrete=True, groups=groups)
    if is_constant(x, codes):
        return zero(len(x), "classifier", lower_bound=True)
    groups, note = fold_repeats(x, codes, groups)
    parts = folds(len(x), FOLDS, seed=seed, groups=groups, strata=codes)
    share = np.bincount(codes) / len(codes)
    pointwise = np.full(len(x), np.nan)
    with one_thread(), torch.no_grad():
        y = torch.from_numpy(codes)
        tx = torch.from_numpy(_standardised(x))
        plain = torch.log(torch.from_numpy(share)).float().expand(len(parts), len(x), -1)
        found = [plain, torch.stack([_discriminant(tx, y, part) for part in parts]).log_softmax(2)]
        bent, ordered = curved(x, seed).double(), order and len(share) > 2
        found.append(torch.stack([_discriminant(bent, y, part, CURVED_RIDGES) for part in parts]).log_softmax(2))
        if ordered:
            found.append(torch.stack([_by_time(bent, y, part, share) for part in parts]))
        if min(len(part.fit) for part in parts) >= NETWORK_FROM:
            z = _axes(x).expand(len(parts), -1, -1)
            found.append(_network(z, y, found[1], parts, derive(seed, "classifier")))
            if ordered:
                found.append(_network(z, y, plain, parts, derive(seed, "order"), _places(share)))
        descriptions = torch.stack(found).double()
        for logits, part in zip(descriptions.unbind(1), parts, strict=True):
            weights = _mixture(logits[:, part.stop, codes[part.stop]])
            own = (weights.log()[:, None] + logits[:, part.score, codes[part.score]]).logsumexp(0).numpy()
            pointwise[part.score] = (own - np.log(share[codes[part.score]])) / NATS_PER_BIT
    return from_pointwise(pointwise, "classifier", lower_bound=True, groups=groups, learned=True, note=note)


def _axes(x: np.ndarray) -> torch.Tensor:
    """Principal components [cells, at most KEPT] of `ranks` and `columns` at their own scale, small ones raised."""
    z = components(torch.cat([at_own_scale(x, ranks(x)), at_own_scale(x, columns(x))], 1))
    variance = z.var(0, correction=0)
    return z / (variance + RAISED * variance.mean()).sqrt()


def _standardised(x: np.ndarray) -> np.ndarray:
    """Standardise columns to mean 0 and variance 1, and clip to +-`CLIP`; far outliers are moved in first."""
    low, middle, high = np.percentile(x, [25, 50, 75], axis=0)
    reach = FAR * (high - low) / QUARTILES
    reach[reach == 0] = np.inf  # most cells share one value, so that the quartiles give no scale
    x = np.clip(x, middle - reach, middle + reach)
    return np.clip((x - x.mean(0)) / x.std(0), -CLIP, CLIP)


def _discriminant(x: torch.Tensor, codes: torch.Tensor, part: Fold, ridges: tuple[float, ...] = RIDGES) -> torch.Tensor:
    """Return logits, float32 [cells, classes], by the ridge and temperature with the least loss on the stop cells."""
    counts, log_prior = _priors(codes, part)
    best, lowest = log_prior.expand(len(x), -1), np.inf
    for ridge in ridges:
        evidence = _log_evidence(x, codes, part.fit, counts, ridge)
        for temperature in TEMPERATURES:
            logits = temperature * evidence + log_prior
            loss = cross_entropy(logits[part.stop], codes[part.stop]).item()
            if loss < lowest:
                best, lowest = logits, loss
    return best.float()


def _by_time(x: torch.Tensor, codes: torch.Tensor, part: Fold, share: np.ndarray) -> torch.Tensor:
    """Return log-probabilities float32 [cells, classes] by the normal score that ridge regression predicts."""
    place = torch.from_numpy(ndtri(np.cumsum(share) - share / 2))
    own, told = x[part.fit], place[codes]
    middle, mean = own.mean(0), told[part.fit].mean()
    gram = (own - middle).T @ (own - middle) / len(own)
    cross = (own - middle).T @ (told[part.fit] - mean) / len(own)
    coefficients = [torch.linalg.solve(gram + ridge * torch.eye(len(gram)).double(), cross) for ridge in TIME_RIDGES]
    found = (x - middle) @ torch.stack(coefficients, 1) + mean
    errors = (found[part.stop] - told[part.stop, None]).square().mean(0)
    squares = -0.5 * (found[:, errors.argmin(), None] - place).square() / errors.min()
    _, log_prior = _priors(codes, part)
    offers = [(sharp * squares + log_prior).log_softmax(1) for sharp in (*SHARPER, *TEMPERATURES)]
    return min(offers, key=lambda offer: cross_entropy(offer[part.stop], codes[part.stop]).item()).float()


def _priors(codes: torch.Tensor, part: Fold) -> tuple[torch.Tensor, torch.Tensor]:
    """Return class counts among the fit cells, and the logarithms of the shares, of which none is 0: [classes] each."""
    counts = torch.bincount(codes[part.fit], minlength=int(codes.max()) + 1).double()
    return counts, torch.log((counts + 0.5) / (counts + 0.5).sum())


def _log_evidence(
    x: torch.Tensor, codes: torch.Tensor, fit: np.ndarray, counts: torch.Tensor, ridge: float
) -> torch.Tensor:
    """Return the log predictive density [cells, classes] of each class, up to a constant per cell.

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


def _network(
    x: torch.Tensor,
    codes: torch.Tensor,
    base: torch.Tensor,
    parts: list[Fold],
    seed: int,
    basis: torch.Tensor | None = None,
) -> torch.Tensor:
    """Log-probabilities [folds, cells, classes]: `base` plus a network, in a `basis` [functions, classes] if given."""
    order, fold = generator(seed, "batches"), torch.arange(len(parts))[:, None]
    streams = [batches(part.fit, TRAINING.batch_size, order) for part in parts]
    most = max(len(part.stop) for part in parts)
    stop = torch.from_numpy(np.stack([np.resize(part.stop, most) for part in parts]))

    def logits(weights: Weights, z: torch.Tensor) -> torch.Tensor:
        outputs = forward(weights, z)
        return outputs if basis is None else outputs @ basis

    def loss_of(weights: Weights, cells: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy [folds] on `cells` [folds, cells]."""
        found = base[fold, cells] + logits(weights, x[fold, cells])
        return cross_entropy(found.transpose(1, 2), codes[cells], reduction="none").mean(1)

    def loss(weights: Weights) -> torch.Tensor:
        return loss_of(weights, torch.from_numpy(np.stack([next(stream) for stream in streams]))).sum()

    rng = torch.Generator().manual_seed(seed)
    outputs = base.shape[2] if basis is None else len(basis)
    weights = start(len(parts), (x.shape[2], HIDDEN, HIDDEN, outputs), rng, last=0.0)
    best, before = BestWeights(weights), loss_of(weights, stop)

    def check(weights: Weights) -> float:
        best.offer(weights, before - loss_of(weights, stop))
        return float(best.highest.sum())

    train(weights, loss, check, TRAINING)
    return (base + logits(best.weights, x)).log_softmax(2)


def _places(share: np.ndarray) -> torch.Tensor:
    """Return Gaussian bumps [functions, classes]: smooth functions of a class's place among the ordered cells."""
    place = torch.from_numpy(np.cumsum(share) - share / 2).float()
    n = min(len(share), max(6, len(share) // 3))
    return torch.exp(-0.5 * ((place - torch.linspace(0, 1, n)[:, None]) * (n - 1)) ** 2)


def _mixture(own: torch.Tensor) -> torch.Tensor:
    """Return the weights [descriptions] of the best mixture of `own` log-probabilities [descriptions, cells], by EM."""
    weights = torch.full((len(own), 1), 1 / len(own), dtype=torch.double)
    for _ in range(EM_STEPS):
        shares = (weights.log() + own).softmax(0)
        weights = (shares.sum(1, keepdim=True) + PRIOR_CELLS / len(own)) / (own.shape[1] + PRIOR_CELLS)
    return weights[:, 0]
