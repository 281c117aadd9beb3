"""Cost of the paper's grid: measured seconds per training, the formulas fitted to them, and projections."""

from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ..datasets import card
from ..laws.curves import protocol_rows
from ..measure import cost, grid
from . import page, style

ATLAS_GENES = card("mouse_embryo").n_genes
CELLS = (100_000, 1_000_000, 10_000_000, 100_000_000)
LEAST_POINTS = 10
"""Fewest medians for a formula to be drawn: fitted to three, NMF and LDA would take no longer with more cells."""


@style.book_style()
def training_figure(table: pd.DataFrame) -> Figure:
    """Plot seconds per training against its number of cells: measured medians, and fits extrapolated to 10^8 cells.

    Lines are for the embryo atlas's number of genes, dashed beyond the largest N measured. A formula fitted to fewer
    than LEAST_POINTS medians, or whose term in cells is 0, has no line.
    """
    table = protocol_rows(table)
    times = cost.training_times(table)
    fits = cost.fit_training(table).set_index("model")
    figure, axes = style.one_panel(4.3, xlabel=style.CELLS, ylabel="time of one training, one core")
    for model in style.ordered(times["model"]):
        here, fit = times[times["model"] == model], fits.loc[model]
        style.plot(axes, model, here["n_cells"], here["seconds"], linestyle="")
        if fit["points"] < LEAST_POINTS or fit["per_cell"] == 0:
            continue
        for low, high, line in ((100, fit["largest"], "-"), (fit["largest"], 1e8, "--")):
            n = np.geomspace(low, high, 100)
            axes.plot(n, cost.training_seconds(fit, ATLAS_GENES, n), line, color=style.colour(model))
    style.log_axis(axes)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_duration))
    axes.set_yticks([1e-3, 1, 60, 3600, 86400, 86400 * 30])
    axes.minorticks_off()
    formula, projected = {"label": f"formula, {ATLAS_GENES:,} genes"}, {"linestyle": "--", "label": "projected"}
    grey = [{"color": "0.3"} | mark for mark in (formula, projected)]
    style.model_legend(figure, times["model"], style.ONE_SEED | {"label": "measured, each data set"}, *grey)
    return figure


def _duration(seconds: float, _position: int | None = None) -> str:
    """Format a duration in the largest unit that fits: 1 ms, 1 s, 1 min, 1 h, 1 day."""
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= length * 0.999:
            return f"{seconds / length:,.3g} {unit[:-1] if unit == 'days' and seconds < 1.5 * length else unit}"
    return f"{seconds:g} s"


def formulas(table: pd.DataFrame) -> HTML:
    """Table of each model's fitted formula: seconds = fixed + per_kilogene g + per_cell g N / 1000."""
    forms = {"error": "{:.0%}", **dict.fromkeys(("fixed", "per_kilogene", "per_cell"), "{:.3g}")}
    return page.as_table(cost.fit_training(table), "training_formulas.csv", forms=forms)


def estimates(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds of an estimate for 1,000 test cells."""
    return cost.fit_estimates(table)


def projection(measured: pd.DataFrame, config: str | Path, preset: str = "") -> HTML:
    """Hours of a configuration's grid on one core and on a GPU, by data set and model; by default in its own preset."""
    asked = grid.read_config(config)
    used = preset or asked["preset"]
    table = cost.project(asked, measured, preset=preset)
    core, estimates = table["train_hours"].sum() / 24, table["estimate_hours"].sum() / 24
    card = table["card_hours"].fillna(table["train_hours"]).sum() / 24
    days = f"{core:,.0f} days on one core, {card:,.0f} where a card trains the networks"
    trainings = f"{table['trainings'].sum():,} trainings with the {used} presets"
    parts = [f"{trainings}: {days}; and {estimates:,.0f} days of estimates on one core."]
    forms = {"beyond": "{:.0%}"} | dict.fromkeys(("train_hours", "card_hours", "estimate_hours"), "{:,.1f}")
    with style.presets(table.assign(preset=used)):  # models are labelled by the preset of the projection
        if bound := style.ordered(set(table.loc[table["rests_on"] == "bound", "model"])):
            parts.append(
                f"No row holds the seconds of {', '.join(map(style.label, bound))} with this preset: the bound is "
                "counted that jobs ask for, all steps that the preset allows."
            )
        if unmeasured := cost.unmeasured_estimators(asked, measured):
            parts.append(f"Estimates by {', '.join(unmeasured)} are not counted: no row was measured with them.")
        return page.as_table(table, f"projection_{used}.csv", title=" ".join(parts), forms=forms)


def cards() -> HTML:
    """How much faster a GPU trains than a core: as measured, if it was, and as requests and projections assume."""
    name, table = cost.card_speed()
    said = f"Measured on {name}" if name else "No card has been measured: what is used is assumed"
    forms = dict.fromkeys(("core_ms", "card_ms"), "{:,.1f}") | dict.fromkeys(("measured", "used"), "{:,.0f}")
    shown = table if name else table[["model", "preset", "used"]]
    return page.as_table(shown, "cards.csv", full=table, title=f"{said}.", forms=forms if name else {})


def limits(config: str | Path) -> HTML:
    """Largest memory and time (by the presets' limits) that the configuration's jobs can ask for, by class of job."""
    jobs = pd.DataFrame({
        "dataset": job.dataset, "part": job.part, "jobs": 1, "units": len(list(job.row_keys())),
        "memory_gb": cost.memory_mb(job) / 1000, "hours_asked": cost.runtime_minutes(job) / 60,
    } for job in grid.jobs(grid.read_config(config)))  # fmt: skip
    by = {"jobs": "sum", "units": "sum", "memory_gb": "max", "hours_asked": "max"}
    return page.as_table(jobs.groupby(["dataset", "part"], sort=False).agg(by).reset_index(), "requests.csv")


def footprint() -> HTML:
    """Table of the memory and disk that an atlas of 10^5 to 10^8 cells takes, by the formulas."""
    table = cost.footprint(CELLS)
    shown = table.map(lambda value: f"{value:,.2f}" if value < 10 else f"{value:,.0f}")
    return page.as_table(shown, "footprint.csv", full=table)
