"""The Calibration page: estimators on problems of known information, and our measurements under two estimators."""

import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import paths
from . import page, style

ESTIMATORS = {
    "default": ("{} (ours)", "#0173b2", "o"),
    "lmi": ("{} (ours)", "#de8f05", "s"),
    "latentmi": ("LMI as published", "#d55e00", "D"),
    "cca_ksg": ("CCA + KSG", "#029e73", "^"),
    "ksg": ("{} (ours)", "#949494", "v"),
    "mixed_ksg": ("{}", "#ca9161", "P"),
    "mine": ("MINE", "#cc78bc", "X"),
    "smile": ("SMILE", "#8c5a9e", "*"),
    "nwj": ("NWJ", "#56b4e9", "<"),
    "infonce_bmi": ("InfoNCE", "#6b6b00", ">"),
    "donsker_varadhan": ("DV bound", "#a6761d", "h"),
    "ksg_bmi": ("KSG of bmi", "#666666", "d"),
    "cca_bmi": ("CCA", "#1b9e77", "p"),
    "kde": ("KDE", "#7570b3", "H"),
    "histogram": ("histogram", "#e7298a", "8"),
}
"""Label ({}: the registry's), colour and marker of each estimator of the suite and of bmi, in legend order."""

SIZES: dict[int, dict[str, Any]] = {
    280: {"color": "#fdae61", "marker": "v"}, 1000: {"color": "#56b4e9", "marker": "s"},
    5000: {"color": "#08519c", "marker": "o"}, 30_000: {"color": "#222222", "marker": "D"},
}  # fmt: skip
"""Colour and marker of each number of cells."""


def look(name: str) -> tuple[str, str, str]:
    """Label, colour and marker of an estimator."""
    label, colour, marker = ESTIMATORS.get(name, (name, "#000000", "."))
    return label.format(style.estimator(name)), colour, marker


def read(source: str | Path) -> pd.DataFrame:
    """Read the suite's table, with one estimate per row."""
    return pd.read_csv(paths.find(source))


def _present(rows: pd.DataFrame) -> list[str]:
    """Names of the estimators in `rows`, in legend order; unlisted ones come last."""
    found = set(rows["method"])
    return [name for name in ESTIMATORS if name in found] + sorted(found - set(ESTIMATORS))


