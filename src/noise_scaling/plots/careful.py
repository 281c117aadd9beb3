"""The page of a careful reader's notes on the published table: each with its number, and the rows they cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
from IPython.display import HTML, Image
from matplotlib.figure import Figure

from .. import laws
from .. import published as careful
from . import figures, page, style

_SIGNALS = ("celltype.l3", "protein")


def notes() -> HTML:
    """The notes as a table: what was found, its number, and what is done about it here."""
    opened = page.measured(page.PUBLISHED)
    if opened.note:
        return HTML(f"<p>{opened.note}</p>")
    table = figures.usable(opened.table)
    fits, cell_fits = laws.fit_curves(table), laws.fit_curves(table, law=laws.CELL_NUMBER_LAW)
    return page.as_table(careful.notes(table, fits, cell_fits), download="notes.csv", wrap=True)


def doubted() -> HTML:
    """How many rows each reason takes out of the second version of a figure, by data set."""
    opened = page.measured(page.PUBLISHED)
    if opened.note:
        return HTML(f"<p>{opened.note}</p>")
    why = careful.reasons(opened.table)
    counts = opened.table.assign(reason=why)[why != ""].groupby(["reason", "dataset"]).size().unstack(fill_value=0)
    counts["all"] = counts.sum(axis=1)
    full = opened.table.assign(doubt=why)
    title = f"{(why != '').sum():,} of {len(why):,} rows; the download holds every row with its reason."
    return page.as_table(counts.reset_index(), download="published_with_doubts.csv", full=full, title=title, wrap=True)


def seeds() -> Image:
    """The figure of PBMC Geneformer's two whole seeds against each other, beside scVI's."""
    return Image(style.as_png(seeds_figure(page.measured(page.PUBLISHED).table)), format="png")


def seeds_figure(table: pd.DataFrame) -> Figure:
    """Bits of seed 42 against those of seed 2701 at every point of the PBMC grids, Geneformer beside scVI."""
    pbmc = table[table["dataset"] == "pbmc"]
    with style.book_style():
        figure, panels = style.new_figure(1, 2, 3.9, sharex=True, sharey=True)
        for axes, model in zip(panels[0], ("geneformer", "scvi"), strict=True):
            for signal, marker in zip(_SIGNALS, "o^", strict=True):
                rows = pbmc[(pbmc["model"] == model) & (pbmc["signal"] == signal)]
                both = rows.pivot(index=["fraction", "n_cells"], columns="seed", values="mi_bits")
                if {42, 2701} <= set(both):
                    label = style.title("pbmc", signal)
                    axes.plot(
                        both[2701], both[42], linestyle="", marker=marker, color=style.COLOURS[model],
                        markerfacecolor="none" if signal == "protein" else None, label=label,
                    )  # fmt: skip
            ends = np.array([0.0, 5.0])
            axes.plot(ends, ends, color="0.4", linewidth=0.9)
            axes.plot(ends, ends - careful.FAR, color="0.4", linewidth=0.9, linestyle="--")
            axes.set_title(style.MODELS[model], loc="left")
            axes.set_xlabel("seed 2701 (bits)")
            axes.set_aspect("equal")
            axes.legend(frameon=False, loc="upper left", fontsize=8.5)
        panels[0, 0].set_ylabel("seed 42 (bits)")
    return figure
