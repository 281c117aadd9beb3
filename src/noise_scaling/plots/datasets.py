"""The figures on a data set's own page: its cells, what was measured on them, and the truth where it is known."""

from __future__ import annotations

import contextlib
import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .. import laws
from ..datasets import Dataset, true_information
from ..errors import InputError, TooLittle
from ..measurements import CONTROLS
from ..models import create
from ..signals import Signal
from . import figures, style

_NAMED = 8
"""Labels or clones that get a colour of their own: what a legend and the eye can hold; the rest is grey."""


def cells_figure(data: Dataset) -> Figure:
    """Molecules per cell at full depth, and two principal components of the cells coloured by the signal."""
    with style.book_style():
        figure, panels = style.new_figure(1, 2, 3.4, width_ratios=[1, 1.35])
        left, right = panels[0]
        _umi_histogram(left, data)
        _scatter(figure, right, data)
    return figure


def absent_figure(name: str) -> Figure:
    """A line in the place of `cells_figure` where the files are not at hand."""
    with style.book_style():
        figure, panels = style.new_figure(1, 1, 0.6)
        panels[0, 0].set_axis_off()
        line = f"The cells of {name} are not here: `noise-scaling fetch {name}` gets their files."
        panels[0, 0].text(0.5, 0.5, line, ha="center", va="center", transform=panels[0, 0].transAxes)
    return figure


def _umi_histogram(axes: Axes, data: Dataset) -> None:
    umis = np.asarray(data.counts.sum(axis=1)).ravel()
    axes.hist(np.log10(umis), bins=40, color="0.6", edgecolor="white", linewidth=0.4)
    choices = [t for e in range(7) for t in (10**e, 3 * 10**e) if umis.min() <= t <= umis.max()]
    axes.set_xticks(np.log10(choices), [style.plain(t) for t in choices])
    axes.set_xlabel(f"{style.UMIS}, full depth")
    axes.set_ylabel("cells")


def _scatter(figure: Figure, axes: Axes, data: Dataset) -> None:
    """Two principal components of the log-normalised counts; a place is shown as a place."""
    signal = data.signal
    if signal.is_spatial:
        xy, names = signal.values[:, :2], ("x", "y")
    else:
        xy, names = create("pca").fit(data.counts, data.counts).embed(data.counts)[:, :2], ("PC 1", "PC 2")
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_xticks([])
    axes.set_yticks([])
    dots = {"s": max(2.0, min(9.0, 9000 / len(xy))), "linewidths": 0, "rasterized": True}
    classes = _classes(signal)
    if classes is None:
        value, label = _value(signal)
        points = axes.scatter(*xy.T, c=value, cmap="viridis", **dots)
        figure.colorbar(points, ax=axes, label=label, shrink=0.85)
        return
    _classed(axes, xy, classes, dots)


def _classes(signal: Signal) -> np.ndarray | None:
    """The label or the clone of each cell as text, or None where the signal is a quantity."""
    if signal.kind == "label":
        return signal.values
    if signal.kind == "pair" and not signal.is_spatial:
        return np.where(signal.values < 0, "", np.char.add("clone ", signal.values.astype(int).astype(str)))
    return None


def _value(signal: Signal) -> tuple[np.ndarray, str]:
    if signal.is_spatial:
        return signal.values[:, 0], "x"
    return signal.values[:, 0], f"{signal.name}, first of {signal.values.shape[1]}"


def _classed(axes: Axes, xy: np.ndarray, classes: np.ndarray, dots: dict) -> None:
    """The most frequent classes in colours, the others and the unknown in grey below them."""
    named, counts = np.unique(classes[classes != ""], return_counts=True)
    named = named[np.argsort(-counts, kind="stable")][:_NAMED]
    rest = ~np.isin(classes, named)
    if rest.any():
        axes.scatter(*xy[rest].T, color="0.85", label="others", **dots)
    for name, colour in zip(named, sns.color_palette("colorblind", len(named)), strict=True):
        axes.scatter(*xy[classes == name].T, color=colour, label=name, **dots | {"s": dots["s"] * 1.5})
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8.5, markerscale=1.8)


def dataset_figure(name: str, table: pd.DataFrame) -> Figure:
    """Bits against depth, one line for each cell number, one panel a model, one row a signal."""
    here = figures.usable(table)
    here = here[here["dataset"] == name]
    signals, models = sorted(set(here["signal"])), style.ordered(set(here["model"]))
    with style.book_style():
        figure, panels = style.new_figure(
            max(1, len(signals)), max(1, len(models)), 0.9 + 2.0 * max(1, len(signals)), sharey="row", sharex=True
        )
        if not models:
            panels[0, 0].set_axis_off()
            panels[0, 0].text(0.5, 0.5, f"{name} is not in this table", ha="center", transform=panels[0, 0].transAxes)
            return figure
        for row, signal in zip(panels, signals, strict=True):
            for axes, model in zip(row, models, strict=True):
                _by_cells(axes, here[(here["model"] == model) & (here["signal"] == signal)], model)
            row[0].set_ylabel(f"{signal}\n{style.BITS}")
        for axes, model in zip(panels[0], models, strict=True):
            axes.set_title(textwrap.fill(style.MODELS.get(model, model), 12), loc="left")  # panels are narrow
        for axes in panels[-1]:
            axes.set_xlabel(style.UMIS)
        _cells_legend(figure, sorted(here["n_cells"].unique()))
    return figure


