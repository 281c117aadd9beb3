"""The page on which a reader fits Eq. 1 to points of their own, in the browser."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import laws
from . import interactive, page, style
from .figures import largest, of_signal, usable, without_controls


def fit_your_curve(measurements: str | Path, reference: str | Path) -> HTML:
    """Return the interactive page, which offers the curves at the most cells and takes a reader's own points."""
    tables = {"ours": page.measured(measurements).table, "published": page.measured(reference).table}
    curves = [curve for name, table in tables.items() for curve in _curves(table, name)]
    return interactive.frame("fit", {"curves": curves}, *_fallback(curves[0]), "fitting.js", "fit.js")


def _curves(table: pd.DataFrame, source: str) -> list[dict[str, Any]]:
    rows, found = without_controls(largest(usable(table))).sort_values(["umis_per_cell", "mi_bits"]), []
    for signal in style.signals(rows):
        here = of_signal(rows, signal)
        for model in style.ordered(here["model"]):
            points = here.loc[here["model"] == model, ["umis_per_cell", "mi_bits"]].to_numpy()
            if len(np.unique(points[:, 0])) > laws.NOISE_LAW.n_parameters:
                with style.presets(rows):
                    name = f"{style.title(*signal)}: {style.label(model)} ({source})"
                found.append({"name": name, "points": [[interactive.digits(v) for v in pair] for pair in points]})
    return found


@style.book_style()
def _fallback(curve: dict[str, Any]) -> tuple[Figure, str]:
    u, bits = np.array(curve["points"]).T
    figure, axes = style.one_panel(3.4, curve["name"], xlabel=style.UMIS, ylabel=style.BITS)
    axes.plot(u, bits, "o", color="0.2")
    at = np.geomspace(u.min(), u.max(), 100)
    fit = laws.fit_noise_law(u, bits)
    axes.plot(at, fit.predict(at), color="#0173b2")
    style.bits_axes(axes)
    found = f"u_bar {fit.u_bar:,.0f} UMIs per cell, I_max {fit.i_max:.2f} bits ({fit.status})"
    return figure, f"{curve['name']}: bits against UMIs per cell, points and the fitted law: {found}."
