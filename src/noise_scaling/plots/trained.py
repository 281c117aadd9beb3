"""Geneformer in its published size, trained to its validation optimum, beside itself untrained.

Files are those of benchmarks/gpu_sweep.py, trained_geneformer.py (`steps_figure`) and what_ranks_lose.py (ranks).
"""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import paths
from ..errors import enough
from ..measurements import protocol_rows
from . import page, style, training
from .figures import largest, of_signal

PRESET = "published_trained"
TRAINED, UNTRAINED = "geneformer", "untrained_geneformer"
_POINT = ["dataset", "signal", "n_cells", "fraction", "seed", "estimator"]
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#0173b2", "marker": "s"}, {"color": "#de8f05", "marker": "o"}, {"color": "#029e73", "marker": "^"},
    {"color": "#cc78bc", "marker": "D"},
)  # fmt: skip


def gains(table: pd.DataFrame, beside: str = UNTRAINED) -> pd.DataFrame:
    """Bits of the trained Geneformer less those of `beside` at the same points, deepest first; ties within 2 errors."""
    rows = protocol_rows(table, controls=True)
    mine = rows[(rows["model"] == TRAINED) & (rows["preset"] == PRESET)]
    other = rows[(rows["model"] == beside) & ((rows["preset"] == PRESET) | (beside != UNTRAINED))]
    by = {"dataset": True, "n_cells": False, "estimator": True, "seed": True, "fraction": False}
    both = mine.merge(other, on=_POINT, suffixes=("", "_other"))
    both = both.sort_values(list(by), ascending=list(by.values()), ignore_index=True)
    enough(both, f"no point of this table has a Geneformer of the preset {PRESET} and {style.label(beside)}")
    gain, error = both["mi_bits"] - both["mi_bits_other"], np.hypot(both["mi_stderr"], both["mi_stderr_other"])
    found = both[["dataset", "n_cells", "umis_per_cell", "estimator"]].assign(trained=both["mi_bits"])
    found = found.assign(**{beside: both["mi_bits_other"]}, difference=gain, standard_error=error)
    return found.assign(trained_is=np.select([gain > 2 * error, gain < -2 * error], ["above", "below"], "a tie"))


def verdict(table: pd.DataFrame, beside: str = UNTRAINED) -> HTML:
    """At which depths the trained one is above the other, ties or is below; arguments and errors as `gains`."""
    lines = []
    for (dataset, n, estimator), here in gains(table, beside).groupby(["dataset", "n_cells", "estimator"]):
        sure = here[here["standard_error"] <= UNSURE * here["standard_error"].median()]
        left = f", {page.counted(len(here) - len(sure), 'uncertain estimate')} left out" * (len(sure) < len(here))
        depths = {word: here.loc[here["trained_is"] == word, "umis_per_cell"] for word in ("above", "a tie", "below")}
        said = [f"{word} at {len(u)} ({page.span(u)} UMIs per cell)" for word, u in depths.items() if len(u)]
        lines.append(
            f"{style.dataset(dataset)}, {n:,} training cells, estimator {style.estimator(estimator)}: of "
            f"{page.counted(len(here), 'depth')} {', '.join(said)}; the difference is "
            f"{page.span(sure['difference'], '+.2f')} bits{left}."
        )
    return page.bullets(lines, "finding")


def lead(table: pd.DataFrame) -> HTML:
    """At how many points the trained one is above itself untrained, and above principal components: a finding."""
    said = []
    for beside, words in ((UNTRAINED, "its untrained self"), ("pca", "principal components")):
        found = gains(table, beside).query("estimator == 'default'")["trained_is"].value_counts()
        counts = [f"{word} at {found[word]}" for word in ("above", "a tie", "below") if word in found]
        said.append(f"Against {words}, at {found.sum()} points of data set and depth, it is {', '.join(counts)}.")
    return page.paragraph(f"The published network, trained by our setting. {' '.join(said)}", "finding")


UNSURE = 3
"""An estimate whose error is so many times the median of its curve failed in part."""


@style.book_style()
def depth_figure(table: pd.DataFrame, estimator: str = "default") -> Figure:
    """Bits against depth at the largest number of cells, a panel a data set; bars are one standard error."""
    rows = protocol_rows(table, controls=True).query("estimator == @estimator")
    mine = rows[(rows["model"] == TRAINED) & (rows["preset"] == PRESET)]
    signals = style.signals(enough(mine, f"this table holds no Geneformer trained with the preset {PRESET}"))
    figure, panels = style.new_figure(1, len(signals), 3.2, xlabel=style.UMIS, ylabel=style.BITS)
    shown: set[str] = set()
    for axes, signal in zip(panels[0], signals, strict=True):
        n = of_signal(mine, signal)["n_cells"].max()
        here = of_signal(rows[rows["n_cells"] == n], signal)
        here = here[(here["preset"] == PRESET) | ~here["model"].isin([TRAINED, UNTRAINED])]
        for model in style.ordered(here["model"]):
            points = here[here["model"] == model].sort_values("umis_per_cell")
            xy = points["umis_per_cell"], points["mi_bits"]
            style.plot(axes, model, *xy)
            axes.errorbar(*xy, points["mi_stderr"], fmt="none", ecolor=style.colour(model))
        shown |= set(here["model"])
        style.bits_axes(axes)
        axes.set_title(textwrap.fill(style.title(*signal), 26) + f"\n{n:,} cells", loc="left")
    style.model_legend(figure, shown)
    return figure


