"""What of a sweep's grid is there: a heat map by data set, model, cells and depth, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..measure import status
from . import page, style

SHARE = LinearSegmentedColormap.from_list("share done", ["#f2f2f2", "#9ecae1", "#0173b2"])
"""One hue from light grey (nothing done) to the darkest (all done): read by lightness alone."""
FAILED_COLOUR = "#d55e00"
_ROW_INCHES = 0.17


@style.book_style()
def draw(table: pd.DataFrame) -> Figure:
    """A panel for each data set and signal: rows are models, columns depths.

    `table` is of `status.completeness`. A cell's colour is the share of its numbers of training cells, seeds,
    estimators and variants that are done; a cross marks cells in which one failed.
    """
    grids = [here for _, here in table.groupby(["dataset", "signal"], sort=True)]
    n_columns = 2 if len(grids) > 1 else 1
    rows = [grids[i : i + n_columns] for i in range(0, len(grids), n_columns)]
    heights = [max(grid["model"].nunique() for grid in row) * _ROW_INCHES + 0.75 for row in rows]
    figure, panels = style.new_figure(len(rows), n_columns, sum(heights) + 0.6, gridspec_kw={"height_ratios": heights})
    with style.presets(table):
        for axes, grid in zip(panels.flat, grids, strict=False):
            _panel(axes, grid)
    for axes in list(panels.flat)[len(grids) :]:
        axes.set_axis_off()
    shares = ScalarMappable(Normalize(0, 1), SHARE)
    bar = figure.colorbar(shares, ax=panels, location="bottom", shrink=0.4, aspect=30, pad=0.02)
    bar.set_label("share of numbers of training cells, seeds, estimators and variants that are done")
    bar.outline.set_visible(False)
    if (table["state"] == status.FAILED).any():
        mark = Line2D([], [], color=FAILED_COLOUR, marker="x", linestyle="", label="one or more failed")
        figure.legend(handles=[mark], loc="outside upper right", frameon=False)
    return figure


def _panel(axes: Axes, grid: pd.DataFrame) -> None:
    models = style.ordered(grid["model"])
    marked = grid.assign(done=grid["state"] == status.DONE, failed=grid["state"] == status.FAILED)
    shares = marked.groupby(["model", "fraction"])[["done", "failed"]].mean().unstack("fraction")
    share, failed = (shares[name].reindex(models) for name in ("done", "failed"))
    depths = list(share.columns)
    axes.pcolormesh(np.ma.masked_invalid(share), cmap=SHARE, vmin=0, vmax=1, edgecolors="white", linewidth=0.8)
    y, x = np.nonzero(failed.to_numpy() > 0)
    if len(x):
        axes.plot(x + 0.5, y + 0.5, "x", color=FAILED_COLOUR, markersize=4)
    axes.set_ylim(len(models), 0)
    names = [style.label(model).replace(" (control)", "") for model in models]
    axes.set_yticks(np.arange(len(models)) + 0.5, names, fontsize=7.5)
    axes.set_xticks(np.arange(len(depths)) + 0.5, [f"{q:.2g}" for q in depths], fontsize=7, rotation=45)
    axes.tick_params(length=0)
    axes.set_title(style.title(*grid[["dataset", "signal"]].iloc[0]), loc="left")
    axes.set_xlabel("fraction of molecules")


Configs = str | Path | Sequence[str | Path]


def completeness_figure(configs: Configs, source: str | Path | None = None) -> Figure:
    """The heat map of what of the configurations' grid a table holds (or, without one, their units so far)."""
    return draw(status.completeness(configs, source))


def counts(configs: Configs, source: str | Path | None = None, *, by: Sequence[str] = ("dataset",)) -> HTML:
    """Done, failed and missing as a table to read and to download, with the totals above it."""
    table = status.completeness(configs, source)
    total = table["state"].value_counts()
    states = ", ".join(f"{total.get(state, 0):,} {state}" for state in status.STATES)
    title = f"{len(table):,} measurements asked for: {states}."
    return page.as_table(status.summary(table, list(by)), f"completeness_{'_'.join(by)}.csv", title=title)


def hours(configs: Configs, source: str | Path | None = None) -> HTML:
    """Hours spent and expected by model, from the rows' own seconds."""
    table = status.times(status.completeness(configs, source))
    spent, left = table["hours_spent"].sum(), table["hours_left"].sum()
    title = f"{spent:.2f} hours spent, {left:.2f} expected for what is left, on one core."
    return page.as_table(table, "hours.csv", title=title)


def failures(configs: Configs, source: str | Path | None = None) -> HTML:
    """Every failed measurement with its error; a sentence where there is none."""
    table = status.completeness(configs, source)
    failed = table[table["state"] == status.FAILED].drop(columns=["state", "seconds"])
    if failed.empty:
        return page.paragraph("None of them failed.")
    return page.as_table(failed, "failures.csv", title=f"{len(failed):,} failed.")
