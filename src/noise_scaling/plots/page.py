"""The parts of a page around its figures: provenance of the numbers, tables to read and to download, cards."""

import base64
import contextlib
import hashlib
import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import __version__, datasets, laws, measurements, paths
from ..errors import TooLittle, choose
from ..measurements import published
from . import style
from .drawn import drawn
from .figures import FIGURES, usable
from .readable import readable

PUBLISHED = "published"
FILTERED = "published-filtered"
"""The published table without the rows that measurements/published.py flags."""
VERSIONS = {PUBLISHED: published.ALL, FILTERED: published.KEPT}

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Source:
    """A measurements table, the name and digest of its source, and whether the rows come from a summary of it."""

    table: pd.DataFrame
    name: str
    digest: str
    summary: bool = False


def measured(source: str | Path) -> Source:
    """Open a measurements table: a CSV, a folder of them, "published", or "published-filtered" without flagged rows.

    Nothing is downloaded: if the published table is not on this machine, its committed summary replaces it. Raises
    InputError if the file is missing or is not a measurements table.
    """
    if str(source) not in VERSIONS:
        file = paths.find(source)
        return Source(measurements.read(file), *_named(file))
    every, table = published.read(), published.read(VERSIONS[str(source)])
    dropped = len(every) - len(table)
    name = f"the published table without {dropped:,} flagged rows" if dropped else "the published table"
    if published.at_hand():
        return Source(table, name, _digest(datasets.fetch(PUBLISHED)))
    return Source(table, f"{name}, from its summary data/published", _digest(paths.PUBLISHED), summary=True)


def numbers(source: str | Path) -> dict[str, Any]:
    """Read the numbers of a benchmark, or of a run, from a JSON file."""
    found: dict[str, Any] = json.loads(paths.find(source).read_text(encoding="utf-8"))
    return found


def versions(source: str | Path, name: str = "") -> dict[str, pd.DataFrame]:
    """Return a table by its own name, or by `name`; "published" has two versions, with and without flagged rows."""
    if str(source) == PUBLISHED:
        return {f"published, {version}": published.read(version) for version in VERSIONS.values()}
    opened = measured(source)
    return {name or opened.name: opened.table}


def _named(file: Path) -> tuple[str, str]:
    """Return a file's name without this machine's folders (relative to the checkout, or bare), and its digest."""
    try:
        return file.resolve().relative_to(paths.ROOT).as_posix(), _digest(file)
    except ValueError:
        return file.name, _digest(file)


def _digest(file: Path) -> str:
    parts = sorted(file.glob("*.csv")) if file.is_dir() else [file]
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]


def show(draw: str | Callable[..., Any], source: str | Path, *arguments: Any, **options: Any) -> Figure | HTML:
    """Make a figure, a table or a text from a measurements table, or a sentence if the table holds too little for it.

    `draw` is the name of one of `FIGURES`, or a function of a table, `arguments` and `options` that returns a Figure,
    HTML, or a DataFrame, which is shown as a table to read and to download; `source` is as in `measured`. A notebook
    displays all of these; a figure's caption and alt text are in the metadata of the notebook's cell. The names of
    downloads include the table and the estimator. Raises InputError if there is no such figure or table, or if the
    figure cannot use the table for another reason than that it holds too little.
    """
    draw = FIGURES[choose("figure", draw, FIGURES)] if isinstance(draw, str) else draw
    table = measured(source).table
    with style.presets(table):
        made: Any = told(draw)(table, *arguments, **options)
        if isinstance(made, pd.DataFrame):
            made = as_table(brief(made), f"{draw.__name__}.csv", full=made)
    if isinstance(made, HTML):
        end = short(source, [] if "estimator" in draw.__name__ else _estimators(table))  # [] if it shows several
        return HTML(re.sub(r'(download="|>Download )([^"<]+)\.csv(?=["<])', rf"\1\2_{end}.csv", made.data))
    made.set_label(made.get_label() or draw.__name__.removesuffix("_figure"))
    return made


def told(make: Callable[..., Figure | HTML]) -> Callable[..., Figure | HTML]:
    """Decorate `make` to return a sentence if a table holds too little for it."""

    @wraps(make)
    def shown(*arguments: Any, **options: Any) -> Figure | HTML:
        try:
            return make(*arguments, **options)
        except TooLittle as error:
            return paragraph(str(error))

    return shown


def of_content(compute: Callable[[pd.DataFrame], _Result]) -> Callable[[pd.DataFrame], _Result]:
    """Cache `compute` by the content of its table, because several parts of a page use the same slow result."""
    found: dict[bytes, _Result] = {}

    @wraps(compute)
    def once(table: pd.DataFrame) -> _Result:
        key = pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()
        if key not in found:
            found[key] = compute(table)
        return found[key]

    return once


