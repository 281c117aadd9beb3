"""The designs that can be bought, and the best of them: most bits for a budget, or the cheapest for so many bits.

A law says what (cells, UMIs per cell) are worth, a library what reads give in UMIs, prices what both cost. Designs are
looked for within the measured range. book/_static/planning.js does the same in the browser, step by step.
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

PROMISE_ERROR = 0.24
"""Bits, root mean square: how far promises of dear designs were off in back-tests on 27 sequenced grids, ours too."""
SPLIT_SD = 0.043
"""Bits: what one choice of test and training cells moves a whole grid by, root mean square over 79 grids."""
BEYOND = (10.0, 3.0)
"""How many times the most cells and the deepest measurement an extrapolation may have."""
RARE = (10, 0.95)
"""A cell type is found where it has so many cells with such a probability."""

_GRID, _FINE, _STEPS, _MULTIPLES = 400, 60, 60, 64
_Z = 1.959963984540054
_LEAST = 1e-9


@dataclass(frozen=True)
class Range:
    """The measured range within which a law was fitted: training cells, and mean UMIs per cell of the panel."""

    n: tuple[float, float]
    u: tuple[float, float]

    def holds(self, n: float, u: float) -> bool:
        """Whether (n, u) lies in it, to a millionth."""
        return all(low * (1 - 1e-6) <= x <= high * (1 + 1e-6) for x, (low, high) in ((n, self.n), (u, self.u)))

    def beyond(self) -> Self:
        """The range that an extrapolation may use."""
        return type(self)((self.n[0], self.n[1] * BEYOND[0]), (self.u[0], self.u[1] * BEYOND[1]))


@dataclass(frozen=True)
class Law:
    """A model's law, the range in which it was measured, and of how many seeds (splits of cells) that is the mean."""

    model: str
    fit: BudgetFit
    measured: Range
    seeds: int = 1

    @property
    def scatter(self) -> float:
        """Bits, one standard deviation: of a new measurement on a new split of the cells around the curve."""
        return float(np.hypot(self.fit.residual_sd, SPLIT_SD * np.sqrt(1 + 1 / self.seeds)))

    def interval(self, n: float, u: float) -> tuple[float, float]:
        """95 % for a new measurement at (n, u): the curve's and `scatter`; beyond the range the promise's error too."""
        bits, (low, high) = float(self.fit.predict(n, u)), self.fit.interval(n, u)
        more = _Z * np.hypot(self.scatter, 0.0 if self.measured.holds(n, u) else PROMISE_ERROR)
        # quantiles of draws may lie to one side of the fit they were drawn around, an interval must not
        below, above = max(bits - float(low), 0.0), max(float(high) - bits, 0.0)
        return bits - float(np.hypot(below, more)), bits + float(np.hypot(above, more))

    def reach(self) -> float:
        """Bits at the far corner of the range."""
        return float(self.fit.predict(self.measured.n[1], self.measured.u[1]))


@dataclass(frozen=True)
class Shop:
    """What can be bought (of kits and flow cells the cheapest is taken), and how its reads become the panel's UMIs.

    `libraries` are by their kit's name, `factor` is library UMIs behind one UMI of the panel, `donors` have a library
    each at least. With `have` reads per cell the cells are there already, and nothing is prepared.
    """

    kits: Sequence[Preparation]
    flows: Sequence[Sequencing]
    libraries: dict[str, Library]
    factor: float = 1.0
    donors: int = 1
    have: float = 0.0

    def umis(self, kit: Preparation, reads: Values) -> np.ndarray:
        """UMIs per cell of the panel from all reads per cell."""
        return self.libraries[kit.name].umis(np.asarray(reads) * kit.mapped) / self.factor

    def reads(self, kit: Preparation, umis: Values) -> np.ndarray:
        """All reads per cell for so many UMIs per cell of the panel."""
        return self.libraries[kit.name].reads(np.asarray(umis) * self.factor) / kit.mapped

    def prepared(self, kit: Preparation, n: Values) -> np.ndarray:
        """Price of the libraries of `n` cells."""
        return 0.0 * np.asarray(n) if self.have else kit.cost(n, self.donors)

    def ordered(self, kit: Preparation, n: Values, reads: Values) -> np.ndarray:
        """Reads to order in all for so many on each of `n` cells, the vendor's minimum at least."""
        reads = np.maximum(reads, 0.0 if self.have else kit.least_reads)
        return np.maximum(reads - self.have, 0) * n * kit.per_cell(n, self.donors)


@dataclass(frozen=True)
class Design:
    """So many training cells (single ones) at such a depth: what it is worth and what it costs.

    UMIs are of the measured panel of genes and of the whole library; reads are read pairs, mapped or not, those that
    the law counts on and those that the invoice pays for. Bits come with the 95 % interval of a new measurement, cost
    is of the whole invoice. Kits, libraries and flow cells are shares where they need not come whole. A cell type of
    the share `rarest_type` is found, as RARE says.
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

    NaN in bits and cost where there is no such design.
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
    """`n` cells with so many units of reads: as deep as these go, and no deeper than the range."""
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
    """`n` cells where the budget is spent, but for reads that the range cannot use."""
    most = flow.affordable(budget - shop.prepared(kit, n))
    units = np.minimum(most, flow.units(shop.ordered(kit, n, shop.reads(kit, span.u[1]))))
    return _offers(law, shop, span, kit, flow, n, units)


def for_bits(
    law: Law, shop: Shop, span: Range, bits: float, kit: Preparation, flow: Sequencing, n: np.ndarray
) -> Offers:
    """`n` cells with the fewest reads that give these bits; the depth by bisection."""
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
    """The design with most bits for a budget, or the cheapest for so many bits; None where there is none.

    Looked for on a grid of cells, then on a finer one around the best, with every kit and flow cell. Of designs equally
    good the cheaper, of those equally cheap the better.

    Parameters
    ----------
    law, shop
        A model's law, and what can be bought.
    span
        Where to look.
    role
        Of the design, as a word for it.
    budget, bits
        One of them.
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
    """Whole numbers of cells, log-spaced, and those that fill libraries and kits."""
    numbers = np.floor(np.exp(np.linspace(np.log(low), np.log(high), count)) + 0.5)
    if kit is not None and kit.whole:
        full = np.arange(1, _MULTIPLES + 1) * kit.singlets
        numbers = np.concatenate([numbers, np.floor(full), np.floor(full * kit.libraries)])
    return np.unique(numbers[(numbers >= np.ceil(low)) & (numbers <= high)])


def design(law: Law, shop: Shop, made: Offers, at: int, role: str) -> Design:
    """One of the offers, in full."""
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
    """The design of `n` cells at so many reads each, with the kit and flow cell that cost least."""
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
    """The share of draws, of all laws as in intervals, in which one design of a model has more bits than another."""
    bits, others = (law.fit.predict_draws(d.n_cells, max(d.umis_per_cell, _LEAST)) for d in (one, other))
    return float(np.mean(bits > others))


def tie(one: Design, other: Design) -> bool:
    """Whether two designs differ by less than promises err."""
    return abs(one.bits - other.bits) < PROMISE_ERROR
