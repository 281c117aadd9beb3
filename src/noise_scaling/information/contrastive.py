"""A lower bound for vectors: cross-fitted InfoNCE on held-out cells, with closed-form critics and a network."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

from ..seeds import derive, generator
from . import canonical
from .coordinates import at_own_scale, axes, columns, components, gains, left_out, moments, ranks, whitened
from .core import NATS_PER_BIT, Information, from_pointwise, is_constant, prepare, register, zero
from .crossfit import deal, fold_repeats, one_thread
from .kernel import curved
from .networks import Features, Schedule, nats, train_critics

PARTS = 5
BLOCK = 2048  # held-out cells scored against each other: the bound saturates at log2 of this number, 11 bits
CHOOSING = 384  # cells of a part on which the weights of the critics are chosen
STACKING = {"maxiter": 15, "ftol": 1e-6}
MOST_RANKED = 1_500_000  # values: above this number ranking takes longer than the rest
FITS = {800: 10, 2000: 5}
"""Fits by cells, interpolated in between: ten leave out every pair of parts, five the pairs of neighbouring parts."""


@register("infonce", label="InfoNCE", version=6, takes="vectors", order=20)
def infonce(x: object, y: object, *, seed: int = 0, groups: object = None) -> Information:
    """Mutual information of two vectors, bounded from below by InfoNCE (van den Oord et al. 2018) on held-out cells.

    The cells are dealt to five parts. Every fit leaves out two parts, and each of the two is scored with what was
    chosen on the other. A fit has three critics: the Gaussian log density ratio of canonical variates (of the columns
    or of their ranks, and of the distance from the middle); the same ratio of variates that are smooth functions
    (`kernel`); and a network for each side, whose inputs are the leading components, whitened, rotated and scaled by
    cross-moments up to the fourth (`coordinates`).

    For each part, the other left-out part decides on the ridges and their correlations, the step of the networks, and
    the weights of the sum of the critics. If nothing beats a constant on it, the part is scored 0. A part is scored by
    the mean of the fits that left it out, its cells against each other in blocks of up to 2,048. No pair is scored by
    what was fitted or chosen on it; cells with the same x and y are kept together (`fold_repeats`). Means, variances
    and principal components are of all cells, x and y separately. Each direction (x given y, y given x) counts half.

    Parameters
    ----------
    x, y
        [cells, dims] floats; row i of both is the same cell. Labels become one-hot vectors. Of more than 256
        principal components the first 256 are used; the note says so.
    seed
        Seed of parts, starting weights and batches; the same seed gives the same bits.
    groups
        [cells] cells of one group (a clone, a spatial block) stay in one part.

    Returns
    -------
    Information
        A lower bound in expectation, with pointwise values; benchmarks/results (information_suite.md, bmi.md,
        cell_like.md) says how much of known information it finds. The standard error is that of the scored cells,
        widened for the variation of the fit (`core.LEARNING_CELLS`); it does not include the bias. 0 bits if one side
        is constant.

    Raises
    ------
    InputError
        Lengths that differ, NaN, fewer than 30 pairs, too few groups.
    """
    x, y, groups = prepare(x, y, discrete=False, groups=groups)
    if is_constant(x, y):
        return zero(len(x), "infonce", lower_bound=True)
    groups, repeated = fold_repeats(x, y, groups)
    n, values = len(x), np.full(len(x), np.nan)
    with one_thread(), torch.no_grad():
        cx, cy = columns(x), columns(y)
        straight = [(components(cx), components(cy))]
        if x.size + y.size <= MOST_RANKED:
            straight.append((components(ranks(x)), components(ranks(y))))
        forms = [straight, [(curved(x, seed), curved(y, seed))]]
        inputs = whitened(components(at_own_scale(x, cx))), whitened(components(at_own_scale(y, cy)))
        parts = deal(n, PARTS, seed=seed, groups=groups)
        fits = _fit(inputs, forms, parts, _pairs(n), seed)
        for at, part in enumerate(parts):
            g, h = _combine([View(fit, at) for fit in fits if at in fit.pair])
            for block in np.array_split(np.arange(len(g)), -(-len(g) // BLOCK)):
                values[part[block]] = nats(g[block], h[block]).numpy() / NATS_PER_BIT
    note = "; ".join(filter(None, [repeated, left_out(x=x, y=y)]))
    return from_pointwise(values, "infonce", lower_bound=True, groups=groups, learned=True, note=note)


def _pairs(n: int) -> list[tuple[int, int]]:
    """Return the pairs of parts to leave out together, as many as `FITS` says: neighbouring parts first."""
    pairs = sorted(itertools.combinations(range(PARTS), 2), key=lambda pair: pair[1] - pair[0] in (2, 3))
    return pairs[: round(np.interp(n, list(FITS), list(FITS.values())))]


@dataclass(frozen=True)
class Fit:
    """Critics fitted without the two parts of `pair`, as features of the cells of both, in this order.

    The first `split` cells are those of the first part. `network` holds the features with the weights chosen on the
    first part, then those with the weights chosen on the second.
    """

    pair: tuple[int, int]
    split: int
    variates: list[canonical.Variates]
    network: list[Features]


class View:
    """A fit as one of its two parts sees it: critics chosen on the cells `other`, to score the cells `own`."""

    def __init__(self, fit: Fit, part: int) -> None:
        self.fit, self.side = fit, fit.pair.index(part)
        ends = slice(fit.split), slice(fit.split, None)
        self.own, self.other = ends[self.side], ends[1 - self.side]

    def critics(self, chosen: list[tuple[int, torch.Tensor]]) -> list[Features]:
        """Return all critics as features of both parts' cells; `chosen`: ridge and correlations of each closed form."""
        forms = zip(self.fit.variates, chosen, strict=True)
        closed = [canonical.critic(u[ridge], v[ridge], r) for (u, v), (ridge, r) in forms]
        return [*closed, self.fit.network[1 - self.side]]


