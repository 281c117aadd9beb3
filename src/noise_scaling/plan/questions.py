"""The questions of a lab: the best design for a budget, the cheapest design for given bits, two designs compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import InputError
from .designs import PROMISE_ERROR, Design, Law, Range, Shop, ahead, find, given, tie
from .prices import positive

BEST, OTHER, RUNNER_UP, THRIFTY, BEYOND = "best", "another model", "runner-up", "cheapest tie", "extrapolation"
NOW = "as it is"
"""Roles of designs in an answer; NOW is a library without more reads. Compared designs are "design CELLS:READS"."""
EXPLAINED = 0.2
"""R² below which a law does not describe its points."""


@dataclass(frozen=True)
class Answer:
    """The designs that answer a question; the first, within the measured range, is the recommendation.

    `warnings` are sentences. `ties` are models (or designs) that the first does not beat by more than the error of
    promised bits, `ahead` is the share of draws in which it beats the runner-up, `target` the requested bits.
    """

    designs: list[Design]
    warnings: list[str]
    ties: list[str]
    ahead: float | None = None
    target: float | None = None


def for_budget(laws: Sequence[Law], shop: Shop, budget: float, currency: str = "") -> Answer:
    """Return the model and design with most bits for a budget, close alternatives, and one beyond the measured range.

    Parameters
    ----------
    laws
        One for each model.
    shop
        What can be bought; if it has reads already (`have`), the budget is spent on more reads.
    budget, currency
        The most that everything may cost, and the currency.

    Raises
    ------
    InputError
        If the budget is not a number above 0, or buys nothing within any model's measured range.
    """
    budget = positive("the budget", budget, 1e12)
    found = {law.model: find(law, shop, law.measured, OTHER, budget=budget) for law in laws}
    ranked = sorted((d for d in found.values() if d), key=lambda d: -d.bits)
    if not ranked:
        raise InputError(_too_little(laws, shop, f"{budget:,.0f} {currency}".strip()))
    first = replace(ranked[0], role=BEST)
    law, (low, high) = next((law, law.measured.n) for law in laws if law.model == first.model)
    sides = [Range(n, law.measured.u) for n in ((low, first.n_cells / 2), (first.n_cells * 2.0, high)) if n[0] <= n[1]]
    others = [find(law, shop, side, RUNNER_UP, budget=budget) for side in sides]
    runner_up = max((d for d in others if d), key=lambda d: d.bits, default=None)
    thrifty = find(law, shop, law.measured, THRIFTY, bits=first.bits - PROMISE_ERROR)
    beyond = None if shop.have else find(law, shop, law.measured.beyond(), BEYOND, budget=budget)
    more = [given(law, shop, first.n_cells, shop.have, NOW)] if shop.have else []
    more += [runner_up] if runner_up else []
    more += [thrifty] if thrifty and thrifty.cost < 0.99 * first.cost else []
    more += [beyond] if beyond and not beyond.inside and beyond.bits > first.bits + PROMISE_ERROR else []
    ties = [d.model for d in ranked[1:] if tie(first, d)]
    in_draws = ahead(law, first, runner_up) if runner_up else None
    return Answer([first, *ranked[1:], *more], _warnings(laws, found), ties, in_draws)


def for_bits(laws: Sequence[Law], shop: Shop, *, bits: float | None = None, share: float | None = None) -> Answer:
    """Return the cheapest model and design for `bits`, or for a `share` of the most bits in any model's measured range.

    Parameters
    ----------
    laws, shop
        As for `for_budget`.
    bits, share
        Give one of them; a share is in (0, 1].

    Raises
    ------
    InputError
        If no model reaches these bits within its measured range.
    """
    if share is not None and not 0 < share <= 1:
        raise InputError(f"--share is above 0 and at most 1: found {share:g}; give 0.9 for 90 %")
    most = max(laws, key=lambda law: law.reach())
    target = positive("--bits", bits, 64) if bits is not None else float(share or 1) * most.reach()
    found = {law.model: find(law, shop, law.measured, OTHER, bits=target) for law in laws}
    ranked = sorted((d for d in found.values() if d), key=lambda d: (d.cost, -d.bits))
    if not ranked:
        (_, n), (_, u) = most.measured.n, most.measured.u
        raise InputError(
            f"{target:.2f} bits cannot be had within what was measured: the most is {most.reach():.2f}, {most.model} "
            f"on {n:,.0f} cells at {u:,.0f} UMIs of the panel, and a library must hold these; ask for fewer bits"
        )
    first = replace(ranked[0], role=BEST)
    ties = [d.model for d in ranked[1:] if d.cost <= 1.01 * first.cost]
    return Answer([first, *ranked[1:]], _warnings(laws, found), ties, None, target)


def compared(laws: Sequence[Law], shop: Shop, pair: Sequence[str]) -> Answer:
    """Return the cost and bits of two designs, the better first, by the model that has most bits at one of them.

    Parameters
    ----------
    laws, shop
        As for `for_budget`.
    pair
        Two designs as text, CELLS:READS_PER_CELL.

    Raises
    ------
    InputError
        If a design is not written so, or neither lies within the measured range of any model.
    """
    numbers = [cells_and_reads(text) for text in pair]
    both = list(zip(numbers, pair, strict=True))
    made = [(law, [given(law, shop, *of, f"design {text}") for of, text in both]) for law in laws]
    inside = [(law, two) for law, two in made if two[0].inside or two[1].inside]
    if not inside:
        (low, high), (_, u) = laws[0].measured.n, laws[0].measured.u
        raise InputError(
            f"neither {pair[0]} nor {pair[1]} lies within what was measured: {low:,.0f} to {high:,.0f} cells, at most "
            f"{u:,.0f} UMIs of the panel ({laws[0].model}); compare others"
        )
    law, two = max(inside, key=lambda option: max(d.bits for d in option[1] if d.inside))
    two.sort(key=lambda d: (not d.inside, -d.bits))
    return Answer(two, _warnings([law], {law.model: two[0]}), [two[1].role] if tie(*two) else [], ahead(law, *two))


def cells_and_reads(text: str) -> tuple[float, float]:
    """Return cells and reads per cell from the text CELLS:READS_PER_CELL. InputError if it has another form."""
    try:
        n, reads = (float(part) for part in text.replace(",", "").split(":"))
    except ValueError:
        raise InputError(f"a design is CELLS:READS_PER_CELL, such as 20000:5000: found {text!r}; write it so") from None
    return positive("the cells of a design", n // 1), positive("the reads per cell of a design", reads)


def _too_little(laws: Sequence[Law], shop: Shop, budget: str) -> str:
    """Return why a budget buys nothing: the cheapest design within the range costs more, or there is no design."""
    costs = [find(law, shop, law.measured, "", bits=0.0) for law in laws]
    least = min((d for d in costs if d), key=lambda d: d.cost, default=None)
    if least is None:
        return (
            "no kit gives a library within the measured range: its saturation leaves fewer UMIs per cell than the "
            "shallowest measurement; check --saturation, --at-reads and --library-umis"
        )
    donors = f", a library for each of {shop.donors:,} donors" if shop.donors > 1 else ""
    return (
        f"the budget of {budget} buys no design within what was measured: the cheapest, {least.n_cells:,} cells at "
        f"{least.reads_paid_per_cell:,.0f} reads from {least.kit} on {least.flow_cell}{donors}, costs "
        f"{least.cost:,.0f}; raise the budget, or name {'fewer donors or ' if donors else ''}other prices"
    )


def _warnings(laws: Sequence[Law], found: dict[str, Design | None]) -> list[str]:
    """Return warnings about the laws and designs, one sentence each."""
    out = []
    for law in laws:
        design, fit = found.get(law.model), law.fit
        if design is None:
            out.append("no design within its measured range answers this.")
        elif not fit.r_squared >= EXPLAINED:
            out.append(
                "the law says nearly nothing of these bits, which scatter, or do not rise with cells and depth: do not "
                "plan from it."
            )
        elif fit.status != "converged":
            out.append(f"the fit is {fit.status}{f' ({fit.note})' if fit.note else ''}.")
        elif design.bits > (most := float(fit.data.bits.max())):
            out.append(
                f"more bits than the {most:.2f} that were measured at most: a label holds no more than its entropy, "
                "which the law does not know."
            )
        else:
            continue
        out[-1] = f"{law.model}: {out[-1]}"
    return out
