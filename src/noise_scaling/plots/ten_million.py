"""The page on ten million simulated cells: bits against cells with the known truth, and the cost of the runs."""

from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure

from .. import measurements, paths
from . import page, style


def read(folder: str | Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read the rows, and the truth, runs and sizes, that `benchmarks/ten_million.py` wrote to a folder."""
    return measurements.read(paths.find(folder) / "ten_million.csv"), page.numbers(Path(folder) / "ten_million.json")


def sentences(folder: str | Path) -> HTML:
    """Say what was measured so far, and the bits at the smallest and largest numbers of cells at the deepest counts."""
    rows, numbers = read(folder)
    rows = rows[rows["mi_bits"].notna()]
    models = _models(rows)
    depths = rows.groupby("fraction")["umis_per_cell"].mean().sort_values(ascending=False)
    truth = numbers["truth"][f"{depths.index[0]:g}"]
    deepest = rows[rows["fraction"] == depths.index[0]].sort_values("n_cells").groupby(["model", "preset"])
    ends = []
    for model in models:
        if model in deepest.groups:
            bits = deepest.get_group(model).set_index("n_cells")["mi_bits"]
            ends.append(
                f"{style.label(*model)} {bits.iloc[0]:.2f} bits on {bits.index[0]:,} cells and {bits.iloc[-1]:.2f} on "
                f"{bits.index[-1]:,}"
            )
    numbers_of = [f"{u:,.0f}" for u in depths]
    return page.bullets([
        f"At {numbers_of[0]} UMIs per cell: {'; '.join(ends)}. The counts hold {truth:.2f} bits.",
        *_cost_sentence(pd.DataFrame(numbers["runs"])),
        f"Measured: {', '.join(style.label(*model) for model in models)}, at "
        f"{' and '.join(filter(None, [', '.join(numbers_of[:-1]), numbers_of[-1]]))} UMIs per cell, with "
        f"{page.counted(rows['seed'].nunique(), 'seed')}. The cells take {numbers['gigabytes']:.1f} GB on disk.",
    ], "finding")  # fmt: skip


def _cost_sentence(runs: pd.DataFrame) -> list[str]:
    """Compare processor time per cell with all cells and with a tenth, over runs of both, and say the peak memory."""
    of = (runs["processor_seconds"] / runs["cells"]).groupby(
        [runs["fraction"], runs["models"].map(tuple), runs["preset"]]
    )
    ratios = (of.last() / of.first())[of.size() > 1]
    if ratios.empty:
        return []
    return [
        f"Among {runs['cells'].max():,} cells a cell takes {ratios.min():.2f} to {ratios.max():.2f} times the "
        f"processor time that it takes among {runs['cells'].min():,} ({page.counted(len(ratios), 'pair')} of runs), "
        f"and no process takes more than {runs['peak_gb'].max():.1f} GB of memory."
    ]


def _models(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Return models and presets, in the order of figures."""
    found = rows[["model", "preset"]].drop_duplicates().itertuples(index=False, name=None)
    order = style.ordered(rows["model"])
    return sorted(found, key=lambda model: (order.index(model[0]), model[1]))


@style.book_style()
def bits_figure(folder: str | Path) -> Figure:
    """Draw bits against training cells, a panel per depth, a line per model; bars: 1 standard error; dashed: truth."""
    rows, numbers = read(folder)
    rows = rows[rows["mi_bits"].notna()]
    by, models = rows.groupby("fraction"), _models(rows)
    titles = [f"{u:,.0f} UMIs per cell" for u in by["umis_per_cell"].mean()]
    known: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.2}
    looks = {
        (model, preset): {
            "color": style.colour(model), "marker": style.marker(model), "label": style.label(model, preset),
            "linestyle": "-" if preset == "small" else ":",
        } for model, preset in models
    }  # fmt: skip
    figure, panels = style.new_figure(1, len(by), 3.2, titles=titles, xlabel=style.CELLS, sharex=True, sharey=True)
    for axes, (fraction, here) in zip(panels.flat, by, strict=True):
        for model, line in here.sort_values("n_cells").groupby(["model", "preset"]):
            axes.errorbar(line["n_cells"], line["mi_bits"], line["mi_stderr"], capsize=2, **looks[model])
        axes.axhline(numbers["truth"][f"{fraction:g}"], **known)
        style.log_axis(axes, every=2)
    panels[0, 0].set(ylabel=style.BITS, ylim=(0, 1.05 * max(numbers["truth"].values())))
    style.legend(figure, *looks.values(), {"label": "in the counts (truth)", **known}, columns=5)
    return figure


def costs(folder: str | Path) -> pd.DataFrame:
    """Return for each run: cells of the data set, depth, models, minutes, processor ms per cell, peak memory."""
    rows, numbers = read(folder)
    depths = rows.groupby("fraction")["umis_per_cell"].mean()
    return pd.DataFrame({
        "cells": run["cells"],
        "UMIs per cell": depths[run["fraction"]].round(),
        "models": ", ".join(style.label(model, run.get("preset", "small")) for model in run["models"]),
        "minutes": run["seconds"] / 60,
        "processor ms a cell": 1e3 * run["processor_seconds"] / run["cells"],
        "peak memory (GB)": run["peak_gb"],
    } for run in numbers["runs"])  # fmt: skip


def by_number(folder: str | Path) -> pd.DataFrame:
    """Return a row for each model, depth and N: bits found, bits in the counts, and seconds of training."""
    rows, numbers = read(folder)
    truth = rows["fraction"].map(lambda q: numbers["truth"][f"{q:g}"])
    return pd.DataFrame({
        "model": rows["model"], "preset": rows["preset"], "N": rows["n_cells"],
        "UMIs per cell": rows["umis_per_cell"].round(1),
        "bits": rows["mi_bits"], "standard error": rows["mi_stderr"], "in the counts": truth,
        "seconds to train": rows["train_seconds"], "status": rows["status"],
    })  # fmt: skip
