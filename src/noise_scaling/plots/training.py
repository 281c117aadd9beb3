"""The validation loss of each training, step by step, from the curves that are stored with the units."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import measurements
from ..errors import enough
from . import page, style

Curve = tuple[int, list[float], list[float]]
"""Training cells, steps, validation losses."""


@page.told
def loss_curves(table: pd.DataFrame, results: str | Path | None) -> Figure | HTML:
    """Draw the validation losses of a table's trainings, or return a sentence if none were stored."""
    none = "No loss curves: nothing here was trained step by step, or no folder of results was given."
    return loss_figure(enough(kept_curves(table, results), none))


def kept_curves(table: pd.DataFrame, results: str | Path | None) -> dict[str, list[Curve]]:
    """Return curves by model, fewest cells first, as they were stored with the units in the folder `results`."""
    found: dict[str, list[Curve]] = {}
    if results is None:
        return found
    for row in table.sort_values(["n_cells", "fraction"]).itertuples():
        history = measurements.read_history(results, row.config_hash)
        losses = next((values for name, values in history.items() if name.endswith("_validation")), [])
        steps = history.get("step", list(range(len(losses))))
        if losses:
            found.setdefault(row.model, []).append((row.n_cells, steps, losses))
    return found


@style.book_style()
def loss_figure(curves: dict[str, list[Curve]]) -> Figure:
    """Draw a panel per model; darker lines: more training cells; dots: the lowest losses, whose weights are kept."""

    def draw(axes: Axes, _: None, model: str) -> None:
        descents(axes, curves[model], "{:,} cells")
        axes.legend(frameon=False, fontsize=8)

    return style.model_panels({None: "validation loss"}, style.ordered(curves), draw, xlabel="steps", height=2.3)


def descents(axes: Axes, curves: Iterable[tuple[float, Any, Any]], named: str) -> None:
    """Draw losses against steps, darker for larger numbers, a dot at the lowest; `named` labels each number once."""
    curves = list(curves)
    numbers = sorted({number for number, *_ in curves})
    shades = dict(zip(numbers, colormaps["cividis_r"](np.linspace(0.15, 1, len(numbers))), strict=True))
    labels = {number: named.format(number) for number in numbers}
    for number, steps, losses in curves:
        axes.plot(steps, losses, color=shades[number], linewidth=1.1, label=labels.pop(number, None))
        best = int(np.nanargmin(losses))
        axes.plot(steps[best], losses[best], ".", color=shades[number])
