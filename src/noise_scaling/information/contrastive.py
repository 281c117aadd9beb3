"""A lower bound for vectors: held-out InfoNCE of a closed-form and a free critic, cross-fitted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..seeds import derive, generator
from . import canonical
from .core import NATS_PER_BIT, Information, from_pointwise, is_constant, prepare, zero
from .critic_network import Training, pointwise, train
from .crossfit import deal, one_thread
from .manifold import sheets, side
from .moments import SURER, Gains, axes, moments, normal_scores, standardised, whitened

BLOCK = 2048  # held-out cells scored against each other: the bound saturates at log2 of it, 11 bits
CHOOSING = 512  # cells of a part that choose between critics
MOST_RANKED = 1_500_000  # values: beyond it ranking takes longer than the rest
TEMPERATURES = (1.0, 0.8, 0.6, 0.4, 0.2)
FEW_CELLS = 800  # below it every pair of parts is left out once: twice the fits of a ring of neighbouring parts
MANY_CELLS = 2000  # from here on the critics need no tempering
AMPLE_CELLS = 3000  # from here on sides are looked at by themselves (`sheet`), and axes are told well
BESIDE = 0.1  # scale of a side's turned columns beside its sheet's coordinates
VERY_MANY_CELLS = 20_000  # from here on a third of the cells is enough to fit

Features = tuple[torch.Tensor, torch.Tensor]


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
    cross-moments up to the fourth say of them (`moments`). From 3,000 cells, where a side lies on a curved sheet
    (`sheet`), a third critic: a network that sees its coordinates there, and the columns small beside them.
    For each part the ridge and its correlations, the step of the networks, and which of the critics (or which mean of
    them) counts, and below 2,000 cells a temperature, are chosen on the other left-out cells; where nothing there
    beats a constant, the part is scored 0. The mean of the fits that left a part out scores it, its cells against
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
        Number of parts (None: 5; from 3,000 cells 8 if neither side has a sheet and there are 32 groups; 3 from
        20,000), width of the networks, and how they are trained (None: 200 steps, 400 from 20,000 cells;
        half as many again for a network that sees a sheet).

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
    forms, found = _forms(x, y), None
    if len(x) >= AMPLE_CELLS:
        with one_thread(), torch.no_grad():
            found = sheets([side(canonical.components(z)) for z in forms[0]], seed=seed)
    n_folds = n_folds or _folds(len(x), len(x) if groups is None else len(np.unique(groups)), found)
    parts = deal(len(x), n_folds, seed=seed, groups=groups)
    pairs = list(itertools.combinations(range(n_folds), 2))
    if len(x) >= FEW_CELLS:
        pairs = [pair for pair in pairs if (pair[1] - pair[0]) % n_folds in (1, n_folds - 1)]
    values = np.full(len(x), np.nan)
    with one_thread(), torch.no_grad():
        critics = _fit(forms, found, parts, pairs, training or _training(len(x)), hidden, seed)
        for at, part in enumerate(parts):
            views = [view for critic in critics for view in critic.views(at)]
            values[part] = _score(*_combine(views, fine=len(x) < MANY_CELLS)) / NATS_PER_BIT
    return from_pointwise(values, "infonce", lower_bound=True, groups=groups, learned=True)


@dataclass(frozen=True)
class View:
    """What one fit offers to score a part: variates and networks' features of `n_other` other cells, then its own."""

    variates: canonical.Variates
    free: list[Features]
    n_other: int


@dataclass(frozen=True)
class Fit:
    """Critics fitted without two parts, `pair`, whose cells come in this order.

    `free` holds for each network its features with the weights chosen on part `pair[0]`, and on `pair[1]`.
    """

    pair: tuple[int, int]
    sizes: tuple[int, int]
    variates: canonical.Variates
    free: list[list[Features]]

    def views(self, part: int) -> Iterator[View]:
        """What this fit offers to `part`: nothing if it was fitted on it."""
        if part not in self.pair:
            return
        other = 1 - self.pair.index(part)
        n = self.sizes[other]
        if other == 0:
            yield View(self.variates, [chosen[0] for chosen in self.free], n)
            return

        def swap(t: torch.Tensor) -> torch.Tensor:
            return torch.cat([t[..., self.sizes[0] :, :], t[..., : self.sizes[0], :]], -2)

        z = canonical.Variates(swap(self.variates.u), swap(self.variates.v))
        yield View(z, [(swap(g), swap(h)) for _, (g, h) in self.free], n)


Form = tuple[torch.Tensor, torch.Tensor]
Sheets = list[torch.Tensor | None]


def _forms(x: np.ndarray, y: np.ndarray) -> list[Form]:
    """The columns of both sides standardised, and by their ranks where that is not too slow."""
    forms = [(standardised(x), standardised(y))]
    if x.size + y.size <= MOST_RANKED:
        forms.append((normal_scores(x), normal_scores(y)))
    return forms


def _folds(n: int, n_groups: int, found: Sheets | None) -> int:
    """Parts to deal `n` cells to: more to learn from where that brings more than a sheet does, and groups allow it."""
    if n >= VERY_MANY_CELLS:
        return 3
    return 8 if found is not None and _flat(found) and n_groups >= 4 * 8 else 5


