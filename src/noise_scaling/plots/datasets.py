"""The figure on a data set's own page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..datasets import Dataset, true_information
from . import figures, style

SIMULATED = "simulation"
"""The key of AnnData.uns under which a simulated data set holds what it was drawn from."""


def dataset_figure(data: Dataset, table: pd.DataFrame) -> Figure:
    """Molecules per cell at full depth, and bits against depth, one line for each cell number, one panel a model."""
    here = figures.usable(table)
    here = here[(here["dataset"] == data.name) & (here["signal"] == data.signal.name)]
    models = style.ordered(set(here["model"]))
    columns = 1 + max(1, len(models))
    with style.book_style():
        figure, panels = style.new_figure(1, columns, 2.9, width_ratios=[1.1] + [1] * (columns - 1))
        _umi_histogram(panels[0, 0], data)
        for axes, model in zip(panels[0, 1:], models, strict=False):
            _by_cells(axes, here[here["model"] == model], model)
            axes.sharey(panels[0, 1])
            axes.set_title(style.MODELS[model], loc="left")
            if axes is not panels[0, 1]:
                axes.tick_params(labelleft=False)
        panels[0, 1].set_ylabel(style.BITS)
        if not models:
            panels[0, 1].text(0.5, 0.5, "not measured in this table", ha="center", transform=panels[0, 1].transAxes)
            return figure
        if SIMULATED in data.adata.uns:
            _truth(panels[0, 1:], data, here["umis_per_cell"])
        handles, labels = panels[0, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, title=style.CELLS)
    return figure


def _truth(panels: np.ndarray, data: Dataset, depths: pd.Series) -> None:
    """The information that the counts hold, whatever the model: what no measured curve should exceed."""
    u = np.geomspace(depths.min(), depths.max(), 30)
    bits = true_information(data, u)
    for axes in panels:
        axes.plot(u, bits, color="black", linestyle="--", label="truth", zorder=1)


def _umi_histogram(axes: Axes, data: Dataset) -> None:
    umis = np.asarray(data.counts.sum(axis=1)).ravel()
    axes.hist(np.log10(umis), bins=30, color="0.6", edgecolor="white", linewidth=0.4)
    ticks = [t for t in (10, 30, 100, 300, 1000, 3000, 10_000, 30_000, 100_000) if umis.min() <= t <= umis.max()]
    axes.set_xticks(np.log10(ticks), [style.plain(t) for t in ticks])
    axes.set_xlabel(f"{style.UMIS}, full depth")
    axes.set_ylabel("cells")


def _by_cells(axes: Axes, table: pd.DataFrame, model: str) -> None:
    """One line a cell number, light for few and dark for many, the model's own colour in the middle."""
    cells = sorted(table["n_cells"].unique())
    shades = sns.light_palette(style.COLOURS[model], n_colors=len(cells) + 1)[1:]
    for n, shade in zip(cells, shades, strict=True):
        points = table[table["n_cells"] == n].groupby("fraction")[["umis_per_cell", "mi_bits"]].mean()
        axes.plot(
            points["umis_per_cell"], points["mi_bits"], color=shade, marker=style.MARKERS[model], label=style.plain(n)
        )
    axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    style.log_axis(axes)
    axes.set_xlabel(style.UMIS)
