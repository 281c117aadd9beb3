"""Figures 1, 2 and 3 of the paper, each from any measurements table."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .. import laws
from ..errors import InputError, TooLittle
from ..measurements import CONTROLS, KNOWN, OK
from . import style


def usable(table: pd.DataFrame, estimator: str | None = None) -> pd.DataFrame:
    """Rows that were measured by our protocol, under one estimator: estimators are never pooled, their levels differ.

    Without a choice it is "default" where the table has it, else the only one; InputError if that is not clear.
    """
    table = table[(table["status"] == OK) & table["mi_bits"].notna() & (table["variant"] == "")]
    found = sorted(table["estimator"].unique())
    if not found:
        raise TooLittle("no row of this table was measured by the protocol: each failed or is of a variant")
    if estimator is None:
        estimator = "default" if "default" in found else found[0] if len(found) == 1 else None
    if estimator not in found:
        named = ", ".join(found)
        raise InputError(f"the table holds the estimators {named}, which are never pooled: give a table of one of them")
    return table[table["estimator"] == estimator]


def _signals(table: pd.DataFrame) -> list[tuple[str, str]]:
    """(dataset, signal) in the paper's order, ours after it."""
    found = set(zip(table["dataset"], table["signal"], strict=True))
    return [s for s in style.SIGNALS if s in found] + sorted(found - set(style.SIGNALS))


def _of(table: pd.DataFrame, signal: tuple[str, str]) -> pd.DataFrame:
    return table[(table["dataset"] == signal[0]) & (table["signal"] == signal[1])]


def largest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows at the largest cell number of each data set."""
    return table[table["n_cells"] == table.groupby("dataset")["n_cells"].transform("max")]


def information_figure(table: pd.DataFrame) -> Figure:
    """Figure 1: bits against training cells (full depth) and against UMIs per cell (all cells); bands min to max."""
    table = usable(table)
    table = table[table["model"] != KNOWN]
    signals = _signals(table)
    if not signals:
        raise TooLittle("nothing was measured here but the control of known information: nothing to draw")
    with style.book_style():
        figure, panels = style.new_figure(len(signals), 2, 0.7 + 1.75 * len(signals), sharey="row", sharex="col")
        for row, signal in zip(panels, signals, strict=True):
            here = _of(table, signal)
            _curves(row[0], here[here["fraction"] == here["fraction"].max()], "n_cells")
            _curves(row[1], largest(here), "umis_per_cell")
            row[0].set_title(style.title(*signal), loc="left")
            row[0].set_ylabel(style.BITS)
        panels[-1, 0].set_xlabel(f"{style.CELLS}, at full depth")
        panels[-1, 1].set_xlabel(f"{style.UMIS}, at the largest number of cells")
        style.legend_below(figure, style.ordered(set(table["model"])))
    return figure


def _curves(axes: Axes, table: pd.DataFrame, x: str) -> None:
    """One line a model through the means over seeds, a band from the lowest to the highest seed."""
    for model in style.ordered(set(table["model"])):
        # by fraction: seeds of one fraction differ a little in measured depth and are one point
        by = "fraction" if x == "umis_per_cell" else x
        points = table[table["model"] == model].groupby(by).agg(
            x=(x, "mean"), mean=("mi_bits", "mean"), low=("mi_bits", "min"), high=("mi_bits", "max")
        )  # fmt: skip
        colour = style.COLOURS[model]
        axes.fill_between(points["x"], points["low"], points["high"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(points["x"], points["mean"], color=colour, marker=style.MARKERS[model])
    axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    style.log_axis(axes)


def fits_figure(table: pd.DataFrame) -> Figure:
    """Figure 2: Eq. 1 fitted at the largest cell number of each signal, with bands of 2 standard errors."""
    table = largest(usable(table))
    table = table[~table["model"].isin([*CONTROLS, "untrained_geneformer"])]
    signals, models, rare = _signals(table), *_columns(table)
    if not signals:
        raise TooLittle("no model was measured here but controls: nothing to fit")
    with style.book_style():
        figure, panels = style.new_figure(
            len(signals), len(models), 0.9 + 1.75 * len(signals), sharey="row", sharex=True
        )
        for row, signal in zip(panels, signals, strict=True):
            for axes, model in zip(row, models, strict=True):
                here = _of(table, signal)
                _fit_panel(axes, here[here["model"] == model], model)
            row[0].set_ylabel(f"{style.title(*signal)}\n{style.BITS}")
            low, high = row[0].get_ylim()
            row[0].set_ylim(low, high + 0.35 * (high - low))  # room for the two lines of parameters
        for axes, model in zip(panels[0], models, strict=True):
            axes.set_title(style.MODELS.get(model, model), loc="left")
        for axes in panels[-1]:
            axes.set_xlabel(style.UMIS)
        notes = [
            Line2D([], [], color="0.3", marker="o", linestyle="", label="one seed"),
            Line2D([], [], color="0.3", label="Eq. 1"),
            Line2D([], [], color="0.3", alpha=0.25, linewidth=7, label="2 standard errors"),
        ]
        if rare:
            words = f"not shown, measured on few signals: {', '.join(style.MODELS.get(m, m) for m in rare)}"
            notes.append(Line2D([], [], linestyle="", label=words))
        figure.legend(handles=notes, loc="outside lower center", ncols=4, frameon=False)
    return figure


def _columns(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Models measured on half of the signals or more, and the others: a column of empty panels tells nothing."""
    models = style.ordered(set(table["model"]))
    signals = table.groupby("model")[["dataset", "signal"]].apply(lambda rows: len(rows.drop_duplicates()))
    common = [m for m in models if 2 * signals[m] >= len(_signals(table))]
    return common, [m for m in models if m not in common]


