"""What a figure draws, as a table: every line, point, band and bar, in the units of its axes."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

COLUMNS = ["panel", "kind", "series", "x", "y"]


def drawn(figure: Figure) -> pd.DataFrame:
    """One row for each vertex of what a figure shows.

    Columns: panel (number, and label or title), kind (line, points, band or bar), series (as the legend names its
    colour), x and y, rounded to five digits. A band runs along its lower edge and back along its upper one; a bar is
    its middle and end.
    """
    legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
    marks = [mark for legend in legends for mark in zip(legend.legend_handles, legend.get_texts(), strict=True)]
    names = {to_hex(handle.get_color()): text.get_text() for handle, text in marks if isinstance(handle, Line2D)}
    rows = [
        (_name(i, axes), kind, names.get(colour, label), f"{x:.5g}", f"{y:.5g}")
        for i, axes in enumerate(figure.axes, start=1)
        for kind, colour, label, xy in _artists(axes)
        for x, y in xy
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _name(number: int, axes: Axes) -> str:
    titles = " ".join(filter(None, (axes.get_title(where) for where in ("left", "center", "right"))))
    return f"{number} {axes.get_label() or titles}".strip().replace("\n", " ")


def _artists(axes: Axes) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Kind, colour, label and vertices [n, 2] of each; lines of reference, drawn in the axes' own units, are none."""
    for line in axes.get_lines():
        if line.get_transform() == axes.transData:
            kind = "points" if line.get_linestyle() in ("None", "none", "") else "line"
            yield kind, str(to_hex(line.get_color())), _label(line), np.asarray(line.get_xydata(), float)
    for shape in axes.collections:
        if isinstance(shape, PathCollection):
            yield "points", _face(shape), _label(shape), np.asarray(shape.get_offsets(), float)
        elif isinstance(shape, PolyCollection):
            yield (
                "band",
                _face(shape),
                _label(shape),
                np.concatenate([np.empty((0, 2)), *(p.vertices for p in shape.get_paths())]),
            )
    for bar in axes.patches:
        if isinstance(bar, Rectangle):
            end = [bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height()]
            yield "bar", to_hex(bar.get_facecolor()), _label(bar), np.array([end])


def _face(shape: Collection) -> str:
    colours = np.asarray(shape.get_facecolor(), float)
    return to_hex(tuple(colours[0])) if len(colours) else ""


def _label(artist: Artist) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else label
