"""What stands on a page around a figure: where its numbers come from, tables to read and to download, cards."""

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
    """A measurements table, the name of where it came from, and whether a summary of it stands for its rows."""

    table: pd.DataFrame
    name: str
    digest: str
    summary: bool = False


def measured(source: str | Path) -> Source:
    """Open a measurements table: a CSV, a folder of them, "published", or "published-filtered" without flagged rows.

    Nothing is downloaded: where the published table is not at hand, its committed summary stands for it. Raises
    InputError if the file is not there, or is no measurements table.
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
    """The numbers of a benchmark, or of a run: a JSON file."""
    found: dict[str, Any] = json.loads(paths.find(source).read_text(encoding="utf-8"))
    return found


def versions(source: str | Path, name: str = "") -> dict[str, pd.DataFrame]:
    """A table by its name, or by `name`; "published" in two versions, all rows and without the flagged."""
    if str(source) == PUBLISHED:
        return {f"published, {version}": published.read(version) for version in VERSIONS.values()}
    opened = measured(source)
    return {name or opened.name: opened.table}


def _named(file: Path) -> tuple[str, str]:
    """A file's name without this machine's folders (relative to the checkout, or bare), and its digest."""
    try:
        return file.resolve().relative_to(paths.ROOT).as_posix(), _digest(file)
    except ValueError:
        return file.name, _digest(file)


def _digest(file: Path) -> str:
    parts = sorted(file.glob("*.csv")) if file.is_dir() else [file]
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:12]


def show(draw: str | Callable[..., Any], source: str | Path, *arguments: Any, **options: Any) -> Figure | HTML:
    """A figure, a table or a text, made of a measurements table; in its place a sentence where that holds too little.

    `draw` is one of `FIGURES` by name, or a function of a table, `arguments` and `options` that returns a Figure, HTML,
    or a DataFrame, which is shown as a table to read and to download; `source` is as `measured` takes it. A notebook
    shows any of them: a figure's caption and alt text stand in the metadata of the notebook's cell. The names of
    downloads say of which table and estimator they are. Raises InputError if there is no such figure or table, or the
    figure refuses the table for more than being too little.
    """
    draw = FIGURES[choose("figure", draw, FIGURES)] if isinstance(draw, str) else draw
    table = measured(source).table
    with style.presets(table):
        try:
            made = draw(table, *arguments, **options)
        except TooLittle as error:
            return paragraph(str(error))
        if isinstance(made, pd.DataFrame):
            made = as_table(brief(made), f"{draw.__name__}.csv", full=made)
    if isinstance(made, HTML):
        end = short(source, [] if "estimator" in draw.__name__ else _estimators(table))  # several: by its name
        return HTML(re.sub(r'(download="|>Download )([^"<]+)\.csv(?=["<])', rf"\1\2_{end}.csv", made.data))
    made.set_label(made.get_label() or draw.__name__.removesuffix("_figure"))
    return made


def told(make: Callable[..., Figure | HTML]) -> Callable[..., Figure | HTML]:
    """`make`, or a sentence where a table holds too little for it."""

    @wraps(make)
    def shown(*arguments: Any, **options: Any) -> Figure | HTML:
        try:
            return make(*arguments, **options)
        except TooLittle as error:
            return paragraph(str(error))

    return shown


def of_content(compute: Callable[[pd.DataFrame], _Result]) -> Callable[[pd.DataFrame], _Result]:
    """`compute` done once for each content of a table: several pieces of a page rest on one slow result."""
    found: dict[bytes, _Result] = {}

    @wraps(compute)
    def once(table: pd.DataFrame) -> _Result:
        key = pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes()
        if key not in found:
            found[key] = compute(table)
        return found[key]

    return once


def paragraph(text: str, kind: str = "") -> HTML:
    """One paragraph, of a CSS class if one is named."""
    return HTML(f'<p class="{kind}">{as_html(text)}</p>' if kind else f"<p>{as_html(text)}</p>")


def as_html(text: str) -> str:
    """Plain text as HTML, with the symbol of the saturation, powers and `code` set as such."""
    escaped = html.escape(text).replace("I_max", "<i>I</i><sub>max</sub>")
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"(\S*)\^\(([^()]*)\)", r'<span class="whole">\1<sup>\2</sup></span>', escaped)


def figure(made: Figure, name: str, alt: str, caption: str) -> str:
    """A figure, its anchor "fig-" and `name`, as HTML that holds its PNG: where as many are drawn as there are data."""
    style.BookFigure.shown.append((made, name))
    data = base64.b64encode(style.as_png(made)).decode()
    image = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
    return f'<figure id="fig-{name}">{image}<figcaption><p>{html.escape(caption)}</p></figcaption></figure>'


def counted(n: int, what: str) -> str:
    """A number and what it counts, in the plural where there is more or less than one: "1 signal", "2 signals"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def interval(value: float, low: float, high: float, form: str = ".2f") -> str:
    """A value and its interval in a sentence: "1.20 (0.85 to 1.61)"."""
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def span(values: pd.Series, form: str = ",.0f") -> str:
    """The lowest and the highest value in a sentence, once where they read alike: "200 to 1,000"."""
    return " to ".join(dict.fromkeys(f"{value:{form}}" for value in (values.min(), values.max())))


def bullets(lines: Iterable[str], kind: str = "") -> HTML:
    """A list of sentences, of a CSS class if one is named: a figure's alt text goes on with a "finding" above it."""
    body = "".join(f"<li>{as_html(line)}</li>" for line in lines)
    return HTML(f'<ul class="{kind}">{body}</ul>' if kind else f"<ul>{body}</ul>")


