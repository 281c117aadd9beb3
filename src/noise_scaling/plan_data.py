"""What a plan rests on: the noise budget of every model on a data set's measurements, or of a pilot's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from . import datasets, laws, measurements, paths, published
from .errors import InputError, choose
from .laws import grids as laws_grids
from .laws.surface import fit_grid
from .measurements import CONTROLS, OK
from .plan import Range

PILOT_COLUMNS = {
    "n": ("n_cells", "N", "n", "cells"),
    "u": ("umis_per_cell", "u", "umis"),
    "bits": ("mi_bits", "bits", "information"),
}
PUBLISHED_DATASETS = ("pbmc", "larry", "merfish", "mouse_embryo")
DRAWS = 200


@dataclass(frozen=True)
class Candidate:
    """A model's law on one data set, with its bootstrap draws, and the range it was fitted in; or why there is none."""

    model: str
    preset: str
    fit: laws.BudgetFit | None
    measured: Range | None
    problem: str = ""


@dataclass(frozen=True)
class Evidence:
    """What the plan rests on: a line that names it, and the candidates."""

    name: str
    candidates: list[Candidate]

    @property
    def deepest(self) -> float:
        """The deepest measured UMIs per cell."""
        return max(c.measured.u[1] for c in self.candidates if c.measured)


def open_table(
    dataset: str, source: str | Path | None = None, *, without_doubtful: bool = False
) -> tuple[pd.DataFrame, str]:
    """The measurements to plan from and their name: `source` (a CSV, a folder, "published"), else where `dataset` is.

    Without a source our own measurements are looked in first, the published ones after them, in the version with all
    rows or without the doubtful ones (`published.doubtful`).
    """
    if source is not None and str(source) != "published":
        return measurements.read(source), str(source)
    if source is None:
        ours = measurements.read(paths.MEASUREMENTS) if paths.MEASUREMENTS.is_dir() else pd.DataFrame({"dataset": []})
        choose("measured data set", dataset, {*ours["dataset"], *PUBLISHED_DATASETS})
        if dataset in set(ours["dataset"]):
            return ours, "measured by this project"
    datasets.fetch("published")  # a plan may download it, and never takes its summary for it
    version = published.KEPT if without_doubtful else published.ALL
    return published.read(version), f"published, {version}"


def evidence(
    dataset: str,
    *,
    source: str | Path | None = None,
    signal: str | None = None,
    estimator: str | None = None,
    models: Sequence[str] | None = None,
    without_doubtful: bool = False,
    seed: int = 0,
) -> Evidence:
    """Laws of the models measured on `dataset`, one estimator's rows only; InputError where there is no such thing."""
    table, name = open_table(dataset, source, without_doubtful=without_doubtful)
    rows = table[(table["status"] == OK) & table["mi_bits"].notna() & ~table["model"].isin(CONTROLS)]
    rows = rows[rows["variant"] == ""]
    rows = rows[rows["dataset"] == choose(f"data set in the table ({name})", dataset, set(rows["dataset"]))]
    rows = rows[rows["signal"] == _only("signal", signal, rows["signal"])]
    estimator = estimator or ("default" if "default" in set(rows["estimator"]) else None)
    rows = rows[rows["estimator"] == _only("estimator", estimator, rows["estimator"])]
    for model in models or ():
        choose(f"model measured on {dataset}", model, set(rows["model"]))
    found = candidates(rows[rows["model"].isin(models)] if models else rows, seed=seed)
    label = f"{dataset}, {rows['signal'].iloc[0]} ({name}, estimator {rows['estimator'].iloc[0]})"
    return _checked(Evidence(label, found))


def _only(what: str, value: str | None, column: pd.Series) -> str:
    """`value`, checked; without one, the only value there is."""
    found = sorted(set(column))
    if value is None and len(found) > 1:
        raise InputError(f"several {what}s were measured: choose one of {', '.join(found)} with --{what}")
    return choose(what, value, found) if value is not None else found[0]


def _checked(found: Evidence) -> Evidence:
    if not any(c.fit for c in found.candidates):
        reasons = "; ".join(sorted({c.problem for c in found.candidates}))
        raise InputError(f"no law could be fitted to {found.name}: {reasons}")
    return found


def candidates(rows: pd.DataFrame, *, seed: int = 0) -> list[Candidate]:
    """One law for each model and preset of rows that share data set, signal and estimator, as `laws.surface.fit_grid`.

    Seeds are averaged, and weighted by how much they differ; models with too small a grid come with their `problem`.
    """
    keys = sorted(set(zip(rows["model"], rows["preset"], strict=True)))
    grids = {(grid.key[2], grid.key[3]): grid for grid in laws_grids.grids(rows, all_models=True)}
    return [_of_grid(*key, grids.get(key), seed=seed) for key in keys]


def _of_grid(model: str, preset: str, grid: laws_grids.Grid | None, *, seed: int) -> Candidate:
    if grid is None:
        return Candidate(model, preset, None, None, "it was measured at fewer than 3 depths or 3 numbers of cells")
    try:
        fit = fit_grid(grid).bootstrap(DRAWS, seed=seed)
    except InputError as error:
        return Candidate(model, preset, None, None, str(error))
    return Candidate(model, preset, fit, _range(grid.n, grid.u))


def _range(n: Sequence[float], u: Sequence[float]) -> Range:
    return Range((float(min(n)), float(max(n))), (float(min(u)), float(max(u))))


def pilot(path: str | Path, *, seed: int = 0) -> Evidence:
    """The law of a pilot's own measurements: a CSV with cells, UMIs per cell and bits, one row a measurement.

    Columns are n_cells (or N), umis_per_cell (or u) and mi_bits (or bits), and model where there are several. Raises
    InputError for another file, for values that are no positive numbers, or for too few of them.
    """
    table = _pilot_table(path)
    names = table.get("model", pd.Series("pilot", index=table.index)).astype(str)
    found = [_of_pilot(name, rows, seed=seed) for name, rows in table.groupby(names)]
    return _checked(Evidence(f"pilot {Path(path).name}", found))


def _of_pilot(name: str, rows: pd.DataFrame, *, seed: int) -> Candidate:
    n, u = rows["n"], rows["u"]
    try:
        fit = laws.fit_noise_budget(n, u, rows["bits"]).bootstrap(DRAWS, seed=seed)
    except InputError as error:
        return Candidate(name, "pilot", None, None, str(error))
    return Candidate(name, "pilot", fit, _range(n, u))


def _pilot_table(path: str | Path) -> pd.DataFrame:
    file = paths.find(path)
    try:
        raw = pd.read_csv(file)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, IsADirectoryError) as error:
        raise InputError(f"{file.name} cannot be read as CSV: {error}") from None
    out = {}
    for name, allowed in PILOT_COLUMNS.items():
        here = [column for column in allowed if column in raw]
        if not here:
            raise InputError(f"{file.name} has no column {' or '.join(allowed[:2])}: found {', '.join(raw.columns)}")
        out[name] = pd.to_numeric(raw[here[0]], errors="coerce")
        if out[name].isna().any():
            row = int(out[name].isna().idxmax())
            raise InputError(
                f"{file.name}, column {here[0]}, line {row + 2}: found {raw[here[0]][row]!r}, not a number"
            )
    return pd.DataFrame(out).assign(**({"model": raw["model"]} if "model" in raw else {}))
