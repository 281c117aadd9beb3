"""The evidence for a plan: the noise budget of every model, from the measurements of a data set or of a pilot."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from .. import datasets, laws, measurements, paths
from ..errors import InputError, choose
from ..laws import grids as laws_grids
from ..laws.surface import fit_grid
from ..measurements import CONTROLS, ERROR, KEY, OK, csv_files, published
from .designs import Law, Range

PILOT_COLUMNS = {
    "n_cells": ("n_cells", "N", "n", "cells"), "umis_per_cell": ("umis_per_cell", "u", "umis"),
    "mi_bits": ("mi_bits", "bits", "information"),
}  # fmt: skip
TABLES = (".csv", ".tsv", ".txt")
"""File name endings that are read as tables; other files are read as cells."""
PILOT_GRID = (4, 5, 1000)
"""A pilot of cells is measured at this many cell numbers and depths, on at most this many test cells."""
DRAWS = 200
MOST_BITS = 12
"""No estimator here can measure more bits, and the noise budget ends there."""


@dataclass(frozen=True)
class Evidence:
    """The evidence for a plan: its name (a line), laws by model and preset, why other models have none, and all rows.

    The laws of a free-form pilot have the preset "pilot". `rows` also has variants of the protocol.
    """

    name: str
    laws: dict[tuple[str, str], Law]
    problems: dict[str, str]
    dataset: str | None = None
    rows: pd.DataFrame = field(default_factory=pd.DataFrame, repr=False)

    def __post_init__(self) -> None:
        if not self.laws:
            reasons = "; ".join(f"{model}: {problem}" for model, problem in self.problems.items())
            raise InputError(f"no law could be fitted to {self.name}: {reasons}")

    @property
    def deepest(self) -> float:
        """The deepest measured UMIs per cell of the panel."""
        return max(law.measured.u[1] for law in self.laws.values())


def open_table(dataset: str, source: str | Path | None, without_flagged: bool = False) -> tuple[pd.DataFrame, str]:
    """Return the measurements to plan from, chosen as in `evidence`, and their name."""
    if source is not None and str(source) != "published":
        return measurements.read(source), str(source)
    if source is None:
        if not paths.has_checkout() and dataset not in published.DATASETS.values():
            raise InputError(
                f"our own measurements of {dataset!r} lie in the project's checkout and this installation has none: "
                f"{paths.CLONE}, or name a table with --measurements"
            )
        ours = measurements.read(paths.MEASUREMENTS) if paths.MEASUREMENTS.is_dir() else pd.DataFrame({"dataset": []})
        choose("measured data set", dataset, {*ours["dataset"], *published.DATASETS.values()})
        if dataset in set(ours["dataset"]):
            return ours, "measured by this project"
    datasets.fetch("published")  # a plan may download the table, and never uses the summary instead
    version = published.KEPT if without_flagged else published.ALL
    return published.read(version), f"published, {version}"


def evidence(
    dataset: str,
    *,
    source: str | Path | None = None,
    signal: str | None = None,
    estimator: str | None = None,
    models: Sequence[str] | None = None,
    without_flagged: bool = False,
) -> Evidence:
    """Return the laws of the models measured on a data set, by default of its card's signal and the default estimator.

    The source is a CSV, a folder of CSVs, or "published", with or without its flagged rows (`table_audit.reasons`).
    Without a source, our own measurements are used if there are any, else the published ones. InputError if there is no
    such data set, signal, estimator or model, or no law could be fitted.
    """
    table, name = open_table(dataset, source, without_flagged)
    choose(f"data set in the table ({name})", dataset, set(table["dataset"]))
    table = table[table["dataset"] == dataset]
    _usable(table, name)
    usual = {"signal": datasets.card(dataset).signal if dataset in datasets.names() else "", "estimator": "default"}
    for what, value in {"signal": signal, "estimator": estimator}.items():
        table = _chosen(table, what, value or (usual[what] if usual[what] in set(table[what]) else None))
    label = f"{dataset}, {table['signal'].iloc[0]} ({name}, estimator {table['estimator'].iloc[0]})"
    return Evidence(label, *fits(_of_models(_usable(table, name)[0], models)), dataset, table)


def _chosen(rows: pd.DataFrame, what: str, value: str | None) -> pd.DataFrame:
    """Return the rows of one data set, signal or estimator: the chosen `value`, or the only one in the rows."""
    found = sorted(set(rows[what]))
    if value is None and len(found) > 1:
        raise InputError(f"several {what}s were measured: choose one of {', '.join(found)} with --{what}")
    return rows[rows[what] == (choose(what, value, found) if value is not None else found[0])]


def _usable(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, str]:
    """Return the rows to plan from, and a text on the rows left out: failed rows, controls, variants, other runs."""
    every = measurements.protocol_rows(table)
    rows = measurements.of_one_run(every) if "version" in every else every  # a pilot without that column is one run
    failed = table["status"].eq(ERROR) | table["mi_bits"].isna()
    left_out = {"failed": int(failed.sum()), "of controls": int((table["model"].isin(CONTROLS) & ~failed).sum())}
    left_out["of variants"] = len(table) - len(every) - sum(left_out.values())
    left_out["of runs with fewer seeds"] = len(every) - len(rows)
    said = ", ".join(f"{n} {what}" for what, n in left_out.items() if n)
    if rows.empty:
        raise InputError(f"{name} has no row to plan from: {len(table)} rows, {said or 'none usable'}")
    return rows, said


def _of_models(rows: pd.DataFrame, models: Sequence[str] | None) -> pd.DataFrame:
    for model in models or ():
        choose("model measured there", model, set(rows["model"]))
    return rows[rows["model"].isin(models)] if models else rows


def fits(rows: pd.DataFrame) -> tuple[dict[tuple[str, str], Law], dict[str, str]]:
    """Return laws by model and preset, for rows of one data set, signal and estimator, and why other models have none.

    Fits are those of `laws.surface.fit_grid`: bits are averaged over seeds, and weighted by how much the seeds differ.
    Models that cells do not train get no law. Each row without a fraction (in a free-form pilot) is one measurement.
    """
    free = "fraction" not in rows
    grids = {} if free else {grid.key[2:4]: grid for grid in laws_grids.grids(rows, all_models=True)}
    found, problems = {}, {}
    for key, some in rows.groupby([column for column in ("model", "preset") if column in rows]):
        model, preset = (" ".join(map(str, key)), "pilot") if free else key
        grid = grids.get(key)
        name = model if preset in ("pilot", "small", "published") else f"{model} ({preset})"
        try:
            if model in laws_grids.UNIMPROVABLE:
                raise InputError("cells do not train it, so it is a yardstick and no recommendation")
            if grid is None and not free:
                raise InputError("it was measured at fewer than 3 depths or 3 numbers of cells")
            if some["mi_bits"].max() <= 0:
                raise InputError("no information was measured: all bits are 0 or below")
            n, u = (some["n_cells"], some["umis_per_cell"]) if grid is None else (grid.n, grid.u)
            fit = laws.fit_noise_budget(n, u, some["mi_bits"]) if grid is None else fit_grid(grid)
            measured = Range((float(min(n)), float(max(n))), (float(min(u)), float(max(u))))
            seeds = some["seed"].nunique() if "seed" in some else 1
            found[model, preset] = Law(name, fit.averaged(DRAWS), measured, seeds)
        except InputError as error:
            problems[name] = str(error)
    return found, problems


def pilot(
    path: str | Path,
    *,
    dataset: str | None = None,
    signal: str | None = None,
    estimator: str | None = None,
    models: Sequence[str] | None = None,
) -> Evidence:
    """Return the laws of a pilot's measurements; failed rows, controls and variants are left out, counted in the name.

    The file is a table written by `measure`, any CSV with the columns of `PILOT_COLUMNS` and one row per measurement,
    or cells (.h5ad, 10x .h5, .loom), on which a small grid is measured first. The other arguments select rows by
    columns of the table; for cells, only the signal and the models apply. InputError if the file is something else,
    values are not positive numbers or too few, or one of several data sets, signals or estimators must be chosen.
    """
    file = paths.find(path)
    if not file.is_dir() and file.suffix.lower() not in TABLES:
        return _of_cells(file, signal, models)
    raw = measurements.read(file) if file.is_dir() else csv_files.read_csv(file)
    whole = set(KEY) - {"variant"} <= set(raw)
    table = measurements.read(file) if whole else _pilot_table(raw, file.name)
    _usable(table, file.name)
    choice = {"dataset": dataset, "signal": signal, "estimator": estimator}
    for what, value in (choice | {"model": models}).items():
        if value is not None and what not in raw:
            raise InputError(
                f"a plan rests on one thing, here a pilot, and {file.name} has no column {what} for --{what} to choose "
                "by: leave it out"
            )
    facts = []
    for what, value in choice.items():
        if what in raw:
            table = _chosen(table, what, str(value) if value is not None else None)
            facts.append(str(table[what].iloc[0]))
    rows, left_out = _usable(table, file.name)
    facts += [f"left out: {left_out}"] if left_out else []
    name = f"pilot {file.name}" + (f" ({', '.join(facts)})" if facts else "")
    of = rows["dataset"].iloc[0] if "dataset" in rows else None
    rows = _of_models(rows, models)
    rows = rows if whole else rows.drop(columns="fraction", errors="ignore")
    return Evidence(name, *fits(rows), of, table)


def _of_cells(file: Path, signal: str | None, models: Sequence[str] | None) -> Evidence:
    """Return the laws of a file of cells, after a small grid is measured on it with two seeds."""
    from ..measure.run import measure  # imported here: a plan from a table needs no models

    card = datasets.load(file, signal=signal).card
    most, (numbers, depths, n_test) = max(card.cell_numbers), PILOT_GRID
    n = np.unique(np.geomspace(min(max(most / 30, 50), most), most, numbers).astype(int)).tolist()
    q = [card.fractions[round(i)] for i in np.linspace(0, len(card.fractions) - 1, depths)]
    chosen, n_test = tuple(models or ("pca",)), min(card.n_test, n_test)
    asked = {"signal": signal, "models": chosen, "cell_numbers": n, "fractions": q, "n_test": n_test}
    table = measure(file, **asked, seeds=(0, 1), progress=False)
    rows, left_out = _usable(table, file.name)
    said = f"{len(rows)} measurements of {', '.join(chosen)}" + (f", left out: {left_out}" if left_out else "")
    return Evidence(f"pilot {file.name} ({card.signal}; {said})", *fits(rows), None, table)


def _pilot_table(raw: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a free-form pilot with the columns that `_usable` needs; rows marked as failed need no numbers."""
    raw = raw.rename(columns=lambda column: str(column).strip())
    blank = {"model": "pilot", "status": OK, "variant": ""}
    out = raw.assign(**{column: value for column, value in blank.items() if column not in raw})
    out["variant"] = out["variant"].fillna("")
    measured = out["status"].astype(str).str.strip().str.lower() == OK
    out["status"] = measured.map({True: OK, False: ERROR})
    for column, allowed in PILOT_COLUMNS.items():
        here = [found for other in allowed for found in raw if found.lower() == other.lower()]
        if not here:
            wanted = " or ".join(allowed[:2])
            raise InputError(f"{name} has no column {wanted}: found {', '.join(map(str, raw.columns))}")
        out[column] = pd.to_numeric(raw[here[0]], errors="coerce")
        least, most = (-MOST_BITS, MOST_BITS) if column == "mi_bits" else (1e-9, 1e15)
        beyond, impossible = ~out[column].between(least, most), "not a number above 0"
        if column == "mi_bits":
            impossible = f"more than the {MOST_BITS} bits that can be told apart: give bits, not percent"
        for wrong, problem in ((out[column].isna(), "not a number"), (beyond, impossible)):
            if (at := out.index[wrong & measured]).size:
                found = raw[here[0]][at[0]]
                raise InputError(f"{name}, column {here[0]}, line {at[0] + 2}: found {str(found)!r}, {problem}")
    return out
