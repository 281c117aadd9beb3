"""The page on a public benchmark: its 40 tasks, cell-like problems, and families that were held out from tuning."""

from typing import Any

import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from . import calibration, page, style

GROUPS = {
    "classes": {
        "labels3": ("3 classes", "#0173b2", "o"), "labels12": ("12 classes", "#de8f05", "s"),
        "labels45": ("45 classes", "#029e73", "D"), "rare45": ("45, many rare", "#d55e00", "^"),
        "parity": ("sign of a product", "#949494", "v"),
    },
    "time points": {
        "time45": ("45, as labels", "#0173b2", "o"), "time45_float": ("45, as floats", "#56b4e9", "s"),
        "time12": ("12, as labels", "#d55e00", "D"), "time12_float": ("12, as floats", "#de8f05", "^"),
    },
    "vectors": {
        "proteins": ("14 proteins in batches", "#0173b2", "o"), "sparse": ("30 sparse genes", "#de8f05", "s"),
        "norm": ("length of x", "#029e73", "D"), "slopes": ("clusters and slopes", "#d55e00", "^"),
    },
}  # fmt: skip
"""Label, colour and marker of each kind of signal, by panel."""

SIZES: dict[int, dict[str, Any]] = {
    500: {"color": "#fdae61", "marker": "v"}, 2400: {"color": "#56b4e9", "marker": "s"},
    6000: {"color": "#08519c", "marker": "o"},
}  # fmt: skip
"""Colour and marker of each number of cells."""

LIMITS = {"told_axes": "told the axes", "told_function": "told the function"}

AT_DEPTH = {"labels12": "12 classes", "time45": "45 time points", "proteins": "14 proteins in batches"}


def errors_figure(numbers: dict[str, Any], *, cells: int = 10_000) -> Figure:
    """Draw found less true bits at `cells` pairs, with a row for each task and a column for each estimator."""
    tasks = pd.DataFrame(numbers["tasks"])
    return calibration.errors_figure(tasks.assign(problem=tasks["problem"].map(short)), cells=cells)


def short(task: str) -> str:
    """Return a task's name, shortened for the figure."""
    return task.replace("normal_cdf", "cdf").replace("multinormal", "normal").replace("_", " ")


def scores_table(numbers: dict[str, Any]) -> HTML:
    """Return tasks found, mean error and seconds by estimator and number of pairs; the download holds every mean."""
    table = pd.DataFrame(numbers["scores"])
    table["estimator"] = [calibration.look(name)[0] for name in table["estimator"]]
    return page.as_table(table, "bmi.csv", full=pd.DataFrame(numbers["tasks"]))


def errors_sentence(numbers: dict[str, Any], *, pairs: int = 10_000) -> HTML:
    """Say on how many tasks the default and the best other estimator are within 15 % of the truth, at `pairs` pairs."""
    scores = pd.DataFrame(numbers["scores"]).query("pairs == @pairs").set_index("estimator")
    other = scores.drop(index="default")["within 15 %"].idxmax()
    (ours, theirs), found = (calibration.look(name)[0] for name in ("default", other)), scores["within 15 %"]
    said = f"{ours} on {found['default']} of {scores.loc['default', 'tasks']} tasks; the next best, {theirs}, on"
    return page.paragraph(f"Within 15 % of the truth at {pairs:,} pairs: {said} {found[other]}.", "finding")


def shares_sentence(numbers: dict[str, Any], *, depths: bool = False) -> HTML:
    """Say which shares of the truth the default finds, least to most, at the most cells; medians over sources."""
    problems = pd.DataFrame(numbers["problems"]).query("true > 0")
    problems = problems[(problems["depth"] > 0) == depths]
    most, by = problems["cells"].max(), ["family", "depth"] if depths else ["family"]
    shares = problems[problems["cells"] == most].groupby(by)["ratio"].median()
    over = "signal and depth" if depths else "signal"
    found = f"{100 * shares.min():.0f} to {100 * shares.max():.0f} %"
    return page.paragraph(f"With {most:,} cells the default finds {found} of the truth, by {over}.", "finding")


