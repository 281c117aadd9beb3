"""Figures 1, 2 and 3 of the paper, each from any measurements table."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import datasets, laws
from ..errors import InputError, enough
from ..laws.curves import fits_of
from ..laws.grids import UNIMPROVABLE
from ..measurements import KNOWN, of_one_run, protocol_rows
from . import admitted, style

NO_CURVE = "the noise law could be fitted to no curve here, which takes three depths: nothing to show"


def usable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows measured by our protocol, under one estimator: estimators differ in level and are never pooled.

    Runs with different numbers of seeds are not pooled either (`measurements.of_one_run`). The estimator is "default"
    if the table has it, else its only one. Raises InputError if the choice is unclear.
    """
    table = protocol_rows(table, controls=True)
    enough(table, "no row of this table was measured by the protocol: each failed or is of a variant")
    found = sorted(table["estimator"].unique())
    estimator = "default" if "default" in found else found[0]
    if len(found) > 1 and estimator != "default":
        named = ", ".join(found)
        raise InputError(f"the table holds the estimators {named}, which are never pooled: give a table of one of them")
    return of_one_run(table[table["estimator"] == estimator])


def of_signal(table: pd.DataFrame, signal: tuple[str, str]) -> pd.DataFrame:
    """Return the rows of one signal, given as (dataset, signal)."""
    return table[(table["dataset"] == signal[0]) & (table["signal"] == signal[1])]


def kinds(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without variations on a model: the paper's figures and claims compare kinds of models only."""
    return table[table["model"].map(style.variation_of) == ""]


def without_controls(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without controls (the untrained model among them) and without variations on a model."""
    return kinds(table[~table["model"].map(style.is_control).astype(bool)])


def largest(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the largest number of training cells of each data set."""
    return table[table["n_cells"] == table.groupby("dataset")["n_cells"].transform("max")]


_SIGNAL = ["dataset", "signal"]
MOST_SIGNALS = 6
"""Largest number of signals with a row of panels, as many as fit on a screen."""


def signal_panels(
    table: pd.DataFrame, models: Iterable[str], draw: Callable[[Axes, tuple[str, str], str], None], **options: Any
) -> Figure:
    """Draw bits against depth with `style.model_panels`: one row per signal of the table, one column per model."""
    rows = {signal: f"{style.title(*signal)}\n{style.BITS}" for signal in style.signals(table)}
    along: dict[str, Any] = {"xlabel": style.UMIS, "sharey": "row", "sharex": "row"}
    return style.model_panels(rows, style.ordered(list(models)), draw, **along | options)


def rows_of(table: pd.DataFrame) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """Return the signals to draw (evidence first, then most cell numbers) and a legend mark that counts the others."""
    sizes = table.groupby(_SIGNAL)["n_cells"].nunique()
    real = set(admitted.evidence(table)["dataset"])
    signals = sorted(style.signals(table), key=lambda signal: (signal[0] not in real, -sizes[signal]))
    others = len(signals) - MOST_SIGNALS
    said = f'{others} more signals: page "The data sets"'
    return signals[:MOST_SIGNALS], [{"linestyle": "", "label": said}] * (others > 0)


@style.book_style()
def information_figure(table: pd.DataFrame, *, ceilings: bool = False) -> Figure:
    """Draw Figure 1: bits against training cells (full depth) and UMIs (most cells), min-max bands, controls below.

    With `ceilings`, a dashed line marks the entropy on a signal's card if it is at most NEAR times the axis' top.
    """
    table = kinds(usable(table))
    table = table[table["model"] != KNOWN]
    signals, others = rows_of(table)
    enough(signals, "nothing was measured here but the control of known information: nothing to draw")
    apart = len(signals) > 1 and any(map(style.is_control, table["model"].unique()))
    rows, marks = len(signals) + apart, list[dict[str, Any]]()
    figure, panels = style.new_figure(
        rows, 2, 0.7 + 1.75 * rows, sharey="row", sharex="col", height_ratios=[1] * len(signals) + [1.9] * apart
    )
    for row, signal in zip(panels, signals, strict=False):
        here = of_signal(table, signal)
        text = f"{style.title(*signal)} ({style.methods(here)})"
        row[0].set_title(text, loc="left")
        row[1].set_label(f"{text}, against depth")
        shown = without_controls(here) if apart else here
        curves(row[0], shown[shown["fraction"] == shown["fraction"].max()], "n_cells")
        curves(row[1], largest(shown), "umis_per_cell")
        bits = ceiling(*signal) if ceilings else np.inf
        for axes in row if bits <= NEAR * row[0].get_ylim()[1] else ():
            axes.axhline(bits, **CEILING)
            marks = [CEILING]
    lowest = panels[len(signals) - 1]
    texts = (f"{style.CELLS}, at full depth", f"{style.UMIS}, at the largest number of cells")
    for axes, text in zip(lowest, texts, strict=True):
        axes.set_xlabel(text)
        axes.tick_params(labelbottom=True)
    if apart:
        _controls(figure, panels[-1], pd.concat([of_signal(table, signal) for signal in signals]))
    figure.supylabel(style.BITS, fontsize=9.5)
    style.model_legend(figure, table["model"], *others, *marks)
    return figure


NEAR = 1.3
CEILING: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 0.9, "label": "entropy of the signal"}
"""Look of the line at a signal's entropy."""


def ceiling(dataset: str, signal: str) -> float:
    """Return the entropy of a signal's values in bits from its data set's card; infinite if none is stated."""
    signals = datasets.card(dataset).signals if dataset in datasets.names() else {}
    return signals.get(signal, {}).get("entropy", np.inf)


def _controls(figure: Figure, row: np.ndarray, table: pd.DataFrame) -> None:
    """Replace a row of panels by one panel as wide: the bits of the controls on each signal, other models faint."""
    axes = figure.add_subplot(row[0].get_gridspec()[-1, :])
    for empty in row:
        empty.remove()
    deepest = largest(table)
    deepest = deepest[deepest["fraction"] == deepest.groupby(_SIGNAL)["fraction"].transform("max")]
    signals = style.signals(table)
    for y, signal in enumerate(signals):
        for model, bits in of_signal(deepest, signal).groupby("model")["mi_bits"]:
            look: dict[str, Any] = {"color": style.colour(model), "alpha": 1 if style.is_control(model) else 0.35}
            axes.plot([bits.min(), bits.max()], [y, y], linewidth=2, **look)
            style.plot(axes, model, [bits.mean()], [y], linestyle="", **look)
        axes.text(0.005, y, style.title(*signal), transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.axvline(0, color="0.75", linewidth=0.8, zorder=0)
    high = deepest["mi_bits"].max()
    axes.set(xlim=(-0.46 * high, 1.04 * high), ylim=(len(signals) - 0.5, -0.5), yticks=[])  # names left of 0
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= high])
    axes.set_xlabel(f"{style.BITS}, at full depth and the largest number of cells")
    axes.set_title("controls, and the models faint", loc="left")
    axes.spines[["top", "left", "right"]].set_visible(False)