def _fit_panel(axes: Axes, table: pd.DataFrame, model: str) -> None:
    style.log_axis(axes)
    axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    if table.empty:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color="0.4")
        return
    colour = style.COLOURS[model]
    axes.plot(table["umis_per_cell"], table["mi_bits"], color=colour, marker=style.MARKERS[model], linestyle="")
    try:
        fit = laws.fit_noise_law(table["umis_per_cell"], table["mi_bits"])
    except InputError:
        axes.set_title("too few depths to fit", fontsize=8.5, color="0.4")
        return
    u = np.geomspace(table["umis_per_cell"].min(), table["umis_per_cell"].max(), 200)
    low, high = fit.band(u)
    axes.plot(u, fit.predict(u), color=colour)
    axes.fill_between(u, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.text(0.04, 0.98, _parameters(fit), transform=axes.transAxes, va="top", fontsize=8.5, color="0.15")


def _parameters(fit: laws.LawFit) -> str:
    """The fit in two lines of a panel; one that did not go well says so instead."""
    if fit.status != laws.CONVERGED:
        return fit.status
    return f"$\\bar{{u}}$ = {fit.u_bar:,.0f}\n$I_{{max}}$ = {fit.i_max:.2f}"


def collapsed(table: pd.DataFrame) -> pd.DataFrame:
    """Every observation on the universal curve of its own fit: u_bar, i_max, x = u / u_bar, z, missing bits.

    Only curves whose fit converged; `n_left_out` in the frame's attrs counts the others.
    """
    table = usable(table)
    table = table[~table["model"].isin(CONTROLS)]
    fits = laws.fit_curves(table)
    good = fits[fits["status"] == laws.CONVERGED][[*laws.CURVE, "n_cells", "u_bar", "i_max"]]
    out = table.merge(good, on=[*laws.CURVE, "n_cells"])
    u, u_bar, i_max = (out[c].to_numpy() for c in ("umis_per_cell", "u_bar", "i_max"))
    out = out.assign(x=u / u_bar, z=laws.collapse_z(u, u_bar, i_max), missing=i_max - out["mi_bits"])
    out.attrs = {"n_curves": len(good), "n_left_out": len(fits) - len(good)}
    return out


def collapse_figure(table: pd.DataFrame) -> Figure:
    """Figure 3: missing information of every observation against u / u_bar (asymptote) and against z (exact)."""
    points = collapsed(table)
    if points.empty:
        raise TooLittle("the noise law could be fitted to no curve here, which takes three depths: nothing to collapse")
    with style.book_style():
        figure, panels = style.new_figure(1, 2, 4.2, sharey=True)
        _collapse_panel(panels[0, 0], points, "x", "asymptotic: depth over $\\bar{u}$")
        _collapse_panel(panels[0, 1], points, "z", "exact: $z$")
        panels[0, 0].set_ylabel("missing information, $I_{max} - I$ (bits)")
        curve = [Line2D([], [], color="black", label="universal curve")]
        style.legend_below(figure, style.ordered(set(points["model"])), curve)
    return figure


def _collapse_panel(axes: Axes, points: pd.DataFrame, x: str, label: str) -> None:
    for model in style.ordered(set(points["model"])):
        here = points[points["model"] == model]
        axes.plot(
            here[x], here["missing"], linestyle="", color=style.COLOURS[model], marker=style.MARKERS[model],
            markersize=2.6, alpha=0.45, markeredgewidth=0, rasterized=True,
        )  # fmt: skip
    at = np.geomspace(points[x].min(), points[x].max(), 300)
    axes.plot(at, laws.collapse(at), color="black", linewidth=1.6)
    style.log_axis(axes)
    axes.set_ylim(points["missing"].min() - 0.1, points["missing"].max() + 0.2)  # every point is shown
    axes.set_xlabel(label)
