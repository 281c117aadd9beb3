"""`noise-scaling plan`: its answer as text, JSON or a table."""

import argparse
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from ..errors import InputError
from ..files import write_atomically
from . import atlas, donors, evidence, library, prices, questions
from .designs import PROMISE_ERROR, Design, Range, Shop
from .options import ASSUMED_SATURATION

QUESTIONS = ("budget", "bits", "share", "compare")


@dataclass(frozen=True)
class _Ground:
    """The basis of an answer: laws, what can be bought, its currency, and sentences on what was assumed."""

    found: evidence.Evidence
    shop: Shop
    currency: str
    said: list[str]


def answer(options: argparse.Namespace) -> str:
    """Return the plan for these options as text or JSON; if asked for, also write the designs to a table.

    InputError if the options contradict each other or name something not measured, or if nothing can be bought.
    """
    _check(options)
    ground = _ground(options)
    laws, shop = list(ground.found.laws.values()), ground.shop
    if options.budget is not None:
        made = questions.for_budget(laws, shop, options.budget, ground.currency)
    elif options.compare:
        made = questions.compared(laws, shop, options.compare)
    else:
        made = questions.for_bits(laws, shop, bits=options.bits, share=options.share)
    deep = atlas.atlas(atlas.with_factorial(ground.found.rows)) if options.atlas else pd.DataFrame()
    warnings = [*ground.said, *made.warnings, *_of_prices(made.designs[0], shop)]
    if options.donors > 1:
        warnings.append(f"{options.donors} donors are paid for, a library each; {donors.sentence()}")
    warnings += atlas.depths(deep) if len(deep) else []
    if options.atlas and deep.empty:
        warnings.append("Training on deep cells for shallow new ones is not measured yet on this data set.")
    made = replace(made, warnings=warnings)
    if options.output is not None:
        table = pd.DataFrame(map(asdict, made.designs))
        write_atomically(options.output, table.to_csv(index=False, lineterminator="\n"))
    return _json(made, ground, deep) if options.json else _text(made, ground, deep)


