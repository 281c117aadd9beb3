"""The definitions of labels, colours, markers and axes of all figures; those of models come from their registry."""

import textwrap
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from io import BytesIO
from itertools import combinations, cycle, product
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from .. import datasets
from ..measurements import CONTROLS

WIDTH, TALLEST = 8.6, 8.8
"""Inches. The book shows figures at most 860 px wide: a point of type is a pixel or more, and all fit on a screen."""
DPI = 200
"""Twice the resolution of the screen that figures are made for."""
CELLS, UMIS, BITS = "training cells", "UMIs per cell", "information (bits)"
U_BAR, I_MAX = r"$\bar{u}$", r"$I_{\mathrm{max}}$"
ONE_SEED: dict[str, Any] = {"color": "0.3", "marker": "o", "linestyle": "", "label": "one seed"}
EQ_1: dict[str, Any] = {"color": "0.3", "label": "Eq. 1"}
"""Marks of legends."""
LINES = {"default": "-", "lmi": "--"}
"""The two estimators that pages compare, each with its line style."""

_Key = TypeVar("_Key")


_OTHER_COLOURS, _OTHER_MARKERS = cycle(["#4b4b4b", "#d55e00", "#8c6d31"]), cycle("<>h")


def _look(name: str) -> Any:
    """Return label, colour, marker and order of a model or control; an unregistered name takes the next free colour."""
    from ..measure.controls import CONTROLS  # here, as they load torch, which reading a table does not need
    from ..models import MODELS

    return MODELS.get(name) or CONTROLS.get(name) or _other(name)


@cache
def _other(name: str) -> SimpleNamespace:
    colour, marker = next(_OTHER_COLOURS), next(_OTHER_MARKERS)
    return SimpleNamespace(label=name.removeprefix("obsm:"), colour=colour, marker=marker, order=1000)


_SMALL: ContextVar[frozenset[str]] = ContextVar("models shown whose preset is the small one", default=frozenset())


@contextmanager
def presets(table: pd.DataFrame) -> Iterator[None]:
    """While a page shows this table, call models small if the table has only their small preset."""
    by_model = table.groupby("model")["preset"].agg(set) if "preset" in table else pd.Series(dtype=object)
    token = _SMALL.set(frozenset(model for model, found in by_model.items() if found == {"small"}))
    try:
        yield
    finally:
        _SMALL.reset(token)


def label(model: str, preset: str = "") -> str:
    """Return a model's name in figures and tables, by its preset or those of the table being shown (`presets`)."""
    look = _look(model)
    small = getattr(look, "small_label", "") if preset == "small" or model in _SMALL.get() else ""
    return str(small or look.label)


def colour(model: str) -> str:
    """Return a model's colour, as hexadecimal RGB."""
    return str(_look(model).colour)


def marker(model: str) -> str:
    """Return a model's Matplotlib marker, which tells models apart without colour."""
    return str(_look(model).marker)


def estimator(name: str) -> str:
    """Return an estimator's name in figures and tables."""
    from ..information import ESTIMATORS

    return ESTIMATORS[name].label if name in ESTIMATORS else name


def methods(table: pd.DataFrame) -> str:
    """Name the methods that estimated a table's rows, in the order of the registry: "InfoNCE and classifier"."""
    from ..information import ESTIMATORS

    found = set(table["method"]) - {""}
    names = [name for name in ESTIMATORS if name in found] + sorted(found - set(ESTIMATORS))
    return " and ".join(estimator(name) for name in names) or "a method that the table does not name"


def is_control(model: str) -> bool:
    """Return whether a model is a control, which claims and figures of laws leave out."""
    return model in CONTROLS or getattr(_look(model), "is_control", False)


def variation_of(model: str) -> str:
    """Return the model that a model is a variation of, "" if it is none."""
    return str(getattr(_look(model), "variation_of", ""))


def ordered(models: Collection[str] | pd.Series) -> list[str]:
    """Return each model once, in the order of every legend; models in no registry come last."""
    names = sorted(set(models))  # sorted: models in no registry take colours in this order
    return sorted(names, key=lambda name: _look(name).order)


