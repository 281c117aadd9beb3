"""Our measurements under two estimators: how curves, their fits and the order of models change."""

import textwrap
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..errors import enough
from ..laws.curves import fit_groups
from ..laws.formulas import BEYOND, CONVERGED
from ..measurements import protocol_rows
from . import style
from .figures import largest, of_signal
from .findings import KNOWN_BITS
from .style import LINES

_UNIT = ["dataset", "signal", "model", "preset", "n_cells", "fraction", "seed", "umis_per_cell"]
_CURVE = ["dataset", "signal", "model", "n_cells"]


def both_estimators(table: pd.DataFrame, *, controls: bool = True) -> pd.DataFrame:
    """Rows measured on the same embedding by both estimators: `default` and `lmi` bits side by side, and the depth."""
    rows = protocol_rows(table, controls=controls)
    bits = rows[rows["estimator"].isin(LINES)].pivot_table(index=_UNIT, columns="estimator", values="mi_bits")
    bits = bits.reindex(columns=list(LINES)).dropna().reset_index().rename_axis(columns=None)
    return enough(bits, "No cell sample of this table was measured both with LMI and with the default estimator.")


@style.book_style()
def estimators_figure(table: pd.DataFrame) -> Figure:
    """Bits against depth at the most cells (default solid, LMI dashed); below, controls at full depth (LMI hollow)."""
    bits = largest(both_estimators(table))
    of_control = bits["model"].map(style.is_control)
    controls, shown = bits[of_control], bits[~of_control]
    signals, below = style.signals(shown), int(len(controls) > 0)
    columns = 2 if len(signals) <= 6 else 4
    rows = -(-len(signals) // columns)
    titles = (textwrap.fill(style.title(*signal), 48 // columns + 10) for signal in signals)
    height = 0.9 + (1.95 if columns == 2 else 1.45) * (rows + below)
    figure, panels = style.new_figure(rows + below, columns, height, titles=titles)
    for axes in panels.flat[len(signals) :]:
        axes.set_axis_off()
    for at, (axes, signal) in enumerate(zip(panels.flat, signals, strict=False)):
        here = of_signal(shown, signal)
        for model in style.ordered(here["model"]):
            means = here[here["model"] == model].groupby("fraction")[["umis_per_cell", *LINES]].mean()
            for estimator, line in LINES.items():
                style.plot(axes, model, means["umis_per_cell"], means[estimator], linestyle=line)
        style.log_axis(axes)
        axes.set_ylim(min(0, axes.get_ylim()[0]), None)
        axes.set_xlabel(style.UMIS if at >= len(signals) - columns else "")
        axes.set_ylabel("" if at % columns else style.BITS if columns == 2 else "bits")
        axes.tick_params(labelsize=8.5 if columns == 2 else 7)
    if below:
        _controls(figure.add_subplot(panels[-1, 0].get_gridspec()[-1, :]), controls)
    lines = [{"color": "black", "linestyle": line, "label": style.estimator(name)} for name, line in LINES.items()]
    style.model_legend(figure, bits["model"], *lines)
    return figure


def _controls(axes: Axes, bits: pd.DataFrame) -> None:
    """Plot the controls at full depth by signal; grey lines mark the 2 known bits and 0 bits."""
    signals, models = style.signals(bits), style.ordered(bits["model"])
    full = bits[bits["fraction"] == bits.groupby(["dataset", "signal"])["fraction"].transform("max")]
    means = full.groupby(["model", "dataset", "signal"])[list(LINES)].mean()
    for y in (0, KNOWN_BITS):
        axes.axhline(y, color="0.75", linewidth=0.8, zorder=0)
    for i, model in enumerate(models):
        here = means.loc[model].reindex(signals)
        for estimator, face, aside in (("default", style.colour(model), 0), ("lmi", "white", 0.08)):
            x = [at + 0.2 * (i - (len(models) - 1) / 2) + aside for at in range(len(signals))]
            style.plot(axes, model, x, here[estimator], linestyle="", markersize=6, markerfacecolor=face)
    many = len(signals) > 7
    turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor", "fontsize": 7} if many else {}
    names = [style.title(*signal) for signal in signals]  # turned in one line each: two lines would touch the next
    axes.set_xticks(range(len(signals)), names if many else [textwrap.fill(name, 16) for name in names], **turned)
    axes.tick_params(axis="x", length=0)
    axes.set_title("controls at full depth: default left and filled, LMI right and hollow", loc="left")
    axes.set_ylabel("bits" if many else style.BITS)
    axes.margins(y=0.15)
    sns.despine(ax=axes)


def fits_by_estimator(table: pd.DataFrame) -> pd.DataFrame:
    """Fits of Eq. 1 by estimator at the most cells, from the same embeddings and all seeds; NaN if not determined."""
    bits = largest(both_estimators(table, controls=False))
    curves = bits.melt([*_CURVE, "umis_per_cell", "seed"], list(LINES), "estimator", "mi_bits")
    fits = fit_groups(curves, [*_CURVE, "estimator"])
    fits[["u_bar", "i_max"]] = fits[["u_bar", "i_max"]].where(fits["status"].isin([CONVERGED, BEYOND]))
    wide = fits.pivot(index=_CURVE, columns="estimator", values=["u_bar", "i_max", "r_squared", "status"])
    wide = wide.set_axis([f"{name}, {estimator}" for name, estimator in wide.columns], axis=1).infer_objects()
    wide["ratio of u_bar, lmi / default"] = wide["u_bar, lmi"] / wide["u_bar, default"]
    wide["i_max, lmi - default"] = wide["i_max, lmi"] - wide["i_max, default"]
    return wide.reset_index()


def order_of_models(table: pd.DataFrame, *, margin: float = 0.1) -> pd.DataFrame:
    """How often both estimators put two models in the same order, by data set.

    A comparison is of two models at the same cell number and depth, in means over seeds. Pairs that the default puts
    within `margin` bits (the noise of a seed) are counted separately, as too close to call.
    """
    keys, found = ["dataset", "n_cells", "fraction"], []
    means = both_estimators(table, controls=False).groupby([*keys, "model"])[list(LINES)].mean().reset_index()
    pairs = means.merge(means, on=keys, suffixes=("", "_other")).query("model < model_other")
    apart = pairs.assign(**{name: pairs[name] - pairs[f"{name}_other"] for name in LINES})
    for dataset in apart["dataset"].unique():
        here = apart[apart["dataset"] == dataset]
        called = here[here["default"].abs() >= margin]
        same = int((called["default"] * called["lmi"] > 0).sum())
        found.append({
            "dataset": dataset, "same order": same, "other order": len(called) - same,
            f"nearer than {margin} bits": len(here) - len(called),
        })  # fmt: skip
    return pd.DataFrame(found)


def level_by_estimator(table: pd.DataFrame) -> pd.DataFrame:
    """LMI minus default in bits, by data set and model: mean over all measured points, and the number of rows."""
    bits = both_estimators(table).assign(difference=lambda bits: bits["lmi"] - bits["default"])
    groups = bits.groupby(["dataset", "model"], sort=True)
    return groups[[*LINES, "difference"]].mean().assign(rows=groups.size()).reset_index()