@style.book_style()
def cell_like_figure(numbers: dict[str, Any]) -> Figure:
    """Draw shares of the truth against cells, a panel per group of signals, a line per signal; medians over sources."""
    problems = pd.DataFrame(numbers["problems"]).query("true > 0 and depth == 0")
    figure, panels = style.new_figure(1, len(GROUPS), 3.6, titles=GROUPS, xlabel="cells", name="cell_like", sharey=True)
    goals = {int(n): share for n, share in numbers["goals"].items()}
    for axes, looks in zip(panels.flat, GROUPS.values(), strict=True):
        for family, (label, colour, marker) in looks.items():
            shares = problems[problems["family"] == family].groupby("cells")["ratio"].median()
            axes.plot(shares.index, shares, color=colour, marker=marker, label=label)
        axes.plot(list(goals), list(goals.values()), color="black", linestyle=":", linewidth=1, label="aimed at")
        axes.axhline(1, color="black", linewidth=0.8)
        style.cells_axis(axes, list(SIZES))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), frameon=False, fontsize=8.5)
    panels[0, 0].set(ylabel="found, share of the truth", ylim=(min(0.0, problems["ratio"].min()), 1.05))
    return figure


@style.book_style()
def depth_figure(numbers: dict[str, Any]) -> Figure:
    """Draw shares of the truth against depth, a panel per signal, a line per number of cells; bars: sd over draws."""
    problems = pd.DataFrame(numbers["problems"]).query("depth > 0")
    named: dict[str, Any] = {"titles": AT_DEPTH.values(), "xlabel": style.UMIS, "name": "depth"}
    figure, panels = style.new_figure(1, len(AT_DEPTH), 3.0, sharey=True, **named)
    for axes, family in zip(panels.flat, AT_DEPTH, strict=True):
        for cells, look in SIZES.items():
            here = problems[(problems["family"] == family) & (problems["cells"] == cells)].sort_values("depth")
            axes.errorbar(here["depth"], here["ratio"], here["sd"].fillna(0) / here["true"], **look)
        axes.axhline(1, color="black", linewidth=0.8)
        style.cells_axis(axes, sorted(problems["depth"].unique()))
    panels[0, 0].set(ylabel="found, share of the truth", ylim=(min(0.0, problems["ratio"].min()), 1.05))
    style.legend(figure, *({**look, "label": f"{n:,} cells"} for n, look in SIZES.items()))
    return figure


def cell_like_table(numbers: dict[str, Any]) -> HTML:
    """Return for every cell-like problem the true bits, those found, their spread and the stated standard error."""
    table = pd.DataFrame(numbers["problems"]).query("true > 0")
    shown = table[["source", "family", "depth", "cells", "true", "bits", "ratio", "sd", "stderr", "draws"]]
    return page.as_table(shown, "cell_like.csv", full=pd.DataFrame(numbers["problems"]))


def shuffled_table(numbers: dict[str, Any]) -> HTML:
    """Return the bits found where none are shared, and how often other estimates lie above the truth."""
    title = "Of {estimates} estimates {above} lie above the truth by more than 2 standard errors."
    return page.as_table(pd.DataFrame(numbers["shuffled"]), "shuffled.csv", title=title.format(**numbers["above"]))


def limits_table(numbers: dict[str, Any]) -> HTML:
    """Return the median share of the truth by cells: as is, told the relevant axes, told the function of them."""
    return page.as_table(pd.DataFrame(numbers["limits"]).rename(columns=LIMITS), "limits.csv")


def bias_rules_table(numbers: dict[str, Any]) -> HTML:
    """Return estimates that are extrapolated in the number of cells, with the truth."""
    return page.as_table(pd.DataFrame(numbers["extrapolated"]), "extrapolated.csv")


def held_out_table(numbers: dict[str, Any]) -> HTML:
    """Return how many held-out families are found, by estimator and number of pairs."""
    return page.as_table(pd.DataFrame(numbers["scores"]), "held_out.csv", full=pd.DataFrame(numbers["families"]))
