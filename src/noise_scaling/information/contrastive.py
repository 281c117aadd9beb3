"""A lower bound for vectors: held-out InfoNCE of a closed-form and a free critic, cross-fitted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..seeds import derive, generator
from . import canonical
from .coordinates import SURER, Gains, axes, components, moments, normal_scores, radius, standardised, whitened
from .core import MANY_PAIRS, NATS_PER_BIT, Information, from_pointwise, is_constant, prepare, register, zero
from .crossfit import deal, one_thread
from .manifold import manifolds
from .networks import Features, Training, nats, train_critics

BLOCK = 2048  # held-out cells scored against each other: the bound saturates at log2 of it, 11 bits
CHOOSING = 512  # cells of a part that choose between critics
MOST_RANKED = 1_500_000  # values: beyond it ranking takes longer than the rest
TEMPERATURES = (1.0, 0.8, 0.6, 0.4, 0.2)
FEW_CELLS = 800  # below it every pair of parts is left out once: twice the fits of a ring of neighbouring parts
UNTEMPERED = 2000  # cells from which on the critics need no tempering
BESIDE = 0.1  # scale of a side's turned columns beside its manifold's coordinates
VERY_MANY_CELLS = 20_000  # from here on a third of the cells is enough to fit


@register("infonce", label="InfoNCE", version=4, many_pairs_version=3, takes="vectors", order=20)
def infonce(
    x: object,
    y: object,
    *,
    seed: int = 0,
    groups: object = None,
    n_folds: int | None = None,
    hidden: int = 64,
    training: Training | None = None,
) -> Information:
    """Mutual information of two vectors, bounded from below by InfoNCE (van den Oord et al. 2018) on held-out cells.

    The cells are dealt to parts. Two parts are left out of every fit; each of the two is scored with what was chosen
    on the other. A fit has two critics: the Gaussian log density ratio of canonical variates (of the columns or of
    their normal scores), and a network on either side, whose inputs are whitened, turned and scaled by what
    cross-moments up to the fourth say of them (`coordinates`). From 3,000 cells, where a side lies on a curved
    manifold (`manifolds`), a third critic: a network that sees its coordinates there, and the columns small beside.

    For each part these are chosen on the other left-out cells: the ridge and its correlations, the step of the
    networks, which of the critics (or which mean of them) counts, and below 2,000 cells a temperature. Where nothing
    there beats a constant, the part is scored 0. The mean of the fits that left a part out scores it, its cells against
    each other in blocks of up to 2,048. No pair is fitted, chosen on and scored at once; means, variances and
    principal components are those of all cells, x and y apart. Each direction (x given y, y given x) counts half.

    Parameters
    ----------
    x, y
        [cells, dims] floats; row i of both is the same cell. Labels become one-hot vectors.
    seed
        Parts, starting weights and batches; the same seed gives the same bits.
    groups
        [cells] cells of one group (a clone, a spatial block) stay in one part.
    n_folds, hidden, training
        Number of parts (None: 5; from 3,000 cells 8 if neither side has a manifold and there are 32 groups; 3 from
        20,000), width of the networks, and how they are trained (None: 200 steps, 400 from 20,000 cells;
        half as many again for a network that sees a manifold).

    Returns
    -------
    Information
        A lower bound in expectation, with pointwise values. Of the problems of 1 to 4 bits in benchmarks/information it
        finds, at 5,000 cells (means of 5 draws), 96 to 98 % of Gaussian signal among noise, 92 to 95 % where the signal
        is mapped curvedly on one side and 89 to 90 % where both are, 85 to 90 % where it is shared up to a sign, 88 %
        of 14 skewed proteins. At 280 cells: 1.57 of 2 bits for the Gaussian, and nothing of a common sign.
        The standard error is that of the scored cells, widened by what the fit varies (`core.LEARNING_CELLS`): of ten
        draws a problem that this was not fitted to, 90, 88 and 97 % lie within 1.96 of it of their mean at 280, 1,000
        and 5,000 cells. It is half the spread for the strongest dependence at 280 cells, and several times too small
        for a common sign at 1,000, which some draws show and some do not (94 % without these).
        0 bits where one side is constant.

    Raises
    ------
    InputError
        Lengths that differ, NaN, fewer than 30 pairs, too few groups.
    """
    x, y, groups = prepare(x, y, discrete=False, groups=groups)
    if is_constant(x, y):
        return zero(len(x), "infonce", "one side is constant")
    n, values = len(x), np.full(len(x), np.nan)
    with one_thread(), torch.no_grad():
        forms = [(components(_wide(standardised(x), x)), components(_wide(standardised(y), y)))]
        along = manifolds(list(forms[0]), seed=seed) if n >= MANY_PAIRS else [None, None]
        if x.size + y.size <= MOST_RANKED:
            rx, ry = normal_scores(x), normal_scores(y)
            forms.append((components(_wide(rx, rx.numpy(), True)), components(_wide(ry, ry.numpy(), True))))
        curved = any(side is not None for side in along)
        n_folds = n_folds or _folds(n, n if groups is None else len(np.unique(groups)), curved)
        parts = deal(n, n_folds, seed=seed, groups=groups)
        training = training or Training(steps=400 if n >= VERY_MANY_CELLS else 200)
        fits = _fit(forms, along, parts, _pairs(n, n_folds), training, hidden, seed)
        for at, part in enumerate(parts):
            views = [View(fit, at) for fit in fits if at in fit.pair]
            values[part] = _score(*_combine(views, fine=n < UNTEMPERED)) / NATS_PER_BIT
    return from_pointwise(values, "infonce", lower_bound=True, groups=groups, learned=True)


def _folds(n: int, n_groups: int, curved: bool) -> int:
    """Parts to deal `n` cells to: more to learn from where that brings more than a manifold, and groups allow it."""
    if n >= VERY_MANY_CELLS:
        return 3
    return 8 if n >= MANY_PAIRS and not curved and n_groups >= 4 * 8 else 5


def _pairs(n: int, n_folds: int) -> list[tuple[int, int]]:
    """Pairs of parts that are left out together: all of them, or from `FEW_CELLS` on those next to each other."""
    pairs = list(itertools.combinations(range(n_folds), 2))
    return [pair for pair in pairs if n < FEW_CELLS or (pair[1] - pair[0]) % n_folds in (1, n_folds - 1)]


@dataclass(frozen=True)
class Fit:
    """Critics fitted without two parts, `pair`, on the cells of both in this order.

    `split` cells are of the first part. `networks` holds for each network its features with the weights chosen on the
    first part, and on the second.
    """

    pair: tuple[int, int]
    split: int
    variates: canonical.Variates
    networks: list[list[Features]]


class View:
    """What a fit offers to one of its parts: critics chosen on the cells `other`, to score the cells `own`."""

    def __init__(self, fit: Fit, part: int) -> None:
        self.fit, self.side = fit, fit.pair.index(part)
        ends = slice(fit.split), slice(fit.split, None)
        self.own, self.other = ends[self.side], ends[1 - self.side]

    def critics(self, ridge: int, r: torch.Tensor) -> list[Features]:
        """All critics, and the mean of each group of them, as features of the cells of both parts."""
        u, v = self.fit.variates
        critics = [canonical.critic(u[ridge], v[ridge], r), *(chosen[1 - self.side] for chosen in self.fit.networks)]
        groups = [group for k in range(len(critics)) for group in itertools.combinations(critics, k + 1)]
        return [_mean(list(group)) for group in groups]


def _fit(
    forms: list[tuple[torch.Tensor, torch.Tensor]],
    along: Sequence[torch.Tensor | None],
    parts: list[np.ndarray],
    pairs: list[tuple[int, int]],
    training: Training,
    hidden: int,
    seed: int,
) -> list[Fit]:
    """For every pair of parts, the critics fitted on all the others.

    `forms` are both sides' `components`, of their columns and of their normal scores; `along` their `manifolds`.
    """
    zx, zy = map(whitened, forms[0])
    products = [canonical.cross_products(*form, parts) for form in forms]
    crossed = moments(zx, zy, parts, generator(seed, "shuffled"))
    rests = [[k for k in range(len(parts)) if k not in pair] for pair in pairs]
    fits = [np.concatenate([parts[k] for k in rest]) for rest in rests]
    ends = [(parts[a], parts[b]) for a, b in pairs]
    gains = SURER if len(zx) >= MANY_PAIRS else Gains()
    turns = [axes(torch.stack([crossed[k] for k in rest]).sum(0), zx.shape[1], zy.shape[1], gains) for rest in rests]
    turned = torch.stack([zx @ a for a, _ in turns]), torch.stack([zy @ b for _, b in turns])
    inputs = [(turned, training)]  # without a manifold first, so that one found in error costs little but time
    if any(side is not None for side in along):
        x, y = (z if side is None else _beside(side, z) for side, z in zip(along, turned, strict=True))
        inputs.append(((x, y), replace(training, steps=round(1.5 * training.steps))))
    stream = derive(seed, "towers")  # an old name: another would change all bits
    networks = [train_critics(x, y, fits, ends, how, hidden=hidden, seed=stream) for (x, y), how in inputs]
    found = []
    for k, (rest, pair) in enumerate(zip(rests, pairs, strict=True)):
        cells = np.concatenate(ends[k])
        variates = [
            canonical.variates(*form, torch.stack([sums[i] for i in rest]).sum(0), len(fits[k]), cells)
            for form, sums in zip(forms, products, strict=True)
        ]
        u, v = (torch.cat(side) for side in zip(*variates, strict=True))
        found.append(Fit(pair, len(ends[k][0]), (u, v), [network[k] for network in networks]))
    return found


def _beside(along: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
    """A network's inputs [fits, cells, dims]: the coordinates along the manifold, the turned columns small beside."""
    return torch.cat([along.expand(len(turned), -1, -1), BESIDE * turned], 2)


