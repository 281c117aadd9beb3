"""The audit of the published table: notes, each with its number, and the flagged rows."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import laws
from ..measurements import published
from ..measurements import table_audit as audit
from . import page, style

_SIGNALS: dict[str, dict[str, Any]] = {
    "celltype.l3": {"marker": "o", "linestyle": "", "markerfacecolor": None},
    "protein": {"marker": "^", "linestyle": "", "markerfacecolor": "none"},
}
_MODELS = ("geneformer", "scvi")  # models of the note on seed 42: the one that is flagged, and one that is not
_NAMES = re.compile(r"\b(larry|merfish|mouse_embryo)\b")  # names of data sets in notes


def notes() -> HTML:
    """Return the notes as a table: what was found, its number, and what is done about it here."""
    table = _of_seeds("notes", note_table)
    shown = table["found"].str.replace(_NAMES, lambda found: style.dataset(found[0]), regex=True)
    return page.as_table(table.assign(found=shown), "notes.csv", full=table)


def _of_seeds(name: str, compute: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """Compute what needs the table's seed names, or return the committed result if the table is not on this machine."""
    opened = page.measured(page.PUBLISHED)
    return published.statistics(name) if opened.summary else compute(opened.table)


def note_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return `audit.notes` of the published table."""
    fits, cell_fits = laws.fit_curves(table), laws.fit_curves(table, law=laws.CELL_NUMBER_LAW)
    return audit.notes(table, fits, cell_fits)


def flagged() -> HTML:
    """Return how many rows each reason removes from the second version of a figure, by data set."""
    opened, counts = page.measured(page.PUBLISHED), _of_seeds("flagged", flag_counts)
    title = f"{counts['all'].sum():,} of {len(opened.table):,} rows."
    full, name = counts, "flagged.csv"
    if not opened.summary:
        full, name = opened.table.assign(flag=audit.reasons(opened.table)), "published_with_flags.csv"
        title += " The download holds every row with its reason."
    return page.as_table(counts.rename(columns=style.dataset), name, full=full, title=title)


def flag_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Count flagged rows by reason, with one column for each data set."""
    why = audit.reasons(table)
    counts = table.assign(reason=why)[why != ""].groupby(["reason", "dataset"]).size().unstack(fill_value=0)
    return counts.assign(all=counts.sum(axis=1)).rename_axis(columns=None).reset_index()


def seed_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and difference (42 less 2701) in bits at PBMC points with both seeds, for Geneformer and scVI."""
    rows = table[(table["dataset"] == "pbmc") & table["model"].isin(_MODELS)]
    both = rows.pivot(index=["model", "signal", "fraction", "n_cells"], columns="seed", values="mi_bits")
    both = both[[42, 2701]].dropna()
    return pd.DataFrame({"mean": both.mean(axis=1), "difference": both[42] - both[2701]}).reset_index()


@style.book_style()
def seeds_figure() -> Figure:
    """Draw bits of seed 42 against bits of seed 2701 at every point of `seed_pairs`, one panel per model."""
    pairs = _of_seeds("seed_pairs", seed_pairs)
    titles = map(style.label, _MODELS)
    figure, panels = style.new_figure(
        1, 2, 3.9, titles=titles, xlabel="seed 2701 (bits)", ylabel="seed 42 (bits)", sharex=True, sharey=True
    )
    for axes, model in zip(panels[0], _MODELS, strict=True):
        for signal, look in _SIGNALS.items():
            here = pairs[(pairs["model"] == model) & (pairs["signal"] == signal)]
            half = here["difference"] / 2
            style.plot(axes, model, here["mean"] - half, here["mean"] + half, **look)
        ends = np.array([0.0, 5.0])
        axes.plot(ends, ends, color="0.4", linewidth=0.9)
        axes.plot(ends, ends - audit.FAR, color="0.4", linewidth=0.9, linestyle="--")
        axes.set_aspect("equal")
    marks = [look | {"color": "0.3", "label": style.title("pbmc", signal)} for signal, look in _SIGNALS.items()]
    style.legend(figure, *marks)
    return figure
