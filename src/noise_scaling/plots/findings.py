"""What a table shows, in sentences with computed numbers: above each figure of the paper, and on the front page."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import __version__, laws, paths
from ..errors import TooLittle
from ..measurements import KNOWN
from . import admitted, claim_terms, claims, page, style
from .figures import collapsed, largest, of_signal, usable, without_controls

KNOWN_BITS = 2.0


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
    sentences.append(
        f"From the fewest training cells to the most, models gain (median over depths, bits): {', '.join(found)}."
    )
    best = claim_terms.best(table, "scvi", where=largest)
    if best["den"].sum():
        sentences.append(f"At the largest number of cells scVI is the best model at {_share(best)}.")
    return " ".join(sentences)


def depth_gains(table: pd.DataFrame) -> pd.Series:
    """Bits at the deepest counts less those at the shallowest, means over seeds, of each signal and model."""
    bits = largest(table).groupby(["dataset", "signal", "model", "fraction"])["mi_bits"].mean()
    curves = bits.groupby(level=["dataset", "signal", "model"])
    return curves.last() - curves.first()


def fits(table: pd.DataFrame) -> str:
    """The finding of Figure 2: how well Eq. 1 fits, and how often it is pinned down."""
    found = laws.fit_curves(largest(real(table)))
    good, r2 = found["status"] == laws.CONVERGED, found["r_squared"].dropna()
    explained = f"Eq. 1, with two parameters, explains {_percent(r2.median(), 1)} of a curve's variance in the median"
    well, pinned = _count(r2 >= claim_terms.FITS_WELL), _count(good)
    return f"{explained}, and 90 % or more in {well} curves. Both parameters are pinned down in {pinned}."


def collapse(table: pd.DataFrame) -> str:
    """The finding of Figure 3: how near observations are to one curve."""
    table = real(table)
    points = collapsed(table)
    off = (points["missing"] - laws.collapse(points["z"])).abs()
    held_out = {m: claim_terms.collapses(table, m) for m in style.ordered(points["model"])}
    each = [f"{style.label(m)} {_value(rows):.2f}" for m, rows in held_out.items() if len(rows)]
    return (
        f"{len(points):,} observations from {points.attrs['n_curves']} curves lie {off.median():.2f} bits from the one "
        f"curve in the median, and nine in ten within {off.quantile(0.9):.2f}. R² of depths that "
        f"the fit left out, by model: {', '.join(each)}."
    )


FINDINGS: dict[str, Callable[[pd.DataFrame], str]] = {"information": information, "fits": fits, "collapse": collapse}
"""By the names of `figures.FIGURES`."""


def finding(name: str, source: str | Path) -> HTML:
    """The finding of one of the paper's figures on a measurements table, a paragraph."""
    try:
        return page.paragraph(FINDINGS[name](page.measured(source).table), "finding")
    except TooLittle as error:
        return page.paragraph(str(error), "finding")


def _count(which: pd.Series) -> str:
    return f"{int(which.sum())} of {len(which)}"


def _value(rows: pd.DataFrame) -> float:
    return float(rows["num"].sum() / rows["den"].sum())


def _share(rows: pd.DataFrame) -> str:
    """Share of the points that can be told, its interval, and how many are tied."""
    value, low, high = claims.interval(rows)[:3]
    tied = f" that can be told, {_percent(1 - rows['den'].mean())} tied" if rows["den"].mean() < 1 else ""
    return f"{_percent(value)} ({100 * low:.0f} to {100 * high:.0f}) of the depths{tied}"


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def abstract(measurements: str | Path, reference: str | Path) -> HTML:
    """Five sentences: question, published table, ours, what cells and depth add, what limits it."""
    ours, theirs = page.measured(measurements).table, page.measured(reference).table
    mine, paper = real(ours), real(theirs)
    fitted = [laws.fit_curves(largest(rows)) for rows in (paper, mine)]
    r2 = [_percent(rows["r_squared"].median(), 1) for rows in fitted]
    rises = [depth_gains(rows).median() for rows in (paper, mine)]
    cells = [claim_terms.gains(rows)[0]["scvi"].median() for rows in (paper, mine)]
    found, least = known_bits(ours, "lmi"), known_bits(ours, "default")
    text = [
        "How much does a cell's embedding say about what the model never saw, and what would deeper counts or more "
        "cells add?",
        f"In the {len(theirs):,} published measurements, on up to {paper['n_cells'].max():,} training cells, and in "
        f"{len(mine):,} of our own, on up to {mine['n_cells'].max():,} cells of {mine['dataset'].nunique()} real "
        f"data sets, a law of two parameters explains {r2[0]} and {r2[1]} of the variance of information with depth "
        "(medians over curves).",
        f"From the shallowest counts to the deepest, information grows by {rises[0]:.2f} bits in the published table "
        f"and by {rises[1]:.2f} in ours (medians over curves).",
        f"From the fewest cells to the most, scVI gains {cells[0]:.2f} and {cells[1]:.2f} bits (medians over depths).",
        f"The yardstick has limits: of 2 known bits the published estimator finds {found.min():.2f} to "
        f"{found.max():.2f}, by data set, and our own {least.min():.2f} to {least.max():.2f}.",
    ]  # fmt: skip
    return page.paragraph(" ".join(text), "abstract")


def known_bits(table: pd.DataFrame, estimator: str) -> pd.Series:
    """Bits found by an estimator of the control that holds 2, at full depth, by data set."""
    rows = usable(table, estimator)
    rows = rows[(rows["model"] == KNOWN) & (rows["fraction"] == rows.groupby("dataset")["fraction"].transform("max"))]
    return rows.groupby("dataset")["mi_bits"].mean()


