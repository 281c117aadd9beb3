"""What a plan rests on: the noise budget of every model on a data set's measurements, or of a pilot's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from .. import datasets, laws, measurements, paths
from ..errors import InputError, choose
from ..laws import grids as laws_grids
from ..laws.surface import fit_grid
from ..measurements import CONTROLS, ERROR, KEY, OK, csv_files, published
from .designs import Range

PILOT_COLUMNS = {
    "n_cells": ("n_cells", "N", "n", "cells"),
    "umis_per_cell": ("umis_per_cell", "u", "umis"),
    "mi_bits": ("mi_bits", "bits", "information"),
}
DRAWS = 200
MOST_BITS = 12
"""No estimator here tells more apart, and the noise budget ends there."""


@dataclass(frozen=True)
class Candidate:
    """A model's law on one data set, with its bootstrap draws, and the range it was fitted in; or why there is none.

    Attributes
    ----------
    model, preset
        As in the table; of a free-form pilot, its model and preset together, and "pilot".
    fit, measured
        The law and its range; None where there is none.
    problem
        Why there is none, as part of a sentence.
    """

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
    dataset: str, source: str | Path | None = None, *, without_flagged: bool = False
) -> tuple[pd.DataFrame, str]:
    """The measurements to plan from, and their name.

    Parameters
    ----------
    dataset
        Without a source it is looked for in our own measurements first, then in the published ones.
    source
        A CSV, a folder of them, or "published".
    without_flagged
        Leave the flagged rows of the published table out (`table_audit.flagged`).

    Raises
    ------
    InputError
        If there is no such table or data set.
    """
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
    """Laws of the models measured on a data set.

    Parameters
    ----------
    dataset, signal, estimator, models
        What to plan for. Signal and estimator may be left out where there is one (the estimator `default` comes
        first); all models are compared by default.
    source, without_flagged
        As for `open_table`.
    seed
        Of the bootstrap.

    Raises
    ------
    InputError
        If there is no such data set, signal, estimator or model, or no law could be fitted.
    """
    table, name = open_table(dataset, source, without_flagged=without_flagged)
    choose(f"data set in the table ({name})", dataset, set(table["dataset"]))
    rows, _ = _usable(table[table["dataset"] == dataset], name)
    rows = _chosen(rows, signal=signal)
    usual = "default" if "default" in set(rows["estimator"]) else None
    rows = _of_models(_chosen(rows, estimator=estimator or usual), models)
    label = f"{dataset}, {rows['signal'].iloc[0]} ({name}, estimator {rows['estimator'].iloc[0]})"
    return _checked(Evidence(label, candidates(rows, seed=seed)))


def _chosen(rows: pd.DataFrame, **choice: str | None) -> pd.DataFrame:
    """The rows of one data set, signal, estimator: the one chosen, or the only one there is."""
    for what, value in choice.items():
        rows = rows[rows[what] == _only(what, value, rows[what])]
    return rows


def _usable(table: pd.DataFrame, name: str) -> tuple[pd.DataFrame, str]:
    """The rows to plan from, and what was left out as text: failed rows, controls, variants of the protocol."""
    rows = measurements.protocol_rows(table)
    failed = table["status"].eq(ERROR) | table["mi_bits"].isna()
    left_out = {"failed": int(failed.sum()), "of controls": int((table["model"].isin(CONTROLS) & ~failed).sum())}
    left_out["of variants"] = len(table) - len(rows) - sum(left_out.values())
    said = ", ".join(f"{n} {what}" for what, n in left_out.items() if n)
    if rows.empty:
        raise InputError(f"{name} has no row to plan from: {len(table)} rows, {said or 'none usable'}")
    return rows, said


def _of_models(rows: pd.DataFrame, models: Sequence[str] | None) -> pd.DataFrame:
    for model in models or ():
        choose("model measured there", model, set(rows["model"]))
    return rows[rows["model"].isin(models)] if models else rows


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
        _check_informed(grid.bits[grid.measured])
        fit = fit_grid(grid).bootstrap(DRAWS, seed=seed)
    except InputError as error:
        return Candidate(model, preset, None, None, str(error))
    return Candidate(model, preset, fit, _range(grid.n, grid.u))


def _check_informed(bits: ArrayLike) -> None:
    if np.max(bits) <= 0:
        raise InputError("no information was measured: all bits are 0 or below")


def _range(n: ArrayLike, u: ArrayLike) -> Range:
    return Range((float(np.min(n)), float(np.max(n))), (float(np.min(u)), float(np.max(u))))


def pilot(
    path: str | Path,
    *,
    dataset: str | None = None,
    signal: str | None = None,
    estimator: str | None = None,
    models: Sequence[str] | None = None,
    seed: int = 0,
) -> Evidence:
    """The laws of a pilot's own measurements. Failed rows, controls and variants are left out, and counted in the name.

    Parameters
    ----------
    path
        A table of `measure`, or any CSV with the columns of `PILOT_COLUMNS`, one row a measurement.
    dataset, signal, estimator, models
        Which rows, by columns of a measurements table that the file has.
    seed
        Of the bootstrap.

    Raises
    ------
    InputError
        If it is another file, values are no positive numbers or too few, or several data sets, signals or estimators
        leave a choice.
    """
    file = paths.find(path)
    raw = measurements.read(file) if file.is_dir() else csv_files.read_csv(file)
    whole = set(KEY) - {"variant"} <= set(raw)
    table = measurements.read(file) if whole else _pilot_table(raw, file.name)
    rows, left_out = _usable(table, file.name)
    choice = {"dataset": dataset, "signal": signal, "estimator": estimator}
    for what, value in (choice | {"model": models}).items():
        if value is not None and what not in raw:
            raise InputError(
                f"a plan rests on one thing, here a pilot, and {file.name} has no column {what} for --{what} to choose "
                "by: leave it out"
            )
    rows = _of_models(_chosen(rows, **{what: value for what, value in choice.items() if what in rows}), models)
    facts = [str(rows[what].iloc[0]) for what in choice if what in rows]
    facts += [f"left out: {left_out}"] if left_out else []
    name = f"pilot {file.name}" + (f" ({', '.join(facts)})" if facts else "")
    return _checked(Evidence(name, candidates(rows, seed=seed) if whole else _of_pilots(rows, seed=seed)))


def _of_pilots(rows: pd.DataFrame, *, seed: int) -> list[Candidate]:
    keys = [column for column in ("model", "preset") if column in rows]
    return [_of_pilot(" ".join(map(str, key)), some, seed=seed) for key, some in rows.groupby(keys)]


def _of_pilot(name: str, rows: pd.DataFrame, *, seed: int) -> Candidate:
    n, u = rows["n_cells"], rows["umis_per_cell"]
    try:
        _check_informed(rows["mi_bits"])
        fit = laws.fit_noise_budget(n, u, rows["mi_bits"]).bootstrap(DRAWS, seed=seed)
    except InputError as error:
        return Candidate(name, "pilot", None, None, str(error))
    return Candidate(name, "pilot", fit, _range(n, u))


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
            raise InputError(
                f"{name} has no column {' or '.join(allowed[:2])}: found {', '.join(map(str, raw.columns))}"
            )
        out[column] = pd.to_numeric(raw[here[0]], errors="coerce")
        least, most = (-MOST_BITS, MOST_BITS) if column == "mi_bits" else (1e-9, 1e15)
        beyond = ~out[column].between(least, most)
        for wrong, problem in ((out[column].isna(), "not a number"), (beyond, _BEYOND[column])):
            if (at := out.index[wrong & measured]).size:
                found = raw[here[0]][at[0]]
                raise InputError(f"{name}, column {here[0]}, line {at[0] + 2}: found {str(found)!r}, {problem}")
    return out


_BEYOND = {
    "n_cells": "not a number above 0",
    "umis_per_cell": "not a number above 0",
    "mi_bits": f"more than the {MOST_BITS} bits that can be told apart: give bits, not percent",
}
