"""Effect of the number of dimensions (4 to 64, PCA and scVI on the same cells) on bits and Eq. 1's two parameters."""

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import laws
from ..errors import TooLittle
from ..laws.curves import fit_groups
from ..laws.saturation import reached
from ..measurements import protocol_rows
from . import page, style
from .model_size import LINES, parameter_panels, points

_CURVE = ["dataset", "signal", "model", "estimator"]
_SHARE = 0.9
_ASIDE = 1.06  # each line is shifted by this factor in dimensions from the one before
USUAL = 16
"""The published number of dimensions."""


def _rows(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of the variants that set the number of dimensions, with this number in the column `asked`."""
    rows = protocol_rows(table, variant=None)
    asked = rows.get("variant", pd.Series("", rows.index)).str.extract(r"^dims_(\d+)$")[0]
    return rows.assign(asked=pd.to_numeric(asked)).dropna(subset="asked").astype({"asked": int})


@page.of_content
def dimensions(table: pd.DataFrame) -> pd.DataFrame:
    """Eq. 1 at the most cells for each number of dimensions, bits at full depth, and the cells needed for 90 % of them.

    Columns: dataset, signal, model, estimator, dims, full_depth_bits, cells_90 (NaN for fewer than three numbers of
    cells), and the columns of a fit.
    """
    rows = _rows(table)
    if rows["asked"].nunique() < 2:
        raise TooLittle("No model was measured with several numbers of dimensions in this table.")
    most, deepest = (rows[rows[c] == rows.groupby(_CURVE)[c].transform("max")] for c in ("n_cells", "fraction"))
    bits, facts = deepest.pivot_table(index=[*_CURVE, "asked"], columns="n_cells", values="mi_bits"), []
    for curve in (line.dropna() for _, line in bits.iterrows()):
        n, cells = curve.index.to_numpy(float), np.nan
        if len(n) >= 3:
            cells = reached(n, curve.to_numpy(float), np.full(len(n), np.nan), _SHARE)[0]
        facts.append({"full_depth_bits": curve.iloc[-1], "cells_90": cells})
    found = pd.concat([bits.index.to_frame(index=False), pd.DataFrame(facts)], axis=1)
    return found.merge(fit_groups(most, [*_CURVE, "asked"])).rename(columns={"asked": "dims"})


def sentences(table: pd.DataFrame) -> HTML:
    """Sentences by model on how u_bar, I_max and the cells needed change from the usual to the most dimensions."""
    found, rows = dimensions(table), _rows(table)
    lines = [
        f"Measured: {' and '.join(style.label(m) for m in style.ordered(rows['model']))}, with "
        f"{', '.join(map(str, sorted(set(found['dims']))))} dimensions, on "
        f"{page.counted(len(style.signals(found)), 'signal')}, at {page.counted(rows['seed'].nunique(), 'seed')}."
    ]
    labels = {"u_bar": "ū", "i_max": "I_max", "cells_90": f"the number of cells for {_SHARE:.0%} of its best bits"}
    for model, here in found.groupby("model", sort=False):
        settled, parts = here[here["status"] == laws.CONVERGED], []
        for name, label in labels.items():
            values = (here if name == "cells_90" else settled).pivot_table(index=_CURVE, columns="dims", values=name)
            if USUAL not in values or (most := max(values)) == USUAL:
                continue
            ratio = (values[most] / values[USUAL]).dropna()
            if len(ratio):
                apart = "" if name == "cells_90" else f" (intervals lie apart in {_apart(settled, name, most)})"
                parts.append(f"{label} is multiplied by {ratio.min():.2f} to {ratio.max():.2f}{apart}")
        if parts:
            lines.append(f"{style.label(model)}, with {most} dimensions in place of {USUAL}: {'; '.join(parts)}.")
        bits = here.pivot_table(index=_CURVE, columns="dims", values="full_depth_bits")
        told = (f"{style.title(*k[:2])} {', '.join(f'{b:.2f}' for b in line)}" for k, line in bits.iterrows())
        lines.append(
            f"{style.label(model)}, bits at full depth on the most cells, with {', '.join(map(str, bits))} dimensions: "
            f"{'; '.join(told)}."
        )
    return page.bullets(lines, "finding")


def _apart(found: pd.DataFrame, name: str, most: int) -> str:
    """Number of curves, as text, whose 95 % intervals at the usual and at the most dimensions do not overlap."""
    both = found[found["dims"].isin([USUAL, most])]
    wide = both.pivot(index=_CURVE, columns="dims", values=[f"{name}_low", f"{name}_high"]).dropna()
    low, high = (wide[f"{name}_{end}"] for end in ("low", "high"))
    apart = (low[most] > high[USUAL]) | (high[most] < low[USUAL])
    return f"{apart.sum()} of {len(apart)} curves"


@style.book_style()
def dimensions_figure(table: pd.DataFrame) -> Figure:
    """Plot bits at full depth, I_max and u_bar against dimensions, one line per curve; dashes: seeds, bars: 95 %."""
    found, rows = dimensions(table), _rows(table)
    top = rows.groupby(_CURVE)[["n_cells", "fraction"]].transform("max")
    each = rows[(rows[["n_cells", "fraction"]] == top).all(axis=1)]  # seeds at full depth and the most cells
    figure, panels, limits = parameter_panels(found, 3.4)
    lines = dict(zip(style.signals(found), cycle(LINES), strict=False))
    for i, (key, curve) in enumerate(found.groupby(_CURVE)):
        model = key[2]
        look: dict[str, Any] = {"color": style.colour(model), "marker": style.marker(model)}
        look["linestyle"] = lines[key[:2]]
        shifted = curve.assign(dims=curve["dims"] * _ASIDE**i)
        seeds = each[(each[_CURVE] == key).all(axis=1)]
        panels[0].plot(shifted["dims"], shifted["full_depth_bits"], **look)
        panels[0].plot(seeds["asked"] * _ASIDE**i, seeds["mi_bits"], **look | {"linestyle": "", "marker": "_"})
        for axes, (name, ends) in zip(panels[1:], limits.items(), strict=True):
            points(axes, shifted[curve["status"].isin([laws.CONVERGED, laws.BEYOND])], "dims", name, look, ends)
    for axes in panels:
        axes.set_xscale("log", base=2)
        axes.set(xlabel="dimensions", xticks=sorted(found["dims"].unique()))
        axes.xaxis.set_major_formatter(style.plain)
    panels[0].set_ylim(bottom=0)
    marks = [{"color": "0.3", "linestyle": line, "label": style.title(*s)} for s, line in list(lines.items())[:4]]
    style.model_legend(figure, found["model"], *marks)
    return figure
