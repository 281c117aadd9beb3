"""What a table shows, in sentences with computed numbers: above each figure of the paper, and on the front page."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable
from functools import partial, wraps
from math import prod
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import __version__, datasets, laws, models, paths
from ..errors import InputError, TooLittle
from ..measurements import KNOWN
from . import admitted, claim_terms, claims, page, style
from .figures import NO_CURVE, collapsed, largest, of_signal, usable, without_controls

KNOWN_BITS = 2.0
_P = ParamSpec("_P")


def told(make: Callable[_P, Figure | HTML]) -> Callable[_P, Figure | HTML]:
    """`make`, or a sentence where a table holds too little for it."""

    @wraps(make)
    def shown(*arguments: _P.args, **options: _P.kwargs) -> Figure | HTML:
        try:
            return make(*arguments, **options)
        except TooLittle as error:
            return page.paragraph(str(error))

    return shown


def real(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of models on cells that are evidence, under one estimator."""
    rows = without_controls(admitted.evidence(usable(table)))
    if rows.empty:
        raise TooLittle("nothing was measured here on real cells but controls: there is nothing to find")
    return rows


def information(table: pd.DataFrame) -> str:
    """The finding of Figure 1: what depth and cells add."""
    table = real(table)
    rises = depth_gains(table)
    sentences = [
        f"At the largest number of cells, {_count(rises > 0)} curves end higher at their deepest counts than at their "
        f"shallowest, by {rises.median():.2f} bits in the median."
    ]
    gains = claim_terms.gains(table)[0]
    found = [
        f"{style.label(m)} {gains[m].median():+.2f}" for m in style.ordered(gains.columns) if gains[m].notna().any()
    ]
    if found:
        sentences.append(
            f"From the fewest training cells to the most, models gain (median over depths, bits): {', '.join(found)}."
        )
    best = claim_terms.best(table, "scvi", where=largest)
    if best["den"].sum():
        sentences.append(f"At the largest number of cells scVI is the best model at {_share(best)}.")
    bits = claim_terms.grid(table)[0]
    if {"pca", "geneformer"} <= set(bits):
        apart = (bits["pca"] - bits["geneformer"]).abs().median()
        sentences.append(
            f"PCA and {style.label('geneformer')} lie {apart:.2f} bits apart in the median over all points, whichever "
            "is ahead."
        )
    return " ".join(sentences)


@told
def headline(source: str | Path) -> HTML:
    """The models at the largest number of cells of all data sets, all molecules, with the size of Geneformer."""
    table = real(page.measured(source).table)
    dataset, signal, n = table.loc[table["n_cells"].idxmax(), ["dataset", "signal", "n_cells"]]
    top = of_signal(table[table["n_cells"] == n], (dataset, signal))
    top = top[top["fraction"] == top["fraction"].max()]
    bits = top.groupby("model")["mi_bits"].mean()
    found = ", ".join(f"{style.label(model)} {bits[model]:.2f}" for model in style.ordered(bits.index))
    size = ""
    if "geneformer" in bits and dataset in datasets.names():
        shapes = models.create("geneformer", preset="published", device="cpu").shapes(datasets.card(dataset).n_genes)
        size = f" Its Geneformer has {sum(map(prod, shapes.values())) / 1e6:.1f} million parameters at all its genes."
    return page.paragraph(
        f"The largest training set, {n:,} cells ({style.title(dataset, signal)}, all molecules), "
        f"gives in bits: {found}.{size}"
    )


def depth_gains(table: pd.DataFrame) -> pd.Series:
    """Bits at the deepest counts less those at the shallowest, means over seeds, of each signal and model."""
    bits = largest(table).groupby(["dataset", "signal", "model", "fraction"])["mi_bits"].mean()
    curves = bits.groupby(level=["dataset", "signal", "model"])
    return curves.last() - curves.first()


