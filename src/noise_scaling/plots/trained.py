"""Geneformer in its published size, trained to its validation optimum, beside itself untrained."""

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import paths
from ..errors import TooLittle
from ..measurements import protocol_rows
from . import page, style

PRESET = "published_trained"
TRAINED, UNTRAINED = "geneformer", "untrained_geneformer"
_POINT = ["dataset", "signal", "n_cells", "fraction", "seed", "estimator"]
_LOOKS = (("#0173b2", "s"), ("#de8f05", "o"), ("#029e73", "^"), ("#cc78bc", "D"))


def gains(table: pd.DataFrame, beside: str = UNTRAINED) -> pd.DataFrame:
    """Bits of the trained Geneformer less those of another model, deepest first: a tie within 2 standard errors.

    Of `beside`, the rows at the same points, with the same preset where it has that.
    """
    rows = protocol_rows(table, controls=True)
    mine = rows[(rows["model"] == TRAINED) & (rows["preset"] == PRESET)]
    other = rows[(rows["model"] == beside) & ((rows["preset"] == PRESET) | (beside != UNTRAINED))]
    both = mine.merge(other, on=_POINT, suffixes=("", "_other")).sort_values(
        ["dataset", "n_cells", "estimator", "seed", "fraction"], ascending=[True, False, True, True, False]
    )
    if both.empty:
        raise TooLittle(f"no point of this table has a Geneformer of the preset {PRESET} and {style.label(beside)}")
    gain, error = both["mi_bits"] - both["mi_bits_other"], np.hypot(both["mi_stderr"], both["mi_stderr_other"])
    return pd.DataFrame({
        **{name: both[name] for name in ("dataset", "n_cells", "umis_per_cell", "estimator")},
        "trained": both["mi_bits"], beside: both["mi_bits_other"], "difference": gain, "standard_error": error,
        "trained_is": np.select([gain > 2 * error, gain < -2 * error], ["above", "below"], "a tie"),
    }).reset_index(drop=True)  # fmt: skip


def verdict(table: pd.DataFrame, beside: str = UNTRAINED) -> HTML:
    """At which depths the trained one is above the other, ties or is below; arguments and errors as `gains`."""
    lines = []
    for (dataset, n, estimator), here in gains(table, beside).groupby(["dataset", "n_cells", "estimator"]):
        said = []
        for word in ("above", "a tie", "below"):
            depths = here.loc[here["trained_is"] == word, "umis_per_cell"]
            if len(depths):
                said.append(f"{word} at {len(depths)} ({_span(depths, ',.0f')} UMIs per cell)")
        lines.append(
            f"{style.dataset(dataset)}, {n:,} training cells, estimator {style.estimator(estimator)}: of "
            f"{page.counted(len(here), 'depth')} the trained Geneformer is {', '.join(said)}; the difference is "
            f"{_span(here['difference'], '+.2f')} bits."
        )
    return page.bullets(lines, "finding")


def _span(values: pd.Series, form: str) -> str:
    ends = dict.fromkeys(f"{value:{form}}" for value in (values.min(), values.max()))
    return " to ".join(ends)


@style.book_style()
def depth_figure(table: pd.DataFrame, estimator: str = "default") -> Figure:
    """Bits against depth at the largest number of cells, a panel a data set; bars are one standard error."""
    rows = protocol_rows(table, controls=True)
    rows = rows[rows["estimator"] == estimator]
    mine = rows[(rows["model"] == TRAINED) & (rows["preset"] == PRESET)]
    if mine.empty:
        raise TooLittle(f"this table holds no Geneformer trained with the preset {PRESET}")
    signals = style.signals(mine)
    figure, panels = style.new_figure(1, len(signals), 3.2)
    shown: set[str] = set()
    for axes, (dataset, signal) in zip(panels[0], signals, strict=True):
        n = mine.loc[mine["dataset"] == dataset, "n_cells"].max()
        here = rows[(rows["dataset"] == dataset) & (rows["signal"] == signal) & (rows["n_cells"] == n)]
        here = here[(here["preset"] == PRESET) | ~here["model"].isin([TRAINED, UNTRAINED])]
        for model in style.ordered(here["model"]):
            points = here[here["model"] == model].sort_values("umis_per_cell")
            style.plot(axes, model, points["umis_per_cell"], points["mi_bits"])
            axes.errorbar(
                points["umis_per_cell"], points["mi_bits"], points["mi_stderr"], fmt="none", ecolor=style.colour(model)
            )
        shown |= set(here["model"])
        style.bits_axes(axes)
        axes.set_title(textwrap.fill(style.title(dataset, signal), 26) + f"\n{n:,} cells", loc="left")
        axes.set_xlabel(style.UMIS)
    panels[0, 0].set_ylabel(style.BITS)
    style.model_legend(figure, shown)
    return figure