def paragraph(text: str, kind: str = "") -> HTML:
    """Return one paragraph, with the CSS class `kind` if given."""
    return HTML(f'<p class="{kind}">{as_html(text)}</p>' if kind else f"<p>{as_html(text)}</p>")


def as_html(text: str) -> str:
    """Return plain text as HTML, with I_max as a symbol, powers as superscripts and `code` as code."""
    escaped = html.escape(text).replace("I_max", "<i>I</i><sub>max</sub>")
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"(\S*)\^\(([^()]*)\)", r'<span class="whole">\1<sup>\2</sup></span>', escaped)


def figure(made: Figure, name: str, alt: str, caption: str) -> str:
    """Return a figure as HTML with its PNG and the anchor "fig-NAME", for pages whose number of figures varies."""
    style.BookFigure.shown.append((made, name))
    data = base64.b64encode(style.as_png(made)).decode()
    image = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
    return f'<figure id="fig-{name}">{image}<figcaption><p>{html.escape(caption)}</p></figcaption></figure>'


def counted(n: int, what: str) -> str:
    """Return a number and its noun `what`, in the plural unless the number is 1: "1 signal", "2 signals"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def interval(value: float, low: float, high: float, form: str = ".2f") -> str:
    """Return a value and its interval for a sentence: "1.20 (0.85 to 1.61)"."""
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def span(values: pd.Series, form: str = ",.0f") -> str:
    """Return the lowest and the highest value for a sentence, only one if both print alike: "200 to 1,000"."""
    return " to ".join(dict.fromkeys(f"{value:{form}}" for value in (values.min(), values.max())))


def bullets(lines: Iterable[str], kind: str = "") -> HTML:
    """Return a list of sentences of CSS class `kind`; the alt text of a figure continues with a "finding" above it."""
    body = "".join(f"<li>{as_html(line)}</li>" for line in lines)
    return HTML(f'<ul class="{kind}">{body}</ul>' if kind else f"<ul>{body}</ul>")


def provenance(source: str | Path, *, notebook: str, **parameters: object) -> HTML:
    """Return one line: notebook, measurements (or the summary that replaces them) with sha256, settings, version."""
    opened = measured(source)
    estimators = _estimators(opened.table)
    settings = {"estimator": ", ".join(estimators) or "none"} | parameters
    table = f"measurements {opened.name} ({len(opened.table):,} rows, sha256 {opened.digest})"
    note = _SUMMARY if opened.summary else ""
    about = (f"{name} {value}" for name, value in settings.items())
    return line(notebook, table, *about, note=note, source=short(source, estimators))


def _estimators(table: pd.DataFrame) -> list[str]:
    """Return the estimator whose rows pages show, or all estimators of a table that has only variants."""
    with contextlib.suppress(TooLittle):
        table = usable(table)
    return sorted(set(table["estimator"]))


def short(source: str | Path, estimators: list[str] | None = None) -> str:
    """Name a table for downloads by its source (its own folder if it has one) and estimators, as in "published_lmi"."""
    own = Path(source).parent.name if Path(source).name == "measurements.csv" else ""
    name = str(source) if str(source) in VERSIONS else own or "ours"
    of = _estimators(measured(source).table) if estimators is None else estimators
    return "_".join([name.replace("-", "_"), *of])


_SUMMARY = (
    "The table itself is not here: its rows, with seeds numbered from 1, follow from the lowest, mean and highest bits "
    "at each point. `noise-scaling fetch published` gets it."
)


def file_provenance(file: str | Path, *, notebook: str, what: str, about: str = "") -> HTML:
    """Return one line: notebook, `what` a file holds, its name and sha256, facts `about` it, version."""
    name, digest = _named(paths.find(file))
    return line(notebook, f"{what} {name} (sha256 {digest})", *([about] if about else []))


def line(notebook: str, *parts: str, note: str = "", source: str = "") -> HTML:
    """Return a line of provenance with CSVs, named by notebook and source, of the figures shown since the last line."""
    text = f"Provenance: {'; '.join([f'notebook {notebook}', *parts, f'noise-scaling {__version__}'])}. {note}".strip()
    figures = style.BookFigure.shown[:]
    style.BookFigure.shown.clear()
    stem = Path(notebook).stem
    links = [link(drawn(figure), "_".join(filter(None, [stem, name, source, "drawn.csv"]))) for figure, name in figures]
    return HTML(f'<p class="provenance">{as_html(text)} {" ".join(links)}</p>')


def fits(table: pd.DataFrame) -> HTML:
    """Return every curve's fit of Eq. 1 as a table to read and to download, with a line that counts the statuses."""
    found = laws.fit_curves(usable(table))
    counts = ", ".join(f"{n} {status}" for status, n in found["status"].value_counts().items())
    return as_table(brief(found), "noise_law_fits.csv", full=found, title=f"{len(found)} curves: {counts}.")