def curves(axes: Axes, table: pd.DataFrame, x: str) -> None:
    """Draw one line per model through the means over seeds, with a band from the lowest to the highest seed."""
    for model in style.ordered(table["model"]):
        # group by fraction: seeds at one fraction differ slightly in measured depth but form one point
        by = "fraction" if x == "umis_per_cell" else x
        points = table[table["model"] == model].groupby(by).agg(
            x=(x, "mean"), mean=("mi_bits", "mean"), low=("mi_bits", "min"), high=("mi_bits", "max")
        )  # fmt: skip
        low, high = points["low"], points["high"]
        axes.fill_between(points["x"], low, high, color=style.colour(model), alpha=0.2, linewidth=0)
        style.plot(axes, model, points["x"], points["mean"])
    style.bits_axes(axes)


@style.book_style()
def fits_figure(table: pd.DataFrame) -> Figure:
    """Draw Figure 2: Eq. 1 fitted at the largest cell number of each signal, with bands of 2 standard errors."""
    measured = enough(without_controls(usable(table)), "no model was measured here but controls: nothing to fit")
    signals, others = rows_of(measured)
    table = largest(pd.concat([of_signal(measured, signal) for signal in signals]))
    models = style.ordered(table["model"])
    # a model measured on less than half of the signals gets no column, which would be mostly empty
    rare = [m for m in models if 2 * len(style.signals(table[table["model"] == m])) < len(signals)]

    figure = _fit_panels(table, signals, [model for model in models if model not in rare], laws.NOISE_LAW)
    marks = [style.ONE_SEED, style.EQ_1, _BAND]
    if rare:
        names = ", ".join(map(style.label, rare))
        marks.append({"linestyle": "", "label": f"not shown, measured on few signals: {names}"})
    style.legend(figure, *marks, *others, columns=4)
    return figure