def take_aways(measurements: str | Path, reference: str | Path) -> HTML:
    """Three sentences to remember, each with its number on both tables."""
    tables = {"published": real(page.measured(reference).table), "ours": real(page.measured(measurements).table)}

    def on_both(value: Callable[[pd.DataFrame], str]) -> str:
        return " and ".join(f"{value(table)} ({name})" for name, table in tables.items())

    fitted = on_both(lambda t: _count(laws.fit_curves(largest(t))["r_squared"].dropna() >= claim_terms.FITS_WELL))
    depth = on_both(lambda t: f"{depth_gains(t).median():.2f} bits")
    scvi, pca = (on_both(partial(_cells_gain, model)) for model in ("scvi", "pca"))
    best = on_both(lambda t: _share(claim_terms.best(t, "scvi", where=largest)))
    return page.bullets([
        f"Deeper counts: {depth} from the shallowest to the deepest, medians over curves; Eq. 1 explains at least 90 % "
        f"of the variance in {fitted} curves.",
        f"More cells, from the fewest to the most, medians over depths: scVI {scvi}, PCA {pca}.",
        f"Which model: at the largest number of cells scVI is the best at {best}.",
    ])  # fmt: skip


def _cells_gain(model: str, table: pd.DataFrame) -> str:
    return f"{claim_terms.gains(table)[0][model].median():+.2f} bits"


def version() -> HTML:
    """Version of the package, and date and commit of the checkout where it is one."""
    commit = subprocess.run(
        ["git", "log", "-1", "--format=%cs, commit %h"], capture_output=True, text=True, check=False, cwd=paths.ROOT
    )
    return page.paragraph(", ".join(filter(None, [f"Version {__version__}", commit.stdout.strip()])), "version")


def where_it_fails(measurements: str | Path, reference: str | Path) -> HTML:
    """Curves at the largest number of cells that Eq. 1 explains worst, on both tables."""
    lines = []
    for name, source in (("the published table", reference), ("our own measurements", measurements)):
        found = laws.fit_curves(largest(real(page.measured(source).table)))
        failed = found[found["r_squared"] < claim_terms.FITS_WELL].sort_values("r_squared")
        worst = [
            f"{style.label(r.model)} on {style.title(r.dataset, r.signal)} (R² {r.r_squared:.2f}, residuals of "
            f"{r.residual_sd:.2f} bits)" for r in failed.head(3).itertuples()
        ]  # fmt: skip
        lines.append(
            f"Of the curves of {name} at the largest number of cells, Eq. 1 explains less than 90 % of the variance in "
            f"{len(failed)} of {len(found)}{', worst in ' + '; '.join(worst) if worst else ''}. An R² is low for a "
            "curve that hardly rises as well as for one that is not of this form; the residuals tell which."
        )
    return page.bullets(lines)


def what_the_estimator_finds(measurements: str | Path) -> HTML:
    """What the estimators find of 2 known bits beside real embeddings, by data set."""
    table, lines = page.measured(measurements).table, []
    for estimator in sorted(set(table.loc[table["model"] == KNOWN, "estimator"])):
        found = known_bits(table, estimator)
        each = ", ".join(f"{bits:.2f} ({name})" for name, bits in found.items())
        lines.append(f"Of {KNOWN_BITS:g} known bits {style.estimator(estimator)} finds, at full depth: {each}.")
    return page.bullets(lines)


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


def variations(table: pd.DataFrame) -> pd.DataFrame:
    """Each variation on a model less that model, in bits: the mean over points that have both, with its interval.

    Raises
    ------
    TooLittle
        If no variation was measured beside its model.
    """
    bits, found = claim_terms.grid(admitted.evidence(usable(table)))[0], []
    for model in style.ordered(bits.columns):
        if (kind := style.variation_of(model)) in bits:
            gap = claim_terms.differences(bits[model] - bits[kind])
            value, low, high, _ = claims.interval(gap)
            found.append({
                "model": model, "beside": style.label(kind), "signals": gap["signal"].nunique(), "points": len(gap),
                "difference": value, "difference_low": low, "difference_high": high,
            })  # fmt: skip
    if not found:
        raise TooLittle("No variation on a model was measured here beside it.")
    return pd.DataFrame(found)


HERO = {"published": ("pbmc", "protein"), "ours": ("pbmc10k", "protein")}


@style.book_style()
def hero_figure(measurements: str | Path, reference: str | Path) -> Figure:
    """Information against depth with Eq. 1, proteins of blood cells: the published measurements, and ours."""
    figure, panels = style.new_figure(1, 2, 3.4)
    models: list[str] = []
    for axes, (source, name) in zip(panels[0], ((reference, "published"), (measurements, "ours")), strict=True):
        rows = of_signal(without_controls(largest(usable(page.measured(source).table))), HERO[name])
        models += list(rows["model"])
        for model in style.ordered(rows["model"]):
            here = rows[rows["model"] == model]
            style.plot(axes, model, here["umis_per_cell"], here["mi_bits"], linestyle="")
            fit = laws.fit_noise_law(here["umis_per_cell"], here["mi_bits"])
            u = np.geomspace(here["umis_per_cell"].min(), here["umis_per_cell"].max(), 200)
            axes.plot(u, fit.predict(u), color=style.colour(model))
        style.bits_axes(axes)
        axes.set_title(f"{name}: {style.title(*HERO[name])} ({style.methods(rows)})", loc="left")
        axes.set(xlabel=style.UMIS, ylabel=style.BITS)
    style.model_legend(figure, models, {"color": "0.3", "label": "Eq. 1"})
    return figure
