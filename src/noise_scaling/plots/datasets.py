"""Every data set shown by one template: card, cells, measurements, and the truth where it is known."""

import contextlib
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import datasets, laws
from ..datasets import Dataset, true_information
from ..errors import InputError, TooLittle, enough
from ..laws.curves import protocol_rows
from . import cells, page, style
from .figures import CEILING, ceiling, information_figure, kinds, largest, of_signal, usable, without_controls


def overview(measurements: str | Path) -> HTML:
    """Table of all data sets, with links to their parts of the page and row counts of a measurements table."""
    rows, lines = page.measured(measurements).table["dataset"].value_counts(), []
    for name in datasets.names():
        about = datasets.card(name)
        cells = [
            f'<a href="#{name}">{html.escape(style.dataset(name))}</a><br><code>{name}</code>',
            html.escape(about.title), f"{about.n_cells:,}", f"{about.n_genes:,}", f"{about.median_umis:,.0f}",
            f"{about.library_umis:,.0f}" if about.library_umis else "unknown",
            ", ".join(f"{html.escape(style.signal(name, s))} (<code>{s}</code>)" for s in about.signals),
            f"{rows.get(name, 0):,}",
        ]  # fmt: skip
        lines.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = (
        "data set and its name in commands", "what it is", "cells", "genes", "UMIs", "of the library",
        "signals, and their names in commands", "rows of ours",
    )  # fmt: skip
    head = "".join(f"<th>{text}</th>" for text in heads)
    return HTML(f'<table class="datasets"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>')


def gallery(measurements: str | Path, reference: str | Path, *, notebook: str, dataset: str | None = None) -> HTML:
    """Each data set (or only `dataset`, unfolded): card, cells, and curves and fits from the first table that has it.

    Raises InputError if there is no such data set or table.
    """
    tables = {source: page.measured(source).table for source in (measurements, reference)}
    parts = []
    for name in datasets.names() if dataset is None else [datasets.card(dataset).name]:
        about = datasets.card(name)
        source = next((s for s, table in tables.items() if (table["dataset"] == name).any()), None)
        measured = page.paragraph(f"Nothing was measured on {name} yet: the tables hold no row of it.").data
        if source is not None:
            with style.presets(tables[source]):
                measured = _measured(tables[source], source, name, notebook)
        said = html.escape(f"{style.dataset(name)}: {about.title}, {about.n_cells:,} cells")
        body = f'<div id="{name}">{page.card(name).data}{_cells(name, notebook)}{measured}</div>'
        opened, summary = "" if dataset is None else " open", f"<summary>{said} (<code>{name}</code>)</summary>"
        parts.append(f'<details class="dataset"{opened}>{summary}{body}</details>')
    return HTML("".join(parts))


def _cells(name: str, notebook: str) -> str:
    try:
        found = cells.read(name)
    except TooLittle as error:
        return page.paragraph(str(error)).data
    signal = style.signal(name, found["signal"])
    colour = "the most frequent in colours" if "names" in found else cells.label_of(found)
    where = "in their place" if found["axes"] == ["x", "y"] else "in two principal components of log-normalised counts"
    text = (
        f"Left: molecules per cell, all {found['n_cells']:,} cells at full depth. Right: {len(found['x']):,} of them "
        f"{where}, coloured by the signal {signal} ({colour})."
    )
    alt = f"{style.dataset(name)}: a histogram of UMIs per cell, and a scatter plot of cells. {cells.sentence(found)}"
    about = f"{found['n_cells']:,} cells x {found['n_genes']:,} genes, sha256 {found['data_sha256'][:12]}"
    made = f"{about}, made by `python -m noise_scaling.plots.cells {name}` of noise-scaling {found['version']}"
    shown = page.figure(cells.cells_figure(found), f"{name}-cells", alt, text)
    return shown + page.file_provenance(cells.file_of(name), notebook=notebook, what="cells", about=made).data


def _measured(table: pd.DataFrame, source: str | Path, name: str, notebook: str) -> str:
    """Curves of a data set, and fits of Eq. 1 at the largest number of cells, one line per signal and model."""
    here = table[table["dataset"] == name]
    try:
        drawn, rows = information_figure(here, ceilings=True), without_controls(largest(usable(here)))
    except TooLittle as error:
        return page.paragraph(str(error)).data
    alt = "information in bits against training cells and against UMIs per cell, a line for each model."
    lines = [line for axes in drawn.axes for line in axes.lines if line.get_label() == CEILING["label"]]
    levels = dict.fromkeys(float(np.asarray(line.get_ydata())[0]) for line in lines)
    dashed = [f" A dashed line at {level:.2f} bits, an entropy." for level in levels]
    alt = f"{style.dataset(name)}: {alt}{''.join(dashed)} {_most(rows)}".strip()
    text = "lines join means over seeds, bands run from the lowest seed to the highest."
    text = f"Information against training cells and against UMIs per cell: {text}"
    text += " Dashed: the entropy of the signal over all cells, the most that an embedding can hold." * bool(dashed)
    shown = page.figure(drawn, f"{name}-curves", alt, text)
    shown += page.provenance(source, notebook=notebook, dataset=name).data
    found = laws.fit_curves(rows)
    columns = ["signal", "model", "n_cells", "i_max", "i_max_low", "i_max_high", "u_bar", "u_bar_low", "u_bar_high"]
    title = "The noise law (Eq. 1) at the largest number of training cells, with 95 % intervals."
    title = " ".join([title, *_above(rows, found)])
    told = [style.signal(name, signal) for signal in found["signal"]]
    brief = page.brief(found)[[*columns, "r_squared", "status"]].assign(signal=told)
    return shown + page.as_table(brief, f"{name}_fits.csv", full=found, title=title).data


