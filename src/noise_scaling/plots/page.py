"""What stands on a page around a figure: where its numbers come from, tables to read and to download, cards."""

from __future__ import annotations

import base64
import hashlib
import html
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image

from .. import __version__, datasets, laws, measurements, paths
from .. import published as careful
from ..errors import InputError, TooLittle, choose
from . import datasets as dataset_pages
from . import figures, style

FIGURES = {
    "information": figures.information_figure,
    "fits": figures.fits_figure,
    "collapse": figures.collapse_figure,
}
PUBLISHED = "published"
SOUND = "published-sound"
"""The published table without the rows that published.py doubts."""
OURS = paths.MEASUREMENTS


@dataclass(frozen=True)
class Source:
    """A measurements table, the name of where it came from, and a line to say if that is not what was asked for."""

    table: pd.DataFrame
    name: str
    digest: str
    note: str = ""


def measured(source: str | Path) -> Source:
    """Open a measurements table: a CSV, a folder of them, "published" for the paper's, or
    "published-sound" for that without its doubtful rows.

    Where the published table is neither in the mirror nor to be downloaded, our own table comes with a note.
    """
    if str(source) not in (PUBLISHED, SOUND):
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
    table = measurements.read_published(file)
    if str(source) == PUBLISHED:
        return Source(table, "the published table", _digest(file))
    kept = careful.sound(table)
    return Source(kept, f"the published table without {len(table) - len(kept):,} doubtful rows", _digest(file))


def _label(file: Path) -> str:
    """A name without this machine's folders: relative to the checkout, or the bare file name."""
    try:
        return file.resolve().relative_to(paths.ROOT).as_posix()
    except ValueError:
        return file.name


def _digest(file: Path) -> str:
    parts = sorted(file.glob("*.csv")) if file.is_dir() else [file]
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]


def show(figure: str, source: str | Path) -> Image | HTML:
    """One of FIGURES, drawn from a measurements table; a sentence where the table holds too little for it."""
    draw = FIGURES[choose("figure", figure, FIGURES)]
    try:
        return Image(style.as_png(draw(measured(source).table)), format="png")
    except TooLittle as error:
        return HTML(f"<p>{html.escape(str(error))}</p>")


def provenance(source: str | Path, *, notebook: str, **parameters: object) -> HTML:
    """One line: notebook, measurements file with rows and sha256, estimator and other parameters, version.

    Where the published table was asked for and ours stands in for it, the line says so first.
    """
    opened = measured(source)
    estimators = sorted(set(figures.usable(opened.table)["estimator"]))
    settings = {"estimator": ", ".join(estimators)} | parameters
    table = f"measurements {opened.name} ({len(opened.table):,} rows, sha256 {opened.digest})"
    return _line(notebook, table, *(f"{name} {value}" for name, value in settings.items()), note=opened.note)


def cells_provenance(name: str, *, notebook: str) -> HTML:
    """One line under a figure of a data set's cells: notebook, how many cells and genes, their sha256, version."""
    try:
        data = datasets.load(name)
    except InputError:
        note = f"Its files could not be had here: run `noise-scaling fetch {name}` where there is a network."
        return _line(notebook, f"cells of {name}", note=note)
    return _line(
        notebook, f"{data.n_cells:,} cells and {data.n_genes:,} genes of {name} (sha256 {data.data_sha256[:12]})"
    )


def _line(notebook: str, *parts: str, note: str = "") -> HTML:
    text = f"Provenance: {'; '.join([f'notebook {notebook}', *parts, f'noise-scaling {__version__}'])}. {note}".strip()
    return HTML(f'<p class="provenance">{html.escape(text)}</p>')


def fits(source: str | Path, *, law: str = "noise_law") -> HTML:
    """Every curve's fit of a law as a table to read and to download, with a line that counts the statuses."""
    table = laws.fit_curves(figures.usable(measured(source).table), law=laws.named(law))
    counts = ", ".join(f"{n} {status}" for status, n in table["status"].value_counts().items())
    return as_table(_rounded(table), download=f"{law}_fits.csv", full=table, title=f"{len(table)} curves: {counts}.")


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


def as_table(
    table: pd.DataFrame, *, download: str, full: pd.DataFrame | None = None, title: str = "", wrap: bool = False
) -> HTML:
    """A scrolling table, and a link that holds the CSV itself, so that it works from the file system.

    `wrap` breaks lines in cells and headings instead of scrolling sideways.
    """
    title = f"<p>{html.escape(title)}</p>" if title else ""
    csv = (table if full is None else full).to_csv(index=False, lineterminator="\n")
    data = base64.b64encode(csv.encode()).decode()
    link = f'<a class="table-download" download="{download}" href="data:text/csv;base64,{data}">Download {download}</a>'
    body = table.to_html(
        index=False, border=0, classes="measurements wrap" if wrap else "measurements", na_rep="–", justify="left"
    )
    return HTML(f'{title}<div class="scroll">{body}</div><p>{link}</p>')


def rows(source: str | Path) -> HTML:
    """A measurements table as it is, to read and to download."""
    table = measured(source).table
    columns = ["dataset", "signal", "model", "n_cells", "umis_per_cell", "seed", "estimator", "mi_bits", "mi_stderr"]
    short = table[[*columns, "status"]].round({"umis_per_cell": 1, "mi_bits": 3, "mi_stderr": 3})
    return as_table(short, download="measurements.csv", full=table)


def card(name: str) -> HTML:
    """A data set's card: what it is, its source and licence, its known limits."""
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
    return HTML(f'<table class="card"><tbody>{lines}</tbody></table>')


def cells(name: str) -> Image:
    """The figure of a data set's cells: molecules per cell, and the signal over two components or in its place."""
    try:
        data = datasets.load(name)
    except InputError:  # its files are not here; the figure says so
        data = None
    return Image(style.as_png(dataset_pages.cells_figure(data)), format="png")


def dataset(name: str, source: str | Path) -> Image:
    """The figure of what was measured on a data set: information against depth, by cells and model."""
    return Image(style.as_png(dataset_pages.dataset_figure(name, measured(source).table)), format="png")


def truth(name: str, source: str | Path) -> Image:
    """The figure of a simulated data set: measured bits and fitted law beside what the counts hold."""
    figure = dataset_pages.truth_figure(datasets.load(name), measured(source).table)
    return Image(style.as_png(figure), format="png")


def truth_gaps(name: str, source: str | Path) -> HTML:
    """A table of where measured bits and fitted law part from the truth, by model and depth, in bits."""
    table = dataset_pages.truth_table(datasets.load(name), measured(source).table)
    return as_table(table, download=f"{name}_truth.csv")
