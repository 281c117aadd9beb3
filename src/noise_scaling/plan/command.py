"""`noise-scaling plan`: its options, and its answer as text."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:  # the command line starts without the laws' libraries
    from ..laws import BudgetFit
    from .designs import Design, Plan
    from .evidence import Candidate, Evidence

ASSUMED_SATURATION = 0.5
"""Half of the reads new at the deepest measured depth: what a library of ordinary depth shows."""

EXPLAINED = 0.2
"""R² below which a law does not describe its points."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add = parser.add_argument
    add("--dataset", help="the measured data set that is most like yours; one of those in the pilot")
    add(
        "--pilot", metavar="CSV",
        help="plan from your own pilot instead: a table of measure, or columns n_cells, umis_per_cell, mi_bits",
    )  # fmt: skip
    add("--signal", help="the signal, where a data set has several")
    add("--model", nargs="+", metavar="MODEL", help="models to compare (default: all that were measured)")
    add("--estimator", help="default or lmi (default: ours where there is one)")
    add("--measurements", metavar="TABLE", help='a measurements CSV, a folder, or "published" (default: where it is)')
    add("--without-flagged", action="store_true", help="leave the flagged rows of the published table out")
    add("--budget", type=float, required=True, help="what all may cost, in any currency")
    add("--cost-per-cell", type=float, required=True, help="price of preparing one cell")
    add("--cost-per-million-reads", type=float, required=True, help="price of a million reads")
    add(
        "--saturation",
        type=float,
        help=f"sequencing saturation of your library, a share (default: {ASSUMED_SATURATION:g})",
    )
    add(
        "--at-reads",
        type=float,
        help="usable reads per cell where it was seen (default: at the deepest measured depth)",
    )
    add("--usable", type=float, default=1.0, help="share of reads that are usable (default: %(default)s)")


def answer(options: argparse.Namespace) -> str:
    """The plan for these options as text.

    Raises
    ------
    InputError
        Where they contradict each other, name what was not measured, or the budget is too small.
    """
    from . import designs as planning

    purchase = planning.Purchase(options.budget, options.cost_per_cell, options.cost_per_million_reads, options.usable)
    found = _evidence(options)
    if options.saturation is None and options.at_reads is not None:
        raise InputError("--at-reads says where --saturation was seen: give that too")
    at = {"reads": options.at_reads} if options.at_reads is not None else {"umis": found.deepest}
    assumed = options.saturation is None
    library = planning.library(ASSUMED_SATURATION if assumed else options.saturation, **at)
    plans = [
        (_name(c), c.fit, planning.plan(c.fit, c.measured, purchase, library))
        for c in found.candidates
        if c.fit and c.measured
    ]
    plans.sort(key=lambda made: -made[2].best.bits)
    lines = [f"Plan from {found.name}.", *_standing(plans)]
    if assumed:
        lines.append(
            f"No --saturation was given: {ASSUMED_SATURATION:.0%} at {found.deepest:,.0f} UMIs per cell is assumed."
        )
    for made in plans:
        lines += ["", *_lines(*made)]
    lines += [f"\n{c.model}: left out, {c.problem}." for c in found.candidates if not c.fit]
    return "\n".join([*lines, "", _NOTE])


_NOTE = (
    "Cells are training cells; those for validation and test come on top. Intervals (95 %) are of the fitted curve, by "
    "bootstrap over depths: they do not know whether your cells are like these."
)


def _evidence(options: argparse.Namespace) -> Evidence:
    from . import evidence

    if options.dataset is None and options.pilot is None:
        raise InputError("a plan rests on one thing: give either --dataset or --pilot")
    choice = {"signal": options.signal, "estimator": options.estimator, "models": options.model}
    if options.pilot is None:
        table = {"source": options.measurements, "without_flagged": options.without_flagged}
        return evidence.evidence(options.dataset, **table, **choice)
    if options.measurements is not None:
        raise InputError("--measurements names a table to choose a data set from, and --pilot is one: leave it out")
    return evidence.pilot(options.pilot, dataset=options.dataset, **choice)


def _standing(plans: list[tuple[str, BudgetFit, Plan]]) -> list[str]:
    """How the two best models stand to each other, where there are two."""
    if len(plans) < 2:
        return []
    (first, _, one), (second, _, other) = plans[:2]
    gap = one.best.bits - other.best.bits
    return [f"Most bits for the budget: {first}; the runner-up, {second}, comes {gap:.2f} bits below."]


def _name(candidate: Candidate) -> str:
    usual = candidate.preset in ("pilot", "small", "published")
    return candidate.model if usual else f"{candidate.model} ({candidate.preset})"


def _lines(name: str, fit: BudgetFit, made: Plan) -> list[str]:
    """One model's plan."""
    from .designs import FLAT

    lines = [
        f"{name} (fit to {fit.n_points} points: {fit.status}{', ' + fit.note if fit.note else ''})",
        f"  best       {_design(made.best)}",
        f"  runner-up  {_design(made.runner_up)}; the best is ahead in {made.ahead:.0%} of draws",
        f"  as good    {made.flat[0]:,.0f} to {made.flat[1]:,.0f} cells (within {FLAT:g} bits)",
    ]
    if made.outside:
        lines.append(f"  warning    outside what was measured: {' and '.join(made.outside)}")
        inside = f"{_design(made.inside)}" if made.inside else "this budget buys no design there"
        lines.append(f"  inside it  {inside}")
    if not fit.r_squared >= EXPLAINED:
        lines.append(
            "  warning    the law says nearly nothing of these bits, which scatter, or do not rise with cells and "
            "depth: do not plan from it"
        )
    if fit.data is not None and made.best.bits > (most := fit.data.bits.max()):
        lines.append(
            f"  warning    more bits than the {most:.2f} that were measured at most: a label holds no more than its "
            "entropy, which the law does not know"
        )
    return lines


def _design(design: Design) -> str:
    return (
        f"{design.n_cells:,} cells at {design.umis_per_cell:,.0f} UMIs ({design.reads_per_cell:,.0f} reads, "
        f"saturation {design.saturation:.0%}): {design.bits:.2f} bits ({design.low:.2f} to {design.high:.2f}), "
        f"costs {design.cost:,.0f}"
    )