@style.book_style()
def loss_figure(file: str | Path) -> Figure:
    """Validation loss against steps, a panel a data set at its largest number of cells, a line a depth; dots: kept."""
    curves = largest(pd.read_csv(paths.find(file)))
    labels = {"xlabel": "steps", "ylabel": "validation loss (nats a masked gene)", "name": "loss"}
    figure, panels = style.new_figure(1, curves["dataset"].nunique(), 3.6, **labels)
    for axes, (dataset, here) in zip(panels[0], curves.groupby("dataset"), strict=True):
        depths = ((q, *one[["step", "loss_validation"]].to_numpy().T) for q, one in here.groupby("fraction"))
        training.descents(axes, depths, "{:.2g}")
        where: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
        axes.legend(title="share of molecules", frameon=False, fontsize=8.5, title_fontsize=8.5, ncols=3, **where)
        axes.set_title(f"{style.dataset(dataset)}\n{here['n_cells'].iloc[0]:,} cells", loc="left")
    return figure


@style.book_style()
def steps_figure(file: str | Path) -> Figure:
    """Bits of the test cells along one training a data set, from the starting weights on, with standard errors."""
    points = [point for point in page.numbers(file)["points"] if len(point["bits"]) > 2]
    figure, axes = style.one_panel(3.4, xlabel="steps", ylabel=style.BITS, name="steps")
    for point, look in zip(points, _LOOKS, strict=False):
        steps = [int(point["kept"]) if step == "kept" else int(step) for step in point["bits"]]
        order = np.argsort(steps)
        bits, errors = np.array(list(point["bits"].values()))[order].T
        cells = f"{style.dataset(point['dataset'])}, {point['n_cells']:,} cells"
        label = f"{cells}, {point['fraction']:.2g} of the molecules"
        axes.errorbar(np.array(steps)[order], bits, errors, capsize=2, label=label, **look)
    axes.set_ylim(0, None)
    figure.legend(loc="outside upper center", frameon=False)
    return figure


_REPRESENTATIONS = dict(zip(("counts", "ranks", "first 512 ranks", "first 64 ranks"), _LOOKS, strict=True))


def _ranks(file: str | Path) -> pd.DataFrame:
    """Bits of each representation, means over seeds, by data set, readout and depth."""
    by = pd.DataFrame(page.numbers(file)["points"]).groupby(["dataset", "signal", "readout", "fraction"])
    return by[["umis_per_cell", *_REPRESENTATIONS]].mean().reset_index()


@style.book_style()
def ranks_figure(file: str | Path) -> Figure:
    """Bits of counts, ranks and truncated ranks against depth, a row a readout, a column a data set."""
    found = _ranks(file)
    shape = found["readout"].nunique(), found["dataset"].nunique()
    figure, panels = style.new_figure(
        *shape, 0.9 + 2.1 * shape[0], xlabel=style.UMIS, name="ranks", sharex="col", sharey="col"
    )
    groups = found.groupby(["readout", "dataset", "signal"], sort=True)
    for axes, ((readout, *signal), here) in zip(panels.flat, groups, strict=True):
        for representation, look in _REPRESENTATIONS.items():
            axes.plot(here["umis_per_cell"], here[representation], **look)
        style.bits_axes(axes)
        axes.set_title(f"{style.title(*signal)}\n{readout}", loc="left")
        axes.set_ylabel(style.BITS)
    style.legend(figure, *(look | {"label": name} for name, look in _REPRESENTATIONS.items()))
    return figure


def ranks_verdict(file: str | Path) -> HTML:
    """What ranks lose of counts, and truncated ranks of all, at full depth and at the fewest molecules."""
    lines = []
    for (name, signal, readout), here in _ranks(file).groupby(["dataset", "signal", "readout"]):
        said = [
            f"at {row['umis_per_cell']:,.0f} UMIs per cell counts hold {row['counts']:.2f} bits, ranks less counts is "
            f"{row['ranks'] - row['counts']:+.2f}, and the first 512 or 64 ranks less all ranks "
            f"{row['first 512 ranks'] - row['ranks']:+.2f} or {row['first 64 ranks'] - row['ranks']:+.2f}"
            for row in (here.iloc[-1], here.iloc[0])
        ]
        lines.append(f"{style.title(name, signal)}, {readout}: {'; '.join(said)}.")
    return page.bullets(lines, "finding")