def by_problem(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean bits, spread over seeds, error, median seconds and number of seeds, by problem, cells and estimator."""
    table = rows.groupby(["problem", "cells", "method"]).agg(
        true=("true", "first"), bits=("bits", "mean"), sd=("bits", "std"), seconds=("seconds", "median"),
        seeds=("bits", "count"),
    )  # fmt: skip
    return table.assign(error=table["bits"] - table["true"]).reset_index()


@style.book_style()
def recovered_figure(rows: pd.DataFrame) -> Figure:
    """Plot found against true bits: a panel per estimator, a marker per problem and cell number; bars: seeds' sd."""
    means = by_problem(rows)
    names = _present(means)
    columns = min(5, len(names))
    lines = -(-len(names) // columns)
    figure, panels = style.new_figure(
        lines, columns, 0.6 + 2.0 * lines, titles=[look(name)[0] for name in names], sharex=True, sharey=True,
        name="recovered",
    )  # fmt: skip
    for axes, name in zip(panels.flat, names, strict=False):
        axes.axline((0, 0), slope=1, color="black", linewidth=0.8)
        for cells, shape in SIZES.items():
            here = means[(means["method"] == name) & (means["cells"] == cells)]
            small = {"markersize": 3.5, "linewidth": 0.8, "markeredgewidth": 0}
            axes.errorbar(here["true"], here["bits"], here["sd"].fillna(0), linestyle="", **shape, **small)
        axes.set(xlim=(-0.3, 5.6), ylim=(-0.7, 5.6), xticks=range(6), yticks=range(6))
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    figure.supxlabel("true information (bits)", fontsize=9.5)
    figure.supylabel("information found (bits)", fontsize=9.5)
    found = {n: shape for n, shape in SIZES.items() if n in set(means["cells"])}
    style.legend(figure, *(shape | {"linestyle": "", "label": f"{n:,} cells"} for n, shape in found.items()))
    return figure


@style.book_style()
def errors_figure(rows: pd.DataFrame, *, cells: int = 5000) -> Figure:
    """Heat map of found minus true bits by problem and estimator at `cells`: as in the paper's smaller test sets."""
    means = by_problem(rows).query("cells == @cells")
    names = _present(means)
    errors = means.pivot(index="problem", columns="method", values="error")[names]
    true = means.drop_duplicates("problem").set_index("problem")["true"]
    errors = errors.loc[sorted(errors.index, key=lambda problem: (problem.rsplit("_", 1)[0], true[problem]))]
    figure, axes = style.one_panel(1.0 + 0.22 * len(errors), name="errors")
    axes.imshow(errors.to_numpy(), cmap="RdBu", vmin=-2, vmax=2, aspect="auto")
    for (i, j), value in np.ndenumerate(errors.to_numpy()):
        if np.isfinite(value):
            colour = "white" if abs(value) > 1.2 else "black"
            axes.text(j, i, f"{value:+.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(names)), [textwrap.fill(look(name)[0], 7, break_long_words=False) for name in names])
    kinds = (name.rsplit("_", 1)[0] for name in errors.index)  # without the nominal bits
    told = [f"{_PROBLEMS.get(kind, kind)}: {true[name]:.2f}" for kind, name in zip(kinds, errors.index, strict=True)]
    axes.set_yticks(range(len(errors)), told)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    return figure


_PROBLEMS = {
    "gaussian": "Gaussian", "proteins": "14 proteins", "mapped16": "mapped to 16-d", "mapped256": "mapped to 256-d",
    "sign_flip": "sign flip", "student": "Student t", "mixture": "45 classes", "paired": "paired embeddings",
}  # fmt: skip
"""Readable names of the kinds of problems."""


def in_words(text: str) -> str:
    """Spell out problem names in `text`: "student_2" becomes "Student t of 2 bits" (the nominal number of bits)."""
    named = "|".join(_PROBLEMS)
    return re.sub(rf"\b({named})_([\d.]+\b)", lambda m: f"{_PROBLEMS[m[1]]} of {m[2]} bit{'s' * (m[2] != '1')}", text)


@style.book_style()
def cost_figure(rows: pd.DataFrame) -> Figure:
    """Plot the median seconds of one estimate on one thread against the number of cells, one line per estimator."""
    means = by_problem(rows)
    labels = {"xlabel": "pairs of cells", "ylabel": "seconds per estimate, one thread"}
    figure, axes = style.one_panel(3.3, name="cost", **labels)
    for name in _present(means):
        here = means[means["method"] == name].groupby("cells")["seconds"].median()
        label, colour, marker = look(name)
        axes.plot(here.index, here.clip(lower=1e-3), color=colour, marker=marker, label=label)
    style.cells_axis(axes, sorted(set(means["cells"])))
    style.log_y_axis(axes)
    figure.legend(loc="outside right center", frameon=False)
    return figure


def scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Scores by estimator and cell number: number of problems, mean absolute error, and what the goals ask for.

    *within 15 %*: the number of problems of 1 to 4 true bits whose mean over seeds is within 15 % of the truth; *at 0
    bits*: the largest mean found (absolute value) where the truth is 0.
    """
    means, found = by_problem(rows), []
    for (cells, name), part in means.groupby(["cells", "method"]):
        middle, none = part[part["true"].between(0.9, 4.0)], part[part["true"] == 0]
        near = (middle["error"].abs() <= 0.15 * middle["true"]).sum()
        found.append({
            "estimator": name, "cells": cells, "problems": len(part),
            "mean size of error (bits)": part["error"].abs().mean(), "within 15 %": f"{near} of {len(middle)}",
            "found at 0 bits": none["bits"].abs().max(), "seconds (median)": part["seconds"].median(),
            "estimates": part["seeds"].sum(),
        })  # fmt: skip
    order = _present(rows)
    return pd.DataFrame(sorted(found, key=lambda row: (row["cells"], order.index(row["estimator"]))))


def how_near(rows: pd.DataFrame, *, cells: int = 5000) -> HTML:
    """Finding: the number of problems on which the default and LMI are within 15 % of the truth at `cells`."""
    here = scores(rows).query("cells == @cells").set_index("estimator")
    names = [name for name in ("default", "lmi", "latentmi") if name in here.index]
    near = ", ".join(f"{look(name)[0]} {here.loc[name, 'within 15 %']}" for name in names)
    most = here.loc[names, "found at 0 bits"].max()
    return page.paragraph(
        f"With {cells:,} cells, of the problems of 1 to 4 true bits each was run on, these are found within 15 % of "
        f"the truth: {near}. Where nothing is shared, none of them finds more than {most:.2f} bits.", "finding",
    )  # fmt: skip


def furthest(rows: pd.DataFrame, *, cells: int = 5000) -> HTML:
    """Finding: the problem with the default's largest error at `cells`, and on how many problems it finds too much."""
    means = by_problem(rows).query("cells == @cells and method == 'default'")
    worst, over = means.loc[means["error"].abs().idxmax()], (means["error"] > 0).sum()
    kind = worst["problem"].rsplit("_", 1)[0]
    return page.paragraph(
        f"With {cells:,} cells the default errs most on {_PROBLEMS.get(kind, kind)}, by {worst['error']:+.2f} of "
        f"{worst['true']:.2f} bits, and finds more than is there on {over} of {page.counted(len(means), 'problem')}.",
        "finding",
    )


def how_long(rows: pd.DataFrame, *, cells: int = 5000) -> HTML:
    """Finding: the median seconds of one estimate from `cells` cells by the default and by LMI."""
    here = by_problem(rows).query("cells == @cells").groupby("method")["seconds"].median()
    said = ", ".join(f"{look(name)[0]} {here[name]:.3g}" for name in ("default", "lmi", "latentmi") if name in here)
    return page.paragraph(f"Seconds for one estimate from {cells:,} cells, in the median: {said}.", "finding")


def scores_table(rows: pd.DataFrame) -> HTML:
    """Show `scores`, with every estimate of the suite as the download."""
    table = scores(rows)
    shown = table.assign(estimator=[look(name)[0] for name in table["estimator"]])
    return page.as_table(shown, "calibration.csv", full=rows)


def beside_published(rows: pd.DataFrame) -> pd.DataFrame:
    """Our LMI minus the published code's, in bits, by problem and cells: mean, its standard error, number of draws."""
    both = rows[rows["method"].isin(["lmi", "latentmi"])]
    both = both.pivot_table(index=["problem", "cells", "seed"], columns="method", values="bits")
    both = both.reindex(columns=["lmi", "latentmi"]).dropna()
    gap = (both["lmi"] - both["latentmi"]).groupby(level=["problem", "cells"])
    return gap.agg(difference="mean", stderr="sem", draws="count").reset_index()


def lmi_sentence(rows: pd.DataFrame) -> HTML:
    """Finding: our LMI minus the published code, where ours trains as long and where it trains in fewer steps."""
    from ..information.core import MANY_PAIRS  # imported late: it loads torch, which tables do not need

    found, said = beside_published(rows), []
    many = found["cells"] >= MANY_PAIRS
    places = {f"At {MANY_PAIRS:,} pairs and more": many, "At fewer pairs, where it trains in fewer steps,": ~many}
    for where, chosen in places.items():
        if chosen.any():
            off, error = found.loc[chosen, "difference"].round(2) + 0.0, found.loc[chosen, "stderr"].dropna()
            errors = f"; standard errors {error.min():.2f} to {error.max():.2f}" if len(error) else ""
            said.append(
                f"{where} our LMI less the published code is {off.min():+.2f} to {off.max():+.2f} bits, on the "
                f"{page.counted(found.loc[chosen, 'problem'].nunique(), 'problem')} that both were run on (means over "
                f"the same draws{errors})."
            )
    text = " ".join(said) or "Our LMI and the published code were not run on the same problems here."
    return page.paragraph(text, "finding")


def calibration_provenance(source: str | Path, *, notebook: str) -> HTML:
    """Provenance line: notebook, the suite's table with its number of rows and sha256, version."""
    return page.file_provenance(source, notebook=notebook, what=f"{len(read(source)):,} estimates in")
