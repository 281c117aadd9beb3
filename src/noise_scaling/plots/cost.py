"""What the paper's grid costs: measured seconds a training, the formulas fitted to them, and what they project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML, Image
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from ..datasets import card
from ..measure import cost, grid
from ..measure import cost as measure_projection
from ..measurements import CONTROLS
from . import page, style

ATLAS_GENES = card("mouse_embryo").n_genes
CELLS = (100_000, 1_000_000, 10_000_000, 100_000_000)


def training_figure(table: pd.DataFrame) -> Figure:
    """Seconds a training against its cells: medians as measured, and the fit carried to 10^8 cells.

    Lines are of the embryo atlas's number of genes, dashed beyond the largest N that was measured.
    """
    times = measure_projection.training_times(table)
    times = times[~times["model"].isin(CONTROLS)]
    fits = measure_projection.fit_training(table).set_index("model")
    models = style.ordered(set(times["model"]))
    with style.book_style():
        figure, panels = style.new_figure(1, 1, 4.3)
        axes = panels[0, 0]
        for model in models:
            here, fit, colour = times[times["model"] == model], fits.loc[model], style.COLOURS[model]
            axes.plot(here["n_cells"], here["seconds"], linestyle="", marker=style.MARKERS[model], color=colour)
            for low, high, line in ((100, fit["largest"], "-"), (fit["largest"], 1e8, "--")):
                n = np.geomspace(low, high, 100)
                axes.plot(n, measure_projection.training_seconds(fit, ATLAS_GENES, n), line, color=colour)
        style.log_axis(axes)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_duration))
        axes.set_yticks([1e-3, 1, 60, 3600, 86400, 86400 * 30])
        axes.minorticks_off()
        axes.set_xlabel(style.CELLS)
        axes.set_ylabel("time of one training, one core")
        lines = [
            Line2D([], [], color="0.3", marker="o", linestyle="", label="measured, each data set"),
            Line2D([], [], color="0.3", label=f"formula, {ATLAS_GENES:,} genes"),
            Line2D([], [], color="0.3", linestyle="--", label="projected"),
        ]
        style.legend_below(figure, models, lines)
    return figure


def _duration(seconds: float, _position: int | None = None) -> str:
    """A length of time in its own unit: 1 ms, 1 s, 1 min, 1 h, 1 day."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= length * 0.999:
            return f"{seconds / length:,.3g} {unit[:-1] if unit == 'days' and seconds < 1.5 * length else unit}"
    return f"{seconds:g} s"


def show_training(source: str | Path) -> Image:
    """The figure of training times, of a measurements table."""
    return Image(style.as_png(training_figure(page.measured(source).table)), format="png")


def formulas(source: str | Path) -> HTML:
    """The fitted formula of each model: seconds = fixed + per_kilogene g + per_cell g N / 1000."""
    table = measure_projection.fit_training(page.measured(source).table)
    short = table.assign(
        model=_names(table["model"]),
        error=table["error"].map("{:.0%}".format),
        **{name: table[name].map("{:.3g}".format) for name in ("fixed", "per_kilogene", "per_cell")},
    )
    return page.as_table(short, download="training_formulas.csv", full=table)


def estimates(source: str | Path) -> HTML:
    """Seconds of an estimate for 1,000 test cells."""
    table = measure_projection.fit_estimates(page.measured(source).table)
    return page.as_table(table.round(3), download="estimate_seconds.csv", full=table)


def projection(config: str | Path, source: str | Path) -> HTML:
    """Hours of a configuration's grid on one core with the small presets, by data set and model."""
    asked, measured = grid.read_config(config), page.measured(source).table
    table = measure_projection.project(asked, measured)
    known = table["train_hours"].notna()
    hours = table[["train_hours", "estimate_hours"]].sum().sum()
    parts = [
        f"{table['trainings'].sum():,} trainings, of which {table.loc[known, 'trainings'].sum():,} by models that "
        f"were measured: {hours / 24:,.0f} days on one core, {hours / 48:,.0f} on two."
    ]
    missing = sorted(set(table.loc[~known, "model"]))
    if missing:
        parts.append(f"Never measured here, and so not counted: {', '.join(_names(pd.Series(missing)))}.")
    if unmeasured := measure_projection.unmeasured_estimators(asked, measured):
        parts.append(f"Estimates by {', '.join(unmeasured)} are not counted: no row was measured with them.")
    short = table.assign(
        model=_names(table["model"]), beyond=table["beyond"].map("{:.0%}".format, na_action="ignore"),
        train_hours=table["train_hours"].map("{:,.1f}".format, na_action="ignore"),
        estimate_hours=table["estimate_hours"].map("{:,.1f}".format),
    )  # fmt: skip
    return page.as_table(short, download="projection.csv", full=table, title=" ".join(parts))


def limits(config: str | Path) -> HTML:
    """The most that the configuration's jobs can ask for: memory, and time by the presets' limits, by class of job."""
    jobs = grid.jobs(grid.read_config(config))
    rows = [
        {
            "dataset": job.dataset, "part": job.part, "jobs": 1, "units": len(job.models) * len(job.cell_numbers),
            "memory_gb": cost.memory_mb(job) / 1000, "hours_asked": cost.runtime_minutes(job) / 60,
        }
        for job in jobs
    ]  # fmt: skip
    by = pd.DataFrame(rows).groupby(["dataset", "part"], sort=False)
    table = by.agg(jobs=("jobs", "sum"), units=("units", "sum"), memory_gb=("memory_gb", "max"),
                   hours_asked=("hours_asked", "max")).reset_index()  # fmt: skip
    return page.as_table(table.round({"memory_gb": 1, "hours_asked": 1}), download="requests.csv", full=table)


def footprint() -> HTML:
    """Memory and disk of an atlas of 10^5 to 10^8 cells, by the formulas."""
    table = measure_projection.footprint(CELLS)
    short = table.assign(cells=table["cells"].map("{:,}".format))
    numbers = [name for name in table if name != "cells"]
    short[numbers] = table[numbers].map(lambda value: f"{value:,.2f}" if value < 10 else f"{value:,.0f}")
    return page.as_table(short, download="footprint.csv", full=table)


def _names(models: pd.Series) -> pd.Series:
    return models.map(lambda model: style.MODELS.get(model, model))
