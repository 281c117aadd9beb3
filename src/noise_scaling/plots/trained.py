"""Geneformer in its published size, trained to its validation optimum, compared with its untrained weights.

Files come from benchmarks/gpu_sweep.py, trained_geneformer.py (`steps_figure`) and what_ranks_lose.py (ranks).
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


def gains(table: pd.DataFrame, reference: str = UNTRAINED) -> pd.DataFrame:
    """Return bits of the trained Geneformer less those of `reference` at the same points, deepest first.

    Values are means over seeds that both have. Ties lie within 2 standard errors, which are those of the estimates.
    """
    both = _paired(table, reference, PRESET)
    both["variance"] = both["mi_stderr"] ** 2 + both["mi_stderr_other"] ** 2
    by = {"dataset": True, "signal": True, "n_cells": False, "estimator": True, "fraction": False}
    points = both.groupby(list(by)).agg(
        umis_per_cell=("umis_per_cell", "mean"), seeds=("seed", "nunique"), trained=("mi_bits", "mean"),
        other=("mi_bits_other", "mean"), variance=("variance", "sum"),
    )  # fmt: skip
    found = points.reset_index().sort_values(list(by), ascending=list(by.values()), ignore_index=True)
    gain, error = found["trained"] - found["other"], np.sqrt(found["variance"]) / found["seeds"]
    trained_is = np.select([gain > 2 * error, gain < -2 * error], ["above", "below"], "a tie")
    found = found.assign(difference=gain, standard_error=error, trained_is=trained_is)
    return found.drop(columns=["signal", "fraction", "variance"]).rename(columns={"other": reference})


def _paired(table: pd.DataFrame, reference: str, preset: str) -> pd.DataFrame:
    """Return rows of the trained Geneformer, each joined with the rows of `reference` at the same point and seed."""
    rows = protocol_rows(table, controls=True)
    mine = rows[(rows["model"] == TRAINED) & (rows["preset"] == preset)]
    other = rows[(rows["model"] == reference) & ((rows["preset"] == preset) | (reference != UNTRAINED))]
    both = mine.merge(other, on=_POINT, suffixes=("", "_other"))
    return enough(both, f"no point of this table has a Geneformer of the preset {preset} and {style.label(reference)}")


def verdict(table: pd.DataFrame, reference: str = UNTRAINED) -> HTML:
    """Say at which depths the trained model is above `reference`, ties or is below, at the most cells, by `gains`."""
    lines = []
    for (dataset, n, estimator), here in largest(gains(table, reference)).groupby(["dataset", "n_cells", "estimator"]):
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
    """Say as a finding at how many points the trained model is above its untrained self, and above PCA."""
    said = []
    for reference, name in ((UNTRAINED, "its untrained self"), ("pca", "principal components")):
        found = gains(table, reference).query("estimator == 'default'")["trained_is"].value_counts()
        counts = [f"{word} at {found[word]}" for word in ("above", "a tie", "below") if word in found]
        said.append(f"Against {name}, at {found.sum()} points of data set, cells and depth, it is {', '.join(counts)}.")
    ends = []
    for name, rows in largest(gains(table, "pca").query("estimator == 'default'")).groupby("dataset", sort=False):
        above, below = (rows.loc[rows["trained_is"] == word, "umis_per_cell"] for word in ("above", "below"))
        if len(above) and len(below) and above.max() < below.min():
            ends.append(
                f"{style.dataset(name)}: up to {above.max():,.0f} UMIs per cell, and from {below.min():,.0f} on"
            )
    if ends:
        said.append(f"At the most cells it is above them at shallow depths and below at deep ones ({'; '.join(ends)}).")
    return page.paragraph(
        f"The published network, trained by our setting; default estimator. {' '.join(said)}", "finding"
    )


def by_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return bits that training adds to the small preset's starting weights, by signal and cells, means over depths.

    `standard_error` is the larger of those over depths and over seeds; `trained_is` is "a tie" within two of them.
    """
    points = _paired(table, UNTRAINED, "small").query("estimator == 'default'")
    points = points.assign(difference=points["mi_bits"] - points["mi_bits_other"])
    by, errors = ["dataset", "signal", "n_cells"], {}
    for axis in ("fraction", "seed"):
        errors[axis] = points.groupby([*by, axis])["difference"].mean().groupby(by).sem()
    groups = points.groupby(by)
    found = groups.agg(
        depths=("fraction", "nunique"), seeds=("seed", "nunique"), difference=("difference", "mean")
    ).assign(standard_error=pd.DataFrame(errors).max(axis=1))  # fmt: skip
    z = found["difference"] / found["standard_error"]
    return found.assign(trained_is=np.select([z > 2, z < -2], ["above", "below"], "a tie")).reset_index()


def small_verdict(table: pd.DataFrame) -> HTML:
    """Say as a finding how often training the small network adds bits, at each signal's fewest and most cells."""
    found = by_cells(table)
    ranked = found.sort_values("n_cells").groupby(["dataset", "signal"])
    said = []
    for size, rows in (("fewest", ranked.head(1)), ("most", ranked.tail(1))):
        counts = rows["trained_is"].value_counts()
        told = ", ".join(f"{word} in {counts[word]}" for word in ("above", "a tie", "below") if word in counts)
        said.append(
            f"At the {size} cells of each signal ({page.span(rows['n_cells'])}) it is {told} of {len(rows)}, and the "
            f"median difference is {round(rows['difference'].median(), 2) + 0:+.2f} bits."
        )
    return page.paragraph(f"The small network compared with its starting weights. {' '.join(said)}", "finding")


