"""How Eq. 1's two parameters move with the size of a model: Geneformer at several widths on the same cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import laws
from ..errors import TooLittle
from ..laws.curves import fit_groups, protocol_rows
from . import admitted, claim_terms, claims, style
from .figures import usable

MODEL = "geneformer"
"""The model that was measured at several widths."""
_LADDER = ["dataset", "signal", "estimator", "n_cells"]
_LINES = ("-", "--", ":", "-.")


def ladder(table: pd.DataFrame) -> pd.DataFrame:
    """The model's rows at every width, where several were measured on the same cells: the preset's own among them."""
    rows = protocol_rows(table[table["model"] == MODEL], variant=None)
    rows = rows[(rows["variant"] == "") | rows["variant"].str.fullmatch(r"width_\d+")]
    # the same depths and seeds at every width: otherwise sizes would be compared on different points
    widths = rows.groupby(_LADDER)["variant"].transform("nunique")
    shared = rows.groupby([*_LADDER, "fraction", "seed"])["variant"].transform("nunique")
    return rows[(widths > 1) & (shared == widths)]


def sizes(table: pd.DataFrame) -> pd.DataFrame:
    """Eq. 1 at each size: what was trained on, n_parameters, seeds, bits at full depth, the fit and its status.

    Raises
    ------
    TooLittle
        If no model was measured at several sizes.
    """
    rows, by = ladder(table), [*_LADDER, "n_parameters"]
    if rows.empty:
        raise TooLittle("No model was measured at several sizes in this table.")
    deepest = rows["fraction"] == rows.groupby(by)["fraction"].transform("max")
    facts = rows.assign(full_depth_bits=rows["mi_bits"].where(deepest)).groupby(by).agg(
        seeds=("seed", "nunique"), full_depth_bits=("full_depth_bits", "mean"), train_seconds=("train_seconds", "mean")
    )  # fmt: skip
    return facts.reset_index().merge(fit_groups(rows, by), on=by)


@style.book_style()
def sizes_figure(table: pd.DataFrame) -> Figure:
    """Measured bits, I_max and u_bar against the number of parameters, a line a data set; bars are 95 % intervals.

    Where u_bar lies beyond the deepest counts markers are hollow. A fit that did not converge or is not identified is
    left out; it is in the table.
    """
    found = sizes(table)
    settled = found[found["status"].isin([laws.CONVERGED, laws.BEYOND])]
    figure, panels = style.new_figure(1, 3, 3.2, sharex=True)
    look: dict[str, Any] = {"color": style.colour(MODEL), "marker": style.marker(MODEL), "markersize": 5}
    marks = []
    for ((dataset, signal, estimator, n), curve), line in zip(found.groupby(_LADDER, sort=True), _LINES, strict=False):
        look |= {"linestyle": line}
        panels[0, 0].plot(curve["n_parameters"], curve["full_depth_bits"], **look)
        for axes, name in zip(panels[0, 1:], ("i_max", "u_bar"), strict=True):
            _points(axes, curve[curve["status"] == laws.CONVERGED], name, look)
            if len(beyond := curve[curve["status"] == laws.BEYOND]):
                _points(axes, beyond, name, look | {"markerfacecolor": "white", "linestyle": ""})
        marks.append({"label": f"{style.title(dataset, signal)}, {n:,} cells, {estimator}", **look})
    for axes, label in zip(panels[0], ("bits measured at full depth", "$I_{max}$ (bits)", _U_BAR), strict=True):
        style.log_axis(axes)
        axes.set(xlabel="parameters", ylabel=label)
    panels[0, 0].set_ylim(bottom=0)
    style.log_y_axis(panels[0, 2])
    if len(settled):  # every value is shown; an interval may reach beyond the axes
        panels[0, 1].set_ylim(0, 1.5 * settled["i_max"].max())
        panels[0, 2].set_ylim(settled["u_bar"].min() / 4, settled["u_bar"].max() * 4)
    style.legend(figure, *marks, columns=2, handlelength=2.8)
    return figure


_U_BAR = "$\\bar{u}$ (UMIs per cell)"


def _points(axes: Axes, curve: pd.DataFrame, name: str, look: dict[str, Any]) -> None:
    value, low, high = (curve[f"{name}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
    spread = np.clip(np.nan_to_num(np.stack([value - low, high - value]), posinf=1e12), 0, 1e12)
    if name == "u_bar":
        spread[0] = np.minimum(spread[0], 0.99 * value)  # an interval that reaches 0 has no place on a logarithm
    axes.errorbar(curve["n_parameters"], value, yerr=spread, capsize=3, **look)


def variations(table: pd.DataFrame) -> pd.DataFrame:
    """Each variation on a model less that model, in bits: the mean over points that have both, with its interval.

    Raises
    ------
    TooLittle
        If no variation was measured beside its model.
    """
    bits, found = claim_terms.grid(admitted.evidence(usable(table)))[0], []
    for model in style.ordered(bits.columns):
        if (kind := style.variation_of(model)) in bits:
            gap = claim_terms.differences(bits[model] - bits[kind])
            value, low, high, _ = claims.interval(gap)
            found.append({
                "model": model, "beside": style.label(kind), "signals": gap["signal"].nunique(), "points": len(gap),
                "difference": value, "difference_low": low, "difference_high": high,
            })  # fmt: skip
    if not found:
        raise TooLittle("No variation on a model was measured here beside it.")
    return pd.DataFrame(found)