def brief(found: pd.DataFrame) -> pd.DataFrame:
    """Return a table of fits without columns that only its download needs; a failed fit has its reason in `status`."""
    if {"status", "note"} <= set(found):
        failed = found["status"] == laws.FAILED
        found = found.assign(status=found["status"].mask(failed, found["status"] + ": " + found["note"]))
    return found.drop(columns=["preset", "residual_sd", "n_points", "note"], errors="ignore")


_IN_BRACKETS = re.compile(r"\((over )?[-+\d.,e%]+( to [-+\d.,e%]+| %)?\)")
"""An interval or its level in brackets, which must not be broken across lines."""


def as_table(
    table: pd.DataFrame, download: str, *, full: pd.DataFrame | None = None, title: str | list[str] = "",
    forms: Mapping[str, str] | None = None,
) -> HTML:  # fmt: skip
    """Return a scrolling table with names as labels and numbers rounded or by `forms`, and a link to its CSV.

    The CSV holds `full` if given, else the table. The title is a sentence, or several as a list.
    """
    head = f"<p>{as_html(title)}</p>" if isinstance(title, str) else bullets(title).data
    head = head if title else ""
    to_download = link(table if full is None else full, download)
    told = {name: table[name].map(form.format, na_action="ignore") for name, form in (forms or {}).items()}
    body = readable(table.assign(**told)).to_html(
        index=False, border=0, classes="measurements", na_rep="–", justify="left"
    )
    body = _IN_BRACKETS.sub(lambda found: found[0].replace(" ", "&nbsp;"), body.replace("I_max", as_html("I_max")))
    return HTML(f'{head}<div class="scroll">{body}</div><p>{to_download}</p>')


def link(table: pd.DataFrame, download: str) -> str:
    """Return a link with a table embedded as CSV; the book's build writes it to a file (workflow/scripts/book.py)."""
    data = base64.b64encode(table.to_csv(index=False, lineterminator="\n").encode()).decode()
    return f'<a class="table-download" download="{download}" href="data:text/csv;base64,{data}">Download {download}</a>'


def rows(source: str | Path) -> HTML:
    """Summarise a measurements table, a line per signal, estimator and model; the download holds every row."""
    opened = measured(source)
    if opened.summary:
        points = published.statistics("points")
        return as_table(points[points["rows"] == VERSIONS[str(source)]], "points.csv")
    groups = opened.table.groupby(["dataset", "signal", "estimator", "model"])
    held = pd.DataFrame({
        "rows": groups.size(), "without a number": groups["status"].agg(lambda s: (s != measurements.OK).sum()),
        "training cells": groups["n_cells"].agg(span), "UMIs per cell": groups["umis_per_cell"].agg(span),
        "seeds": groups["seed"].nunique(), "most bits": groups["mi_bits"].max(),
    }).reset_index()  # fmt: skip
    with style.presets(opened.table):
        return as_table(held, "measurements.csv", full=opened.table)


def card(name: str) -> HTML:
    """Return a data set's card: what it is, its source and licence, its known limits."""
    about = datasets.card(name)
    kinds = {signal: f"{style.signal(name, signal)} ({signal}, a {v['kind']})" for signal, v in about.signals.items()}
    facts = {
        "organism": about.organism, "tissue": about.tissue, "technology": about.technology,
        "cells": f"{about.n_cells:,}", "genes": f"{about.n_genes:,}",
        "median UMIs per cell": f"{about.median_umis:,.0f}",
        "of the whole library": f"{about.library_umis:,.0f}" if about.library_umis else "unknown",
        "signals": "; ".join(f"{kinds[k]}: {v['description']}{_ceiling(v)}" for k, v in about.signals.items()),
        "licence": about.licence, "citation": about.citation, "source": about.url or about.doi,
        "known limits": " ".join(about.limits),
    }  # fmt: skip
    lines = "\n".join(f"<tr><th>{k}</th><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items() if v)
    return HTML(f'<table class="card"><tbody>{lines}</tbody></table>')


def _ceiling(signal: Mapping[str, Any]) -> str:
    if "entropy" not in signal:
        return ""
    what = "classes" if signal["kind"] == "label" else "values"
    return f" (its {what} hold {signal['entropy']:.2f} bits: no embedding can hold more)"