def _check(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    given = {name for name, value in vars(options).items() if value is not None}
    asked = [name for name in QUESTIONS if name in given]
    found = f"; found {' and '.join(f'--{name}' for name in asked)}" if asked else ""
    cards = "".join(sorted(given & {"prices", "kit", "flow_cell"})[:1]).replace("_", "-")
    for wrong, sentence in (
        (len(asked) != 1, f"a plan answers one question: give one of --budget, --bits, --share and --compare{found}"),
        (not given & {"dataset", "pilot"}, "a plan rests on one thing: give either --dataset or --pilot"),
        ({"pilot", "measurements"} <= given,
         "--measurements names a table to choose a data set from, and --pilot is one: leave it out"),
        (len(given & {"cost_per_cell", "cost_per_million_reads"}) == 1,
         "linear prices have two parts: give --cost-per-cell and --cost-per-million-reads together"),
        (cards and "cost_per_cell" in given,
         f"--{cards} is of whole kits and --cost-per-cell of linear prices: give one of them"),
        ({"have", "compare"} <= given,
         "--have adds reads to one library and --compare prices two new ones: give one of them"),
        ("at_reads" in given and "saturation" not in given,
         "--at-reads says where --saturation was seen: give that too"),
        ({"saturation", "saturation_table"} <= given,
         "--saturation is one point of the curve that --saturation-table holds: give one of them"),
        (options.donors < 1, f"--donors counts them: found {options.donors}; give 1 or more"),
        ("usable" in given and not 0 < options.usable <= 1,
         f"--usable is a share above 0 and at most 1: found {options.usable}; give 0.7 for 70 %"),
    ):  # fmt: skip
        if wrong:
            raise InputError(sentence)


def _ground(options: argparse.Namespace) -> _Ground:
    costs = options.cost_per_cell, options.cost_per_million_reads
    cards = prices.read_prices(options.prices) if costs[0] is None else prices.linear(*costs)
    kits, flows = cards.named(options.kit, options.flow_cell)
    kits = [replace(kit, mapped=options.usable or kit.mapped) for kit in kits]
    library.refuse_imaging(options.dataset)
    choice = {"signal": options.signal, "estimator": options.estimator, "models": options.model}
    if options.pilot is not None:
        found = evidence.pilot(options.pilot, dataset=options.dataset, **choice)
    else:
        table = {"source": options.measurements, "without_flagged": options.without_flagged}
        found = evidence.evidence(options.dataset, **table, **choice)
    library.refuse_imaging(found.dataset)
    most = max(law.measured.n[1] for law in found.laws.values())
    if options.donors > most:
        raise InputError(
            f"--donors {options.donors}: each donor has a library of a cell at least, and {most:,.0f} cells are the "
            "most that were measured; give fewer donors"
        )
    factor, said = library.panel(found.dataset, options.library_umis, found.deepest)
    deepest = found.deepest * factor
    if options.saturation is None and options.saturation_table is None:
        said.append(
            f"No --saturation was given: {ASSUMED_SATURATION:.0%} at the deepest measurement is assumed, {deepest:,.0f}"
            " UMIs per cell of the library."
        )
    said += [f"{model} is left out: {problem}." for model, problem in found.problems.items()]
    libraries = {kit.name: _library(options, kit.mapped, deepest) for kit in kits}
    shop = Shop(kits, flows, libraries, factor, options.donors)
    if options.have is not None:
        n, reads = questions.cells_and_reads(options.have)
        there = {key: law for key, law in found.laws.items() if law.measured.n[0] <= n <= law.measured.n[1]}
        on_top = {key: replace(law, measured=Range((n, n), law.measured.u)) for key, law in there.items()}
        if not on_top:
            raise InputError(f"--have {options.have}: no model was measured on {n:,.0f} cells; plan a library anew")
        found, shop = replace(found, laws=on_top), replace(shop, have=reads)
    return _Ground(found, shop, cards.currency, said)


def _library(options: argparse.Namespace, mapped: float, deepest: float) -> library.Library:
    if options.saturation_table is not None:
        return library.fitted_library(options.saturation_table, mapped)
    given = options.at_reads is not None
    at = {"reads": prices.positive("--at-reads", options.at_reads) * mapped} if given else {"umis": deepest}
    return library.library(ASSUMED_SATURATION if options.saturation is None else options.saturation, **at)


def _of_prices(best: Design, shop: Shop) -> list[str]:
    """Return notes on the best design: prices without a source, and reads that are paid for but not counted on."""
    kit, flow = _cards(best, shop)
    cards = [card for card in ((flow,) if shop.have else (kit, flow)) if card.assumed]
    out = [f"{prices.assumed(card)}: put your quote in a file for --prices." for card in cards]
    if best.reads_paid_per_cell > 1.01 * best.reads_per_cell:
        out.append(
            f"The invoice pays for {best.reads_paid_per_cell:,.0f} reads per cell (whole flow cells, the vendor's "
            "minimum); deeper than was measured, they are not counted on."
        )
    return out


def _cards(design: Design, shop: Shop) -> tuple[Any, Any]:
    kit = next(kit for kit in shop.kits if kit.name == design.kit)
    return kit, next(flow for flow in shop.flows if flow.name == design.flow_cell)


def _json(made: questions.Answer, ground: _Ground, deep: pd.DataFrame) -> str:
    out = {
        "best": asdict(made.designs[0]), "designs": [asdict(d) for d in made.designs], "warnings": made.warnings,
        "ties": made.ties, "ahead_in_draws": made.ahead, "target_bits": made.target,
        "promise_error_bits": PROMISE_ERROR, "currency": ground.currency, "evidence": ground.found.name,
        "library_umis_per_panel_umi": ground.shop.factor,
        "atlas": deep.to_dict("records"),
    }  # fmt: skip
    return json.dumps(out, indent=1, allow_nan=False)


def _text(made: questions.Answer, ground: _Ground, deep: pd.DataFrame) -> str:
    first, second = made.designs[0], next((d for d in made.designs[1:] if d.model == made.designs[0].model), None)
    lines = [f"Plan from {ground.found.name}.", "", *map(_line, made.designs), "", "Invoice of the first:"]
    lines += [*_invoice(first, ground), ""]
    if made.ahead is not None and second is not None:
        gap = first.bits - second.bits
        verdict = "a tie" if abs(gap) < PROMISE_ERROR else "ahead" if gap > 0 else "behind"
        lines.append(
            f"Against the {second.role}: {gap:+.2f} bits, more in {made.ahead:.0%} of draws; promises err by "
            f"{PROMISE_ERROR:g} bits, so that is {verdict}."
        )
    if made.ties and made.target is None:
        lines.append(f"A tie with {', '.join(made.ties)}: differences below {PROMISE_ERROR:g} bits say nothing.")
    if any(design.role == questions.THRIFTY and design.cost == 0 for design in made.designs):
        lines.append("Buying nothing is already a tie with the first.")
    lines.append(
        f"Units: UMIs are of the measured panel, {ground.shop.factor:.2f} of the library for each: "
        f"{first.umis_per_cell:,.0f} are {first.library_umis_per_cell:,.0f} of the library. Reads are read pairs, "
        "mapped or not."
    )
    if len(deep):
        lines += ["", "Bits of new cells by models trained on deep cells, and alike:"]
        lines += [deep.round(2).to_string(index=False)]
    always = (
        "cells are training cells; those for validation and test come on top. Intervals (95 %) are of a new "
        "measurement on other cells of this kind: they do not know whether yours are like these."
    )
    return "\n".join([*lines, "", *(f"Note: {text}" for text in (*made.warnings, always))])


def _line(design: Design) -> str:
    return (
        f"{design.role:14} {design.model}: {design.n_cells:,} cells at {design.umis_per_cell:,.0f} UMIs "
        f"({design.reads_per_cell:,.0f} reads, saturation {design.saturation:.0%}): {design.bits:.2f} bits "
        f"({design.bits_low:.2f} to {design.bits_high:.2f}), costs {design.cost:,.0f}"
        + ("" if design.inside else "; outside what was measured")
    )


def _invoice(design: Design, ground: _Ground) -> list[str]:
    kit, flow = _cards(design, ground.shop)
    rows = [(design.kits, kit.price, kit.title), (design.libraries, kit.per_library, "for each library")]
    rows = [row for row in (*rows, (design.flow_cells, flow.price, flow.title)) if row[0] and row[1]]
    counts = [f"{count:,.2f}".removesuffix(".00") for count, _, _ in rows]
    out = [
        f"  {shown:>10} x {price:>10,.2f} = {count * price:>13,.2f}  {title}"
        for shown, (count, price, title) in zip(counts, rows, strict=True)
    ]
    out.append(f"  {'':>10}   {'in all':>10} = {design.cost:>13,.2f}  {ground.currency}".rstrip())
    if design.libraries and kit.whole:
        out.append(
            f"  libraries: {design.libraries:,.0f}; load {design.cells_loaded:,.0f} cells to recover "
            f"{design.cells_recovered:,.0f}, {1 - design.n_cells / design.cells_recovered:.1%} of them multiplets; "
            f"{design.cost / design.n_cells:,.2f} for each single cell"
        )
    return [*out, f"  ten cells of a type, 19 times of 20, if it is {design.rarest_type:.2%} of all or more"]
