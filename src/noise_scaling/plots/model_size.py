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
    """I_max and u_bar against the number of parameters, a line a data set; bars are 95 % intervals of the fit."""
    found = sizes(table)
    if not len(found):
        figure, panels = style.new_figure(1, 1, 1.2)
        panels[0, 0].axis("off")
        panels[0, 0].text(0.5, 0.5, "no model was measured at several sizes", ha="center", va="center", color="0.35")
        return figure
    with style.book_style():
        figure, panels = style.new_figure(1, 2, 3.4, sharex=True)
        for (_, curve), line in zip(found.groupby(_LADDER, sort=True), _LINES, strict=False):
            for axes, name in zip(panels[0], ("i_max", "u_bar"), strict=True):
                _points(axes, curve, name, line)
        panels[0, 0].set_ylabel("$I_{max}$ (bits)")
        panels[0, 1].set_ylabel("$\\bar{u}$ (UMIs per cell)")
        panels[0, 1].set_yscale("log")
        handles = [
            Line2D([], [], color=style.COLOURS["geneformer"], linestyle=line, marker="s", label=_name(key))
            for (key, _), line in zip(found.groupby(_LADDER, sort=True), _LINES, strict=False)
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, handlelength=2.8)
    return figure


def _name(key: tuple[str, str, str, int]) -> str:
    return f"{style.title(key[0], key[1])}, {key[3]:,} cells, {key[2]}"


def _points(axes: Axes, curve: pd.DataFrame, name: str, line: str) -> None:
    value, low, high = (curve[f"{name}{end}"].to_numpy(float) for end in ("", "_low", "_high"))
    spread = np.clip(np.nan_to_num(np.stack([value - low, high - value])), 0, None)
    axes.errorbar(
        curve["n_parameters"], value, yerr=spread, color=style.COLOURS["geneformer"], linestyle=line, marker="s",
        capsize=3, markersize=5,
    )  # fmt: skip
    style.log_axis(axes)
    axes.set_xlabel("parameters of the model")


def sizes_image(source: str | Path) -> Image:
    """The figure of model sizes, drawn from a measurements table."""
    return Image(style.as_png(sizes_figure(page.measured(source).table)), format="png")
