"""What stands on a page around a figure: where its numbers come from, tables to read and to download, cards."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image

from .. import __version__, datasets, laws, measurements, paths
from ..errors import InputError, TooLittle, choose
from ..measurements import published
from . import datasets as dataset_pages
from . import figures, style

FIGURES = {
    "information": figures.information_figure,
    "fits": figures.fits_figure,
    "collapse": figures.collapse_figure,
}
PUBLISHED = "published"
SOUND = "published-sound"
"""The published table without the rows that measurements/published.py doubts."""
VERSIONS = {PUBLISHED: published.ALL, SOUND: published.KEPT}


@dataclass(frozen=True)
class Source:
    """A measurements table, the name of where it came from, and whether a summary of it stands for its rows."""

    table: pd.DataFrame
    name: str
    digest: str
    summary: bool = False


def measured(source: str | Path) -> Source:
    """Open a measurements table: a CSV, a folder of them, "published" for the paper's, or
    "published-sound" for that without its doubtful rows.

    Nothing is downloaded: where the published table is not at hand, its committed summary stands for it.
    """
    if str(source) not in VERSIONS:
        file = paths.find(source)
        return Source(measurements.read(file), _label(file), _digest(file))
    every, table = published.read(), published.read(VERSIONS[str(source)])
    name = (
        "the published table"
        if len(table) == len(every)
        else (f"the published table without {len(every) - len(table):,} doubtful rows")
    )
    if published.at_hand():
        return Source(table, name, _digest(datasets.fetch(PUBLISHED)))
    return Source(table, f"{name}, from its summary data/published", _digest(paths.PUBLISHED), summary=True)


def versions(source: str | Path, name: str = "") -> dict[str, pd.DataFrame]:
    """A table by its name, or by `name`; "published" in two versions, all rows and without the doubtful."""
    if str(source) == PUBLISHED:
        return {f"published, {version}": published.read(version) for version in VERSIONS.values()}
    opened = measured(source)
    return {name or opened.name: opened.table}


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
    return _or_why_not(lambda: Image(style.as_png(draw(measured(source).table)), format="png"))


def _or_why_not(make: Callable[[], Image | HTML]) -> Image | HTML:
    """What `make` makes, or in its place a sentence where the table holds too little for it."""
    try:
        return make()
    except TooLittle as error:
        return HTML(f"<p>{html.escape(str(error))}</p>")


def provenance(source: str | Path, *, notebook: str, **parameters: object) -> HTML:
    """One line: notebook, measurements file with rows and sha256, estimator and other parameters, version.

    Where a summary stands for the published table, the line says so and how to get the table.
    """
    opened = measured(source)
    try:
        estimators = sorted(set(figures.usable(opened.table)["estimator"]))
    except TooLittle:
        estimators = ["none"]
    settings = {"estimator": ", ".join(estimators)} | parameters
    table = f"measurements {opened.name} ({len(opened.table):,} rows, sha256 {opened.digest})"
    note = _SUMMARY if opened.summary else ""
    return _line(notebook, table, *(f"{name} {value}" for name, value in settings.items()), note=note)


_SUMMARY = (
    "The table itself is not here: its rows, with seeds numbered from 1, follow from the lowest, mean and highest bits "
    "at each point. `noise-scaling fetch published` gets it."
)


def cells_provenance(name: str, *, notebook: str) -> HTML:
    """One line under a figure of a data set's cells: notebook, how many cells and genes, their sha256, version."""
    if not _at_hand(name):
        note = f"Its files are not here: run `noise-scaling fetch {name}` where there is a network."
        return _line(notebook, f"cells of {name}", note=note)
    data = datasets.load(name)
    return _line(
        notebook, f"{data.n_cells:,} cells and {data.n_genes:,} genes of {name} (sha256 {data.data_sha256[:12]})"
    )


def _line(notebook: str, *parts: str, note: str = "") -> HTML:
    text = f"Provenance: {'; '.join([f'notebook {notebook}', *parts, f'noise-scaling {__version__}'])}. {note}".strip()
    return HTML(f'<p class="provenance">{html.escape(text)}</p>')


def fits(source: str | Path, *, law: str = "noise_law") -> HTML:
    """Every curve's fit of a law as a table to read and to download, with a line that counts the statuses."""
    return _or_why_not(lambda: _fits(measured(source).table, law))


def _fits(rows: pd.DataFrame, law: str) -> HTML:
    table = laws.fit_curves(figures.usable(rows), law=laws.named(law))
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
    """A measurements table as it is, to read and to download; of a summary its points."""
    opened = measured(source)
    if opened.summary:
        points = published.statistics("points")
        return as_table(points[points["rows"] == VERSIONS[str(source)]], download="points.csv")
    table = opened.table
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
    """The figure of a data set's cells: molecules per cell, and the signal over two components or in its place.

    Without its files a line says so.
    """
    absent = not _at_hand(name)
    figure = dataset_pages.absent_figure(name) if absent else dataset_pages.cells_figure(datasets.load(name))
    return Image(style.as_png(figure), format="png")


def dataset(name: str, source: str | Path) -> Image | HTML:
    """The figure of what was measured on a data set: information against depth, by cells and model."""
    draw = dataset_pages.dataset_figure
    return _or_why_not(lambda: Image(style.as_png(draw(name, measured(source).table)), format="png"))


def truth(name: str, source: str | Path) -> Image | HTML:
    """The figure of a simulated data set: measured bits and fitted law beside what the counts hold."""
    data, draw = _of_known_truth(name), dataset_pages.truth_figure
    return _or_why_not(lambda: Image(style.as_png(draw(data, measured(source).table)), format="png"))


def truth_gaps(name: str, source: str | Path) -> HTML:
    """A table of where measured bits and fitted law part from the truth, by model and depth, in bits."""
    data, rows = _of_known_truth(name), dataset_pages.truth_table
    return _or_why_not(lambda: as_table(rows(data, measured(source).table), download=f"{name}_truth.csv"))


def _at_hand(name: str) -> bool:
    """Whether a data set's files can be had without a download: a page never waits for a network."""
    return datasets.at_hand(datasets.card(name))


def _of_known_truth(name: str) -> datasets.Dataset:
    if not _at_hand(name):
        raise InputError(f"the files of {name} are not here: run `noise-scaling fetch {name}` where there is a network")
    return datasets.load(name)
