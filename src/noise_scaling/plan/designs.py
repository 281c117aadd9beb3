"""The designs that can be bought, and the best of them: most bits for a budget, or the lowest cost for given bits.

A law gives the bits of (cells, UMIs per cell), a library converts reads to UMIs, and prices give the cost of both.
Designs are searched within the measured range. book/_static/planning.js does the same in the browser, step by step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
from scipy import stats

from ..laws import BudgetFit
from .library import Library
from .prices import Preparation, Sequencing, Values

PROMISE_ERROR = 0.25
"""Root mean square error of the bits promised for expensive designs, in back-tests on 56 sequenced grids, ours too."""
SPLIT_SD = 0.043
"""Bits by which one choice of test and training cells shifts a whole grid, root mean square over 61 grids of ours."""
BEYOND = (10.0, 3.0)
"""Limits of an extrapolation, as multiples of the most cells and of the deepest measurement."""
RARE = (10, 0.95)
"""A cell type counts as found if it has at least this many cells with this probability."""

_GRID, _FINE, _STEPS, _MULTIPLES = 400, 60, 60, 64
_Z = 1.959963984540054
_LEAST = 1e-9


@dataclass(frozen=True)
class Range:
    """The measured range within which a law was fitted: training cells, and mean UMIs per cell of the panel."""

    n: tuple[float, float]
    u: tuple[float, float]

    def holds(self, n: float, u: float) -> bool:
        """Return whether (n, u) lies in the range, with a relative tolerance of a millionth."""
        return all(low * (1 - 1e-6) <= x <= high * (1 + 1e-6) for x, (low, high) in ((n, self.n), (u, self.u)))

    def beyond(self) -> Self:
        """Return the range that an extrapolation may use."""
        return type(self)((self.n[0], self.n[1] * BEYOND[0]), (self.u[0], self.u[1] * BEYOND[1]))


@dataclass(frozen=True)
class Law:
    """A model's law, the range in which it was measured, and the number of seeds (splits of cells) averaged."""

    model: str
    fit: BudgetFit
    measured: Range
    seeds: int = 1

    @property
    def scatter(self) -> float:
        """Standard deviation in bits of a new measurement, on a new split of the cells, around the curve."""
        return float(np.hypot(self.fit.residual_sd, SPLIT_SD * np.sqrt(1 + 1 / self.seeds)))

    def interval(self, n: float, u: float) -> tuple[float, float]:
        """Return the 95 % interval of a new measurement: curve, `scatter`, and PROMISE_ERROR outside the range."""
        bits, (low, high) = float(self.fit.predict(n, u)), self.fit.interval(n, u)
        more = _Z * np.hypot(self.scatter, 0.0 if self.measured.holds(n, u) else PROMISE_ERROR)
        # both quantiles of the draws may lie on one side of the fit, but an interval must contain it
        below, above = max(bits - float(low), 0.0), max(float(high) - bits, 0.0)
        return bits - float(np.hypot(below, more)), bits + float(np.hypot(above, more))

    def reach(self) -> float:
        """Return the bits at the most cells and the greatest depth of the range."""
        return float(self.fit.predict(self.measured.n[1], self.measured.u[1]))


@dataclass(frozen=True)
class Shop:
    """What can be bought (the cheapest of the kits and flow cells is taken), and how reads become UMIs of the panel.

    `libraries` are keyed by kit, `factor` is library UMIs per UMI of the panel, and each of `donors` has a library at
    least. With `have` reads per cell, the cells exist already, and nothing is prepared.
    """

    kits: Sequence[Preparation]
    flows: Sequence[Sequencing]
    libraries: dict[str, Library]
    factor: float = 1.0
    donors: int = 1
    have: float = 0.0

    def umis(self, kit: Preparation, reads: Values) -> np.ndarray:
        """Return UMIs per cell of the panel from reads per cell, usable or not."""
        return self.libraries[kit.name].umis(np.asarray(reads) * kit.mapped) / self.factor

    def reads(self, kit: Preparation, umis: Values) -> np.ndarray:
        """Return reads per cell, usable or not, for these UMIs per cell of the panel."""
        return self.libraries[kit.name].reads(np.asarray(umis) * self.factor) / kit.mapped

    def prepared(self, kit: Preparation, n: Values) -> np.ndarray:
        """Return the price of the libraries of `n` cells; 0 if they exist already (`have`)."""
        return 0.0 * np.asarray(n) if self.have else kit.cost(n, self.donors)

    def ordered(self, kit: Preparation, n: Values, reads: Values) -> np.ndarray:
        """Return the total reads to order for `reads` on each of `n` cells, at least the vendor's minimum."""
        reads = np.maximum(reads, 0.0 if self.have else kit.least_reads)
        return np.maximum(reads - self.have, 0) * n * kit.per_cell(n, self.donors)


