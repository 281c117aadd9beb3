"""Completeness of a sweep's grid: a heat map by data set and model, and tables."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ..measure import status
from . import page, style

SHARE = LinearSegmentedColormap.from_list("share done", ["#f2f2f2", "#9ecae1", "#0173b2"])
"""Light grey (nothing done) to dark blue (all done): one hue, so that lightness alone tells the share."""
_DARK = 0.6  # share above which a cell is dark enough for white text
_ROW_INCHES = 0.24


@style.book_style()
def draw(table: pd.DataFrame) -> Figure:
    """Draw a heat map: rows are data sets and their signals, columns are models.

    `table` comes from `status.completeness`. A cell's colour is the share of its measurements that are done, printed in
    per cent between 0 and 100 %; a cross marks cells with a failed measurement, and blank cells were not asked for.
    """
    models = style.ordered(table["model"])
    shares = table.groupby(["dataset", "signal", "model"])["state"].value_counts(normalize=True).unstack(fill_value=0)
    shares = shares.reindex(columns=list(status.STATES), fill_value=0).unstack("model")
    share = shares[status.DONE].reindex(columns=models)
    figure, axes = style.one_panel(len(share) * _ROW_INCHES + 2.2)
    cells = axes.pcolormesh(np.ma.masked_invalid(share), cmap=SHARE, vmin=0, vmax=1, edgecolors="white", linewidth=0.8)
    for (y, x), value in np.ndenumerate(share.to_numpy()):
        if 0 < value < 1:
            text = axes.text(x + 0.5, y + 0.5, f"{math.floor(100 * value)}", ha="center", va="center", fontsize=7)
            text.set_color("white" if value > _DARK else "black")
    y, x = np.nonzero(shares[status.FAILED].reindex(columns=models).to_numpy() > 0)
    if len(x):
        label = "one or more failed"
        axes.plot(x + 0.85, y + 0.3, "x", color="#d55e00", markersize=4, linestyle="none", label=label)
    axes.set_ylim(len(share), 0)
    axes.set_yticks(np.arange(len(share)) + 0.5, [style.title(*key) for key in share.index], fontsize=7.5)
    with style.presets(table):
        names = [style.label(model).replace(" (control)", "") for model in models]
    axes.set_xticks(np.arange(len(models)) + 0.5, names, fontsize=7.5, rotation=45, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0)
    bar = figure.colorbar(cells, ax=axes, location="bottom", shrink=0.5, aspect=30, pad=0.02)
    bar.set_label("share of the measurements asked for that are done")
    bar.outline.set_visible(False)
    if axes.lines:
        figure.legend(loc="outside upper right", frameon=False)
    return figure


Configs = str | Path | Sequence[str | Path]


def completeness_figure(configs: Configs, source: str | Path | None = None) -> Figure:
    """Heat map of the share of the configurations' grid that a table (by default, the units kept so far) holds."""
    return draw(status.completeness(configs, source))


def totals(configs: Configs, source: str | Path | None = None) -> HTML:
    """Finding: the numbers of measurements asked for, by state."""
    table = status.completeness(configs, source)
    total = table["state"].value_counts()
    states = ", ".join(f"{total.get(state, 0):,} {state}" for state in status.STATES)
    return page.paragraph(f"{len(table):,} measurements asked for: {states}.", "finding")


def counts(configs: Configs, source: str | Path | None = None, *, by: Sequence[str] = ("dataset",)) -> HTML:
    """Table of the numbers of measurements by state, to read and to download."""
    table = status.completeness(configs, source)
    with style.presets(table):
        return page.as_table(status.summary(table, list(by)), f"completeness_{'_'.join(by)}.csv")


def hours(configs: Configs, source: str | Path | None = None) -> HTML:
    """Table of the hours spent and still expected by model, from the rows' own seconds."""
    asked = status.completeness(configs, source)
    table = status.times(asked)
    spent, left = table[["hours_spent", "hours_left"]].sum()
    title = f"{spent:.2f} hours spent, {left:.2f} expected for what is left, on one core."
    with style.presets(asked):
        return page.as_table(table, "hours.csv", title=title)


def trainings(source: str | Path) -> HTML:
    """Table of the numbers of trainings by model, whose rows a table or a folder of them holds."""
    table = status.trainings(source)
    return page.as_table(table, "trainings.csv", title=f"{table['trained'].sum():,} trained models.")


def failures(configs: Configs, source: str | Path | None = None) -> HTML:
    """Table of every failed measurement with its error; a sentence if none failed."""
    table = status.completeness(configs, source)
    failed = table[table["state"] == status.FAILED].drop(columns=["state", "seconds"])
    if failed.empty:
        return page.paragraph("None of them failed.")
    return page.as_table(failed, "failures.csv", title=f"{len(failed):,} failed.")