@style.book_style()
def cell_fits_figure(table: pd.DataFrame) -> Figure:
    """Draw Eq. 2 fitted at each signal's deepest counts, for models that train on cells; bands of 2 standard errors."""
    rows = cell_rows(table)
    signals, others = rows_of(rows)
    figure = _fit_panels(rows, signals, style.ordered(rows["model"]), laws.CELL_NUMBER_LAW)
    style.legend(figure, style.ONE_SEED, style.EQ_1 | {"label": "Eq. 2"}, _BAND, *others, columns=4)
    return figure


def cell_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows at a signal's deepest counts of models that train on cells, at LEAST_SIZES cell numbers or more."""
    rows = without_controls(usable(table))
    rows = rows[~rows["model"].isin(UNIMPROVABLE)]
    rows = rows[rows["fraction"] == rows.groupby(_SIGNAL)["fraction"].transform("max")]
    sizes = rows.groupby([*_SIGNAL, "model"])["n_cells"].transform("nunique")
    return enough(
        rows[sizes >= LEAST_SIZES], f"no model was measured here at {LEAST_SIZES} numbers of cells: nothing to fit"
    )


LEAST_SIZES = 4
"""Fewest cell numbers of a curve to which Eq. 2, which has three parameters, is fitted."""
_BAND: dict[str, Any] = {"color": "0.3", "alpha": 0.25, "linewidth": 7, "label": "2 standard errors"}


def _fit_panels(table: pd.DataFrame, signals: list[tuple[str, str]], models: list[str], law: laws.Law) -> Figure:
    """Draw a law fitted to every curve of a table: one row per signal, one column per model."""

    def draw(axes: Axes, signal: tuple[str, str], model: str) -> None:
        here = of_signal(table, signal)
        _fit_panel(axes, here[here["model"] == model], model, law)

    by = {signal: style.methods(of_signal(table, signal)) for signal in signals}
    rows = {signal: f"{style.title(*signal)} ({method})\n" for signal, method in by.items()}  # no axis label
    along = style.UMIS if law is laws.NOISE_LAW else style.CELLS
    figure = style.model_panels(rows, models, draw, xlabel=along, height=1.75, sharey="row", sharex=True)
    tall = (figure.get_figheight() - 0.9) / len(rows) - 0.2  # height of a panel in inches
    for i in range(0, len(figure.axes), len(models)):
        row = figure.axes[i : i + len(models)]
        low, high = row[0].get_ylim()
        told = [text.get_text() for axes in row for text in axes.texts if text.get_verticalalignment() == "top"]
        lines = 1 + max((text.count("\n") for text in told), default=0)
        share = min((0.14 * lines + 0.08) / tall, 0.7)  # of the panel's height, for the parameters
        row[0].set_ylim(low, high + share / (1 - share) * (high - low))
    figure.supylabel(style.BITS, fontsize=9.5)
    if law is laws.CELL_NUMBER_LAW and table["n_cells"].max() > WIDE * table["n_cells"].min():
        for axes in figure.axes:
            style.log_axis(axes, every=2)
    return figure


WIDE = 10_000
"""Ratio of most to fewest cells above which a narrow panel has no room for a label at each power of ten."""


def _fit_panel(axes: Axes, table: pd.DataFrame, model: str, law: laws.Law) -> None:
    style.bits_axes(axes)
    if table.empty:
        return style.not_measured(axes)
    x = "umis_per_cell" if law is laws.NOISE_LAW else "n_cells"
    style.plot(axes, model, table[x], table["mi_bits"], linestyle="", label="one seed")
    (fit,) = fits_of(table.assign(curve=0), ["curve"], law=law).values()
    if isinstance(fit, InputError):
        axes.text(0.04, 0.98, "too few points to fit", transform=axes.transAxes, va="top", fontsize=8.5, color="0.4")
        return
    at = np.geomspace(table[x].min(), table[x].max(), 200)
    low, high = fit.band(at) if fit.status in (laws.CONVERGED, laws.BEYOND) else (np.full_like(at, np.nan),) * 2
    name = "Eq. 1" if law is laws.NOISE_LAW else "Eq. 2"
    axes.plot(at, fit.predict(at), color=style.colour(model), label=name)
    axes.fill_between(at, low, high, color=style.colour(model), alpha=0.25, linewidth=0, label="2 standard errors")
    axes.text(0.04, 0.98, _parameters(fit), transform=axes.transAxes, va="top", fontsize=8.5, color="0.15")


