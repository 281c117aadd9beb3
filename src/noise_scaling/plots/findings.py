"""Sentences with computed numbers on what a table shows, for the pages of the paper's figures and the front page."""

import subprocess
import textwrap
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import __version__, datasets, laws, models, paths
from ..errors import InputError, TooLittle, enough
from ..laws import compare
from ..measurements import KNOWN, protocol_rows
from . import admitted, claim_terms, claims, page, style
from . import laws as law_pages
from .figures import NO_CURVE, collapsed, largest, of_signal, usable, without_controls

KNOWN_BITS = 2.0
SUPPLEMENT_PARAMETERS = 13_480_151
"""Parameters of the published Geneformer by the supplement of the paper (SUPPLEMENTAL_METHODS.md, January 2026)."""
KNOWN_WITHIN = 10.0
"""ū counts as known if the upper end of its interval is less than this factor times the lower end."""


def real(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of models (not controls) on cells that are evidence, under one estimator."""
    rows = without_controls(admitted.evidence(usable(table)))
    return enough(rows, "nothing was measured here on real cells but controls: there is nothing to find")


def information(table: pd.DataFrame) -> str:
    """Return the finding of Figure 1: how much information depth and cells add."""
    table = real(table)
    rises, gains, bits = depth_gains(table), claim_terms.gains(table)[0], claim_terms.grid(table)[0]
    sentences = [
        f"At the largest number of cells, {_count(rises > 0)} curves end higher at their deepest counts than at their "
        f"shallowest, by {rises.median():.2f} bits in the median."
    ]
    if found := {m: gains[m].median() for m in style.ordered(gains.columns) if gains[m].notna().any()}:
        each = ", ".join(f"{style.label(m)} {gain:+z.2f}" for m, gain in found.items())
        sentences.append(f"From the fewest training cells to the most, models gain (median over depths, bits): {each}.")
    best = claim_terms.best(table, "scvi", where=largest)
    if best["den"].sum():
        sentences.append(f"At the largest number of cells scVI is the best model at {_share(best)}.")
    if {"pca", "geneformer"} <= set(bits):
        sentences.append(
            f"PCA and {style.label('geneformer')} lie {(bits['pca'] - bits['geneformer']).abs().median():.2f} bits "
            "apart in the median over all points, whichever is ahead."
        )
    return " ".join(sentences)


@page.told
def headline(source: str | Path) -> HTML:
    """Say what each model finds on the largest training set with all molecules, and the size of its Geneformer."""
    table = real(page.measured(source).table)
    dataset, signal, n = table.loc[table["n_cells"].idxmax(), ["dataset", "signal", "n_cells"]]
    top = of_signal(table[table["n_cells"] == n], (dataset, signal))
    bits = top[top["fraction"] == top["fraction"].max()].groupby("model")["mi_bits"].mean()
    found = ", ".join(f"{style.label(model)} {bits[model]:.2f}" for model in style.ordered(bits.index))
    size = ""
    if "geneformer" in bits and dataset in datasets.names():
        shapes = models.create("geneformer", preset="published", device="cpu").shapes(datasets.card(dataset).n_genes)
        size = (
            f" Its Geneformer has {sum(map(prod, shapes.values())) / 1e6:.1f} million parameters at all its genes as "
            f"we read its settings; its authors' supplement says {SUPPLEMENT_PARAMETERS / 1e6:.1f} million."
        )
    where = f"{n:,} cells ({style.title(dataset, signal)}, all molecules)"
    return page.paragraph(f"The largest training set, {where}, gives in bits: {found}.{size}")


def depth_gains(table: pd.DataFrame) -> pd.Series:
    """Return bits at the deepest counts less bits at the shallowest, means over seeds, by signal and model."""
    bits = largest(table).groupby(["dataset", "signal", "model", "fraction"])["mi_bits"].mean()
    curves = bits.groupby(level=["dataset", "signal", "model"])
    return curves.last() - curves.first()


def fits(table: pd.DataFrame) -> str:
    """Return the finding of Figure 2: how well Eq. 1 fits rising curves, and how often its parameters are known."""
    rows = real(table)
    r2 = enough(claim_terms.rising_fits(rows)["r_squared"], NO_CURVE)
    found = laws.fit_curves(rising(rows))
    converged = found["status"] == laws.CONVERGED
    known = converged & (found["u_bar_high"] < KNOWN_WITHIN * found["u_bar_low"]) & np.isfinite(found["i_max_high"])
    return (
        f"Eq. 1, with two parameters, explains {_percent(r2.median(), 1)} of the variance of a curve (of its means "
        f"over seeds) in the median, and 90 % or more in {_count(r2 >= claim_terms.FITS_WELL)} curves that rise by "
        f"{claim_terms.FLAT:g} bits or more. "
        f"The fit converges in {_count(converged)} of them; averaged over laws, it tells ū to within a factor of "
        f"{KNOWN_WITHIN:g} and I_max to a finite interval in {_count(known)}."
    )


@page.told
def counted(source: str | Path) -> HTML:
    """Say how many rows each filter removes, from a whole table to the rows of the abstract and Figures 1 to 3."""
    every = page.measured(source).table
    kept = protocol_rows(every, controls=True)
    kept = [every, kept, one := usable(every), admitted.evidence(one), real(every)]
    less = [f"{len(before) - len(after):,}" for before, after in pairwise(kept)]
    return page.paragraph(
        f"{len(every):,} rows in all. {less[0]} are of variants of the protocol, or failed; {less[1]} of another "
        f"estimator than {style.estimator(one['estimator'].iloc[0])}, or of a run with fewer seeds than its data set's "
        f"other one; {less[2]} of cells that are no evidence about biology; {less[3]} of controls, of untrained "
        f"models, and of variations on a model. The {len(kept[-1]):,} that are left are those that the abstract counts "
        "and the paper's figures show."
    )


def rising(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the largest number of cells of rising curves, because the R² of a flat curve says nothing."""
    rows = largest(table)
    rise = depth_gains(rows)
    kept = pd.MultiIndex.from_frame(rows[list(rise.index.names)]).isin(rise.index[rise >= claim_terms.FLAT])
    return enough(rows[kept], NO_CURVE)


def collapse(table: pd.DataFrame) -> str:
    """Return the finding of Figure 3: how close the observations lie to one curve."""
    points = enough(collapsed(real(table)), NO_CURVE)
    off = (points["missing"] - laws.collapse(points["z"])).abs()
    found = {m: claims.find(claims.collapse_of(m), table).value for m in style.ordered(points["model"])}
    each = [f"{style.label(m)} {value:.2f}" for m, value in found.items() if np.isfinite(value)]
    said = (
        f"{len(points):,} observations lie {off.median():.2f} bits from the one curve in the median, and nine in ten "
        f"within {off.quantile(0.9):.2f}. They are of {page.counted(points.attrs['n_curves'], 'curve')}; "
        f"{points.attrs['n_left_out']} others, whose fit does not converge, cannot be rescaled. At depths that the fit "
        f"left out, its R² is, by model: {', '.join(each)}."
    )
    far = (points["missing"] - laws.collapse(points["x"])).abs() > claim_terms.FAR
    small = points["x"] < claim_terms.SMALL * 2.0 ** (-2 * points["i_max"])
    if small.all() or not small.any():  # nothing to compare; by the paper only small ones leave the asymptote
        return said
    return said + (
        f" Of the observations whose depth or saturation is small (u/ū below {claim_terms.SMALL:g} × 2^(−2 I_max)), "
        f"{_percent(far[small].mean())} lie more than {claim_terms.FAR:g} bits from the asymptote; of the others "
        f"{_percent(far[~small].mean())} do."
    )


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {"information": information, "fits": fits, "collapse": collapse}
"""Functions that write the finding of a figure, by the names of `figures.FIGURES`."""


def finding(name: str, source: str | Path) -> Figure | HTML:
    """Return the finding of one of the paper's figures on a measurements table, as a paragraph."""
    return page.show(lambda table: page.paragraph(FINDINGS[name](table), "finding"), source)


def _count(which: pd.Series) -> str:
    return f"{int(which.sum())} of {len(which)}"


def _share(rows: pd.DataFrame) -> str:
    """Put in words a share of the depths that are not ties, its interval, and the share of ties."""
    value, low, high = claims.interval(rows)[:3]
    ties = 1 - rows["den"].mean()
    tied = f" at which models differ by more than their errors ({_percent(ties)} are ties)" if ties > 0 else ""
    spread = f" ({100 * low:.0f} to {100 * high:.0f})" if high - low >= 0.005 else ""
    return f"{_percent(value)}{spread} of the depths{tied}"


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


@page.told
def abstract(measurements: str | Path, reference: str | Path) -> HTML:
    """Return the abstract, up to five sentences: question, both tables, what depth and cells add, and the limits."""
    ours, theirs = page.measured(measurements).table, page.measured(reference).table
    mine, paper = real(ours), real(theirs)
    r2 = [claim_terms.rising_fits(rows)["r_squared"].median() for rows in (paper, mine)]
    explains = "no curve that rises has depths enough to ask for a law"
    if np.isfinite(r2).all():
        explains = (
            f"a law of two parameters explains {' and '.join(_percent(one, 1) for one in r2)} of the variance of "
            "information with depth in the median curve that rises"
        )
    rises = [f"{depth_gains(rows).median():.2f}" for rows in (paper, mine)]
    cells = [_cells_gain("scvi", rows) for rows in (paper, mine)]
    known = {"the published estimator (LMI)": known_bits(ours, "lmi"), "our own": known_bits(ours, "default")}
    finds = " and ".join(f"{who} finds {page.span(bits, '.2f')}" for who, bits in known.items() if len(bits))
    text = [
        "How much does a cell's embedding say about what the model never saw, and what would deeper counts or more "
        "cells add?",
        f"In the {len(theirs):,} published measurements, on up to {paper['n_cells'].max():,} training cells, and in "
        f"{len(mine):,} of our own, on up to {mine['n_cells'].max():,} cells of {mine['dataset'].nunique()} data sets "
        f"of real cells, {explains}.",
        f"From the shallowest counts to the deepest, information grows by {rises[0]} bits (published) and {rises[1]} "
        f"(ours) in the median curve; from the fewest cells to the most, scVI gains {cells[0]} and {cells[1]} in the "
        "median depth.",
    ]  # fmt: skip
    text[2:2] = _against_the_best(paper, mine)
    if finds:
        text.append(f"The yardstick has limits: of {KNOWN_BITS:g} known bits, by data set, {finds}.")
    return page.paragraph(" ".join(text), "abstract")


def _against_the_best(*tables: pd.DataFrame) -> list[str]:
    """Say by how much the best other law predicts left-out depths better than Eq. 1; empty if curves are too few."""
    said = []
    try:
        for compared in map(law_pages.compared, tables):
            other = compare.summary(compared).set_index("law")["left_out"].drop(laws.NOISE_LAW.name).idxmin()
            less, low, high = compare.gap(compared, laws.NOISE_LAW.name, str(other), "left_out")
            tie = " (a tie)" if low <= 0 <= high else ""
            said.append(f"{abs(less):.3f} bits{' more' * (less < 0)}{tie}")
    except TooLittle:
        return []
    return [f"On depths left out of the fit, the best of the other laws errs less, by {' and '.join(said)}."]


def known_bits(table: pd.DataFrame, estimator: str) -> pd.Series:
    """Return by data set the bits that an estimator finds of the control's 2 at full depth; empty if not measured."""
    table = table[table["estimator"] == estimator]
    if not (table["model"] == KNOWN).any():
        return pd.Series(dtype=float)
    rows = usable(table)
    rows = rows[(rows["model"] == KNOWN) & (rows["fraction"] == rows.groupby("dataset")["fraction"].transform("max"))]
    return rows.groupby("dataset")["mi_bits"].mean().rename(style.dataset)


@page.told
def take_aways(measurements: str | Path, reference: str | Path) -> HTML:
    """Three sentences to remember, each with its number on both tables."""
    tables = {"published": real(page.measured(reference).table), "ours": real(page.measured(measurements).table)}

    def on_both(value: Callable[[pd.DataFrame], str]) -> str:
        return " and ".join(f"{value(table)} ({name})" for name, table in tables.items())

    fitted = on_both(lambda t: _count(claim_terms.rising_fits(t)["r_squared"] >= claim_terms.FITS_WELL))
    depth = on_both(lambda t: f"{depth_gains(t).median():.2f} bits")
    scvi, pca = (on_both(partial(_cells_gain, model)) for model in ("scvi", "pca"))
    best = {name: claim_terms.best(table, "scvi", where=largest) for name, table in tables.items()}
    lines = [
        f"Deeper counts: from the shallowest to the deepest, information grows by {depth} in the median curve, and "
        f"Eq. 1 explains at least 90 % of the variance in {fitted} curves that rise by {claim_terms.FLAT:g} "
        "bits or more.",
        f"More cells: from the fewest to the most, scVI gains {scvi}, PCA {pca}, in the median depth.",
    ]  # fmt: skip
    if all(rows["den"].sum() for rows in best.values()):
        won = {name: rows["num"].sum() / rows["den"].sum() for name, rows in best.items()}
        shares = " and ".join(f"{_percent(share)} ({name})" for name, share in won.items())
        ties = " and ".join(_percent(1 - rows["den"].mean()) for rows in best.values())
        lines.append(
            f"Which model: on the most cells scVI is the best at {shares} of the depths at which models differ by more "
            f"than their errors; {ties} of the depths are ties."
        )
    return page.bullets(lines)


def _cells_gain(model: str, table: pd.DataFrame) -> str:
    gain = claim_terms.gain(table, model)["num"].median()
    return f"{gain:+z.2f} bits" if np.isfinite(gain) else "an amount that was not measured"


def version() -> HTML:
    """Return the version of the package and, in a git checkout, the date and commit."""
    command = ["git", "log", "-1", "--format=%cs, commit %h"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False, cwd=paths.ROOT).stdout.strip()
    return page.paragraph(", ".join(filter(None, [f"Version {__version__}", commit])), "version")


HERO = {"published": ("pbmc", "protein"), "ours": ("pbmc10k", "protein")}


@page.told
@style.book_style()
def hero_figure(measurements: str | Path, reference: str | Path) -> Figure:
    """Draw information against depth with Eq. 1, published and ours: proteins of blood cells, else the first signal."""
    figure, panels = style.new_figure(1, 2, 3.4, xlabel=style.UMIS, name="hero_published_and_ours")
    for axes, (source, name) in zip(panels[0], ((reference, "published"), (measurements, "ours")), strict=True):
        table = page.measured(source).table
        rows = largest(real(table))
        signal = HERO[name] if HERO[name] in style.signals(rows) else style.signals(rows)[0]
        here = of_signal(rows, signal)
        with style.presets(table):
            _hero_panel(axes, here)
        axes.set_title(textwrap.fill(f"{name}: {style.title(*signal)} ({style.methods(here)})", 44), loc="left")
        axes.set_ylabel(style.BITS)
    style.legend(figure, style.ONE_SEED, style.EQ_1)
    return figure


def _hero_panel(axes: Axes, rows: pd.DataFrame) -> None:
    ends = {}
    for model in style.ordered(rows["model"]):
        u, bits = (rows.loc[rows["model"] == model, column] for column in ("umis_per_cell", "mi_bits"))
        style.plot(axes, model, u, bits, linestyle="", label=style.label(model))
        ends[model] = bits[u.idxmax()]
        try:
            fit = laws.fit_noise_law(u, bits)
        except InputError:  # too few depths
            continue
        at = np.geomspace(u.min(), u.max(), 200)
        axes.plot(at, fit.predict(at), color=style.colour(model), label=style.label(model))
        ends[model] = fit.predict(at)[-1]
    style.bits_axes(axes)
    step, last = 0.075 * np.diff(axes.get_ylim())[0], -np.inf
    for model, y in sorted(ends.items(), key=lambda end: end[1]):  # labels at curve ends, without overlaps
        last = max(y, last + step)
        look: dict[str, Any] = {"textcoords": "offset points", "va": "center", "color": style.colour(model)}
        axes.annotate(style.label(model), (rows["umis_per_cell"].max(), last), (7, 0), **look)
