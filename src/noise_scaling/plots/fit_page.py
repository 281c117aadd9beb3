"""The page on which a reader fits Eq. 1 to points of their own, in the browser."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import laws
from . import interactive, page, style
from .figures import largest, usable, without_controls


def fit_your_curve(
    measurements: str | Path, reference: str | Path = page.PUBLISHED, *, static: str = interactive.STATIC
) -> HTML:
    """The interactive page: the curves at the largest number of cells to begin with, and room for one's own."""
    tables = {"ours": page.measured(measurements).table, "published": page.measured(reference).table}
    curves = [curve for name, table in tables.items() for curve in _curves(table, name)]
    figure = _fallback(curves[0])
    alt = f"{curves[0]['name']}: bits against UMIs per cell, points and the fitted law."
    scripts = ["fitting.js", "fit.js"]
    return interactive.frame("fit", data={"curves": curves}, fallback=figure, alt=alt, scripts=scripts, static=static)


def _curves(table: pd.DataFrame, source: str) -> list[dict[str, Any]]:
    rows = without_controls(largest(usable(table))).sort_values(["umis_per_cell", "mi_bits"])
    found = []
    for dataset, signal in style.signals(rows):
        here = rows[(rows["dataset"] == dataset) & (rows["signal"] == signal)]
        for model in style.ordered(here["model"]):
            points = here.loc[here["model"] == model, ["umis_per_cell", "mi_bits"]].to_numpy()
            if len(np.unique(points[:, 0])) > laws.NOISE_LAW.n_parameters:
                with style.presets(rows):
                    name = f"{style.title(dataset, signal)}: {style.label(model)} ({source})"
                found.append({"name": name, "points": [[interactive.digits(v) for v in pair] for pair in points]})
    return found


@style.book_style()
def _fallback(curve: dict[str, Any]) -> Figure:
    u, bits = np.array(curve["points"]).T
    figure, panels = style.new_figure(1, 1, 3.4)
    axes = panels[0, 0]
    axes.plot(u, bits, "o", color="0.2")
    at = np.geomspace(u.min(), u.max(), 100)
    axes.plot(at, laws.fit_noise_law(u, bits).predict(at), color="#0173b2")
    style.bits_axes(axes)
    axes.set(xlabel=style.UMIS, ylabel=style.BITS)
    axes.set_title(curve["name"], loc="left")
    return figure