def fits(table: pd.DataFrame) -> str:
    """The finding of Figure 2: how well Eq. 1 fits, and how often it is pinned down."""
    found = laws.fit_curves(largest(real(table)))
    good, r2 = found["status"] == laws.CONVERGED, found["r_squared"].dropna()
    if r2.empty:
        raise TooLittle(NO_CURVE)
    explained = f"Eq. 1, with two parameters, explains {_percent(r2.median(), 1)} of a curve's variance in the median"
    well, pinned = _count(r2 >= claim_terms.FITS_WELL), _count(good)
    return f"{explained}, and 90 % or more in {well} curves. Both parameters are pinned down in {pinned}."


def collapse(table: pd.DataFrame) -> str:
    """The finding of Figure 3: how near observations are to one curve."""
    table = real(table)
    points = collapsed(table)
    if points.empty:
        raise TooLittle(NO_CURVE)
    off = (points["missing"] - laws.collapse(points["z"])).abs()
    held_out = {m: claim_terms.collapses(table, m) for m in style.ordered(points["model"])}
    each = [f"{style.label(m)} {_value(rows):.2f}" for m, rows in held_out.items() if len(rows)]
    return (
        f"{len(points):,} observations from {points.attrs['n_curves']} curves lie {off.median():.2f} bits from the one "
        f"curve in the median, and nine in ten within {off.quantile(0.9):.2f}. R² of depths that "
        f"the fit left out, by model: {', '.join(each)}. {_asymptote(points)}"
    ).strip()


def _asymptote(points: pd.DataFrame) -> str:
    """Where observations leave the asymptote: the paper says, where depth or saturation is small."""
    far = (points["missing"] - laws.collapse(points["x"])).abs() > claim_terms.FAR
    small = points["x"] < claim_terms.SMALL * 2.0 ** (-2 * points["i_max"])
    if small.all() or not small.any():
        return ""
    return (
        f"Of the observations whose depth or saturation is small (u/ū below {claim_terms.SMALL:g} × "
        f"2^(−2 I_max)), {_percent(far[small].mean())} lie more than {claim_terms.FAR:g} bits from the asymptote; of "
        f"the others {_percent(far[~small].mean())} do."
    )


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {"information": information, "fits": fits, "collapse": collapse}
"""By the names of `figures.FIGURES`."""


def finding(name: str, source: str | Path) -> Figure | HTML:
    """The finding of one of the paper's figures on a measurements table, a paragraph."""
    return page.show(lambda table: page.paragraph(FINDINGS[name](table), "finding"), source)


def _count(which: pd.Series) -> str:
    return f"{int(which.sum())} of {len(which)}"


def _value(rows: pd.DataFrame) -> float:
    return float(rows["num"].sum() / rows["den"].sum())


def _share(rows: pd.DataFrame) -> str:
    """Share of the points that can be told, its interval, and how many are tied."""
    value, low, high = claims.interval(rows)[:3]
    ties = 1 - rows["den"].mean()
    tied = f" at which models differ by more than their errors ({_percent(ties)} are ties)" if ties > 0 else ""
    spread = f" ({100 * low:.0f} to {100 * high:.0f})" if high - low >= 0.005 else ""
    return f"{_percent(value)}{spread} of the depths{tied}"


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


