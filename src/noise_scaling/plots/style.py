"""One definition of every colour, marker, label and axis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

WIDTH = 8.6
"""Inches. The book shows figures 860 px wide or less, so that a point of type is at least a pixel."""

# seaborn's "colorblind" palette; the markers tell the models apart without any colour
COLOURS = defaultdict(cycle(["#4b4b4b", "#d55e00", "#8c6d31"]).__next__) | {  # models of other people's tables too
    "scvi": "#de8f05",
    "geneformer": "#029e73",
    "untrained_geneformer": "#cc78bc",
    "pca": "#0173b2",
    "random_projection": "#949494",
    "shuffled": "#ca9161",
    "known_2_bits": "#56b4e9",
}
MARKERS = defaultdict(cycle("v<>p").__next__) | {
    "scvi": "o", "geneformer": "s", "untrained_geneformer": "P", "pca": "^", "random_projection": "D", "shuffled": "x",
    "known_2_bits": "*",
}  # fmt: skip
MODELS = {
    "scvi": "scVI",
    "geneformer": "Geneformer",
    "untrained_geneformer": "untrained Geneformer (control)",
    "pca": "PCA",
    "random_projection": "random projection",
    "shuffled": "shuffled (control)",
    "known_2_bits": "known 2 bits (control)",
}
SIGNALS = {
    ("pbmc", "protein"): "PBMC, surface proteins",
    ("pbmc", "celltype.l3"): "PBMC, cell type",
    ("larry", "clone"): "haematopoiesis, clone",
    ("merfish", "space"): "mouse brain, place",
    ("mouse_embryo", "time"): "mouse embryo, time",
    ("pbmc10k", "protein"): "PBMC 10k, 14 proteins",
    ("pbmc68k", "bulk_labels"): "PBMC 68k, cell type",
    ("larry_subset", "clone"): "LARRY subset, clone",
    ("merfish_poa", "space"): "hypothalamus, place",
    ("worm_embryo", "time.point"): "worm embryo, time",
    ("simulated", "vector"): "simulated, 4 values",
}
CELLS, UMIS, BITS = "training cells", "UMIs per cell", "information (bits)"


@contextmanager
def book_style() -> Iterator[None]:
    """seaborn's ticks style at the book's type size."""
    with sns.axes_style("ticks"), sns.plotting_context("paper", rc=_TYPE):
        yield


_TYPE = {
    "font.size": 9.5, "axes.labelsize": 9.5, "axes.titlesize": 9.5, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5,
    "legend.fontsize": 9.5, "lines.markersize": 4, "lines.linewidth": 1.4,
}  # fmt: skip


def title(dataset: str, signal: str) -> str:
    """What a panel is called: the signal in plain words."""
    return SIGNALS.get((dataset, signal), f"{dataset}, {signal}")


def plain(value: float, _position: int | None = None) -> str:
    """A tick label in plain numbers: 0.01, 100, 10,000, 10 M."""
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def log_axis(axes: Axes, *, every: int = 1) -> None:
    """A logarithmic x axis with a plain number at each (`every`-th) power of ten."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10.0**every, numticks=12))
    axes.xaxis.set_minor_locator(NullLocator() if every > 1 else LogLocator(subs=range(2, 10), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, position: ""))


def error_axis(axes: Axes) -> None:
    """A logarithmic x axis of errors in bits, with plain numbers at 1, 2 and 5."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(plain))


def log_y_axis(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers at powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, position: ""))


def ordered(models: set[str] | list[str]) -> list[str]:
    """Models in the order of every legend, unknown ones last."""
    return [m for m in MODELS if m in set(models)] + sorted(set(models) - set(MODELS))


def legend_below(figure: Figure, models: list[str], extra: list[Line2D] | None = None) -> None:
    """One legend under the panels, outside the data."""
    handles = [Line2D([], [], color=COLOURS[m], marker=MARKERS[m], label=MODELS.get(m, m)) for m in models] + (
        extra or []
    )
    long = max(len(handle.get_label()) for handle in handles) > 20  # in five columns it would be cut
    columns = min(3 if long else 5, len(handles))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=2.2)


def new_figure(rows: int, columns: int, height: float, **options: object) -> tuple[Figure, object]:
    """A figure of the book's width, not registered with pyplot: it is shown once, where it is returned."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    for axes in panels.flat:
        sns.despine(ax=axes)
    return figure, panels


def as_png(figure: Figure) -> bytes:
    """The figure as PNG bytes at 2 pixels a point."""
    from io import BytesIO

    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    plt.close("all")
    return buffer.getvalue()