@style.book_style()
def small_figure(table: pd.DataFrame) -> Figure:
    """Draw bits that training adds to the small network, a row per signal, dots by cells; bars: 2 standard errors."""
    found = by_cells(table)
    order = found.sort_values("n_cells").groupby(["dataset", "signal"])["difference"].last().sort_values().index
    labels = {"xlabel": "bits, trained less untrained", "name": "small"}
    figure, axes = style.one_panel(1.2 + 0.24 * len(order), **labels)
    cells = found.groupby(["dataset", "signal"])["n_cells"]
    fewest, most = found["n_cells"] == cells.transform("min"), found["n_cells"] == cells.transform("max")
    shades = {"fewest cells": _LOOKS[1], "between": _LOOKS[3], "most cells": _LOOKS[0]}
    for word, which in zip(shades, (fewest, ~(fewest | most), most), strict=True):
        rows = found[which]
        y = [order.get_loc(key) for key in zip(rows["dataset"], rows["signal"], strict=True)]
        error = 2 * rows["standard_error"]
        axes.errorbar(rows["difference"], y, xerr=error, fmt=shades[word]["marker"], color=shades[word]["color"], ms=4)
    axes.axvline(0, color="0.6", lw=0.8, zorder=0)
    axes.set_yticks(range(len(order)), [f"{style.title(*key)} ({cells.max()[key]:,})" for key in order], fontsize=8)
    marks = [{"label": word, "ls": "", **look} for word, look in shades.items()]
    style.legend(figure, *marks)
    return figure


UNSURE = 3
"""An estimate is uncertain, as it failed in part, if its error is above this many times its curve's median error."""


@style.book_style()
def depth_figure(table: pd.DataFrame) -> Figure:
    """Draw bits against depth at the largest number of cells, one panel per data set, means over seeds.

    Bars are one standard error of the estimates.
    """
    rows = protocol_rows(table, controls=True).query("estimator == 'default'")
    mine = rows[(rows["model"] == TRAINED) & (rows["preset"] == PRESET)]
    signals = style.signals(enough(mine, f"this table holds no Geneformer trained with the preset {PRESET}"))
    figure, panels = style.new_figure(1, len(signals), 3.2, xlabel=style.UMIS, ylabel=style.BITS)
    shown: set[str] = set()
    for axes, signal in zip(panels[0], signals, strict=True):
        n = of_signal(mine, signal)["n_cells"].max()
        here = of_signal(rows[rows["n_cells"] == n], signal)
        here = here[(here["preset"] == PRESET) | ~here["model"].isin([TRAINED, UNTRAINED])]
        for model in style.ordered(here["model"]):
            seeds = here[here["model"] == model].groupby("fraction")
            xy = seeds["umis_per_cell"].mean(), seeds["mi_bits"].mean()
            style.plot(axes, model, *xy)
            error = seeds["mi_stderr"].agg(lambda errors: np.hypot.reduce(errors) / len(errors))
            axes.errorbar(*xy, error, fmt="none", ecolor=style.colour(model))
        shown |= set(here["model"])
        style.bits_axes(axes)
        axes.set_title(textwrap.fill(style.title(*signal), 26) + f"\n{n:,} cells", loc="left")
    style.model_legend(figure, shown)
    return figure


@style.book_style()
def loss_figure(file: str | Path) -> Figure:
    """Draw validation loss against steps, a panel per data set at its largest number of cells, a line per depth.

    Curves are of the first seed; dots mark the weights that were kept.
    """
    curves = largest(pd.read_csv(paths.find(file)))
    curves = curves[curves["seed"] == curves["seed"].min()]
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
    """Draw bits of the test cells during one training per data set, from the starting weights, with standard errors."""
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
    """Return bits of each representation, means over seeds, by data set, signal, readout and depth."""
    by = pd.DataFrame(page.numbers(file)["points"]).groupby(["dataset", "signal", "readout", "fraction"])
    return by[["umis_per_cell", *_REPRESENTATIONS]].mean().reset_index()


@style.book_style()
def ranks_figure(file: str | Path) -> Figure:
    """Draw bits of counts, ranks and truncated ranks against depth, a row per readout, a column per data set."""
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
    """Say what ranks lose to counts, and truncated ranks to all, at the most and fewest molecules and at worst."""
    lines = []
    for (name, signal, readout), here in _ranks(file).groupby(["dataset", "signal", "readout"]):
        said = [
            f"at {row['umis_per_cell']:,.0f} UMIs per cell counts hold {row['counts']:.2f} bits, ranks less counts is "
            f"{row['ranks'] - row['counts']:+.2f}, and the first 512 or 64 ranks less all ranks "
            f"{row['first 512 ranks'] - row['ranks']:+.2f} or {row['first 64 ranks'] - row['ranks']:+.2f}"
            for row in (here.iloc[-1], here.iloc[0])
        ]
        lost = here["ranks"] - here["counts"]
        said.append(f"the most lost to ranks is {lost.min():+.2f}, at {here['umis_per_cell'][lost.idxmin()]:,.0f}")
        lines.append(f"{style.title(name, signal)}, {readout}: {'; '.join(said)}.")
    return page.bullets(lines, "finding")