@dataclass(frozen=True)
class Design:
    """A number of training cells (single ones) at one depth, with its bits and its cost.

    UMIs are given for the measured panel of genes and for the whole library. Reads are read pairs, mapped or not: those
    that the law counts on, and those that the invoice pays for. Bits have the 95 % interval of a new measurement; the
    cost is of the whole invoice. Kits, libraries and flow cells are fractions where they need not be bought whole.
    `rarest_type` is the smallest share at which a cell type is found, in the sense of RARE.
    """

    role: str
    model: str
    n_cells: int
    umis_per_cell: float
    library_umis_per_cell: float
    reads_per_cell: float
    reads_paid_per_cell: float
    saturation: float
    bits: float
    bits_low: float
    bits_high: float
    cost: float
    inside: bool
    kit: str
    kits: float
    libraries: float
    flow_cell: str
    flow_cells: float
    cells_recovered: float
    cells_loaded: float
    rarest_type: float


@dataclass(frozen=True)
class Offers:
    """Designs of one kit and one flow cell, arrays [designs]: cells, reads per cell, UMIs, bits, cost, flow cells.

    Bits and cost are NaN where there is no such design.
    """

    kit: Preparation
    flow: Sequencing
    n: np.ndarray
    reads: np.ndarray
    umis: np.ndarray
    bits: np.ndarray
    cost: np.ndarray
    units: np.ndarray


def _offers(
    law: Law, shop: Shop, span: Range, kit: Preparation, flow: Sequencing, n: np.ndarray, units: np.ndarray
) -> Offers:
    """Return designs of `n` cells with `units` of reads, as deep as these allow but no deeper than the range `span`."""
    bought = np.maximum(units, 0) * flow.reads / (n * kit.per_cell(n, shop.donors))
    deepest = shop.reads(kit, span.u[1])
    reads = np.minimum(shop.have + bought, deepest)
    umis = np.minimum(shop.umis(kit, reads), span.u[1])
    bits, cost = law.fit.predict(n, np.maximum(umis, _LEAST)), shop.prepared(kit, n) + units * flow.price
    least = 0.0 if shop.have else kit.least_reads * (1 - 1e-9)
    none = (units < 0) | (bought < least) | (umis < span.u[0] * (1 - 1e-6))
    return Offers(kit, flow, n, reads, umis, np.where(none, np.nan, bits), np.where(none, np.nan, cost), units)


def for_budget(
    law: Law, shop: Shop, span: Range, budget: float, kit: Preparation, flow: Sequencing, n: np.ndarray
) -> Offers:
    """Return designs of `n` cells that spend the budget, except on reads that the range cannot use."""
    most = flow.affordable(budget - shop.prepared(kit, n))
    units = np.minimum(most, flow.units(shop.ordered(kit, n, shop.reads(kit, span.u[1]))))
    return _offers(law, shop, span, kit, flow, n, units)


def for_bits(
    law: Law, shop: Shop, span: Range, bits: float, kit: Preparation, flow: Sequencing, n: np.ndarray
) -> Offers:
    """Return designs of `n` cells with the fewest reads that give these bits; the depth is found by bisection."""
    low, high = (np.full(len(n), np.log(end)) for end in span.u)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        enough = law.fit.predict(n, np.exp(middle)) >= bits
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    units = flow.units(shop.ordered(kit, n, shop.reads(kit, np.exp(high))))
    made = _offers(law, shop, span, kit, flow, n, units)
    reached = made.bits >= bits - 1e-6
    return replace(made, bits=np.where(reached, made.bits, np.nan), cost=np.where(reached, made.cost, np.nan))


