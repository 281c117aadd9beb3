"""What to sequence next: the cells and the depth that buy the most information for a budget, by the noise budget law.

The law says what (cells, UMIs per cell) are worth, the library what reads give in UMIs, the prices what both cost.
book/_static/planning.js does the same in the browser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from ..errors import InputError
from ..laws import BudgetFit

LEAST_CELLS = 10
FLAT = 0.02
"""Bits: designs this close to the best one are as good, for seeds alone differ by .02 to .05."""

_GRID = 400

Bits = Callable[[np.ndarray | float], np.ndarray]
"""What a number of cells is worth, the budget spent."""


@dataclass(frozen=True)
class Library:
    """How the reads of a cell become UMIs: each is drawn at random from `molecules` different molecules per cell.

    Lander and Waterman 1988: reads r of M molecules show M (1 - exp(-r / M)) different ones. M is infinite where every
    read is a new molecule.
    """

    molecules: float

    def umis(self, reads: np.ndarray | float) -> np.ndarray | float:
        """Mean UMIs per cell from usable reads per cell."""
        return reads if np.isinf(self.molecules) else -self.molecules * np.expm1(-np.asarray(reads) / self.molecules)

    def reads(self, umis: np.ndarray | float) -> np.ndarray | float:
        """Usable reads per cell that give these UMIs per cell; infinite where the library holds no more."""
        if np.isinf(self.molecules):
            return umis
        share = np.minimum(np.asarray(umis) / self.molecules, 1.0)
        with np.errstate(divide="ignore"):
            return -self.molecules * np.log1p(-share)

    def saturation(self, reads: np.ndarray | float) -> np.ndarray | float:
        """Sequencing saturation as 10x Genomics defines it: 1 - unique reads / usable reads."""
        return 1 - self.umis(reads) / reads


def library(saturation: float, *, reads: float | None = None, umis: float | None = None) -> Library:
    """The library that has this saturation at one depth.

    Saturation S at r reads of M molecules is S = 1 - (1 - exp(-x)) / x with x = r / M (Lander and Waterman 1988),
    solved for x by bracketing; r (1 - S) UMIs are seen there.

    Parameters
    ----------
    saturation
        A share in [0, 1).
    reads, umis
        Usable reads per cell, or UMIs per cell, where it was seen: one of them.

    Raises
    ------
    InputError
        If the saturation is no such share, or not one depth is given.
    """
    if not 0 <= saturation < 1:
        raise InputError(f"saturation is a share from 0 to below 1: found {saturation:g}; give 0.6 for 60 %")
    if (reads is None) == (umis is None):
        raise InputError("saturation belongs to a depth: give either the reads or the UMIs per cell where it was seen")
    if umis is not None:
        reads = positive("UMIs per cell", umis) / (1 - saturation)
    reads = positive("reads per cell", reads or 0.0)
    if saturation < 1e-9:
        return Library(np.inf)
    # S <= x / 2 gives the lower end, (1 - exp(-x)) / x < 1 / x the upper one
    ends = (2 * saturation, 1 / (1 - saturation))
    x = optimize.brentq(lambda x: 1 + np.expm1(-x) / x - saturation, *ends, xtol=1e-14, rtol=1e-14)
    return Library(reads / x)


def positive(what: str, value: float) -> float:
    """`value` if it is a finite number above 0.

    Raises
    ------
    InputError
        If it is not; the sentence calls it `what`.
    """
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{what} must be a number above 0: found {value:g}")
    return float(value)


@dataclass(frozen=True)
class Purchase:
    """A budget and its prices in one currency; `usable` is the share of reads that count (mapped, valid barcode).

    Parameters
    ----------
    budget
        What all may cost.
    per_cell
        Price of preparing one cell.
    per_million_reads
        Price of a million reads, usable or not.
    usable
        In (0, 1].

    Raises
    ------
    InputError
        If a number is not above 0, the share is above 1, or the budget buys too few cells: below 2 LEAST_CELLS.
    """

    budget: float
    per_cell: float
    per_million_reads: float
    usable: float = 1.0

    def __post_init__(self) -> None:
        for what, value in (
            ("the budget", self.budget), ("the cost per cell", self.per_cell),
            ("the cost per million reads", self.per_million_reads), ("the usable share of reads", self.usable),
        ):  # fmt: skip
            positive(what, value)
        if self.usable > 1:
            raise InputError(f"the usable share of reads is at most 1: found {self.usable:g}; give 0.7 for 70 %")
        if self.most_cells < 2 * LEAST_CELLS:
            raise InputError(
                f"the budget buys {self.most_cells:,.1f} cells before any read: plans start at {2 * LEAST_CELLS}, "
                "raise the budget or check the cost per cell"
            )

    @property
    def most_cells(self) -> float:
        """Cells that the budget buys if nothing is left for reads."""
        return self.budget / self.per_cell

    @property
    def per_usable_read(self) -> float:
        """Price of one usable read."""
        return self.per_million_reads / 1e6 / self.usable

    def reads(self, n: np.ndarray | float) -> np.ndarray | float:
        """Usable reads per cell that the whole budget pays for `n` cells."""
        return np.maximum(self.budget / n - self.per_cell, 0) / self.per_usable_read

    def cost(self, n: float, reads: float) -> float:
        """Price of `n` cells at so many usable reads each."""
        return n * (self.per_cell + reads * self.per_usable_read)


@dataclass(frozen=True)
class Range:
    """The measured range of cells and depths, within which the law was fitted.

    Parameters
    ----------
    n, u
        Fewest and most training cells, and lowest and highest mean UMIs per cell.
    """

    n: tuple[float, float]
    u: tuple[float, float]

    def outside(self, n: float, u: float) -> list[str]:
        """One phrase for each axis on which (n, u) lies outside, by more than 1 %."""
        out = []
        for value, (low, high), what in ((n, self.n, "training cells"), (u, self.u, "UMIs per cell")):
            if not low / 1.01 <= value <= high * 1.01:
                out.append(f"{value:,.0f} {what} (measured: {low:,.0f} to {high:,.0f})")
        return out


@dataclass(frozen=True)
class Design:
    """So many cells at such a depth: what it costs, and the bits the law expects with their 95 % interval.

    Parameters
    ----------
    n_cells, umis_per_cell
        Training cells, and mean UMIs per cell.
    reads_per_cell
        Reads to order: usable ones over the usable share.
    saturation
        Sequencing saturation there, in [0, 1).
    cost
        In the budget's currency.
    bits, low, high
        What the law expects, and its interval.
    """

    n_cells: int
    umis_per_cell: float
    reads_per_cell: float  # reads to order: usable ones over the usable share
    saturation: float
    cost: float
    bits: float
    low: float
    high: float


@dataclass(frozen=True)
class Plan:
    """The best design for a budget, and the runner-up: the best of those with at most half or at least twice its cells.

    `ahead` is the share of bootstrap draws in which the best beats the runner-up; `flat` the cell numbers whose best
    use of the budget comes within FLAT bits; `inside` the best design within the measured range, where `best` is
    outside (`outside` says how), or None if the budget reaches none.
    """

    best: Design
    runner_up: Design
    ahead: float
    flat: tuple[float, float]
    outside: list[str]
    inside: Design | None


def plan(fit: BudgetFit, measured: Range, purchase: Purchase, source: Library) -> Plan:
    """The plan for one model's law: all of the budget is spent.

    Parameters
    ----------
    fit
        The law, with its bootstrap draws. Its cells are training cells; those for validation and test come on top.
    measured
        The range in which it was fitted.
    purchase, source
        Budget and prices, and the library.

    Raises
    ------
    InputError
        If the law has no bootstrap draws.
    """

    def bits(n: np.ndarray | float) -> np.ndarray:
        u = source.umis(purchase.reads(n))
        return fit.predict(n, np.maximum(u, 1e-9))

    low, high = float(LEAST_CELLS), purchase.most_cells * (1 - 1e-9)
    n = best_cells(bits, low, high)
    best = _design(fit, n, purchase, source)
    sides = [(low, n / 2), (2 * n, high)]
    others = [best_cells(bits, *side) for side in sides if side[0] < side[1]]
    second = max(others, key=lambda at: float(bits(at)))
    runner_up = _design(fit, second, purchase, source)
    outside = measured.outside(best.n_cells, best.umis_per_cell)
    inside = _inside(fit, measured, purchase, source) if outside else None
    return Plan(best, runner_up, _ahead(fit, best, runner_up), _flat(bits, n, low, high), outside, inside)


def best_cells(bits: Bits, low: float, high: float) -> float:
    """Where `bits` is highest between `low` and `high` cells: on a grid of logarithms, then by Brent's method.

    Brent 1973, bounded; `bits` may have several maxima, between which the grid of 400 points decides.

    Parameters
    ----------
    bits
        Bits of a number of cells, of any shape.
    low, high
        Fewest and most cells, above 0.
    """
    grid = np.linspace(np.log(low), np.log(high), _GRID)
    top = int(np.argmax(bits(np.exp(grid))))
    around = grid[max(top - 1, 0)], grid[min(top + 1, _GRID - 1)]
    found = optimize.minimize_scalar(lambda x: -float(bits(np.exp(x))), bounds=around, options={"xatol": 1e-10})
    return float(np.exp(found.x))


def _design(fit: BudgetFit, n: float, purchase: Purchase, source: Library, most_umis: float = np.inf) -> Design:
    """The design with `n` cells (rounded) that spends the budget, or as much of it as `most_umis` per cell asks for."""
    n = max(int(np.floor(n + 0.5)), 1)
    reads = float(min(purchase.reads(n), source.reads(most_umis) if np.isfinite(most_umis) else np.inf))
    u = max(float(source.umis(reads)), 1e-9)
    bits, (low, high) = float(fit.predict(n, u)), fit.interval(n, u)
    return Design(
        n, u, reads / purchase.usable, float(source.saturation(reads)) if reads > 0 else 0.0,
        # the draws' quantiles may lie to one side of the fit they were drawn around, the interval must not
        float(purchase.cost(n, reads)), bits, min(float(low), bits), max(float(high), bits),
    )  # fmt: skip


def _inside(fit: BudgetFit, measured: Range, purchase: Purchase, source: Library) -> Design | None:
    """The best design within the measured range; it may leave some of a large budget unspent."""
    deepest = measured.u[1]
    cheapest = purchase.cost(1, float(source.reads(measured.u[0])))
    low, high = measured.n[0], min(measured.n[1], purchase.budget / cheapest)
    if not low < high:
        return None

    def bits(n: np.ndarray | float) -> np.ndarray:
        return fit.predict(n, np.minimum(source.umis(purchase.reads(n)), deepest))

    return _design(fit, best_cells(bits, low, high), purchase, source, deepest)


def _flat(bits: Bits, n: float, low: float, high: float) -> tuple[float, float]:
    """The cell numbers around `n` that come within FLAT bits of it."""

    def above(x: float) -> float:
        return float(bits(np.exp(x)) - bits(n)) + FLAT

    low, high = (
        end if above(np.log(end)) >= 0 else np.exp(optimize.brentq(above, *sorted(np.log([n, end]))))
        for end in (low, high)
    )
    return float(low), float(high)


def _ahead(fit: BudgetFit, one: Design, other: Design) -> float:
    """The share of bootstrap draws in which one design has more bits than another."""
    bits, others = (fit.predict_draws(design.n_cells, design.umis_per_cell) for design in (one, other))
    return float(np.mean(bits > others))
