"""Our measurements under two estimators: how curves, their fits and the order of models move."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pandas as pd
from IPython.display import HTML, Image
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .. import laws
from ..measurements import CONTROLS, OK
from . import page, style

LINES = {"default": ("default", "-"), "lmi": ("LMI", "--")}
NOTHING = "No cell sample of this table was measured both with LMI and with the default estimator."
_UNIT = ["dataset", "signal", "model", "preset", "n_cells", "fraction", "seed"]
_CURVE = ["dataset", "signal", "model"]


def both_estimators(table: pd.DataFrame) -> pd.DataFrame:
    """Rows measured on the same embedding by both estimators: `default` and `lmi` bits side by side, and the depth."""
    rows = table[(table["status"] == OK) & table["mi_bits"].notna() & (table["variant"] == "")]
    rows = rows[rows["estimator"].isin(LINES)]
    bits = rows.pivot_table(index=[*_UNIT, "umis_per_cell"], columns="estimator", values="mi_bits")
    if not set(LINES) <= set(bits.columns):
        return pd.DataFrame(columns=[*_UNIT, "umis_per_cell", *LINES])
    return bits.dropna().reset_index().rename_axis(columns=None)


def _largest(bits: pd.DataFrame) -> pd.DataFrame:
    return bits[bits["n_cells"] == bits.groupby("dataset")["n_cells"].transform("max")]


def estimators_figure(table: pd.DataFrame) -> Figure:
    """Bits against depth at the largest cell number, a panel a data set: solid the default, dashed LMI."""
    bits = _largest(both_estimators(table))
    signals = list(dict.fromkeys(zip(bits["dataset"], bits["signal"], strict=True)))
    if not signals:
        return _nothing()
    with style.book_style():
        rows = -(-len(signals) // 2)
        figure, panels = style.new_figure(rows, 2, 0.9 + 2.2 * rows)
        for axes in panels.flat[len(signals) :]:
            axes.set_axis_off()
        for axes, signal in zip(panels.flat, signals, strict=False):
            here = bits[(bits["dataset"] == signal[0]) & (bits["signal"] == signal[1])]
            _draw(axes, here)
            axes.set_title(style.title(*signal), loc="left")
        style.legend_below(
            figure, style.ordered(set(bits["model"])),
            [Line2D([], [], color="black", linestyle=line, label=name) for name, line in LINES.values()],
        )  # fmt: skip
    return figure


def _nothing() -> Figure:
    """A figure that says that there is nothing to draw."""
    with style.book_style():
        figure, panels = style.new_figure(1, 1, 0.5)
        panels[0, 0].set_axis_off()
        panels[0, 0].text(0.5, 0.5, NOTHING, ha="center", va="center")
    return figure


def _draw(axes, bits: pd.DataFrame) -> None:
    for model in style.ordered(set(bits["model"])):
        means = bits[bits["model"] == model].groupby("fraction")[["umis_per_cell", *LINES]].mean().sort_index()
        for estimator, (_, line) in LINES.items():
            axes.plot(
                means["umis_per_cell"], means[estimator], line, color=style.COLOURS[model], marker=style.MARKERS[model]
            )
    style.log_axis(axes)
    axes.set(xlabel=style.UMIS, ylabel=style.BITS)


def estimators_image(source: str | Path) -> Image:
    """`estimators_figure` of a measurements table."""
    return Image(style.as_png(estimators_figure(page.measured(source).table)), format="png")


def fits_by_estimator(table: pd.DataFrame) -> pd.DataFrame:
    """Eq. 1 at the largest cell number, from the same embeddings: u_bar and I_max under each estimator."""
    found = []
    bits = _largest(both_estimators(table))
    for key, curve in bits[~bits["model"].isin(CONTROLS)].groupby(_CURVE, sort=True):
        means = curve.groupby("fraction")[["umis_per_cell", *LINES]].mean()
        if len(means) < 4:
            continue
        line = dict(zip(_CURVE, key, strict=True)) | {"n_cells": curve["n_cells"].iloc[0]}
        for estimator in LINES:
            fit = laws.fit_noise_law(means["umis_per_cell"], means[estimator])
            line |= {f"u_bar, {estimator}": fit.u_bar, f"i_max, {estimator}": fit.i_max}
            line |= {f"r_squared, {estimator}": fit.r_squared, f"status, {estimator}": fit.status}
        line["u_bar, lmi / default"] = line["u_bar, lmi"] / line["u_bar, default"]
        found.append(line | {"i_max, lmi - default": line["i_max, lmi"] - line["i_max, default"]})
    return pd.DataFrame(found)


def order_of_models(table: pd.DataFrame, *, margin: float = 0.1) -> pd.DataFrame:
    """How often both estimators put two models in the same order, by data set.

    A comparison is two models at the same cells and depth, mean over seeds; those that the default puts nearer than
    `margin` bits (the noise of a seed) are counted apart, as too near to call.
    """
    bits = both_estimators(table)
    bits = bits[~bits["model"].isin(CONTROLS)]
    found = []
    for dataset, rows in bits.groupby("dataset", sort=True):
        means = rows.groupby(["n_cells", "fraction", "model"])[list(LINES)].mean().unstack("model")
        near = same = other = 0
        for a, b in combinations(sorted(set(rows["model"])), 2):
            apart = (means.xs(a, axis=1, level=1) - means.xs(b, axis=1, level=1)).dropna()
            called = apart[apart["default"].abs() >= margin]
            agree = int((called["default"] * called["lmi"] > 0).sum())
            near, same, other = near + len(apart) - len(called), same + agree, other + len(called) - agree
        found.append({"dataset": dataset, "same order": same, "other order": other, f"nearer than {margin} bits": near})
    return pd.DataFrame(found)


def level_by_estimator(table: pd.DataFrame) -> pd.DataFrame:
    """LMI less default, bits, by data set and model: mean over all measured points, and the rows it rests on."""
    bits = both_estimators(table)
    bits = bits.assign(difference=bits["lmi"] - bits["default"])
    means = bits.groupby(["dataset", "model"], sort=True).agg(
        default=("default", "mean"), lmi=("lmi", "mean"), difference=("difference", "mean"), rows=("lmi", "size")
    )
    return means.reset_index()


def _shown(table: pd.DataFrame, download: str) -> HTML:
    if not len(table):
        return HTML("")  # the figure above has said that there is nothing
    short = table.round({name: 1 if name.startswith("u_bar") else 3 for name in table.select_dtypes("number")})
    return page.as_table(
        short.rename(columns={"u_bar, lmi / default": "u_bar ratio"}), download=download, full=table, wrap=True
    )


def level_table(source: str | Path) -> HTML:
    """`level_by_estimator` to read and to download."""
    return _shown(level_by_estimator(page.measured(source).table), "estimators_level.csv")


def estimator_fits_table(source: str | Path) -> HTML:
    """`fits_by_estimator` to read and to download."""
    return _shown(fits_by_estimator(page.measured(source).table), "estimators_fits.csv")


def order_table(source: str | Path) -> HTML:
    """`order_of_models` to read and to download."""
    return _shown(order_of_models(page.measured(source).table), "estimators_order.csv")
