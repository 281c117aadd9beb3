"""How Eq. 1's two parameters move with the size of a model: Geneformer at several widths on the same cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML, Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .. import laws
from ..errors import InputError
from ..measurements import OK
from . import page, style

_LADDER = ["dataset", "signal", "estimator", "n_cells"]
_LINES = ("-", "--", ":", "-.")
_LOOK = {"color": style.COLOURS["geneformer"], "marker": "s", "markersize": 5}


def ladder(table: pd.DataFrame) -> pd.DataFrame:
    """Geneformer's rows at every width, where several were measured on the same cells: the preset's own among them."""
    rows = table[(table["status"] == OK) & (table["model"] == "geneformer") & table["mi_bits"].notna()]
    rows = rows[(rows["variant"] == "") | rows["variant"].str.fullmatch(r"width_\d+")]
    several = rows.groupby(_LADDER)["variant"].transform("nunique") > 1
    rows = rows[several]
    # the same depths and seeds at every width: otherwise sizes would be compared on different points
    widths = rows.groupby(_LADDER)["variant"].transform("nunique")
    shared = rows.groupby([*_LADDER, "fraction", "seed"])["variant"].transform("nunique")
    return rows[shared == widths]


def sizes(table: pd.DataFrame) -> pd.DataFrame:
    """Eq. 1 at each size: what was trained on, n_parameters, seeds, bits at full depth, the fit and its status."""
    found = []
    for key, rows in ladder(table).groupby([*_LADDER, "n_parameters"], sort=True):
        head = dict(zip([*_LADDER, "n_parameters"], key, strict=True)) | {"seeds": rows["seed"].nunique()}
        deepest = rows.loc[rows["fraction"] == rows["fraction"].max(), "mi_bits"]
        head |= {"full_depth_bits": deepest.mean(), "train_seconds": rows["train_seconds"].mean()}
        try:
            fit = laws.fit_noise_law(rows["umis_per_cell"], rows["mi_bits"]).row()
        except InputError as error:
            fit = {"status": laws.FAILED, "note": str(error)}
        found.append(head | fit)
    return pd.DataFrame(found)


def sizes_table(source: str | Path) -> HTML:
    """`sizes` to read and to download."""
    table = sizes(page.measured(source).table)
    if not len(table):
        return HTML("<p>No model was measured at several sizes in this table.</p>")
    columns = [*_LADDER, "n_parameters", "seeds", "full_depth_bits", "i_max", "i_max_low", "i_max_high"]
    columns += ["u_bar", "u_bar_low", "u_bar_high", "train_seconds", "status"]
    short = table.reindex(columns=columns).round({c: 2 for c in columns if "i_max" in c} | {"full_depth_bits": 3})
    short = short.round({c: 0 for c in columns if "u_bar" in c} | {"train_seconds": 1})
    return page.as_table(short, download="model_sizes.csv", full=table)


def sizes_figure(table: pd.DataFrame) -> Figure:
    """Measured bits, I_max and u_bar against the number of parameters, a line a data set; bars are 95 % intervals.

    A fit that did not converge or is not identified is left out; it is in the table.
    """
    found = sizes(table)
    if not len(found):
        figure, panels = style.new_figure(1, 1, 1.2)
        panels[0, 0].axis("off")
        panels[0, 0].text(0.5, 0.5, "no model was measured at several sizes", ha="center", va="center", color="0.35")
        return figure
    with style.book_style():
        figure, panels = style.new_figure(1, 3, 3.2, sharex=True)
        for (_, curve), line in zip(found.groupby(_LADDER, sort=True), _LINES, strict=False):
            panels[0, 0].plot(curve["n_parameters"], curve["full_depth_bits"], line, **_LOOK)
            for axes, name in zip(panels[0, 1:], ("i_max", "u_bar"), strict=True):
                _points(axes, curve[curve["status"] == laws.CONVERGED], name, line)
        panels[0, 0].set_ylabel("bits measured at full depth")
        panels[0, 1].set_ylabel("$I_{max}$ (bits)")
        panels[0, 2].set_ylabel("$\\bar{u}$ (UMIs per cell)")
        _limits(panels[0], found[found["status"] == laws.CONVERGED])
        handles = [
            Line2D([], [], linestyle=line, label=_name(key), **_LOOK)
            for (key, _), line in zip(found.groupby(_LADDER, sort=True), _LINES, strict=False)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, handlelength=2.8)
    return figure


def _limits(panels: np.ndarray, sound: pd.DataFrame) -> None:
    """Axes that show every value; an interval may reach beyond them."""
    for axes in panels:
        style.log_axis(axes)
        axes.set_xlabel("parameters")
    top = sound["i_max"].max() if len(sound) else 1.0
    for axes in panels[:2]:
        axes.set_ylim(bottom=0)
    panels[1].set_ylim(0, 1.5 * top)
    if len(sound):
        panels[2].set_ylim(sound["u_bar"].min() / 4, sound["u_bar"].max() * 4)
    style.log_y_axis(panels[2])


def _name(key: tuple[str, str, str, int]) -> str:
    return f"{style.title(key[0], key[1])}, {key[3]:,} cells, {key[2]}"


def _points(axes: Axes, curve: pd.DataFrame, name: str, line: str) -> None:
    value, low, high = (curve[f"{name}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
    spread = np.clip(np.nan_to_num(np.stack([value - low, high - value]), posinf=1e12), 0, 1e12)
    if name == "u_bar":
        spread[0] = np.minimum(spread[0], 0.99 * value)  # an interval that reaches 0 has no place on a logarithm
    axes.errorbar(curve["n_parameters"], value, yerr=spread, linestyle=line, capsize=3, **_LOOK)


def sizes_image(source: str | Path) -> Image:
    """The figure of model sizes, drawn from a measurements table."""
    return Image(style.as_png(sizes_figure(page.measured(source).table)), format="png")