def _above(rows: pd.DataFrame, found: pd.DataFrame) -> Iterator[str]:
    """Say where a fitted I_max, or measured bits, are above the entropy of their signal."""
    for signal in style.signals(rows):
        bits, fits, most = ceiling(*signal), of_signal(found, signal), of_signal(rows, signal)["mi_bits"].max()
        above = [
            f"{style.label(fit.model)} ({fit.i_max:.2f}{f', {fit.status}' * (fit.status != laws.CONVERGED)})"
            for fit in fits[fits["i_max"] > bits].itertuples()
        ]
        what = f"the entropy of the signal {style.signal(*signal)}, {bits:.2f} bits"
        if above:
            yield f"The fitted I_max is above {what}, for {', '.join(above)}: no embedding can hold as much."
        if most > bits:
            yield f"The highest measurement, {most:.2f} bits on a seed's test cells, is above {what} over all cells."


def _most(rows: pd.DataFrame) -> str:
    """One sentence per signal on the models that find the most and the least at full depth."""
    said = []
    for signal in style.signals(rows):
        here = of_signal(rows, signal)
        bits = here[here["fraction"] == here["fraction"].max()].groupby("model")["mi_bits"].mean()
        said.append(
            f"Of the signal {style.signal(*signal)} {style.label(bits.idxmax())} finds most, {bits.max():.2f} bits at "
            f"{here['n_cells'].max():,} training cells and {here['umis_per_cell'].max():,.0f} UMIs per cell; "
            f"{style.label(bits.idxmin())} finds {bits.min():.2f}."
        )
    return " ".join(said)


def _with_truth(table: pd.DataFrame, name: str) -> tuple[Dataset, pd.DataFrame]:
    """A simulated data set, and the rows of its signal at its largest cell number, without controls."""
    data = datasets.load(name)
    here = kinds(protocol_rows(of_signal(table, (name, data.signal.name))))
    enough(here, f"no model was measured on {name} in this table: nothing to hold against the truth")
    return data, largest(usable(here))


def _fitted(table: pd.DataFrame, u: np.ndarray) -> np.ndarray:
    """Bits of Eq. 1 fitted to the rows, at depths `u`; NaN where there are fewer depths than a fit needs."""
    with contextlib.suppress(InputError):
        return laws.fit_noise_law(table["umis_per_cell"], table["mi_bits"]).predict(u)
    return np.full(len(u), np.nan)


def truth_gaps(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """By model and depth: the truth, the measured mean over seeds, the fitted law, and the differences, in bits.

    Raises InputError if the data set's files are not available, or it is not simulated.
    """
    data, here = _with_truth(table, name)
    rows = []
    for model in style.ordered(here["model"]):
        every = here[here["model"] == model]
        points = every.groupby("fraction", as_index=False)[["umis_per_cell", "mi_bits"]].mean()
        u, found = points["umis_per_cell"].to_numpy(), points["mi_bits"].to_numpy()
        truth, fitted = true_information(data, u), _fitted(every, u)
        columns = {"model": model, style.UMIS: u.round(1), "truth": truth, "measured": found}
        columns |= {"Eq. 1": fitted, "truth - measured": truth - found, "measured - Eq. 1": found - fitted}
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True).round(2)


def truth_finding(table: pd.DataFrame, name: str) -> HTML:
    """Finding: the bits that the deepest counts hold, and the bits that each model finds; raises as `truth_gaps`."""
    gaps = truth_gaps(table, name)
    deepest = gaps[gaps[style.UMIS] == gaps[style.UMIS].max()]
    found = ", ".join(f"{style.label(m)} {v:.2f}" for m, v in zip(deepest["model"], deepest["measured"], strict=True))
    held = f"At {deepest[style.UMIS].iloc[0]:,.0f} UMIs per cell the counts hold {deepest['truth'].iloc[0]:.2f} bits"
    return page.paragraph(f"{held}; found in means over seeds: {found}.", "finding")


@style.book_style()
def truth_figure(table: pd.DataFrame, name: str) -> Figure:
    """Plot measured bits, fitted law and true bits of simulated counts, a panel per model; raises as `truth_gaps`."""
    data, here = _with_truth(table, name)
    u = np.geomspace(here["umis_per_cell"].min(), here["umis_per_cell"].max(), 40)
    truth, true_look = true_information(data, u), dict[str, Any](color="black", linestyle="--")

    def draw(axes: Axes, _: None, model: str) -> None:
        points = here[here["model"] == model]
        axes.plot(u, truth, **true_look)
        style.plot(axes, model, points["umis_per_cell"], points["mi_bits"], linestyle="")
        axes.plot(u, _fitted(points, u), color=style.colour(model))
        style.bits_axes(axes)

    look: dict[str, Any] = {"xlabel": style.UMIS, "height": 2.2, "narrow": True, "sharey": True}
    figure = style.model_panels({None: style.BITS}, style.ordered(here["model"]), draw, **look)
    marks = [true_look | {"label": "truth: what the counts hold"}, style.EQ_1 | {"label": "Eq. 1 fitted"}]
    style.legend(figure, *marks, style.ONE_SEED)
    return figure
