"""What a plan rests on: the noise budget of every model on a data set's measurements, or of a pilot's."""

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
"""Endings of files that are read as tables; other files are cells."""
PILOT_GRID = (4, 5, 1000)
"""A pilot of cells is measured at so many cell numbers and depths, on at most so many test cells."""
DRAWS = 200
MOST_BITS = 12
"""No estimator here tells more apart, and the noise budget ends there."""


@dataclass(frozen=True)
class Evidence:
    """What the plan rests on: a line that names it, laws by model and preset, why other models have none, all rows.

    A free-form pilot's laws are by its name and "pilot". `rows` has variants of the protocol too.
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
    """The measurements to plan from, as of `evidence`, and their name."""
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
    datasets.fetch("published")  # a plan may download it, and never takes its summary for it
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
    seed: int = 0,
) -> Evidence:
    """Laws of the models measured on a data set, by default of its card's signal and the estimator `default`.

    The source is a CSV, a folder of them, or "published", with or without its flagged rows (`table_audit.flagged`).
    Without one our own measurements come first, then the published ones. The seed is of the bootstrap. InputError if
    there is no such data set, signal, estimator or model, or no law could be fitted.
    """
    table, name = open_table(dataset, source, without_flagged)
    choose(f"data set in the table ({name})", dataset, set(table["dataset"]))
    table = table[table["dataset"] == dataset]
    _usable(table, name)
    usual = {"signal": datasets.card(dataset).signal if dataset in datasets.names() else "", "estimator": "default"}
    for what, value in {"signal": signal, "estimator": estimator}.items():
        table = _chosen(table, what, value or (usual[what] if usual[what] in set(table[what]) else None))
    label = f"{dataset}, {table['signal'].iloc[0]} ({name}, estimator {table['estimator'].iloc[0]})"
    return Evidence(label, *fits(_of_models(_usable(table, name)[0], models), seed=seed), dataset, table)


def _chosen(rows: pd.DataFrame, what: str, value: str | None) -> pd.DataFrame:
    """The rows of one data set, signal or estimator: the one chosen, or the only one there is."""
    found = sorted(set(rows[what]))
    if value is None and len(found) > 1:
        raise InputError(f"several {what}s were measured: choose one of {', '.join(found)} with --{what}")
    return rows[rows[what] == (choose(what, value, found) if value is not None else found[0])]


def _usable(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, str]:
    """The rows to plan from, and what was left out as text: failed rows, controls, variants, other runs."""
    every = measurements.protocol_rows(table)
    rows = measurements.of_one_run(every) if "version" in every else every  # a pilot of other columns is one run
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


def fits(rows: pd.DataFrame, *, seed: int = 0) -> tuple[dict[tuple[str, str], Law], dict[str, str]]:
    """Laws by model and preset of rows that share data set, signal and estimator, and why there are no others.

    As `laws.surface.fit_grid`: seeds are averaged, and weighted by how much they differ. Models that cells do not train
    have none. Rows without fractions, of a free-form pilot, are one measurement each.
    """
    if "fraction" not in rows:
        by = [column for column in ("model", "preset") if column in rows]
        return _laws({(" ".join(map(str, key)), "pilot"): (some, None) for key, some in rows.groupby(by)}, seed)
    grids = {(grid.key[2], grid.key[3]): grid for grid in laws_grids.grids(rows, all_models=True)}
    return _laws({key: (some, grids.get(key)) for key, some in rows.groupby(["model", "preset"])}, seed)


def _laws(parts: dict, seed: int) -> tuple[dict[tuple[str, str], Law], dict[str, str]]:
    found, problems = {}, {}
    for (model, preset), (rows, grid) in parts.items():
        name = model if preset in ("pilot", "small", "published") else f"{model} ({preset})"
        try:
            if model in laws_grids.UNIMPROVABLE:
                raise InputError("cells do not train it, so it is a yardstick and no recommendation")
            if grid is None and preset != "pilot":
                raise InputError("it was measured at fewer than 3 depths or 3 numbers of cells")
            if rows["mi_bits"].max() <= 0:
                raise InputError("no information was measured: all bits are 0 or below")
            n, u = rows["n_cells"], rows["umis_per_cell"]
            fit = laws.fit_noise_budget(n, u, rows["mi_bits"]) if grid is None else fit_grid(grid)
            n, u = (n, u) if grid is None else (grid.n, grid.u)
            measured = Range((float(min(n)), float(max(n))), (float(min(u)), float(max(u))))
            seeds = rows["seed"].nunique() if "seed" in rows else 1
            found[model, preset] = Law(name, fit.averaged(DRAWS, seed=seed), measured, seeds)
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
    seed: int = 0,
) -> Evidence:
    """The laws of a pilot's own measurements; failed rows, controls and variants are left out, and counted in the name.

    The file is a table of `measure`, any CSV with the columns of `PILOT_COLUMNS`, one row a measurement, or cells
    (.h5ad, 10x .h5, .loom), on which a small grid is measured first. The other arguments say which rows, by columns of
    a measurements table that the file has; of cells, the signal and the models. InputError if it is another file,
    values are no positive numbers or too few, or several data sets, signals or estimators leave a choice.
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
    return Evidence(name, *fits(rows, seed=seed), of, table)


def _of_cells(file: Path, signal: str | None, models: Sequence[str] | None) -> Evidence:
    """The laws of a file of cells, on which a small grid is measured first, two replicates."""
    from ..measure.run import measure  # here: a plan from a table needs no models

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
    """A free-form pilot with the columns that `_usable` looks at; rows that say they failed need no numbers."""
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