def signals(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return each (dataset, signal) of a table once, in the order of the data sets' cards; others come last."""
    found = set(zip(table["dataset"], table["signal"], strict=True))
    known = [(name, signal) for name in datasets.names() for signal in datasets.card(name).titles]
    return [signal for signal in known if signal in found] + sorted(found - set(known))


def title(dataset: str, signal: str) -> str:
    """Return the title of a panel: the signal's title on its data set's card, else both names."""
    titles = datasets.card(dataset).titles if dataset in datasets.names() else {}
    return titles.get(signal, f"{dataset}, {signal}")


def dataset(name: str) -> str:
    """Return a data set's name in tables and sentences: the beginning of its signals' titles, else the name."""
    titles = datasets.card(name).titles if name in datasets.names() else {}
    return next(iter(titles.values()), name).rpartition(", ")[0] or name


def signal(dataset: str, name: str) -> str:
    """Return a signal's name without its data set's name: the end of its title, else the name."""
    return title(dataset, name).removeprefix(f"{dataset}, ").rpartition(", ")[2]


_TYPE = {
    "font.size": 9.5, "axes.labelsize": 9.5, "axes.titlesize": 9.5, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5,
    "legend.fontsize": 9.5, "lines.markersize": 4, "lines.linewidth": 1.4,
}  # fmt: skip


@contextmanager
def book_style() -> Iterator[None]:
    """Apply seaborn's ticks style at the book's type size; every function that draws is decorated with it."""
    with sns.axes_style("ticks"), sns.plotting_context("paper", rc=_TYPE):
        yield


class BookFigure(Figure):
    """A figure that a notebook displays by itself; its alt text and caption are in the cell's metadata."""

    shown: ClassVar[list[tuple[Figure, str]]] = []
    """Figures, with names, shown since the last line of provenance, which offers their data as downloads."""

    def _repr_png_(self) -> bytes:
        self.shown.append((self, str(self.get_label())))
        return as_png(self)


def new_figure(
    rows: int, columns: int, height: float, *, titles: Iterable[str] = (), xlabel: str = "", ylabel: str = "",
    name: str = "", **options: Any,
) -> tuple[Figure, np.ndarray]:  # fmt: skip
    """Return a figure of the book's width and its panels [rows, columns]; it is unknown to pyplot, so it shows once.

    Its height is in inches, TALLEST at most. Panels take `titles` in turn, the lowest have `xlabel`, the leftmost
    `ylabel`; `name` is that of the figure's download, and `options` are passed to `Figure.subplots`.
    """
    figure = BookFigure(figsize=(WIDTH, min(height, TALLEST)), layout="constrained", dpi=DPI)
    figure.set_label(name)
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    sns.despine(figure)
    for axes, text in zip(panels.flat, titles, strict=False):
        axes.set_title(text, loc="left")
    for axes in panels[-1]:
        axes.set_xlabel(xlabel)
    for axes in panels[:, 0]:
        axes.set_ylabel(ylabel)
    return figure, panels


def one_panel(height: float, title: str = "", **options: Any) -> tuple[Figure, Axes]:
    """Return a figure of one panel and the panel; `height` is in inches, `options` are passed to `new_figure`."""
    figure, panels = new_figure(1, 1, height, titles=[title], **options)
    return figure, panels[0, 0]


def as_png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes; warnings name texts and legends that are cut off or overlap."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    plt.close("all")
    for sentence in overlaps(figure):
        warnings.warn(sentence, stacklevel=2)
    return buffer.getvalue()


_TITLES = "title", "_left_title", "_right_title"  # a panel has three in Matplotlib
_ROW_TITLE = "row title"


def overlaps(figure: Figure) -> list[str]:
    """Say which legends, titles and axis labels of a drawn figure are cut off, or overlap each other or data."""
    panels = list(enumerate(figure.axes, start=1))
    titles = ((i, getattr(axes, name)) for i, axes in panels for name in _TITLES)
    rows = [text for axes in figure.axes for text in axes.texts if text.get_gid() == _ROW_TITLE and text.get_text()]
    legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
    texts = {f"the title {text.get_text()!r} of panel {i}": text for i, text in titles if text.get_text()}
    texts |= {f"the title {text.get_text()!r} of row {i}": text for i, text in enumerate(rows, start=1)}
    texts |= {f"legend {i}": legend for i, legend in enumerate(legends, start=1)}
    named = ((i, axis.label) for i, axes in panels if axes.axison for axis in (axes.xaxis, axes.yaxis))
    labels = {f"the axis label {text.get_text()!r} of panel {i}": text for i, text in named if text.get_text()}
    boxes = {name: artist.get_window_extent().padded(-1) for name, artist in texts.items()}
    every = boxes | {name: text.get_window_extent().padded(-1) for name, text in labels.items()}
    data = {f"panel {i}": axes.get_window_extent() for i, axes in panels if axes.axison}
    pairs = [*combinations(every.items(), 2), *product(boxes.items(), data.items())]
    whole = figure.bbox.padded(0.04 * figure.dpi)  # tolerance, less than a legend's empty rim
    cut = [name for name, box in every.items() if not (whole.contains(*box.min) and whole.contains(*box.max))]
    over = [f"a figure has {one} over {other}" for (one, a), (other, b) in pairs if a.overlaps(b)]
    return [*(f"a figure cuts off {name}" for name in cut), *over]


def model_panels(
    rows: Mapping[_Key, str], models: list[str], draw: Callable[[Axes, _Key, str], None], *, height: float,
    narrow: bool = False, **options: Any,
) -> Figure:  # fmt: skip
    """Draw panels with a row for each key of `rows` and a column for each model.

    `rows` maps keys to labels: the last line is the axis label, the lines above it are the row's title. `draw` fills a
    panel, given its axes, key and model; `height` is of one row, in inches; `narrow` breaks models' labels into lines.
    """
    titles = [textwrap.fill(label(model), 12) if narrow else label(model) for model in models]
    figure, panels = new_figure(len(rows), len(models), 0.9 + height * len(rows), titles=titles, **options)
    wide = int(10.5 * (figure.get_figheight() - 0.9) / len(rows))
    for line, (key, text) in zip(panels, rows.items(), strict=True):
        title, _, unit = text.rpartition("\n")
        for axes, model in zip(line, models, strict=True):
            draw(axes, key, model)
            axes.set_label(", ".join(filter(None, [title, label(model)])))
        line[0].set_ylabel(textwrap.fill(unit, wide, break_long_words=False))
        _row_title(line[0], title, wide)
    return figure


def _row_title(axes: Axes, text: str, wide: int) -> None:
    """Write a row's title, bold, to the left of its first panel's axis label, in lines of at most `wide` letters."""
    parts = text.replace(", ", ",\n").replace(" (", "\n(").split("\n")
    text = "\n".join(textwrap.fill(part, wide, break_long_words=False) for part in parts)
    place: dict[str, Any] = {"xycoords": (axes.yaxis.label, "axes fraction"), "textcoords": "offset points"}
    look: dict[str, Any] = {"rotation": 90, "ha": "right", "va": "center", "weight": "bold"}
    axes.annotate(text, (0, 0.5), (-4, 0), **place, **look, multialignment="center", gid=_ROW_TITLE)


def plot(axes: Axes, model: str, x: Any, y: Any, **options: Any) -> None:
    """Draw a line or points in the model's colour and marker; `options` of `Axes.plot` override the model's own."""
    axes.plot(x, y, **{"color": colour(model), "marker": marker(model)} | options)


def plain(value: float, _position: int | None = None) -> str:
    """Return a tick label in plain numbers: 0.01, 100, 10,000, 10 M."""
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def bits_axes(axes: Axes) -> None:
    """Make the x axis logarithmic, and draw a line at 0 bits."""
    axes.axhline(0, color="0.75", linewidth=0.8, zorder=0)
    log_axis(axes)


def log_axis(axes: Axes, *, every: int = 1, at: tuple[int, ...] = (1,)) -> None:
    """Make the x axis logarithmic, with plain numbers at each (`every`-th) power of ten, or at its multiples `at`."""
    alone = every == len(at) == 1
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10.0**every, subs=at, numticks=12))
    axes.xaxis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=12) if alone else NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.xaxis.set_minor_formatter(FuncFormatter(partial(_minor, axes.xaxis)))


