"""What the number of dimensions does: PCA and scVI of 4 to 64 on the same cells, and Eq. 1's two parameters."""

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
from .model_size import points

_CURVE = ["dataset", "signal", "model", "estimator"]
_LINES = ("-", "--", ":", "-.")
_SHARE = 0.9
_ASIDE = 1.06
"""By this factor in dimensions a line stands beside the one before."""
USUAL = 16
"""The published number of dimensions."""


def _rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of every number of dimensions asked for, in the column `asked`."""
    rows = protocol_rows(table, variant=None)
    asked = rows.get("variant", pd.Series("", rows.index)).str.extract(r"^dims_(\d+)$")[0]
    return rows.assign(asked=pd.to_numeric(asked)).dropna(subset="asked").astype({"asked": int})


def _full_depth(rows: pd.DataFrame) -> pd.DataFrame:
    """Each seed at full depth and the most cells."""
    top = rows.groupby(_CURVE)[["n_cells", "fraction"]].transform("max")
    return rows[(rows[["n_cells", "fraction"]] == top).all(axis=1)]


@page.of_content
def dimensions(table: pd.DataFrame) -> pd.DataFrame:
    """Eq. 1 at the most cells for each number of dimensions, bits at full depth, and the cells for 90 % of these.

    Columns: dataset, signal, model, estimator, dims, full_depth_bits, cells_90 (NaN below three numbers of cells), and
    those of a fit.
    """
    rows = _rows(table)
    if rows["asked"].nunique() < 2:
        raise TooLittle("No model was measured with several numbers of dimensions in this table.")
    most = rows[rows["n_cells"] == rows.groupby(_CURVE)["n_cells"].transform("max")]
    fits = fit_groups(most, [*_CURVE, "asked"])
    deepest = rows[rows["fraction"] == rows.groupby(_CURVE)["fraction"].transform("max")]
    bits = deepest.pivot_table(index=[*_CURVE, "asked"], columns="n_cells", values="mi_bits")
    facts = [
        {"full_depth_bits": curve.iloc[-1], "cells_90": _saturates(curve)}
        for curve in (line.dropna() for _, line in bits.iterrows())
    ]
    found = pd.concat([bits.index.to_frame(index=False), pd.DataFrame(facts)], axis=1).merge(fits)
    return found.rename(columns={"asked": "dims"})


def _saturates(curve: pd.Series) -> float:
    if len(curve) < 3:
        return np.nan
    n = curve.index.to_numpy(float)
    return reached(n, curve.to_numpy(float), np.full(len(n), np.nan), _SHARE)[0]


def sentences(table: pd.DataFrame) -> HTML:
    """Whether the usual number of dimensions sets u_bar, I_max and the cells that are needed; a line a model."""
    found, rows = dimensions(table), _rows(table)
    lines = [
        f"Measured: {' and '.join(style.label(m) for m in style.ordered(rows['model']))}, with "
        f"{', '.join(map(str, sorted(set(found['dims']))))} dimensions, on "
        f"{page.counted(len(style.signals(found)), 'signal')}, at {page.counted(rows['seed'].nunique(), 'seed')}."
    ]
    for model, here in found.groupby("model", sort=False):
        settled = here[here["status"] == laws.CONVERGED]
        keyed = here.set_index([*_CURVE, "dims"])
        parts = []
        for name, words in (
            ("u_bar", "ū"),
            ("i_max", "I_max"),
            ("cells_90", f"the number of cells for {_SHARE:.0%} of its best bits"),
        ):
            values = (here if name == "cells_90" else settled).pivot_table(index=_CURVE, columns="dims", values=name)
            if USUAL not in values or (most := max(values)) == USUAL:
                continue
            ratio = (values[most] / values[USUAL]).dropna()
            if ratio.empty:
                continue
            said = f"{words} is multiplied by {ratio.min():.2f} to {ratio.max():.2f}"
            parts.append(
                said + ("" if name == "cells_90" else f" (intervals lie apart in {_apart(keyed, name, most)})")
            )
        if parts:
            lines.append(f"{style.label(model)}, with {most} dimensions in place of {USUAL}: {'; '.join(parts)}.")
        bits = here.pivot_table(index=_CURVE, columns="dims", values="full_depth_bits")
        told = "; ".join(
            f"{style.title(*key[:2])} {', '.join(f'{b:.2f}' for b in line)}" for key, line in bits.iterrows()
        )
        lines.append(
            f"{style.label(model)}, bits at full depth on the most cells, with {', '.join(map(str, bits))} dimensions: "
            f"{told}."
        )
    return page.bullets(lines, "finding")


def _apart(keyed: pd.DataFrame, name: str, most: int) -> str:
    """In how many curves the 95 % intervals of the usual and of the most dimensions share no value."""
    ends = [keyed.xs(d, level="dims")[[f"{name}_low", f"{name}_high"]].add_suffix(f"_{d}") for d in (USUAL, most)]
    both = ends[0].join(ends[1], how="inner").dropna()
    apart = (both[f"{name}_low_{most}"] > both[f"{name}_high_{USUAL}"]) | (
        both[f"{name}_high_{most}"] < both[f"{name}_low_{USUAL}"]
    )
    return f"{apart.sum()} of {len(both)} curves"


@style.book_style()
def dimensions_figure(table: pd.DataFrame) -> Figure:
    """Bits at full depth, I_max and u_bar against the number of dimensions, a line a model and data set.

    Dashes are single seeds, bars the parameters' 95 % intervals, cut at the panel's edge; lines stand side by side.
    """
    found, each = dimensions(table), _full_depth(_rows(table))
    figure, panels = style.new_figure(1, 3, 3.4, sharex=True)
    signals = style.signals(found)
    settled = found[found["status"].isin([laws.CONVERGED, laws.BEYOND])]
    limits = {"i_max": (0, 1.5 * settled["i_max"].max())}
    limits |= {"u_bar": (settled["u_bar"].min() / 4, settled["u_bar"].max() * 4)}
    style.log_y_axis(panels[0, 2])
    for axes, ends in zip(panels[0, 1:], limits.values(), strict=True):
        axes.set_ylim(*(end if np.isfinite(end) else None for end in ends))
    for i, (key, curve) in enumerate(found.groupby(_CURVE)):
        dataset, signal, model, _ = key
        look: dict[str, Any] = {"color": style.colour(model), "marker": style.marker(model)}
        look["linestyle"] = _LINES[signals.index((dataset, signal)) % len(_LINES)]
        beside = curve.assign(dims=curve["dims"] * _ASIDE**i)
        seeds = each[(each[_CURVE] == key).all(axis=1)]
        panels[0, 0].plot(beside["dims"], beside["full_depth_bits"], **look)
        panels[0, 0].plot(seeds["asked"] * _ASIDE**i, seeds["mi_bits"], **look | {"linestyle": "", "marker": "_"})
        for axes, (name, ends) in zip(panels[0, 1:], limits.items(), strict=True):
            points(axes, beside[curve["status"].isin([laws.CONVERGED, laws.BEYOND])], "dims", name, look, ends)
    for axes, text in zip(
        panels[0], ("bits measured at full depth", "$I_{max}$ (bits)", "$\\bar{u}$ (UMIs per cell)"), strict=True
    ):
        axes.set_xscale("log", base=2)
        axes.set(xlabel="dimensions", ylabel=text, xticks=sorted(found["dims"].unique()))
        axes.xaxis.set_major_formatter(style.plain)
    panels[0, 0].set_ylim(bottom=0)
    marks = [
        {"color": "0.3", "linestyle": line, "label": style.title(*s)} for s, line in zip(signals, _LINES, strict=False)
    ]
    style.model_legend(figure, found["model"], *marks)
    return figure