def _combine(views: list[View], *, fine: bool) -> Features:
    """Features of a part's cells: over its fits, the mean of the critic and temperature that the other cells chose."""
    sizes = [len(view.fit.variates[0][0, view.other]) for view in views]
    n = sum(sizes)
    products = [(u[:, view.other] * v[:, view.other]).sum(1) for view in views for u, v in [view.fit.variates]]
    chosen_ridge = canonical.choose_ridge(torch.stack(products).sum(0) / n, n)
    offers = [view.critics(*chosen_ridge) for view in views]
    best, highest = None, 2.0 / n
    for kind in range(len(offers[0])):
        for temperature in TEMPERATURES if fine else (1.0,):
            total = 0.0
            for view, size, offer in zip(views, sizes, offers, strict=True):
                g, h = (side[view.other][:CHOOSING] for side in offer[kind])
                total += float(nats(temperature * g, h).mean()) * size / n
            if total > highest:
                best, highest = (kind, temperature), total
    if best is None:
        nothing = torch.zeros(len(offers[0][0][0][views[0].own]), 1)
        return nothing, nothing
    kind, temperature = best
    chosen = [(offer[kind][0][view.own], offer[kind][1][view.own]) for view, offer in zip(views, offers, strict=True)]
    g, h = _mean(chosen)
    return temperature * g, h


def _mean(critics: list[Features]) -> Features:
    """The critic whose score is the mean of the scores: better than each, as their errors differ."""
    g, h = zip(*critics, strict=True)
    return torch.cat(g, 1) / len(critics), torch.cat(h, 1)


def _score(g: torch.Tensor, h: torch.Tensor) -> np.ndarray:
    """Pointwise InfoNCE in nats of held-out features [cells, features], both directions, in even blocks."""
    blocks = np.array_split(np.arange(len(g)), -(-len(g) // BLOCK))
    return np.concatenate([nats(g[block], h[block]).numpy() for block in blocks])


def _wide(z: torch.Tensor, x: np.ndarray, rank: bool = False) -> torch.Tensor:
    if x.shape[1] == 1:
        return z
    low, middle, high = np.percentile(x, [25, 50, 75], axis=0)
    spread = x.std(axis=0)
    scale = np.where(high > low, np.minimum((high - low) / 1.349, spread), spread)
    r = (((x - middle) / scale)**2).mean(1, keepdims=True)
    return torch.cat([z, normal_scores(r) if rank else standardised(np.log(r + 1e-12))], 1)
