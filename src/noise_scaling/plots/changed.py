"""The page *What changed*: numbers by the former and by the present way of computing them, from one table."""

import contextlib
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd
from IPython.display import HTML

from .. import laws
from ..errors import TooLittle, enough
from ..laws import compare
from ..laws.grids import UNIMPROVABLE, grids
from ..laws.law import fit_many
from ..measurements import protocol_rows
from . import ablations, cells_or_depth, claim_terms, claims, page, style
from . import laws as law_page
from .claims import CLAIMS, GIVEN, NOT_TESTED
from .figures import collapsed, usable, without_controls

COVERAGE = "benchmarks/results/law_coverage.json"
_Row = tuple[str, str, str]


def changes(table: pd.DataFrame) -> HTML:
    """Table of the effect of each change: the quantity, its value before and its value now."""
    rows: list[_Row] = []
    for make in (_coverage, _neighbours, _beyond, _exact, _rates, _best, _control, _shape, _collapse, _effects, _runs):
        with contextlib.suppress(TooLittle):
            rows += make(table)
    return page.as_table(pd.DataFrame(rows, columns=["what", "before", "now"]), "changed.csv")


def _coverage(_: pd.DataFrame) -> Iterator[_Row]:
    """Coverage of intervals by simulation, the same for every table."""
    found = [v for name, v in page.numbers(COVERAGE).items() if name != "machine" and not name.startswith("Eq. 1, ")]
    for name, label in (("i_max", "I_max"), ("u_bar", "ū")):
        shares = pd.DataFrame(found)[[f"{name} if Eq. 1 holds", f"{name} averaged"]]
        what = f"95 % intervals of {label} hold the truth, {len(found)} settings whose law is not Eq. 1"
        old, new = (page.span(shares[label], ".0%") for label in shares)
        yield what, old, new


def _neighbours(table: pd.DataFrame) -> Iterator[_Row]:
    law, rows = laws.ALTERNATIVES["stretched"], usable(table)
    rows = rows[~rows["model"].isin(UNIMPROVABLE)]
    curves = compare.curves(grids(rows, least=(compare.LEAST_DEPTHS, 1)))
    enough(curves.names, "no curve has enough depths")
    other = curves.names.assign(other=law.natural(fit_many(law, curves.u, curves.bits).theta)["i_max"])
    fits = other.merge(laws.fit_curves(rows), on=["dataset", "signal", "model", "n_cells"])
    ends = ((fits[f"i_max{end}_low"], fits[f"i_max{end}_high"]) for end in ("_if_eq1", ""))
    old, new = (f"{(~fits['other'].between(*both)).mean():.0%}" for both in ends)
    yield f"I_max by Eq. 1 in a power of depth lies outside the interval, {len(fits)} curves", old, new


def _beyond(table: pd.DataFrame) -> Iterator[_Row]:
    status = laws.fit_curves(without_controls(usable(table)))["status"]
    settled, beyond = ((status == one).sum() for one in (laws.CONVERGED, laws.BEYOND))
    yield f"Curves called converged, of {len(status)}", f"{settled + beyond}", f"{settled}, {beyond} beyond the data"


def _exact(_: pd.DataFrame) -> Iterator[_Row]:
    for label, missed in law_page.exact().set_index("law").items():
        what = f"The simulator's exact curve, {label}: missed at most by, bits"
        yield what, f"{missed['Eq. 1']:.3f} (Eq. 1)", f"{missed.min():.3f} ({missed.idxmin()})"


def _rates(table: pd.DataFrame) -> Iterator[_Row]:
    starts = cells_or_depth.started(table)
    for model in style.ordered(starts["model"]):
        here = starts[starts["model"] == model]
        told = here.loc[here["known"], "rate"]
        what = f"{style.label(model)}: factor in cells that twice the depth is worth, median of starts"
        before = f"{cells_or_depth.factor(told.median())} ({len(told)} of {len(here)} starts)"
        yield what, before, f"{cells_or_depth.median_told(here, 'grid')} (all)"


def _best(table: pd.DataFrame) -> Iterator[_Row]:
    rows = claims.real(table)
    told = enough(claim_terms.best(rows, "scvi"), "scVI was not measured beside two others")
    every = claim_terms.best(rows, "scvi", decided=0.0)
    win, loss = told["num"].mean(), (told["den"] - told["num"]).mean()
    now = f"{win:.0%}, tied {1 - win - loss:.0%}, another is better {loss:.0%}"
    yield "scVI is best, share of points of the grid", f"{every['num'].sum() / every['den'].sum():.0%}", now


def _control(table: pd.DataFrame) -> Iterator[_Row]:
    for estimator in sorted(set(protocol_rows(table)["estimator"])):
        of = partial(claims.find, table=table[table["estimator"] == estimator])
        asked, found = ([of(claim, gates=gates).verdict for claim in CLAIMS] for gates in (False, True))
        before, now = (sum(v in (claims.HOLDS, claims.PARTLY, claims.FAILS) for v in said) for said in (asked, found))
        left = sum(v in (claims.NO_CONTROL, NOT_TESTED, GIVEN) for v in found)
        what = f"Verdicts on the paper's {len(CLAIMS)} claims, {style.estimator(estimator)}"
        yield what, f"{before}", f"{now}; {left} not tested here or given"


def _shape(table: pd.DataFrame) -> Iterator[_Row]:
    every, rising = (claim_terms.law_fits(claims.real(table), flat=flat) for flat in (-np.inf, claim_terms.FLAT))
    enough(rising, "no curve rises")
    old, new = (f"{found['num'].sum():.0f} of {len(found)}" for found in (every, rising))
    yield "Eq. 1 fits at the largest size with an R² of 0.9", f"{old} curves", f"{new} that rise"


def _collapse(table: pd.DataFrame) -> Iterator[_Row]:
    rows = claims.real(table)
    for model in style.ordered(without_controls(rows)["model"]):
        held = claim_terms.collapses(rows, model)
        if held.empty:
            continue
        points = collapsed(rows[rows["model"] == model])
        points = points[points["x"] >= 10 * 2.0 ** (-2 * points["i_max"])]
        left, spread = points["missing"] - laws.collapse(points["x"]), points["missing"] - points["missing"].mean()
        before = f"{1 - np.square(left).sum() / np.square(spread).sum():.3f}, asymptote, of the depths fitted"
        now = f"{held['num'].sum() / held['den'].sum():.3f}, exact curve, of depths held out"
        yield f"{style.label(model)}: R² about the universal curve", before, now


def _effects(table: pd.DataFrame) -> Iterator[_Row]:
    both = pd.concat([ablations.paired(table, variant).assign(variant=variant) for variant in ablations.ABLATIONS])
    by = ["variant", "dataset", "model", "estimator"]
    pair = enough(both, "no ablation was measured").groupby(by)["effect"].sem()
    seed = both.groupby([*by, "seed"])["effect"].mean().groupby(by).sem()
    what = "Standard error of an ablation's effect, by pair and by seed, median, bits"
    yield what, f"{pair.median():.4f}", f"{seed.median():.4f}"


def _runs(table: pd.DataFrame) -> Iterator[_Row]:
    for estimator, count in protocol_rows(table, controls=True)["estimator"].value_counts().sort_index().items():
        if (kept := len(usable(table[table["estimator"] == estimator]))) < count:
            yield f"Rows that pages draw from, {style.estimator(estimator)}", f"{count:,}", f"{kept:,}, of one run each"
