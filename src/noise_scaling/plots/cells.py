"""Small summaries of each data set's cells, kept in data/cells so that its page does not need the counts.

`python -m noise_scaling.plots.cells [NAME ...]` makes them again from the data sets whose files are available locally.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from .. import __version__, datasets, paths
from ..datasets import Dataset
from ..errors import TooLittle
from ..files import write_atomically
from ..seeds import generator
from . import style

_BINS, _POINTS = 40, 1000
_NAMED = 8  # labels or clones with a colour of their own: more would be hard to tell apart; all others are grey
_OTHERS = "others"


def file_of(name: str) -> Path:
    """Path of the committed summary of a data set's cells."""
    return paths.CELLS / f"{name}.json"


def summary(data: Dataset) -> dict[str, Any]:
    """Summarise cells: a histogram of all cells' UMIs, and up to 1,000 cells in two dimensions with their signal.

    The two dimensions are the first two principal components of the log-normalised counts. For a spatial signal they
    are the positions in the section with the most cells, and the value shown is the second component: the counts are
    not centred, so that the first is the mean. The value of a vector is its first number; rare labels and clones are
    named `others`.
    """
    from ..models import create  # imported late because it loads torch

    signal, cells = data.signal, np.arange(data.n_cells)
    if signal.is_spatial and signal.sections is not None:
        cells = np.flatnonzero(signal.sections == Counter(signal.sections).most_common(1)[0][0])
    chosen = generator(0, "plots", "cells", data.stream).permutation(cells)[:_POINTS]
    pcs = create("pca").fit(data.counts, data.counts).embed(data.take(chosen))
    x, y = (signal.values[chosen] if signal.is_spatial else pcs)[:, :2].T.astype(float)
    counts, edges = np.histogram(np.log10(data.umis), bins=_BINS)
    found: dict[str, Any] = {
        "dataset": data.name, "signal": signal.name, "n_cells": data.n_cells, "n_genes": data.n_genes,
        "data_sha256": data.data_sha256, "version": __version__, "log10_umis": _rounded(edges),
        "cells": counts.tolist(), "axes": ["x", "y"] if signal.is_spatial else ["PC 1", "PC 2"],
        "x": _rounded(x), "y": _rounded(y),
    }  # fmt: skip
    if signal.is_spatial:
        return found | {"values": _rounded(pcs[:, 1]), "label": "PC 2"}
    if signal.kind == "vector":
        label = f"{signal.name}, first of {signal.values.shape[1]}"
        return found | {"values": _rounded(signal.values[:, 0][chosen]), "label": label}
    classes = signal.values
    if signal.kind == "pair":  # clones
        classes = np.where(classes < 0, "", np.char.add("clone ", classes.astype(int).astype(str)))
    common = [name for name, _ in Counter(sorted(classes[classes != ""].tolist())).most_common(_NAMED)]
    names = [_OTHERS, *common]
    return found | {"names": names, "classes": [names.index(c) if c in names else 0 for c in classes[chosen]]}


def _rounded(values: np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]


def read(name: str) -> dict[str, Any]:
    """Read the committed summary of a data set's cells."""
    if not file_of(name).exists():
        raise TooLittle(
            f"The cells of {name} were not at hand when this page was made: `noise-scaling fetch {name}`, then "
            f"`python -m noise_scaling.plots.cells {name}`"
        )
    return json.loads(file_of(name).read_text(encoding="utf-8"))


@style.book_style()
def cells_figure(found: dict[str, Any]) -> Figure:
    """Plot a `summary`: molecules per cell at full depth, and the cells coloured by the signal (rare classes grey)."""
    figure, panels = style.new_figure(1, 2, 3.2, width_ratios=[1, 1.35])
    histogram, scatter = panels[0]
    edges = np.array(found["log10_umis"])
    histogram.bar(edges[:-1], found["cells"], np.diff(edges), align="edge", color="0.6", edgecolor="white", lw=0.4)
    marks = [t for e in range(7) for t in (10**e, 3 * 10**e) if edges[0] <= np.log10(t) <= edges[-1]]
    histogram.set_xticks(np.log10(marks), [style.plain(t) for t in marks])
    histogram.set(xlabel=f"{style.UMIS}, full depth", ylabel="cells")
    scatter.set(xlabel=found["axes"][0], ylabel=found["axes"][1], xticks=[], yticks=[])
    xy, dots = np.array([found["x"], found["y"]]), {"linewidths": 0, "rasterized": True}
    if "names" not in found:
        values = np.array(found["values"], dtype=float)
        points = scatter.scatter(*xy, c=values, s=9, cmap="viridis", plotnonfinite=True, **dots)
        figure.colorbar(points, ax=scatter, label=label_of(found), shrink=0.85)
        return figure
    classes, colours = np.array(found["classes"]), ["0.85", *sns.color_palette("colorblind", len(found["names"]) - 1)]
    for number, (name, colour) in enumerate(zip(found["names"], colours, strict=True)):
        if (here := classes == number).any():
            scatter.scatter(*xy[:, here], color=colour, label=name, s=9 + 4 * (number > 0), **dots)
    scatter.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8.5, markerscale=1.8)
    return figure


def label_of(found: dict[str, Any]) -> str:
    """Label of the colours of a `summary`, worded as in figures: "14 proteins, first of 14"."""
    return str(found["label"]).replace(found["signal"], style.signal(found["dataset"], found["signal"]))


def sentence(found: dict[str, Any]) -> str:
    """Describe the figure of a `summary`: the UMIs of nine cells in ten, and how the signal is distributed."""
    edges, share = np.array(found["log10_umis"]), np.cumsum(found["cells"]) / np.sum(found["cells"])
    low, high = (10 ** edges[1:][np.searchsorted(share, end)] for end in (0.05, 0.95))
    said = f"Nine in ten of its {found['n_cells']:,} cells have about {low:,.0f} to {high:,.0f} UMIs;"
    if "names" not in found:
        values = np.array(found["values"], dtype=float)
        return f"{said} {label_of(found)} runs from {np.nanmin(values):.3g} to {np.nanmax(values):.3g} in those drawn."
    counts = np.bincount(found["classes"], minlength=len(found["names"]))
    most = int(counts[1:].argmax()) + 1  # without `others`
    signal, name = style.signal(found["dataset"], found["signal"]), found["names"][most].replace("_", " ")
    percent = 100 * counts[most] / counts.sum()
    return f"{said} {name} is the most frequent {signal}, with {percent:.0f} % of those drawn."


def main() -> None:
    """Write the summaries of the named data sets, or of all data sets whose files are available locally."""
    for name in sys.argv[1:] or [name for name in datasets.names() if datasets.at_hand(datasets.card(name))]:
        write_atomically(file_of(name), json.dumps(summary(datasets.load(name))) + "\n")


if __name__ == "__main__":
    main()
