"""The models' parts as read from the code, training curves of one run, and training times."""

from math import prod
from pathlib import Path

import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import models, paths
from ..measurements import protocol_rows
from . import page, style

_LINES = {"validation": "-", "training": ":"}


def _shown() -> list[str]:
    return [name for name, kind in models.MODELS.items() if not kind.is_control]


def parts(genes: int, preset: str) -> pd.DataFrame:
    """One row for each part of each model: its matrices and its number of parameters, for a number of genes.

    The shapes are read from the networks themselves, so that nothing is written down twice. Vectors (biases, norms) are
    counted but not listed.
    """
    rows = []
    for name in _shown():
        groups: dict[str, list[tuple[int, ...]]] = {}
        for parameter, shape in models.create(name, preset=preset, device="cpu").shapes(genes).items():
            stem = parameter.split(".")
            groups.setdefault(" ".join(stem[: 2 if stem[0] in ("layers", "decoder") else 1]), []).append(shape)
        for part, shapes in groups.items():
            matrices = ", ".join(" × ".join(f"{n:,}" for n in shape) for shape in shapes if len(shape) > 1)
            count = sum(map(prod, shapes)) if models.MODELS[name].trained else 0
            rows.append((name, part.replace("_", " "), matrices or "–", count))
    return pd.DataFrame(rows, columns=["model", "part", "matrices", "parameters"])


def parts_table(genes: int, preset: str) -> HTML:
    """Show the table of `parts`, with each model's total above it."""
    table = parts(genes, preset)
    totals = table.groupby("model", sort=False)["parameters"].sum()
    title = "Parameters: " + ", ".join(f"{style.label(name, preset)} {n:,}" for name, n in totals.items()) + "."
    return page.as_table(table, f"architecture_{preset}.csv", title=title)


def settings_table(preset: str) -> HTML:
    """Show every setting of every model in a preset."""
    named = ((name, *pair) for name in _shown() for pair in models.settings(name, preset=preset).items())
    rows = [(name, setting, "none" if value is None else str(value)) for name, setting, value in named]
    return page.as_table(pd.DataFrame(rows, columns=["model", "setting", "value"]), f"settings_{preset}.csv")


@style.book_style()
def curves_figure(file: str | Path) -> Figure:
    """Plot a file's losses (model, loss, step, value) by step, a panel per model; a marker for the kept weights."""
    table = pd.read_csv(paths.find(file))
    names = style.ordered(table["model"])
    titles = [style.label(model, "small") for model in names]
    figure, panels = style.new_figure(1, len(names), 3.2, titles=titles, xlabel="optimiser steps")
    for axes, model in zip(panels.flat, names, strict=True):
        for loss, points in table[table["model"] == model].groupby("loss", sort=True):
            kind = "validation" if loss.endswith("_validation") else "training"
            axes.plot(points["step"], points["value"], _LINES[kind], color=style.colour(model))
            if kind == "validation":
                best = points.loc[points["value"].idxmin()]
                style.plot(axes, model, best["step"], best["value"], linestyle="", markersize=7)
        axes.set_xlim(left=0)
        axes.set_ylabel(f"loss ({models.MODELS[model].loss_unit})")
    marks = [{"color": "0.3", "linestyle": line, "label": kind} for kind, line in _LINES.items()]
    style.legend(figure, *marks, style.ONE_SEED | {"label": "weights kept"})
    return figure


def curves_provenance(file: str | Path, *, notebook: str) -> HTML:
    """Provenance line: notebook, the file with its sha256, and the run that the file holds."""
    run = page.numbers(Path(file).with_suffix(".json"))
    about = f"one run on {run['dataset']}, {run['cells']} training cells, all molecules, seed {run['seed']}"
    return page.file_provenance(file, notebook=notebook, what="curves", about=f"{about}, preset {run['preset']}")


def wall_times(table: pd.DataFrame) -> HTML:
    """Show the median seconds to train and embed on one core, by data set, number of training cells and model."""
    table = protocol_rows(table, variant=None)
    table = table[table["device"] != "cuda"]
    wide = table.pivot_table(index=["dataset", "n_cells"], columns="model", values="train_seconds", aggfunc="median")
    wide = wide[style.ordered(wide.columns)].map(lambda s: f"{s:.2g}" if s < 10 else f"{s:.0f}", na_action="ignore")
    shown = wide.rename(columns=style.label).reset_index().rename(columns={"n_cells": style.CELLS})
    title = "Seconds to train and to embed the test cells on one core: medians over depths and seeds."
    return page.as_table(shown, "wall_times.csv", title=title)