def provenance(source: str | Path, *, notebook: str, **parameters: object) -> HTML:
    """One line: notebook, measurements (or the summary that stands for them) with sha256, settings, version."""
    opened = measured(source)
    estimators = _estimators(opened.table)
    settings = {"estimator": ", ".join(estimators) or "none"} | parameters
    table = f"measurements {opened.name} ({len(opened.table):,} rows, sha256 {opened.digest})"
    note = _SUMMARY if opened.summary else ""
    about = (f"{name} {value}" for name, value in settings.items())
    return line(notebook, table, *about, note=note, source=short(source, estimators))


def _estimators(table: pd.DataFrame) -> list[str]:
    """The estimator whose rows pages show; of variants alone all that a table has."""
    with contextlib.suppress(TooLittle):
        table = usable(table)
    return sorted(set(table["estimator"]))


def short(source: str | Path, estimators: list[str] | None = None) -> str:
    """A table, by its folder where it has its own, and its estimator in the name of a download: "published_lmi"."""
    own = Path(source).parent.name if Path(source).name == "measurements.csv" else ""
    name = str(source) if str(source) in VERSIONS else own or "ours"
    of = _estimators(measured(source).table) if estimators is None else estimators
    return "_".join([name.replace("-", "_"), *of])


_SUMMARY = (
    "The table itself is not here: its rows, with seeds numbered from 1, follow from the lowest, mean and highest bits "
    "at each point. `noise-scaling fetch published` gets it."
)


def file_provenance(file: str | Path, *, notebook: str, what: str, about: str = "") -> HTML:
    """One line: notebook, `what` a file holds, its name and sha256, what is known `about` it, version."""
    name, digest = _named(paths.find(file))
    return line(notebook, f"{what} {name} (sha256 {digest})", *([about] if about else []))


def line(notebook: str, *parts: str, note: str = "", source: str = "") -> HTML:
    """A line of provenance, with what the figures shown since the last one draw: CSVs named by notebook and source."""
    text = f"Provenance: {'; '.join([f'notebook {notebook}', *parts, f'noise-scaling {__version__}'])}. {note}".strip()
    figures = style.BookFigure.shown[:]
    style.BookFigure.shown.clear()
    stem = Path(notebook).stem
    links = [link(drawn(figure), "_".join(filter(None, [stem, name, source, "drawn.csv"]))) for figure, name in figures]
    return HTML(f'<p class="provenance">{as_html(text)} {" ".join(links)}</p>')


def fits(table: pd.DataFrame) -> HTML:
    """Every curve's fit of Eq. 1 as a table to read and to download, with a line that counts the statuses."""
    found = laws.fit_curves(usable(table))
    counts = ", ".join(f"{n} {status}" for status, n in found["status"].value_counts().items())
    return as_table(brief(found), "noise_law_fits.csv", full=found, title=f"{len(found)} curves: {counts}.")


def brief(found: pd.DataFrame) -> pd.DataFrame:
    """A table of fits without what only its download needs to hold; the reason of one that failed is in its status."""
    if {"status", "note"} <= set(found):
        failed = found["status"] == laws.FAILED
        found = found.assign(status=found["status"].mask(failed, found["status"] + ": " + found["note"]))
    return found.drop(columns=["preset", "residual_sd", "n_points", "note"], errors="ignore")


_IN_BRACKETS = re.compile(r"\((over )?[-+\d.,e%]+( to [-+\d.,e%]+| %)?\)")
"""An interval, or its level: not to be broken."""


def as_table(
    table: pd.DataFrame, download: str, *, full: pd.DataFrame | None = None, title: str | list[str] = "",
    forms: Mapping[str, str] | None = None,
) -> HTML:  # fmt: skip
    """A scrolling table, rounded or by `forms`, names by their labels; its CSV holds `full` where that is another.

    The title is a sentence, or several as a list.
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
    """A link that holds a table as CSV; the book's build writes a file of it (workflow/scripts/book.py)."""
    data = base64.b64encode(table.to_csv(index=False, lineterminator="\n").encode()).decode()
    return f'<a class="table-download" download="{download}" href="data:text/csv;base64,{data}">Download {download}</a>'


def rows(source: str | Path) -> HTML:
    """What a measurements table holds, a line for each signal, estimator and model; every row of it to download."""
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
    """A data set's card: what it is, its source and licence, its known limits."""
    about = datasets.card(name)
    kinds = {signal: f"{style.signal(name, signal)} ({signal}, a {v['kind']})" for signal, v in about.signals.items()}
    facts = {
        "organism": about.organism, "tissue": about.tissue, "technology": about.technology,
        "cells": f"{about.n_cells:,}", "genes": f"{about.n_genes:,}",
        "median UMIs per cell": f"{about.median_umis:,.0f}",
        "of the whole library": f"{about.library_umis:,.0f}" if about.library_umis else "unknown",
        "signals": "; ".join(f"{kinds[k]}: {v['description']}" for k, v in about.signals.items()),
        "licence": about.licence, "citation": about.citation, "source": about.url or about.doi,
        "known limits": " ".join(about.limits),
    }  # fmt: skip
    lines = "\n".join(f"<tr><th>{k}</th><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items() if v)
    return HTML(f'<table class="card"><tbody>{lines}</tbody></table>')