def _cells_legend(figure: Figure, cells: list[int]) -> None:
    """Light for few cells and dark for many, in grey: the shades of every model's own colour."""
    greys = [str(shade) for shade in np.linspace(0.85, 0.15, len(cells))]
    handles = [Line2D([], [], color=g, marker="o", label=style.plain(n)) for n, g in zip(cells, greys, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False, title=style.CELLS)


def _by_cells(axes: Axes, table: pd.DataFrame, model: str) -> None:
    """One line a cell number, light for few and dark for many, the model's own colour the darkest."""
    cells = sorted(table["n_cells"].unique())
    shades = sns.light_palette(style.COLOURS[model], n_colors=len(cells) + 1)[1:]
    for n, shade in zip(cells, shades, strict=True):
        points = table[table["n_cells"] == n].groupby("fraction")[["umis_per_cell", "mi_bits"]].mean()
        axes.plot(
            points["umis_per_cell"], points["mi_bits"], color=shade, marker=style.MARKERS[model], label=style.plain(n)
        )
    axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    style.log_axis(axes)


def _at_most_cells(data: Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a data set's signal at its largest cell number, without the control."""
    here = table[(table["dataset"] == data.name) & (table["signal"] == data.signal.name)]
    here = here[~here["model"].isin(CONTROLS)]
    if here.empty:
        raise TooLittle(f"no model was measured on {data.name} in this table: nothing to hold against the truth")
    return figures.largest(figures.usable(here))


def truth_table(data: Dataset, table: pd.DataFrame) -> pd.DataFrame:
    """By model and depth: the truth, the mean measured over seeds, the fitted law, and what each lacks, in bits."""
    rows = []
    here = _at_most_cells(data, table)
    for model in style.ordered(set(here["model"])):
        points = here[here["model"] == model].groupby("fraction", as_index=False)[["umis_per_cell", "mi_bits"]].mean()
        u, found = points["umis_per_cell"].to_numpy(), points["mi_bits"].to_numpy()
        truth, fitted = true_information(data, u), np.full(len(u), np.nan)
        with contextlib.suppress(InputError):  # fewer depths than a fit needs
            every = here[here["model"] == model]
            fitted = laws.fit_noise_law(every["umis_per_cell"], every["mi_bits"]).predict(u)
        columns = {"model": style.MODELS.get(model, model), style.UMIS: u.round(1), "truth": truth, "measured": found}
        columns |= {"Eq. 1": fitted, "truth - measured": truth - found, "measured - Eq. 1": found - fitted}
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True).round(2)


def truth_figure(data: Dataset, table: pd.DataFrame) -> Figure:
    """Measured bits and their fitted law beside what a simulated data set's counts hold, one panel a model."""
    here = _at_most_cells(data, table)
    models = style.ordered(set(here["model"]))
    u = np.geomspace(here["umis_per_cell"].min(), here["umis_per_cell"].max(), 40)
    truth = true_information(data, u)
    with style.book_style():
        figure, panels = style.new_figure(1, len(models), 3.1, sharey=True)
        for axes, model in zip(panels[0], models, strict=True):
            _truth_panel(axes, here[here["model"] == model], model, u, truth)
        panels[0, 0].set_ylabel(style.BITS)
        notes = [
            Line2D([], [], color="black", linestyle="--", label="truth: what the counts hold"),
            Line2D([], [], color="0.3", label="Eq. 1 fitted"),
            Line2D([], [], color="0.3", marker="o", linestyle="", label="one seed"),
        ]
        figure.legend(handles=notes, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _truth_panel(axes: Axes, table: pd.DataFrame, model: str, u: np.ndarray, truth: np.ndarray) -> None:
    colour = style.COLOURS[model]
    axes.plot(u, truth, color="black", linestyle="--")
    axes.plot(table["umis_per_cell"], table["mi_bits"], color=colour, marker=style.MARKERS[model], linestyle="")
    with contextlib.suppress(InputError):  # fewer depths than a fit needs: the points stand alone
        axes.plot(u, laws.fit_noise_law(table["umis_per_cell"], table["mi_bits"]).predict(u), color=colour)
    axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    style.log_axis(axes)
    axes.set_xlabel(style.UMIS)
    axes.set_title(textwrap.fill(style.MODELS.get(model, model), 12), loc="left")  # panels are narrow
