"""A figure's contents as a table: lines, points, bands, bars, contours and cells, in the units of its axes."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection, PathCollection, PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

COLUMNS = ["panel", "kind", "series", "x", "y"]


def drawn(figure: Figure) -> pd.DataFrame:
    """Return one row for each vertex that a figure draws.

    Columns: panel (number, and label or title), kind (line, points, band, bar, contour or cell), series (as the legend
    names its colour), x and y, rounded to five digits. A band runs along its lower edge and back along its upper edge;
    a bar is the middle of its end. A contour's series ends with its level, and "nan" rows separate its pieces. A cell's
    series is its value; its x and y are the tick labels at its middle.
    """
    legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
    marks = [mark for legend in legends for mark in zip(legend.legend_handles, legend.get_texts(), strict=True)]
    names = {to_hex(handle.get_color()): text.get_text() for handle, text in marks if isinstance(handle, Line2D)}
    rows = [
        (_name(i, axes), kind, series, f"{x:.5g}", f"{y:.5g}")
        for i, axes in enumerate(figure.axes, start=1)
        for kind, series, xy in [*_artists(axes, names), *_contours(axes, names)]
        for x, y in xy
    ]
    for i, axes in enumerate(figure.axes, start=1):
        rows += [(_name(i, axes), "cell", f"{value:.5g}", x, y) for value, x, y in _cells(axes)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _name(number: int, axes: Axes) -> str:
    titles = " ".join(filter(None, (axes.get_title(where) for where in ("left", "center", "right"))))
    return f"{number} {axes.get_label() or titles}".strip().replace("\n", " ")


def _artists(axes: Axes, names: dict[str, str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield kind, series and vertices [n, 2] of each artist; reference lines (in axes coordinates) are skipped."""
    for line in axes.get_lines():
        if line.get_transform() == axes.transData:
            kind = "points" if line.get_linestyle() in ("None", "none", "") else "line"
            yield kind, names.get(to_hex(line.get_color()), _label(line)), np.asarray(line.get_xydata(), float)
    for shape in axes.collections:
        if isinstance(shape, PathCollection):
            yield "points", names.get(_face(shape), _label(shape)), np.asarray(shape.get_offsets(), float)
        elif isinstance(shape, PolyCollection):
            edges = np.concatenate([np.empty((0, 2)), *(p.vertices for p in shape.get_paths())])
            yield "band", names.get(_face(shape), _label(shape)), edges
    for bar in axes.patches:
        if isinstance(bar, Rectangle):
            end = [bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height()]
            yield "bar", names.get(to_hex(bar.get_facecolor()), _label(bar)), np.array([end])


def _contours(axes: Axes, names: dict[str, str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield kind, series and vertices of each contour level in a panel."""
    for shape in axes.collections:
        if isinstance(shape, ContourSet):
            colours = np.asarray(shape.get_edgecolor(), float)
            for level, colour, path in zip(shape.levels, colours, shape.get_paths(), strict=True):
                pieces = path.to_polygons(closed_only=False)
                parted = [part for piece in pieces for part in (np.full((1, 2), np.nan), piece)][1:]
                series = f"{names.get(to_hex(tuple(colour)), _label(shape))} {level:.5g}".strip()
                yield "contour", series, np.concatenate([np.empty((0, 2)), *parted])


def _cells(axes: Axes) -> Iterator[tuple[float, str, str]]:
    """Yield the value, column label and row label of every heat map cell that has a value; skip colour bars."""
    for shape in [*axes.images, *axes.collections] if axes.get_label() != "<colorbar>" else []:
        if isinstance(shape, AxesImage | QuadMesh):
            middle = 0.5 if isinstance(shape, QuadMesh) else 0.0
            columns, lines = (dict(_ticks(axis)) for axis in (axes.xaxis, axes.yaxis))
            values: np.ndarray = np.ma.asarray(shape.get_array(), float).filled(np.nan)
            for i, j in np.argwhere(np.isfinite(values)).tolist():
                x, y = j + middle, i + middle
                yield float(values[i, j]), columns.get(x, f"{x:g}"), lines.get(y, f"{y:g}")


def _ticks(axis: Axis) -> Iterator[tuple[float, str]]:
    """Yield the position and the label, on one line, of each tick."""
    for place, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True):
        yield float(place), " ".join(label.get_text().split())


def _face(shape: Collection) -> str:
    colours = np.asarray(shape.get_facecolor(), float)
    return to_hex(tuple(colours[0])) if len(colours) else ""


def _label(artist: Artist) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else label
