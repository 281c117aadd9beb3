"""The figures on a data set's own page: its cells, what was measured on them, and the truth where it is known."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import laws
from ..datasets import Dataset, at_hand, card, load, true_information
from ..errors import InputError, TooLittle
from ..laws.curves import protocol_rows
from ..signals import Signal
from . import page, style
from .figures import largest, usable

_NAMED = 8
"""Labels or clones that get a colour of their own: what a legend and the eye can hold; the rest is grey."""


def cells_figure(name: str) -> Figure | HTML:
    """Molecules per cell at full depth, and the cells coloured by the signal; a sentence where the files are not here.

    The cells lie in two principal components of the log-normalised counts, or in their place where there is one.
    """
    return draw_cells(load(name)) if at_hand(card(name)) else page.paragraph(page.datasets_absent(name))


@style.book_style()
def draw_cells(data: Dataset) -> Figure:
    """`cells_figure` of a loaded data set."""
    figure, panels = style.new_figure(1, 2, 3.4, width_ratios=[1, 1.35])
    _umi_histogram(panels[0, 0], data)
    _scatter(figure, panels[0, 1], data)
    return figure


def _umi_histogram(axes: Axes, data: Dataset) -> None:
    umis = data.umis
    axes.hist(np.log10(umis), bins=40, color="0.6", edgecolor="white", linewidth=0.4)
    choices = [t for e in range(7) for t in (10**e, 3 * 10**e) if umis.min() <= t <= umis.max()]
    axes.set_xticks(np.log10(choices), [style.plain(t) for t in choices])
    axes.set(xlabel=f"{style.UMIS}, full depth", ylabel="cells")


def _scatter(figure: Figure, axes: Axes, data: Dataset) -> None:
    signal = data.signal
    if signal.is_spatial:
        xy, names = signal.values[:, :2], ("x", "y")
    else:
        from ..models import create  # not above: it loads torch

        xy, names = create("pca").fit(data.counts, data.counts).embed(data.counts)[:, :2], ("PC 1", "PC 2")
    axes.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
    dots: dict[str, Any] = {"s": max(2.0, min(9.0, 9000 / len(xy))), "linewidths": 0, "rasterized": True}
    classes = _classes(signal)
    if classes is not None:
        _classed(axes, xy, classes, dots)
        return
    label = "x" if signal.is_spatial else f"{signal.name}, first of {signal.values.shape[1]}"
    points = axes.scatter(xy[:, 0], xy[:, 1], c=signal.values[:, 0], cmap="viridis", **dots)
    figure.colorbar(points, ax=axes, label=label, shrink=0.85)


def _classes(signal: Signal) -> np.ndarray | None:
    """The label or the clone of each cell as text, or None where the signal is a quantity."""
    if signal.kind == "label":
        return signal.values
    if signal.kind == "pair" and not signal.is_spatial:
        return np.where(signal.values < 0, "", np.char.add("clone ", signal.values.astype(int).astype(str)))
    return None


def _classed(axes: Axes, xy: np.ndarray, classes: np.ndarray, dots: dict[str, Any]) -> None:
    """The most frequent classes in colours, the others and the unknown in grey below them."""
    named, counts = np.unique(classes[classes != ""], return_counts=True)
    named = named[np.argsort(-counts, kind="stable")][:_NAMED]
    rest = ~np.isin(classes, named)
    if rest.any():
        axes.scatter(*xy[rest].T, color="0.85", label="others", **dots)
    for name, colour in zip(named, sns.color_palette("colorblind", len(named)), strict=True):
        axes.scatter(*xy[classes == name].T, color=colour, label=name, **dots | {"s": dots["s"] * 1.5})
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8.5, markerscale=1.8)


@style.book_style()
def dataset_figure(table: pd.DataFrame, name: str) -> Figure:
    """Bits against depth on one data set, one line for each cell number, one panel a model, one row a signal.

    Raises
    ------
    TooLittle
        If the data set is not in the table.
    """
    here = usable(table)
    here = here[here["dataset"] == name]
    if here.empty:
        raise TooLittle(f"{name} is not in this table: nothing to draw")

    def draw(axes: Axes, signal: str, model: str) -> None:
        _by_cells(axes, here[(here["model"] == model) & (here["signal"] == signal)], model)

    rows = {signal: f"{signal}\n{style.BITS}" for signal in sorted(set(here["signal"]))}
    models = style.ordered(here["model"])
    figure = style.model_panels(
        rows, models, draw, xlabel=style.UMIS, height=2.0, narrow=True, sharey="row", sharex=True
    )
    cells = sorted(here["n_cells"].unique())
    greys = np.linspace(0.85, 0.15, len(cells))  # light for few cells, as the shades of every model's own colour
    marks = [{"color": str(g), "marker": "o", "label": style.plain(n)} for n, g in zip(cells, greys, strict=True)]
    style.legend(figure, *marks, columns=6, title=style.CELLS)
    return figure


def _by_cells(axes: Axes, table: pd.DataFrame, model: str) -> None:
    """One line a cell number, light for few and dark for many, the model's own colour the darkest."""
    cells = sorted(table["n_cells"].unique())
    shades = sns.light_palette(style.colour(model), n_colors=len(cells) + 1)[1:]
    for n, shade in zip(cells, shades, strict=True):
        points = table[table["n_cells"] == n].groupby("fraction")[["umis_per_cell", "mi_bits"]].mean()
        style.plot(axes, model, points["umis_per_cell"], points["mi_bits"], color=shade)
    style.bits_axes(axes)