@told
def abstract(measurements: str | Path, reference: str | Path) -> HTML:
    """Five sentences: question, published table, ours, what cells and depth add, what limits it."""
    ours, theirs = page.measured(measurements).table, page.measured(reference).table
    mine, paper = real(ours), real(theirs)
    fitted = [laws.fit_curves(largest(rows)) for rows in (paper, mine)]
    r2 = [_percent(rows["r_squared"].median(), 1) for rows in fitted]
    rises = [depth_gains(rows).median() for rows in (paper, mine)]
    cells = [_cells_gain("scvi", rows) for rows in (paper, mine)]
    finds = [
        f"{who} {bits.min():.2f} to {bits.max():.2f}"
        for estimator, who in (("lmi", "the published estimator (LMI) finds"), ("default", "our own finds"))
        if len(bits := known_bits(ours, estimator))
    ]
    text = [
        "How much does a cell's embedding say about what the model never saw, and what would deeper counts or more "
        "cells add?",
        f"In the {len(theirs):,} published measurements, on up to {paper['n_cells'].max():,} training cells, and in "
        f"{len(mine):,} of our own, on up to {mine['n_cells'].max():,} cells of {mine['dataset'].nunique()} real "
        f"data sets, a law of two parameters explains {r2[0]} and {r2[1]} of the variance of information with depth "
        "(medians over curves).",
        f"From the shallowest counts to the deepest, information grows by {rises[0]:.2f} bits in the published table "
        f"and by {rises[1]:.2f} in ours (medians over curves).",
        f"From the fewest cells to the most, scVI gains {cells[0]} and {cells[1]} (medians over depths).",
    ]  # fmt: skip
    if finds:
        text.append(f"The yardstick has limits: of {KNOWN_BITS:g} known bits, by data set, {' and '.join(finds)}.")
    return page.paragraph(" ".join(text), "abstract")


def known_bits(table: pd.DataFrame, estimator: str) -> pd.Series:
    """Bits found by an estimator of the control that holds 2, at full depth, by data set; none where none was asked."""
    if estimator not in set(usable_estimators(table)):
        return pd.Series(dtype=float)
    rows = usable(table, estimator)
    rows = rows[(rows["model"] == KNOWN) & (rows["fraction"] == rows.groupby("dataset")["fraction"].transform("max"))]
    return rows.groupby("dataset")["mi_bits"].mean().rename(style.dataset)


@told
def take_aways(measurements: str | Path, reference: str | Path) -> HTML:
    """Three sentences to remember, each with its number on both tables."""
    tables = {"published": real(page.measured(reference).table), "ours": real(page.measured(measurements).table)}

    def on_both(value: Callable[[pd.DataFrame], str]) -> str:
        return " and ".join(f"{value(table)} ({name})" for name, table in tables.items())

    fitted = on_both(lambda t: _count(laws.fit_curves(largest(t))["r_squared"].dropna() >= claim_terms.FITS_WELL))
    depth = on_both(lambda t: f"{depth_gains(t).median():.2f} bits")
    scvi, pca = (on_both(partial(_cells_gain, model)) for model in ("scvi", "pca"))
    best = {name: claim_terms.best(table, "scvi", where=largest) for name, table in tables.items()}
    lines = [
        f"Deeper counts: from the shallowest to the deepest, information grows by {depth} in the median curve, and "
        f"Eq. 1 explains at least 90 % of the variance in {fitted} curves.",
        f"More cells: from the fewest to the most, scVI gains {scvi}, PCA {pca}, in the median depth.",
    ]  # fmt: skip
    if all(rows["den"].sum() for rows in best.values()):
        shares = " and ".join(f"{_percent(_value(rows))} ({name})" for name, rows in best.items())
        ties = " and ".join(_percent(1 - rows["den"].mean()) for rows in best.values())
        lines.append(
            f"Which model: on the most cells scVI is the best at {shares} of the depths at which models differ by more "
            f"than their errors; {ties} of the depths are ties."
        )
    return page.bullets(lines)


def _cells_gain(model: str, table: pd.DataFrame) -> str:
    gain = claim_terms.gain(table, model)["num"].median()
    return f"{gain:+.2f} bits" if np.isfinite(gain) else "an amount that was not measured"


def version() -> HTML:
    """Version of the package, and date and commit of the checkout where it is one."""
    commit = subprocess.run(
        ["git", "log", "-1", "--format=%cs, commit %h"], capture_output=True, text=True, check=False, cwd=paths.ROOT
    )
    return page.paragraph(", ".join(filter(None, [f"Version {__version__}", commit.stdout.strip()])), "version")