def _fit(
    inputs: tuple[torch.Tensor, torch.Tensor],
    forms: list[list[tuple[torch.Tensor, torch.Tensor]]],
    parts: list[np.ndarray],
    pairs: list[tuple[int, int]],
    seed: int,
) -> list[Fit]:
    """Fit the critics for every pair of parts, on all the other parts.

    `inputs` are the `whitened` components of both sides, for the networks. `forms` are the inputs of the closed forms:
    components of the columns and of their ranks, and the `curved` ones.
    """
    zx, zy = inputs
    products = [[canonical.cross_products(*form, parts) for form in group] for group in forms]
    crossed = moments(zx, zy, parts, generator(seed, "shuffled"))
    rests = [[k for k in range(len(parts)) if k not in pair] for pair in pairs]
    fits = [np.concatenate([parts[k] for k in rest]) for rest in rests]
    ends = [(parts[a], parts[b]) for a, b in pairs]
    how = gains(len(zx))
    turns = [axes(torch.stack([crossed[k] for k in rest]).sum(0), zx.shape[1], zy.shape[1], how) for rest in rests]
    turned = torch.stack([zx @ a for a, _ in turns]), torch.stack([zy @ b for _, b in turns])
    networks = train_critics(*turned, fits, ends, Schedule(), seed=derive(seed, "critics"))
    found = []
    for k, (rest, pair) in enumerate(zip(rests, pairs, strict=True)):
        cells = np.concatenate(ends[k])
        variates = []
        for group, of_parts in zip(forms, products, strict=True):
            of_rest = [torch.stack([sums[i] for i in rest]).sum(0) for sums in of_parts]
            each = [canonical.variates(*f, s, len(fits[k]), cells) for f, s in zip(group, of_rest, strict=True)]
            variates.append((torch.cat([u for u, _ in each]), torch.cat([v for _, v in each])))
        found.append(Fit(pair, len(ends[k][0]), variates, networks[k]))
    return found


def _combine(views: list[View]) -> Features:
    """Return features of a part's cells: the mean over its fits of the sum of critics that other cells weighted."""
    sizes = [len(view.fit.variates[0][0][0, view.other]) for view in views]
    n, chosen = sum(sizes), []
    for form in zip(*[view.fit.variates for view in views], strict=True):
        products = [(u[:, view.other] * v[:, view.other]).sum(1) for view, (u, v) in zip(views, form, strict=True)]
        chosen.append(canonical.choose_ridge(torch.stack(products).sum(0) / n, n))
    offers = [view.critics(chosen) for view in views]
    scores = [
        torch.stack([g[view.other][:CHOOSING] @ h[view.other][:CHOOSING].T for g, h in offer])
        for view, offer in zip(views, offers, strict=True)
    ]
    weights, gain = _weights(scores, [size / n for size in sizes])
    if gain <= 2 / n:
        weights = torch.zeros(len(weights))
    found = [
        (w / len(views) * g[view.own], h[view.own])
        for view, offer in zip(views, offers, strict=True)
        for w, (g, h) in zip(weights, offer, strict=True)
    ]
    return torch.cat([g for g, _ in found], 1), torch.cat([h for _, h in found], 1)


def _weights(scores: list[torch.Tensor], shares: list[float]) -> tuple[torch.Tensor, float]:
    """Weights [critics], none negative, of the sum that scores most over all fits, and its nats: a concave problem."""
    own = [s.diagonal(dim1=1, dim2=2).mean(1) for s in scores]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        w = torch.from_numpy(weights).float()
        nats, slope = 0.0, torch.zeros(len(w))
        for s, mean, share in zip(scores, own, shares, strict=True):
            total = (w @ s.flatten(1)).view(s.shape[1:])
            for side in (0, 1):
                norm = total.logsumexp(side, keepdim=True)
                nats += 0.5 * share * float(w @ mean - norm.mean() + math.log(len(total)))
                slope += 0.5 * share * (mean - s.flatten(1) @ (total - norm).exp().flatten() / len(total))
        return -nats, -slope.double().numpy()

    k = len(scores[0])
    found = minimize(loss, np.full(k, 1 / k), jac=True, method="L-BFGS-B", bounds=[(0, None)] * k, options=STACKING)
    return torch.from_numpy(found.x).float(), -float(found.fun)