_PRINTED = {
    laws.NOISE_LAW.name: {style.U_BAR: ("u_bar", ",.0f"), style.I_MAX: ("i_max", ".2f")},
    laws.CELL_NUMBER_LAW.name: {"$N_{sat}$": ("n_sat", ",.0f"), "$s$": ("s", ".2f"), "$I_\\infty$": ("i_inf", ".2f")},
}
"""Parameters that a panel prints, by law and symbol: the parameter's name and its number format."""


def _parameters(fit: laws.LawFit) -> str:
    """Return a panel's text: parameters, intervals (Eq. 1's averaged over laws), and the status unless converged."""
    names = _PRINTED[fit.law.name]
    if fit.status not in (laws.CONVERGED, laws.BEYOND):
        return fit.status
    lines = []
    for symbol, (name, form) in names.items():
        low, high = (f"{end:{form}}" if np.isfinite(end) else "" for end in getattr(fit, f"{name}_interval"))
        ends = f" ({low} to {high})" if high else f" (> {low})" if low.strip("0.") else " (not bounded)"
        lines.append(f"{symbol} = {getattr(fit, name):{form}}{ends}")
    return "\n".join([fit.status] * (fit.status != laws.CONVERGED) + lines)


def collapsed(table: pd.DataFrame) -> pd.DataFrame:
    """Place every observation on the universal curve by its own fit: columns u_bar, i_max, x = u / u_bar, z, missing.

    Controls are left out, and curves whose fit did not converge; `n_left_out` in the frame's attrs counts these curves.
    Raises InputError as `usable` does.
    """
    table = without_controls(usable(table))
    fits = laws.fit_curves(table)
    good = fits[fits["status"] == laws.CONVERGED][[*laws.CURVE, "n_cells", "u_bar", "i_max"]]
    out = table.merge(good, on=[*laws.CURVE, "n_cells"])
    u, u_bar, i_max = (out[c].to_numpy() for c in ("umis_per_cell", "u_bar", "i_max"))
    out = out.assign(x=u / u_bar, z=laws.collapse_z(u, u_bar, i_max), missing=i_max - out["mi_bits"])
    out.attrs = {"n_curves": len(good), "n_left_out": len(fits) - len(good)}
    return out


@style.book_style()
def collapse_figure(table: pd.DataFrame) -> Figure:
    """Draw Figure 3: missing information of every observation against u / u_bar (asymptote) and against z (exact)."""
    points = enough(collapsed(table), NO_CURVE)
    titles = [f"estimated by {style.methods(points)}"]
    figure, panels = style.new_figure(1, 2, 4.2, titles=titles, sharey=True)
    look = {"linestyle": "", "markersize": 2.6, "alpha": 0.45, "markeredgewidth": 0, "rasterized": True}
    for axes, (x, label) in zip(
        panels[0], {"x": "asymptotic: depth over $\\bar{u}$", "z": "exact: $z$"}.items(), strict=True
    ):
        for model in style.ordered(points["model"]):
            here = points[points["model"] == model]
            style.plot(axes, model, here[x], here["missing"], **look)
        at = np.geomspace(points[x].min(), points[x].max(), 300)
        axes.plot(at, laws.collapse(at), color="black", linewidth=1.6)
        style.log_axis(axes)
        axes.set_ylim(points["missing"].min() - 0.1, points["missing"].max() + 0.2)  # every point is shown
        axes.set_xlabel(label)
    panels[0, 0].set_ylabel(f"missing information, {style.I_MAX}$ - I$ (bits)")
    style.model_legend(figure, points["model"], {"color": "black", "label": ONE_CURVE})
    return figure


ONE_CURVE = "Eq. 1, no free parameter (left: its asymptote)"
"""Legend label of the theoretical line in `collapse_figure`."""


FIGURES = {"information": information_figure, "fits": fits_figure, "collapse": collapse_figure}
"""The paper's figures by the names that pages and commands use."""
