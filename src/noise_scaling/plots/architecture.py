"""The models' parts read from the code, one run's training curves, and what a training took."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import torch
from IPython.display import HTML, Image
from matplotlib.figure import Figure

from .. import models, paths
from ..measurements import CONTROLS
from ..models.geneformer_net import Net, Shape
from . import page, style

GENES = 20_000
_LOSSES = {
    ("scvi", "elbo_validation"): "validation",
    ("geneformer", "loss_train"): "training",
    ("geneformer", "loss_validation"): "validation",
}
_UNITS = {"scvi": "scVI: loss (nats a cell)", "geneformer": "Geneformer: loss (nats a masked gene)"}


def parts(genes: int = GENES, preset: str = "published") -> pd.DataFrame:
    """A row for each part of each model: what it is made of and its parameters, at a number of genes.

    The networks are made, and asked for their parameters; nothing here is written down twice.

    Parameters
    ----------
    genes
        Genes counted; Geneformer's vocabulary has two more, pad and mask.
    preset
        "published" or "small".
    """
    rows = []
    for name in ("random_projection", "pca"):
        settings = models.settings(name, preset=preset)
        across = settings.get("n_genes", genes)
        rows.append((name, "projection" if name == "random_projection" else "axes", f"{settings['dims']} × {across:,}",
                     settings["dims"] * across if name == "pca" else 0))  # fmt: skip
    for name, made in (("scvi", _scvi(genes, preset)), ("geneformer", _geneformer(genes, preset))):
        rows += [(name, part, shapes, n) for part, shapes, n in _grouped(made)]
    return pd.DataFrame(rows, columns=["model", "part", "matrices", "parameters"])


def _geneformer(genes: int, preset: str) -> Iterable[tuple[str, tuple[int, ...]]]:
    s = models.settings("geneformer", preset=preset)
    sizes = {name: s[name] for name in Shape.__dataclass_fields__ if name in s}
    with torch.device("meta"):  # shapes alone, no memory
        net = Net(Shape(genes + 2, **sizes))
    return [(name, tuple(p.shape)) for name, p in net.named_parameters()]


def _scvi(genes: int, preset: str) -> Iterable[tuple[str, tuple[int, ...]]]:
    model = models.create("scvi", preset=preset, device="cpu")
    return [(name, tuple(p.shape)) for name, p in model.network(genes).named_parameters()]


def _grouped(parameters: Iterable[tuple[str, tuple[int, ...]]]) -> list[tuple[str, str, int]]:
    """Parts of a network: name, matrices, parameters. Vectors (biases, norms) are counted and not listed."""
    groups: dict[str, list[tuple[int, ...]]] = {}
    for name, shape in parameters:
        stem = name.split(".")
        groups.setdefault(" ".join(stem[: 2 if stem[0] in ("layers", "decoder") else 1]), []).append(shape)
    found = []
    for name, shapes in groups.items():
        matrices = [" × ".join(f"{n:,}" for n in shape) for shape in shapes if len(shape) > 1]
        found.append((name.replace("_", " "), ", ".join(matrices) or "–", sum(map(_size, shapes))))
    return found


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def show_parts(genes: int, preset: str) -> HTML:
    """The table of `parts`, with a line of totals."""
    table = parts(genes, preset)
    totals = table.groupby("model", sort=False)["parameters"].sum()
    title = "Parameters: " + ", ".join(f"{style.MODELS[name]} {n:,}" for name, n in totals.items()) + "."
    shown = table.assign(model=table["model"].map(style.MODELS), parameters=table["parameters"].map("{:,}".format))
    return page.as_table(shown, download=f"architecture_{preset}.csv", full=table, title=title, wrap=True)


def show_settings(preset: str) -> HTML:
    """Every setting of every model in a preset."""
    rows = [
        (style.MODELS[name], setting, "none" if value is None else str(value))
        for name in ("random_projection", "pca", "scvi", "geneformer")
        for setting, value in models.settings(name, preset=preset).items()
    ]
    table = pd.DataFrame(rows, columns=["model", "setting", "value"])
    return page.as_table(table, download=f"settings_{preset}.csv")


def curves_figure(table: pd.DataFrame) -> Figure:
    """Loss against optimiser steps, one panel a model; the filled mark is where the kept weights are from."""
    with style.book_style():
        figure, panels = style.new_figure(1, 2, 3.2)
        for axes, (model, label) in zip(panels.flat, _UNITS.items(), strict=True):
            for (owner, loss), name in _LOSSES.items():
                here = table[(table["model"] == model) & (table["loss"] == loss)]
                if owner != model or here.empty:
                    continue
                line = "-" if name == "validation" else ":"
                axes.plot(here["step"], here["value"], line, color=style.COLOURS[model], label=name)
                if name == "validation":
                    best = here.loc[here["value"].idxmin()]
                    axes.plot(best["step"], best["value"], style.MARKERS[model], color=style.COLOURS[model],
                              label="weights kept", markersize=7)  # fmt: skip
            axes.set_xlim(left=0)
            axes.set_xlabel("optimiser steps")
            axes.set_ylabel(label)
            axes.legend(frameon=False)
    return figure


def show_curves(file: str | Path) -> Image:
    """`curves_figure` of a CSV from benchmarks/training_curves.py."""
    return Image(style.as_png(curves_figure(pd.read_csv(paths.find(file)))), format="png")


def curves_provenance(file: str | Path, *, notebook: str) -> HTML:
    """One line: notebook, the file with its sha256, and the run that it holds."""
    path = paths.find(file)
    about = json.loads(path.with_suffix(".json").read_text())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    run = (
        f"one run on {about['dataset']}, {about['cells']} training cells, all molecules, seed {about['seed']}, "
        f"preset {about['preset']}"
    )
    return page._line(notebook, f"curves {Path(file).as_posix()} (sha256 {digest})", run)


def show_wall_times(source: str | Path) -> HTML:
    """Median seconds to train and embed, by data set, training cells and model, from a measurements table."""
    table = page.measured(source).table
    table = table[(table["status"] == "ok") & ~table["model"].isin(CONTROLS)]
    wide = table.pivot_table(index=["dataset", "n_cells"], columns="model", values="train_seconds", aggfunc="median")
    wide = wide[style.ordered(list(wide.columns))].map(
        lambda s: f"{s:.2g}" if s < 10 else f"{s:.0f}", na_action="ignore"
    )
    shown = wide.rename(columns=style.MODELS).reset_index().rename(columns={"n_cells": style.CELLS})
    title = "Seconds to train and to embed the test cells: medians over depths and seeds."
    return page.as_table(shown, download="wall_times.csv", title=title)