@told
def where_it_fails(measurements: str | Path, reference: str | Path) -> HTML:
    """Curves at the largest number of cells that Eq. 1 explains worst, on both tables."""
    lines = []
    for name, source in (("the published table", reference), ("our own measurements", measurements)):
        table = page.measured(source).table
        found = laws.fit_curves(largest(real(table)))
        failed = found[found["r_squared"] < claim_terms.FITS_WELL].sort_values("r_squared")
        with style.presets(table):
            worst = [
                f"{style.label(r.model)} on {style.title(r.dataset, r.signal)} (R² {r.r_squared:.2f}, residuals of "
                f"{r.residual_sd:.2f} bits)" for r in failed.head(3).itertuples()
            ]  # fmt: skip
        lines.append(
            f"Of the curves of {name} at the largest number of cells, Eq. 1 explains less than 90 % of the variance in "
            f"{len(failed)} of {len(found)}{', worst in ' + '; '.join(worst) if worst else ''}."
        )
    return page.bullets(lines)


def what_the_estimator_finds(measurements: str | Path) -> HTML:
    """What the estimators find of 2 known bits beside real embeddings, by data set."""
    table, lines = page.measured(measurements).table, []
    for estimator in sorted(set(table.loc[table["model"] == KNOWN, "estimator"])):
        found = known_bits(table, estimator)
        each = ", ".join(f"{bits:.2f} ({name})" for name, bits in found.items())
        lines.append(
            f"Of {KNOWN_BITS:g} known bits the estimator {style.estimator(estimator)} finds, at full depth: {each}."
        )
    return page.bullets(lines)


def usable_estimators(table: pd.DataFrame) -> pd.Series:
    """Estimators that the control of known information was measured by."""
    return table.loc[table["model"] == KNOWN, "estimator"]


@told
def sizes(measurements: str | Path, reference: str | Path) -> HTML:
    """How large the tables' measurements are: cells, depth, test cells, data sets."""
    lines = []
    for name, source in (("The published table", reference), ("Ours", measurements)):
        rows = real(page.measured(source).table)
        lines.append(
            f"{name}: {rows['dataset'].nunique()} real data sets, up to {rows['n_cells'].max():,} training cells, "
            f"{rows['umis_per_cell'].min():,.0f} to {rows['umis_per_cell'].max():,.0f} UMIs a cell."
        )
    return page.bullets(lines)


HERO = {"published": ("pbmc", "protein"), "ours": ("pbmc10k", "protein")}


@told
@style.book_style()
def hero_figure(measurements: str | Path, reference: str | Path) -> Figure:
    """Information against depth with Eq. 1, proteins of blood cells or else the first signal: published, and ours."""
    figure, panels = style.new_figure(1, 2, 3.4)
    for axes, (source, name) in zip(panels[0], ((reference, "published"), (measurements, "ours")), strict=True):
        table = page.measured(source).table
        rows = largest(real(table))
        signal = HERO[name] if HERO[name] in style.signals(rows) else style.signals(rows)[0]
        with style.presets(table):
            _hero_panel(axes, of_signal(rows, signal))
        title = f"{name}: {style.title(*signal)} ({style.methods(of_signal(rows, signal))})"
        axes.set_title(textwrap.fill(title, 44), loc="left")
        axes.set(xlabel=style.UMIS, ylabel=style.BITS)
    figure.set_label("hero_published_and_ours")
    one_seed = {"color": "0.3", "marker": "o", "linestyle": "", "label": "one seed"}
    style.legend(figure, one_seed, {"color": "0.3", "label": "Eq. 1"})
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
    for model, y in sorted(ends.items(), key=lambda end: end[1]):  # names beside the ends, not on each other
        last = max(y, last + step)
        look: dict[str, Any] = {"textcoords": "offset points", "va": "center", "color": style.colour(model)}
        axes.annotate(style.label(model), (rows["umis_per_cell"].max(), last), (7, 0), **look)
