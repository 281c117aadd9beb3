"""Where learning saturates: the training cells and the depth at which a model nearly reaches its best bits."""

import numpy as np
import pandas as pd
from IPython.display import HTML

from ..errors import enough
from ..laws.grids import grids
from ..laws.saturation import SHARES, reached
from . import page, style
from .figures import usable, without_controls

_AXES = {"n": "cells", "u": "UMIs per cell"}


@page.of_content
def saturations(table: pd.DataFrame) -> pd.DataFrame:
    """Apply `reached` to every model and signal, along cells at full depth and along depth at the most cells.

    Columns: dataset, signal, model, preset, best (bits), and for each share n_90%, n_90%_low, n_90%_high, u_90%, ...
    """
    rows = []
    for grid in grids(without_controls(usable(table)), least=(4, 4), all_models=True):
        noise = grid.noise()
        row: dict[str, object] = dict(zip(("dataset", "signal", "model", "preset"), grid.key, strict=False))
        row["best"] = grid.bits[-1, -1]
        lines = {"n": (grid.n, grid.bits[-1], noise[-1]), "u": (grid.u, grid.bits[:, -1], noise[:, -1])}
        for axis, (x, bits, spread) in lines.items():
            here = np.isfinite(bits)
            for share in SHARES:
                ends = reached(x[here], bits[here], spread[here], share)
                row |= dict(zip([f"{axis}_{share:.0%}{end}" for end in ("", "_low", "_high")], ends, strict=True))
        rows.append(row)
    return pd.DataFrame(enough(rows, "No model was measured here at four depths and four numbers of cells."))


def saturation(table: pd.DataFrame) -> HTML:
    """Return `saturations` as a table to read and to download."""
    full = saturations(table)
    shown = pd.DataFrame({
        "signal": [style.title(*key) for key in zip(full["dataset"], full["signal"], strict=True)],
        "model": full["model"], "bits, all cells and full depth": full["best"].map("{:.2f}".format),
    })  # fmt: skip
    for axis, label in _AXES.items():
        for share in SHARES:
            ends = (full[f"{axis}_{share:.0%}{end}"] for end in ("", "_low", "_high"))
            shown[f"{label} for {share:.0%}"] = [_told(*three) for three in zip(*ends, strict=True)]
    title = (
        "Training cells at full depth, and UMIs per cell at the most cells, at which a share of the best measured bits "
        "is reached, with 95 % intervals. The least value of the grid means: there or before."
    )
    return page.as_table(shown, "saturation.csv", full=full, title=title)


def _told(value: float, low: float, high: float) -> str:
    if np.isnan(value):
        return "nothing found"
    return f"{value:,.0f}" if np.isnan(low) else page.interval(value, low, high, ",.0f")
