"""What stands on a page around a figure: where its numbers come from, tables to read and to download, cards."""

from __future__ import annotations

import base64
import hashlib
import html
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image, Markdown, display

from .. import __version__, datasets, laws, measurements, paths
from ..errors import InputError, choose
from . import datasets as dataset_pages
from . import figures, style

FIGURES = {
    "information": figures.information_figure,
    "fits": figures.fits_figure,
    "collapse": figures.collapse_figure,
}
PUBLISHED = "published"
OURS = paths.MEASUREMENTS / "demo.csv"


@dataclass(frozen=True)
class Source:
    """A measurements table, the name of where it came from, and a line to say if that is not what was asked for."""

    table: pd.DataFrame
    name: str
    digest: str
    note: str = ""


def measured(source: str | Path) -> Source:
    """Open a measurements table: a path, or "published" for the paper's.

    Where the published table is neither in the mirror nor to be downloaded, our own table comes with a note.
    """
    if str(source) != PUBLISHED:
        file = paths.find(source)
        return Source(measurements.read(file), _label(file), _digest(file))
    try:
        file = datasets.fetch(PUBLISHED)
    except InputError:
        ours = measured(OURS)
        return Source(
            ours.table, ours.name, ours.digest,
            "The published table could not be had here (no mirror, no network): this shows our own measurements.",
        )  # fmt: skip
    return Source(measurements.read_published(file), "the published table", _digest(file))


def _label(file: Path) -> str:
    """A name without this machine's folders: relative to the checkout, or the bare file name."""
    try:
        return file.resolve().relative_to(paths.ROOT).as_posix()
    except ValueError:
        return file.name


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def show(figure: str, source: str | Path, *, notebook: str) -> None:
    """Display one of FIGURES drawn from a measurements table, and under it one line of provenance."""
    draw = FIGURES[choose("figure", figure, FIGURES)]
    opened = measured(source)
    if opened.note:
        display(Markdown(opened.note))
    display(Image(style.as_png(draw(opened.table)), format="png"))
    display(provenance(opened, notebook))


def provenance(source: Source, notebook: str, **parameters: object) -> HTML:
    """One line: notebook, measurements file with rows and sha256, estimator and other parameters, version."""
    estimators = sorted(set(figures.usable(source.table)["estimator"]))
    settings = {"estimator": ", ".join(estimators)} | parameters
    parts = [
        f"notebook {notebook}",
        f"measurements {source.name} ({len(source.table):,} rows, sha256 {source.digest})",
        *(f"{name} {value}" for name, value in settings.items()),
        f"noise-scaling {__version__}",
    ]
    return HTML(f'<p class="provenance">Provenance: {html.escape("; ".join(parts))}.</p>')


def fits(source: str | Path, *, notebook: str, law: str = "noise_law") -> None:
    """Display every curve's fit of a law as a table to read and to download, and a line that counts the statuses."""
    opened = measured(source)
    table = laws.fit_curves(figures.usable(opened.table), law=laws.named(law))
    counts = ", ".join(f"{n} {status}" for status, n in table["status"].value_counts().items())
    if opened.note:
        display(Markdown(opened.note))
    display(Markdown(f"{len(table)} curves: {counts}."))
    display(as_table(_rounded(table), download=f"{law}_fits.csv", full=table))
    display(provenance(opened, notebook, law=law))


def _rounded(table: pd.DataFrame) -> pd.DataFrame:
    """For reading: one value with its interval a column, four digits, models by their names."""
    out = table[["dataset", "signal"]].copy()
    out["model"] = table["model"].map(lambda m: style.MODELS.get(m, m))
    for name in ("n_cells", "fraction"):
        if name in table:
            out[name] = table[name].map(style.plain)
    for name in ("u_bar", "i_max", "n_sat", "s", "i_inf"):
        if name in table:
            out[f"{name} (95 %)"] = [
                _interval(*values) for values in table[[name, f"{name}_low", f"{name}_high"]].itertuples(index=False)
            ]
    out["R²"] = table["r_squared"].map("{:.3f}".format) if "r_squared" in table else ""
    return out.assign(status=table["status"])


def _interval(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "–"
    spread = "–" if pd.isna(low) else f"{_number(low)} to {_number(high)}"
    return f"{_number(value)} ({spread})"


def _number(value: float) -> str:
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def as_table(table: pd.DataFrame, *, download: str, full: pd.DataFrame | None = None) -> HTML:
    """A scrolling table, and a link that holds the CSV itself, so that it works from the file system."""
    csv = (table if full is None else full).to_csv(index=False, lineterminator="\n")
    data = base64.b64encode(csv.encode()).decode()
    link = f'<a class="table-download" download="{download}" href="data:text/csv;base64,{data}">Download {download}</a>'
    body = table.to_html(index=False, border=0, classes="measurements", na_rep="–", justify="left")
    return HTML(f'<div class="scroll">{body}</div><p>{link}</p>')


def rows(source: str | Path, *, notebook: str) -> None:
    """Display a measurements table as it is, to read and to download."""
    opened = measured(source)
    if opened.note:
        display(Markdown(opened.note))
    columns = ["dataset", "signal", "model", "n_cells", "umis_per_cell", "seed", "estimator", "mi_bits", "mi_stderr"]
    short = opened.table[[*columns, "status"]].round({"umis_per_cell": 1, "mi_bits": 3, "mi_stderr": 3})
    display(as_table(short, download="measurements.csv", full=opened.table))
    display(provenance(opened, notebook))


def card(name: str) -> None:
    """Display a data set's card: what it is, its source and licence, its known limits."""
    about = datasets.card(name)
    facts = {
        "organism": about.organism, "tissue": about.tissue, "technology": about.technology,
        "cells": f"{about.n_cells:,}", "genes": f"{about.n_genes:,}",
        "median UMIs per cell": f"{about.median_umis:,.0f}",
        "signals": "; ".join(f"{k} ({v['kind']}): {v['description']}" for k, v in about.signals.items()),
        "licence": about.licence, "citation": about.citation, "source": about.url or about.doi,
        "known limits": " ".join(about.limits),
    }  # fmt: skip
    lines = "\n".join(f"<tr><th>{k}</th><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items() if v)
    display(HTML(f'<table class="card"><tbody>{lines}</tbody></table>'))


def dataset(name: str, source: str | Path, *, notebook: str) -> None:
    """Display the figure of one data set: molecules per cell, and information against depth and cells."""
    opened = measured(source)
    data = datasets.load(name)
    figure = dataset_pages.dataset_figure(data, opened.table)
    display(Image(style.as_png(figure), format="png"))
    display(provenance(opened, notebook, dataset=name))