def _with_truth(table: pd.DataFrame, name: str) -> tuple[Dataset, pd.DataFrame]:
    """A simulated data set, and the rows of its signal at its largest cell number, without controls."""
    if not at_hand(card(name)):
        raise InputError(f"the files of {name} are not here: run `noise-scaling fetch {name}` where there is a network")
    data = load(name)
    here = protocol_rows(table[(table["dataset"] == name) & (table["signal"] == data.signal.name)])
    if here.empty:
        raise TooLittle(f"no model was measured on {name} in this table: nothing to hold against the truth")
    return data, largest(usable(here))


def _fitted(table: pd.DataFrame, u: np.ndarray) -> np.ndarray:
    """Bits of Eq. 1 fitted to the rows, at depths `u`; NaN where there are fewer depths than a fit needs."""
    with contextlib.suppress(InputError):
        return laws.fit_noise_law(table["umis_per_cell"], table["mi_bits"]).predict(u)
    return np.full(len(u), np.nan)


def truth_gaps(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """By model and depth: the truth, the mean measured over seeds, the fitted law, and what each lacks, in bits.

    Raises
    ------
    InputError
        If the data set's files are not here, or it is not simulated.
    TooLittle
        If no model was measured on it.
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


@style.book_style()
def truth_figure(table: pd.DataFrame, name: str) -> Figure:
    """Measured bits and their fitted law against what a simulated data set's counts hold, one panel a model.

    Raises
    ------
    InputError, TooLittle
        As `truth_gaps`.
    """
    data, here = _with_truth(table, name)
    u = np.geomspace(here["umis_per_cell"].min(), here["umis_per_cell"].max(), 40)
    truth = true_information(data, u)

    def draw(axes: Axes, _: None, model: str) -> None:
        points = here[here["model"] == model]
        axes.plot(u, truth, color="black", linestyle="--")
        style.plot(axes, model, points["umis_per_cell"], points["mi_bits"], linestyle="")
        axes.plot(u, _fitted(points, u), color=style.colour(model))
        style.bits_axes(axes)

    models = style.ordered(here["model"])
    figure = style.model_panels(
        {None: style.BITS}, models, draw, xlabel=style.UMIS, height=2.2, narrow=True, sharey=True
    )
    style.legend(
        figure,
        {"color": "black", "linestyle": "--", "label": "truth: what the counts hold"},
        {"color": "0.3", "label": "Eq. 1 fitted"},
        {"color": "0.3", "marker": "o", "linestyle": "", "label": "one seed"},
    )
    return figure