def _training(n: int) -> Training:
    return Training(steps=400) if n >= VERY_MANY_CELLS else Training()


def _fit(
    forms: list[Form],
    found: Sheets | None,
    parts: list[np.ndarray],
    pairs: list[tuple[int, int]],
    training: Training,
    hidden: int,
    seed: int,
) -> list[Fit]:
    """For every pair of parts, the critics fitted on all the others."""
    zx, zy = map(whitened, forms[0])
    columns = [tuple(map(canonical.components, form)) for form in forms]
    sums = [canonical.cross_products(*form, parts) for form in columns]
    crossed = moments(zx, zy, parts, generator(seed, "shuffled"))
    fits, ends, turned, closed = [], [], [], []
    for pair in pairs:
        rest = [k for k in range(len(parts)) if k not in pair]
        fits.append(np.concatenate([parts[k] for k in rest]))
        ends.append(tuple(parts[k] for k in pair))
        total = sum((crossed[k] for k in rest[1:]), crossed[rest[0]])
        turns = axes(total, zx.shape[1], zy.shape[1], Gains() if found is None else SURER)
        turned.append((zx @ turns[0], zy @ turns[1]))
        cells = np.concatenate(ends[-1])
        totals = [sum(each[k] for k in rest) for each in sums]
        found_in = [
            canonical.variates(*form, total, len(fits[-1]), cells) for form, total in zip(columns, totals, strict=True)
        ]
        closed.append(canonical.Variates(torch.cat([z.u for z in found_in]), torch.cat([z.v for z in found_in])))
    free = []
    for seen, share in _networks(found):
        x, y = map(_inputs, zip(*turned, strict=True), seen)
        some = replace(training, steps=round(share * training.steps))
        free.append(train(x, y, fits, ends, some, hidden=hidden, seed=derive(seed, "towers")))
    sizes = [tuple(map(len, end)) for end in ends]
    return [Fit(*each) for each in zip(pairs, sizes, closed, map(list, zip(*free, strict=True)), strict=True)]


def _networks(found: Sheets | None) -> list[tuple[Sheets, float]]:
    """What each network sees of the sheets, and for how many times the steps it trains.

    The first sees nothing, so that a sheet found in error costs little but time.
    """
    plain: Sheets = [None, None]
    return [(plain, 1.0)] if found is None or _flat(found) else [(plain, 1.0), (found, 1.5)]


def _flat(found: Sheets) -> bool:
    return all(sheet is None for sheet in found)


def _inputs(turned: tuple[torch.Tensor, ...], sheet: torch.Tensor | None) -> torch.Tensor:
    """A network's inputs [fits, cells, dims] of a side: its turned columns, small beside its `sheet` if given."""
    if sheet is None:
        return torch.stack(turned)
    return torch.stack([torch.cat([sheet, BESIDE * z], 1) for z in turned])


def _combine(views: list[View], *, fine: bool) -> Features:
    """Features of a part's cells: over its fits, the mean of the critic and temperature that the other cells chose."""
    n = sum(view.n_other for view in views)
    c = sum(canonical.correlations(v.variates, slice(v.n_other)) * v.n_other for v in views) / n
    ridge, r = canonical.choose_ridge(c, n)
    offers = []
    for v in views:
        closed = canonical.critic(v.variates.u[ridge], v.variates.v[ridge], r)
        critics = [closed, *v.free]
        offers.append([_mean(some) for k in range(len(critics)) for some in itertools.combinations(critics, k + 1)])
    best, highest = None, 2.0 / n
    for kind in range(len(offers[0])):
        for temperature in TEMPERATURES if fine else (1.0,):
            nats = 0.0
            for v, offer in zip(views, offers, strict=True):
                g, h = (t[: min(v.n_other, CHOOSING)] for t in offer[kind])
                nats += _score(temperature * g, h).mean() * v.n_other / n
            if nats > highest:
                best, highest = (kind, temperature), nats
    if best is None:
        nothing = torch.zeros(len(offers[0][0][0]) - views[0].n_other, 1)
        return nothing, nothing
    kind, temperature = best
    g, h = _mean([tuple(t[v.n_other :] for t in offer[kind]) for v, offer in zip(views, offers, strict=True)])
    return temperature * g, h


def _mean(critics: list[Features]) -> Features:
    """The critic whose score is the mean of the scores: better than each, as their errors differ."""
    g, h = zip(*critics, strict=True)
    return torch.cat(g, 1) / len(critics), torch.cat(h, 1)


def _score(g: torch.Tensor, h: torch.Tensor) -> np.ndarray:
    """Pointwise InfoNCE in nats of held-out features [cells, features], both directions, in even blocks."""
    n = len(g)
    values = np.empty(n)
    for block in np.array_split(np.arange(n), -(-n // BLOCK)):
        cells = slice(block[0], block[-1] + 1)
        values[cells] = pointwise(g[cells], h[cells]).numpy()
    return values