def _minor(axis: Axis, value: float, _position: int | None = None) -> str:
    """Label 2 and 5 times a power of ten, if fewer than two powers of ten are in view."""
    low, high = np.log10(np.sort(axis.get_view_interval()))
    alone = np.floor(high) - np.ceil(low) < 1
    return plain(value) if alone and round(value / 10 ** np.floor(np.log10(value))) in (2, 5) else ""


def not_measured(axes: Axes) -> None:
    """Write "not measured" into a panel that has no measurement."""
    axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color="0.4")


def cells_axis(axes: Axes, cells: list[int]) -> None:
    """Make the x axis logarithmic, with a tick at each of a few numbers of cells."""
    axes.set_xscale("log")
    axes.set_xticks(cells, [plain(n) for n in cells], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())


def log_y_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, with plain numbers at powers of ten, and between them as in `log_axis`."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.yaxis.set_minor_formatter(FuncFormatter(partial(_minor, axes.yaxis)))


def legend(figure: Figure, *marks: dict[str, Any], columns: int | None = None, **options: Any) -> None:
    """Add a legend of `marks` (`Line2D` options) above the panels or at `loc`, in one row unless `columns` is given."""
    handles = [Line2D([], [], **mark) for mark in marks]
    where: dict[str, Any] = {"loc": "outside upper center", "ncols": columns or len(marks), "frameon": False}
    figure.legend(handles=handles, **where | options)


def model_legend(figure: Figure, models: Collection[str] | pd.Series, *marks: dict[str, Any]) -> None:
    """Add a legend of models, then other marks, in five columns, or fewer if the figure is not wide enough."""
    lines = [{"color": colour(m), "marker": marker(m), "label": label(m)} for m in ordered(models)]
    lengths = [8 + len(mark["label"]) for mark in [*lines, *marks]]  # in letters; an inch holds 12
    widths = {n: sum(map(max, np.array_split(lengths, n))) for n in range(2, min(5, len(lengths)) + 1)}
    columns = max((n for n, width in widths.items() if width <= 12 * WIDTH), default=1)
    legend(figure, *lines, *marks, columns=columns, handlelength=2.2)