def find(
    law: Law, shop: Shop, span: Range, role: str, *, budget: float = np.nan, bits: float = np.nan
) -> Design | None:
    """Return the design with most bits for a budget, or the cheapest for given bits; None if there is none.

    The search covers a grid of cells and then a finer one around the best, with every kit and flow cell. Of equally
    good designs the cheaper one is taken, of equally cheap ones the better.

    Parameters
    ----------
    law, shop
        A model's law, and what can be bought.
    span
        Range to search.
    role
        Role of the design, in words.
    budget, bits
        Give one of them.
    """
    cheapest = np.isfinite(bits)
    buy = partial(for_bits, law, shop, span, bits) if cheapest else partial(for_budget, law, shop, span, budget)
    best = (np.inf, np.inf)
    found = None
    for kit in shop.kits:
        for flow in shop.flows:
            cells = cells_between(*span.n, kit)
            for fine in (True, False):
                made = buy(kit, flow, cells)
                first, second = (made.cost, -made.bits) if cheapest else (-made.bits, made.cost)
                if not np.isfinite(first).any():
                    break
                at = int(np.argmin(np.where(first <= np.nanmin(first) + _LEAST, second, np.inf)))
                gain = best[0] - first[at]
                if gain > _LEAST or (gain >= -_LEAST and second[at] < best[1] - _LEAST):
                    best, found = (float(first[at]), float(second[at])), (made, at)
                if fine:
                    cells = cells_between(cells[max(at - 1, 0)], cells[min(at + 1, len(cells) - 1)], None, _FINE)
    return design(law, shop, *found, role) if found else None


def cells_between(low: float, high: float, kit: Preparation | None = None, count: int = _GRID) -> np.ndarray:
    """Return whole numbers of cells, log-spaced, together with those that fill libraries and kits."""
    numbers = np.floor(np.exp(np.linspace(np.log(low), np.log(high), count)) + 0.5)
    if kit is not None and kit.whole:
        full = np.arange(1, _MULTIPLES + 1) * kit.singlets
        numbers = np.concatenate([numbers, np.floor(full), np.floor(full * kit.libraries)])
    return np.unique(numbers[(numbers >= np.ceil(low)) & (numbers <= high)])


def design(law: Law, shop: Shop, made: Offers, at: int, role: str) -> Design:
    """Return one of the offers as a `Design`."""
    kit, n, u, reads, units = made.kit, *(float(x[at]) for x in (made.n, made.umis, made.reads, made.units))
    libraries = 0.0 if shop.have else float(kit.libraries_for(n, shop.donors))
    recovered = float(kit.recovered(n, shop.donors))
    paid = shop.have + units * made.flow.reads / (n * float(kit.per_cell(n, shop.donors)))
    saturation = shop.libraries[kit.name].saturation(max(reads * kit.mapped, _LEAST))
    return Design(
        role, law.model, int(n), u, u * shop.factor, reads, paid, max(float(saturation), 0.0), float(made.bits[at]),
        *law.interval(n, max(u, _LEAST)), float(made.cost[at]), law.measured.holds(n, u), kit.name,
        float(kit.kits_for(libraries)), libraries, made.flow.name, units, recovered, recovered / kit.recovery,
        float(stats.beta.ppf(RARE[1], RARE[0], n - RARE[0] + 1)) if n >= RARE[0] else 1.0,  # Clopper and Pearson 1934
    )  # fmt: skip


def given(law: Law, shop: Shop, n: float, reads: float, role: str) -> Design:
    """Return the design of `n` cells at `reads` each, with the cheapest kit and flow cell."""
    cells, depth = np.array([n]), np.array([reads])
    options = []
    for kit in shop.kits:
        umis = shop.umis(kit, depth)
        bits = law.fit.predict(cells, np.maximum(umis, _LEAST))
        for flow in shop.flows:
            units = flow.units(shop.ordered(kit, cells, depth))
            cost = shop.prepared(kit, cells) + units * flow.price
            options.append(Offers(kit, flow, cells, depth, np.asarray(umis), bits, cost, units))
    return design(law, shop, min(options, key=lambda made: float(made.cost[0])), 0, role)


def ahead(law: Law, one: Design, other: Design) -> float:
    """Return the share of draws, from all laws as for intervals, in which one design has more bits than another."""
    bits, others = (law.fit.predict_draws(d.n_cells, max(d.umis_per_cell, _LEAST)) for d in (one, other))
    return float(np.mean(bits > others))


def tie(one: Design, other: Design) -> bool:
    """Return whether two designs differ by less than the error of promised bits."""
    return abs(one.bits - other.bits) < PROMISE_ERROR