@style.book_style()
def loss_figure(file: str | Path) -> Figure:
    """Validation loss against steps, a panel a data set at its largest number of cells, a line a depth; dots: kept.

    `file` has columns dataset, n_cells, fraction, step and loss_validation, as benchmarks/gpu_sweep.py writes them.
    """
    curves = pd.read_csv(paths.find(file))
    curves = curves[curves["n_cells"] == curves.groupby("dataset")["n_cells"].transform("max")]
    figure, panels = style.new_figure(1, curves["dataset"].nunique(), 3.6)
    for axes, (dataset, here) in zip(panels[0], curves.groupby("dataset"), strict=True):
        _losses(axes, here)
        axes.set_title(f"{style.dataset(dataset)}\n{here['n_cells'].iloc[0]:,} cells", loc="left")
        axes.set_xlabel("steps")
    panels[0, 0].set_ylabel("validation loss (nats a masked gene)")
    figure.set_label("loss")
    return figure


def _losses(axes: Axes, curves: pd.DataFrame) -> None:
    depths = sorted(curves["fraction"].unique())
    for depth, shade in zip(depths, colormaps["cividis_r"](np.linspace(0.15, 1, len(depths))), strict=True):
        curve = curves[curves["fraction"] == depth]
        axes.plot(curve["step"], curve["loss_validation"], color=shade, linewidth=1.1, label=f"{depth:.2g}")
        best = curve.loc[curve["loss_validation"].idxmin()]
        axes.plot(best["step"], best["loss_validation"], ".", color=shade)
    where: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}
    axes.legend(title="share of molecules", frameon=False, fontsize=8.5, title_fontsize=8.5, ncols=3, **where)


@style.book_style()
def steps_figure(file: str | Path) -> Figure:
    """Bits of the test cells along one training a data set, from the starting weights on; bars are one standard error.

    `file` is the JSON that benchmarks/trained_geneformer.py writes.
    """
    points = [point for point in json.loads(paths.find(file).read_text())["points"] if len(point["bits"]) > 2]
    figure, panels = style.new_figure(1, 1, 3.4)
    axes = panels[0, 0]
    for point, (colour, marker) in zip(points, _LOOKS, strict=False):
        steps = [int(point["kept"]) if step == "kept" else int(step) for step in point["bits"]]
        order = np.argsort(steps)
        bits, errors = np.array(list(point["bits"].values()))[order].T
        label = (
            f"{style.dataset(point['dataset'])}, {point['n_cells']:,} cells, {point['fraction']:.2g} of the molecules"
        )
        axes.errorbar(np.array(steps)[order], bits, errors, color=colour, marker=marker, capsize=2, label=label)
    axes.set(xlabel="steps", ylabel=style.BITS, ylim=(0, None))
    figure.legend(loc="outside upper center", frameon=False)
    figure.set_label("steps")
    return figure


_REPRESENTATIONS = dict(zip(("counts", "ranks", "first 512 ranks", "first 64 ranks"), _LOOKS, strict=True))


def _ranks(file: str | Path) -> pd.DataFrame:
    """Bits of each representation, means over seeds, by data set, readout and depth."""
    points = pd.DataFrame(json.loads(paths.find(file).read_text())["points"])
    by = points.groupby(["dataset", "signal", "readout", "fraction"])
    return by[["umis_per_cell", *_REPRESENTATIONS]].mean().reset_index()


@style.book_style()
def ranks_figure(file: str | Path) -> Figure:
    """Bits of counts, ranks and truncated ranks against depth, a row a readout, a column a data set.

    `file` is the JSON that benchmarks/what_ranks_lose.py writes.
    """
    found = _ranks(file)
    shape = found["readout"].nunique(), found["dataset"].nunique()
    figure, panels = style.new_figure(*shape, 0.9 + 2.1 * shape[0], sharex="col", sharey="col")
    for axes, ((readout, name, signal), here) in zip(
        panels.flat, found.groupby(["readout", "dataset", "signal"], sort=True), strict=True
    ):
        for representation, (colour, marker) in _REPRESENTATIONS.items():
            axes.plot(here["umis_per_cell"], here[representation], color=colour, marker=marker)
        style.bits_axes(axes)
        axes.set_title(f"{style.title(name, signal)}\n{readout}", loc="left")
        axes.set_ylabel(style.BITS)
    for axes in panels[-1]:
        axes.set_xlabel(style.UMIS)
    style.legend(figure, *({"color": c, "marker": m, "label": name} for name, (c, m) in _REPRESENTATIONS.items()))
    figure.set_label("ranks")
    return figure


def ranks_verdict(file: str | Path) -> HTML:
    """What ranks lose of counts, and truncated ranks of all, at full depth and at the fewest molecules."""
    lines = []
    for (name, signal, readout), here in _ranks(file).groupby(["dataset", "signal", "readout"]):
        said = []
        for row in (here.iloc[-1], here.iloc[0]):
            ranks, *first = row["ranks"] - row["counts"], *(row[f"first {n} ranks"] - row["ranks"] for n in (512, 64))
            said.append(
                f"at {row['umis_per_cell']:,.0f} UMIs per cell counts hold {row['counts']:.2f} bits, ranks less counts "
                f"is {ranks:+.2f}, and the first 512 or 64 ranks less all ranks {first[0]:+.2f} or {first[1]:+.2f}"
            )
        lines.append(f"{style.title(name, signal)}, {readout}: {'; '.join(said)}.")
    return page.bullets(lines, "finding")
